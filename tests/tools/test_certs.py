from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from qmi.errors import QMI_UsageException
from qmi.tools.certs import main, make_ca, make_certificate, renew_certificate


def test_certificates_are_made_by_two_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "new")
    assert main(["-d", folder, "ca"]) == 0
    assert main(["-d", folder, "cert", "srv", "--workgroup", "lab1", "--host", "pc.lab"]) == 0
    assert main(["-d", folder, "cert", "*"]) == 0
    shown = capsys.readouterr().out
    assert "Keep" in shown
    assert "ca.pem to the machine where context 'srv' runs" in shown
    made = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    assert {name: mode for name, mode in made.items() if name.endswith(".key")} == dict.fromkeys(
        ["ca.key", "srv.key", "any.key"], 0o600
    )
    certificate = x509.load_pem_x509_certificate((tmp_path / "new" / "srv.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == "O=lab1,CN=srv"
    assert "pc.lab" in str(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def names_in(file: Path) -> list[str]:
    """The names and addresses of machines that a certificate is good for."""
    value = x509.load_pem_x509_certificate(file.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value  # fmt: skip
    return [str(name.value) for name in value if not isinstance(name, x509.UniformResourceIdentifier)]


def test_certificate_says_by_which_number_it_is_revoked(tmp_path: Path) -> None:
    make_ca(tmp_path)
    for made in (make_certificate(tmp_path, "srv"), renew_certificate(tmp_path, "srv")):
        certificate = x509.load_pem_x509_certificate(made[0].read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"urn:qmi:certificate:{certificate.serial_number:x}"
        ]


def test_certificate_is_for_names_and_addresses_also_when_it_is_renewed(tmp_path: Path) -> None:
    make_ca(tmp_path)
    hosts = ["pc.lab", "localhost", "münchen.example", "10.0.0.5", "::1", "[fe80::1]", "*.lab"]
    command = ["-d", str(tmp_path), "cert", "srv"]
    for host in hosts:
        command += ["--host", host]
    assert main(command) == 0
    expected = {"pc.lab", "localhost", "xn--mnchen-3ya.example", "10.0.0.5", "::1", "fe80::1", "*.lab"}
    assert set(names_in(tmp_path / "srv.pem")) == expected
    assert main(["-d", str(tmp_path), "renew", "srv"]) == 0
    assert set(names_in(tmp_path / "srv.pem")) == expected


@pytest.mark.parametrize("host", ["", "a b", "pc:8642", "https://pc", "-pc", "pc..lab", "a" * 64 + ".lab"])
def test_name_of_no_machine_is_refused(tmp_path: Path, host: str) -> None:
    make_ca(tmp_path)
    with pytest.raises(QMI_UsageException, match=r"one as 'lab-pc\.example\.org', or an address as '10\.0\.0\.5'; got"):
        make_certificate(tmp_path, "srv", hosts=[host])
    assert not (tmp_path / "srv.pem").exists()


def test_certificates_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = make_ca(tmp_path)
    before = [file.read_bytes() for file in files]
    assert main(["-d", str(tmp_path), "ca"]) == 2
    assert "ca.pem exists already; it is not overwritten" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before
    make_certificate(tmp_path, "srv")
    with pytest.raises(QMI_UsageException, match=r"srv\.pem exists already"):
        make_certificate(tmp_path, "srv")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("lab", "lab.key. Copy both and ca.pem to the machine where context 'lab' runs."),
        (
            "*",
            "any.key. Copy both and ca.pem to each machine where programs run that have no certificate of their own.",
        ),
    ],
)
def test_command_says_where_a_certificate_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, where: str
) -> None:
    make_ca(tmp_path)
    assert main(["-d", str(tmp_path), "cert", name]) == 0
    assert capsys.readouterr().out.endswith(where + "\n")


def test_certificates_command_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(QMI_UsageException, match=r"ca\.pem: make a CA first"):
        make_certificate(tmp_path, "srv")
    with pytest.raises(QMI_UsageException, match="Invalid context name 'a b'"):
        make_certificate(tmp_path, "a b")
    with pytest.raises(QMI_UsageException, match="1 to 64 characters"):
        make_certificate(tmp_path, "a", workgroup="w" * 65)
    with pytest.raises(QMI_UsageException, match="at least 1 day"):
        make_ca(tmp_path, days=0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(QMI_UsageException, match="cannot be written"):
        make_ca(tmp_path / "file" / "below")
    make_ca(tmp_path)
    (tmp_path / "ca.key").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(QMI_UsageException, match="of another kind"):
        make_certificate(tmp_path, "srv")
    (tmp_path / "ca.key").write_text("junk")
    with pytest.raises(QMI_UsageException, match="cannot be read"):
        make_certificate(tmp_path, "srv")


def test_certificates_command_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qmi.tools.certs", "-d", str(tmp_path), "ca"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "ca.pem").exists()
