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
from qmi.tools.certs import main, make_ca, make_certificate


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


def test_certificates_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = make_ca(tmp_path)
    before = [file.read_bytes() for file in files]
    assert main(["-d", str(tmp_path), "ca"]) == 2
    assert "ca.pem exists already; it is not overwritten" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before
    make_certificate(tmp_path, "srv")
    with pytest.raises(QMI_UsageException, match=r"srv\.pem exists already"):
        make_certificate(tmp_path, "srv")


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
