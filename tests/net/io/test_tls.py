from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from qmi.errors import QMI_ConfigurationException
from qmi.net.io.tls import check_workgroup, client_context, explain, peer_identity, server_context
from qmi.net.protocol.handshake import Identity
from qmi.tools.certs import make_ca, make_certificate


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    make_ca(folder)
    make_certificate(folder, "srv", workgroup="lab")
    make_certificate(folder, "cli", workgroup="lab")
    make_certificate(folder, "*", workgroup="lab")
    make_certificate(folder, "foreign", workgroup="other")
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    make_ca(folder)
    make_certificate(folder, "cli", workgroup="lab")
    return folder


def files(folder: Path, name: str) -> dict[str, str]:
    return {
        "ca_file": str(folder / "ca.pem"),
        "cert_file": str(folder / f"{name}.pem"),
        "key_file": str(folder / f"{name}.key"),
    }


class Joined:
    """A client and a server in memory; ``run`` goes on until both are done, or one fails."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)

    def run(self) -> dict[str, ssl.SSLError]:
        failed: dict[str, ssl.SSLError] = {}
        for _ in range(6):
            for name, side in (("client", self.client), ("server", self.server)):
                if name in failed:
                    continue
                try:
                    side.do_handshake()
                    side.read(1)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    failed[name] = error
        return failed


def test_good_certificates_connect_and_name_both_sides(lab: Path) -> None:
    joined = Joined(client_context(**files(lab, "cli")), server_context(**files(lab, "srv")))
    assert joined.run() == {}
    assert joined.server.version() == "TLSv1.3"
    assert peer_identity(joined.server.getpeercert()) == Identity("cli", "lab")
    assert peer_identity(joined.client.getpeercert()) == Identity("srv", "lab")


def test_a_certificate_for_any_context_names_only_the_workgroup(lab: Path) -> None:
    joined = Joined(client_context(**files(lab, "any")), server_context(**files(lab, "srv")))
    assert joined.run() == {}
    assert peer_identity(joined.server.getpeercert()) == Identity("", "lab")


def test_fault_35_peer_without_a_certificate_is_refused(lab: Path) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(lab / "ca.pem")
    failed = Joined(bare, server_context(**files(lab, "srv"))).run()
    assert "no certificate was shown" in explain(failed["server"])
    assert "no certificate was shown" in explain(failed["client"])


def test_fault_35_another_ca_is_refused_on_both_sides(lab: Path, elsewhere: Path) -> None:
    failed = Joined(client_context(**files(elsewhere, "cli")), server_context(**files(lab, "srv"))).run()
    assert explain(failed["client"]) == "the certificate was made by another CA"
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    trusting.load_cert_chain(elsewhere / "cli.pem", elsewhere / "cli.key")
    failed = Joined(trusting, server_context(**files(lab, "srv"))).run()
    assert explain(failed["server"]) == "the certificate was made by another CA"


def test_fault_35_another_workgroup_is_refused_before_any_byte(lab: Path) -> None:
    joined = Joined(client_context(**files(lab, "foreign")), server_context(**files(lab, "srv")))
    assert joined.run() == {}
    identity = peer_identity(joined.server.getpeercert())
    fault = check_workgroup(identity, "lab")
    assert fault is not None
    assert "a certificate of workgroup 'other', this side is of 'lab'" in fault


@pytest.mark.parametrize(
    ("identity", "expected", "fault"),
    [
        (Identity("srv", "lab"), None, None),
        (Identity("srv", "lab"), "srv", None),
        (Identity("", "lab"), "srv", None),
        (Identity("x", "lab"), "srv", "expected context 'srv' there, but found the certificate of context 'x'"),
    ],
)
def test_the_certificate_of_another_context_is_refused(identity: Identity, expected: str, fault: str | None) -> None:
    assert check_workgroup(identity, "lab", expected=expected) == fault


def test_an_older_tls_is_refused(lab: Path) -> None:
    old = client_context(**files(lab, "cli"))
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    failed = Joined(old, server_context(**files(lab, "srv"))).run()
    assert "does not speak TLS 1.3" in explain(failed["server"])


def test_files_that_do_not_fit_are_named(lab: Path, elsewhere: Path) -> None:
    with pytest.raises(QMI_ConfigurationException, match=r"The key file .*none.key' is not there"):
        server_context(**{**files(lab, "srv"), "key_file": str(lab / "none.key")})
    with pytest.raises(QMI_ConfigurationException, match="cannot be used"):
        server_context(**{**files(lab, "srv"), "key_file": str(elsewhere / "cli.key")})


@pytest.mark.parametrize("make", [client_context, server_context])
def test_each_side_demands_a_certificate_of_the_other(lab: Path, make: Callable[..., ssl.SSLContext]) -> None:
    assert make(**files(lab, "srv")).verify_mode == ssl.CERT_REQUIRED


def test_certificates_without_names_and_unknown_errors_are_told() -> None:
    with pytest.raises(PermissionError, match="showed no certificate"):
        peer_identity(None)
    with pytest.raises(PermissionError, match="names no context"):
        peer_identity({"subject": ((("commonName", "x"),),)})
    assert explain(OSError("odd")) == "odd"
    assert explain(ssl.SSLError("certificate has expired")) == "the certificate has expired"
