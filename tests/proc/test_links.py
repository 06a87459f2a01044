from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.errors import QMI_RuntimeException
from qmi.messages import Call
from qmi.names import HostPort
from qmi.net.io.tls import server_context
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import Absent, Present, Stranger
from qmi.tools.certs import make_ca, make_certificate
from tests.support.peer_server import PeerServer
from tests.support.ports import free_port

LINK = SocketLink(CfgQmi())


def stranger(link: SocketLink, address: HostPort, *, name: str = "srv", timeout: float = 10.0) -> str:
    answer = link.ask(name, address, timeout=timeout)
    assert isinstance(answer, Stranger)
    return answer.what


def test_a_context_says_who_it_is_and_gets_a_goodbye() -> None:
    server = PeerServer()
    with server.running() as address:
        assert LINK.ask("srv", address, timeout=10) == Present(os.getpid(), "7.7")
        assert LINK.ask("srv", address, timeout=10) == Present(os.getpid(), "7.7")
    first, second = server.hellos
    assert first.wanted == "srv"
    assert first.context.startswith("qmi_proc_")
    assert first.context != second.context
    assert server.goodbyes == ["closed by the other side: qmi_proc has its answer"] * 2


@pytest.mark.parametrize("hard", [False, True])
def test_a_context_is_asked_to_stop(hard: bool) -> None:
    server = PeerServer()
    with server.running() as address:
        assert LINK.request_stop("srv", address, hard=hard, timeout=10)
    assert server.calls == [Call("$context", "shutdown_context", kwargs={"hard": hard})]


def test_a_context_that_does_not_want_to_stop_says_so() -> None:
    def refuse(call: Call) -> None:
        raise ValueError("not now")

    with PeerServer(answer=refuse).running() as address:
        assert not LINK.request_stop("srv", address, hard=False, timeout=10)
        with pytest.raises(QMI_RuntimeException, match="It failed there: not now"):
            LINK.call("srv", address, "x", timeout=10)


def test_control_link_to_nobody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    address = HostPort("127.0.0.1", free_port())
    assert LINK.ask("srv", address, timeout=10) == Absent("nothing listens there")
    assert not LINK.request_stop("srv", address, hard=False, timeout=10)
    with pytest.raises(QMI_RuntimeException, match=r"'srv' at 127\.0\.0\.1:\d+ did not answer: nothing listens"):
        LINK.call("srv", address, "x", timeout=10)
    unknown = LINK.ask("srv", HostPort("no-such-host.invalid", 1), timeout=10)
    assert isinstance(unknown, Absent)
    assert unknown.reason.startswith("the host cannot be reached: ")

    def too_late(*args: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", too_late)
    assert LINK.ask("srv", address, timeout=10) == Absent("the host does not answer")


def test_control_link_to_another_context_says_so() -> None:
    with PeerServer(name="other").running() as address:
        assert "expected context 'srv' here, but this is context 'other'" in stranger(LINK, address)
    with PeerServer(workgroup="them").running() as address:
        assert "only contexts of one workgroup connect" in stranger(LINK, address)
    with PeerServer(refusal="not you").running() as address:
        assert stranger(LINK, address) == "refused by the other side: not you"
        assert not LINK.request_stop("srv", address, hard=False, timeout=10)


@pytest.fixture
def babbler() -> Iterator[tuple[HostPort, list[bytes]]]:
    """A server that says what it is told to whoever connects, or keeps silent."""
    words: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            peer, _ = server.accept()
            with peer:
                for word in words:
                    peer.sendall(word)
                while not words and peer.recv(4096):
                    pass

        thread = threading.Thread(target=talk)
        thread.start()
        yield HostPort("127.0.0.1", server.getsockname()[1]), words
        thread.join(10)


def test_control_link_to_something_silent_says_so(babbler: tuple[HostPort, list[bytes]]) -> None:
    assert stranger(LINK, babbler[0], timeout=0.2) == "no answer within 0.2 s"


def test_control_link_to_another_protocol_says_so(babbler: tuple[HostPort, list[bytes]]) -> None:
    babbler[1].append(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    assert "no frame of QMI" in stranger(LINK, babbler[0])


def test_control_link_without_time_has_no_answer() -> None:
    with PeerServer().running() as address:
        answer = LINK.ask("srv", address, timeout=-1.0)
        assert isinstance(answer, Absent | Stranger)


def secured(directory: Path, name: str) -> CfgSecurity:
    certificate, key = make_certificate(directory, name)
    return CfgSecurity(ca=str(directory / "ca.pem"), certificate=str(certificate), key=str(key))


def test_protected_contexts_are_asked_with_a_certificate(tmp_path: Path) -> None:
    ca, _ = make_ca(tmp_path)
    assert ca == tmp_path / "ca.pem"
    files = secured(tmp_path, "srv")
    assert files.ca is not None
    assert files.certificate is not None
    assert files.key is not None
    server = PeerServer(tls=server_context(ca_file=files.ca, cert_file=files.certificate, key_file=files.key))
    with server.running() as address:
        anybody = SocketLink(CfgQmi(security=secured(tmp_path, "*")))
        assert anybody.ask("srv", address, timeout=10) == Present(os.getpid(), "7.7")
        named = SocketLink(CfgQmi(security=secured(tmp_path, "gui")))
        assert named.ask("srv", address, timeout=10) == Present(os.getpid(), "7.7")
        assert stranger(LINK, address) != ""
        (tmp_path / "other").mkdir()
        make_ca(tmp_path / "other")
        foreign = SocketLink(CfgQmi(security=secured(tmp_path / "other", "*")))
        assert stranger(foreign, address) == "the certificate was made by another CA"
    assert [hello.context for hello in server.hellos][1:] == ["gui"]


def test_a_protected_question_to_an_unprotected_context_is_told(tmp_path: Path) -> None:
    make_ca(tmp_path)
    with PeerServer().running() as address:
        what = stranger(SocketLink(CfgQmi(security=secured(tmp_path, "*"))), address)
        assert "TLS" in what or "closed" in what or "reset" in what.lower() or "EOF" in what
