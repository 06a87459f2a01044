"""Certificates of one's own that others will refuse are told at the start; revoked ones are refused by both sides."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from qmi.config.loader import load_config
from qmi.config.schema import CfgSecurity
from qmi.core.exceptions import QMI_ConfigurationException, QMI_ConnectionException
from qmi.errors import QMI_UsageException
from qmi.names import HostPort
from qmi.net.io.own_certificate import certificate_warnings
from qmi.net.io.revocation import RevocationList, parse_revoked, parse_serial
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import Present
from qmi.tools.certs import load_certificate, main, make_ca, make_certificate, renew_certificate, revoke
from tests.support.lab import address, config, make_context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lab")
    make_ca(made)
    for name in ("srv", "cli", "*", "thief"):
        make_certificate(made, name)
    return made


def security(folder: Path, name: str, revoked: Path | None = None) -> CfgSecurity:
    return CfgSecurity(
        ca=str(folder / "ca.pem"),
        certificate=str(folder / f"{name}.pem"),
        key=str(folder / f"{name}.key"),
        revoked=None if revoked is None else str(revoked),
    )


def serial(folder: Path, name: str) -> int:
    return load_certificate(folder / f"{name}.pem").serial_number


FORMS = [
    "{:x}",
    "{:X}",
    "0x{:x}",
    "# a comment\n\n  {:x}  # lost\n",
    "ff\n{:x}\nee",
]


@pytest.mark.parametrize("refuser", ["srv", "cli"])
@pytest.mark.parametrize("form", FORMS)
def test_fault_35_revoked_certificate_is_refused_by_either_side(
    folder: Path, tmp_path: Path, refuser: str, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    lists: dict[str, Path | None] = {"srv": None, "cli": None}
    other = "cli" if refuser == "srv" else "srv"
    lists[refuser] = tmp_path / "revoked.txt"
    (tmp_path / "revoked.txt").write_text("ab12 # somebody else")
    with (
        make_context("srv", security=security(folder, "srv", lists["srv"])) as there,
        make_context("cli", security=security(folder, "cli", lists["cli"])) as here,
    ):
        here.connect_to_peer("srv", address(there))
        here.disconnect_from_peer("srv")
        # It is read again without a restart.
        (tmp_path / "revoked.txt").write_text(form.format(serial(folder, other)))
        with pytest.raises(QMI_ConnectionException) as caught:
            here.connect_to_peer("srv", address(there))
        told = f"(serial number {serial(folder, other):x}) is revoked"
        assert told in (caught.value.args[0] if refuser == "cli" else _settled(caplog, told))
        (tmp_path / "revoked.txt").write_text("")
        here.connect_to_peer("srv", address(there))


def _settled(caplog: pytest.LogCaptureFixture, told: str) -> str:
    from tests.support.waiting import wait_until

    wait_until(lambda: told in caplog.text)
    return caplog.text


@pytest.mark.parametrize("damage", ["gone", "nonsense", "directory"])
def test_list_that_cannot_be_read_any_more_stays_in_force(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "revoked.txt"
    path.write_text("abc1")
    revoked = RevocationList(str(path))
    path.unlink()
    if damage == "nonsense":
        path.write_text("this is no serial number")
    elif damage == "directory":
        path.mkdir()
    for _ in range(3):
        with pytest.raises(PermissionError, match="serial number abc1"):
            revoked.check({"serialNumber": "ABC1"})
    assert caplog.text.count("what it said before holds on") == 1
    if damage == "directory":
        path.rmdir()
    path.write_text("abc2")
    revoked.check({"serialNumber": "ABC1"})


@pytest.mark.parametrize(
    ("text", "line"), [("x", 1), ("\n12 34", 2), ("12\n-1", 2), ("ab\x1b", 1), ("0x", 1), ("a" * 65, 1)]
)
def test_line_of_the_list_that_is_no_serial_number_is_named(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}: expected a serial number") as caught:
        parse_revoked(text)
    assert str(caught.value).isprintable()
    path = tmp_path / "revoked.txt"
    path.write_text(text)
    with pytest.raises(QMI_ConfigurationException, match="revoked certificates"):
        RevocationList(str(path))


def test_serial_number_is_told_as_the_tool_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    path.write_text("abc")
    with pytest.raises(PermissionError, match=r"\(serial number abc\)"):
        RevocationList(str(path)).check({"serialNumber": "0ABC"})
    RevocationList(str(path)).check({})
    RevocationList(str(path)).check(None)


def test_serial_numbers_may_have_colons() -> None:
    assert parse_serial("0A:bc:01") == 0x0ABC01


def test_list_is_named_beside_the_configuration_and_must_be_there(folder: Path, tmp_path: Path) -> None:
    for name in ("ca.pem", "srv.pem", "srv.key"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = '{"security": {"ca": "ca.pem", "certificate": "srv.pem", "key": "srv.key", "revoked": "revoked.txt"}}'
    (tmp_path / "qmi.conf").write_text(text)
    with pytest.raises(QMI_ConfigurationException, match=r"security\.revoked"):
        load_config(tmp_path / "qmi.conf")
    (tmp_path / "revoked.txt").write_text("")
    assert load_config(tmp_path / "qmi.conf").security.revoked == str(tmp_path / "revoked.txt")
    with pytest.raises(QMI_ConfigurationException, match="only revoked"):
        CfgSecurity(revoked="revoked.txt")


def test_process_manager_refuses_a_revoked_server(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    path.write_text("")
    link = SocketLink(config(security=security(folder, "any", path)))
    with make_context("srv", security=security(folder, "srv")) as there:
        host, _, port = address(there).rpartition(":")
        where = HostPort(host, int(port))
        assert isinstance(link.ask("srv", where, timeout=10), Present)
        path.write_text(f"{serial(folder, 'srv'):x}")
        assert "is revoked" in str(link.ask("srv", where, timeout=10))


def test_own_certificate_with_a_fault_is_reported_at_the_start(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = folder / "thief.key"
    key.chmod(0o644)
    with make_context("srv", security=security(folder, "thief")):
        pass
    key.chmod(0o600)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(f"chmod 600 {key}" in text and "mode 0644" in text for text in warnings)
    assert any("is for context 'thief', this one is 'srv'" in text for text in warnings)


def told(folder: Path, name: str, days: float = 0.0, context: str = "srv", workgroup: str = "default") -> list[str]:
    return certificate_warnings(
        ca_file=str(folder / "ca.pem"),
        cert_file=str(folder / f"{name}.pem"),
        key_file=str(folder / f"{name}.key"),
        context=context,
        workgroup=workgroup,
        now=datetime.now(UTC) + timedelta(days=days),
    )


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("srv", 0, []),
        ("any", 0, []),
        ("srv", 3649 - 31, []),
        ("srv", 3650 - 29, ["The certificate", "expires on", "certs renew srv", "The CA certificate"]),
        ("srv", 3651, ["The certificate", "expired on", "certs renew srv", "The CA certificate", "make a new CA"]),
        ("srv", -2, ["valid only from", "clock"]),
        ("cli", 0, ["is for context 'cli'", "certs cert srv"]),
    ],
)
def test_certificate_warnings(folder: Path, name: str, days: float, words: list[str]) -> None:
    found = "\n".join(told(folder, name, days))
    assert bool(found) is bool(words)
    assert [word for word in words if word not in found] == []


def test_certificate_of_another_workgroup_is_told(folder: Path) -> None:
    [found] = told(folder, "srv", workgroup="lab")
    assert "is for workgroup 'default', this context is of 'lab'" in found


@pytest.mark.skipif(os.name == "nt", reason="these are modes of POSIX")
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o644, 0o610])
def test_key_that_others_can_use_is_told(folder: Path, mode: int) -> None:
    (folder / "srv.key").chmod(mode)
    try:
        [found] = told(folder, "srv")
    finally:
        (folder / "srv.key").chmod(0o600)
    assert f"mode {mode:04o}" in found


def test_certificates_are_renewed_revoked_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["-d", str(tmp_path)]
    assert main([*base, "ca"]) == 0
    assert main([*base, "cert", "srv", "-w", "lab", "--host", "pc.lab"]) == 0
    before = load_certificate(tmp_path / "srv.pem")
    assert main([*base, "renew", "srv", "--days", "100"]) == 0
    after = load_certificate(tmp_path / "srv.pem")
    assert after.subject == before.subject
    assert after.serial_number != before.serial_number
    assert load_certificate(tmp_path / "srv.pem.old") == before
    hosts = after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert hosts.get_values_for_type(x509.DNSName) == ["pc.lab"]
    assert f"certs revoke {before.serial_number:x}" in capsys.readouterr().out
    assert main([*base, "show", "srv"]) == 0
    assert f"O=lab,CN=srv, serial number {after.serial_number:x}, valid until" in capsys.readouterr().out
    assert main([*base, "revoke", f"{before.serial_number:x}"]) == 0
    assert main([*base, "revoke", "srv"]) == 0
    assert main([*base, "revoke", str(tmp_path / "srv.pem")]) == 0
    assert "was revoked already" in capsys.readouterr().out
    found = parse_revoked((tmp_path / "revoked.txt").read_text())
    assert found == {before.serial_number, after.serial_number}
    for wrong in (["revoke", "nobody"], ["renew", "nobody"], ["show", "nobody"]):
        assert main([*base, *wrong]) == 2
    assert "no certificate" in capsys.readouterr().err


def test_renewal_that_fails_keeps_the_old_files(tmp_path: Path) -> None:
    make_ca(tmp_path)
    files = make_certificate(tmp_path, "srv")
    before = [file.read_bytes() for file in files]
    (tmp_path / "ca.key").unlink()
    with pytest.raises(QMI_UsageException, match="make a CA first"):
        renew_certificate(tmp_path, "srv")
    assert [file.read_bytes() for file in files] == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["ca.pem", "srv.key", "srv.pem"]
    assert revoke(tmp_path, "srv")[2]
