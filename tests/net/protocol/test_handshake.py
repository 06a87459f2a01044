from __future__ import annotations

from typing import Any

import pytest

from qmi.net.limits import ProtocolError
from qmi.net.protocol.handshake import Handshake, Hello, Identity, Stage, find_fault
from qmi.net.protocol.link_ends import Role


def hello(context: str, **kwargs: Any) -> Hello:
    return Hello(**{"context": context, "incarnation": f"i-{context}", "workgroup": "lab", **kwargs})


A, B = hello("a"), hello("b")


@pytest.mark.parametrize(
    ("theirs", "options", "fault"),
    [
        (B, {}, None),
        (B, {"expected": "b"}, None),
        (B, {"certified": Identity("b", "lab")}, None),
        (B, {"certified": Identity("", "lab")}, None),
        (B, {"expected": "c"}, "expected context 'c' there, but found context 'b'"),
        (hello("b", workgroup="other"), {}, "workgroup 'other', context 'a' to workgroup 'lab'"),
        (A, {}, "tried to connect to itself"),
        (hello("a", incarnation="x"), {}, "both sides are called 'a'"),
        (B, {"role": Role.LISTENING}, None),
        (hello("b", wanted="a"), {"role": Role.LISTENING}, None),
        (hello("b", wanted="z"), {"role": Role.LISTENING}, "expected context 'z' here, but this is context 'a'"),
        (B, {"certified": Identity("c", "lab")}, "its certificate is for context 'c'"),
        (B, {"certified": Identity("b", "other")}, "its certificate is for workgroup 'other'"),
    ],
)
def test_handshake_decides_who_may_talk_with_whom(theirs: Hello, options: dict[str, Any], fault: str | None) -> None:
    found = find_fault(A, theirs, **{"role": Role.CONNECTING, **options})
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_fault_34_fields_of_a_newer_minor_version_are_ignored() -> None:
    assert Hello.from_wire({**B.to_wire(), "minor": 7, "colour": [1, 2]}) == hello("b", minor=7)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"context": 3}, "hello.context: expected the name of a context, got 3"),
        ({"context": "a b"}, "hello.context: expected the name of a context, got str of length 3"),
        ({"pid": True}, "hello.pid: expected a whole number from 0 to 4294967295, got True"),
        ({"pid": -1}, "got -1"),
        ({"library": "x" * 300}, "hello.library: .* at most 255 characters, got str of length 300"),
        ({"library": "\x1b[2J"}, "hello.library: expected a printable text"),
        ({"workgroup": None}, "hello.workgroup: .* got None"),
    ],
)
def test_a_hello_that_is_none_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        Hello.from_wire({**B.to_wire(), **change})
    with pytest.raises(ProtocolError, match="got list"):
        Hello.from_wire([])


def test_the_stages_of_both_sides() -> None:
    client = Handshake(Role.CONNECTING, A, expected="b")
    server = Handshake(Role.LISTENING, B)
    with pytest.raises(RuntimeError, match="AWAIT_HELLO"):
        server.accept()
    assert server.receive_hello(client.ours.to_wire()) is Stage.DECIDE
    assert server.accept() is Stage.READY
    assert client.receive_hello(server.ours.to_wire()) is Stage.READY
    assert (client.theirs, server.theirs) == (B, hello("a", wanted="b"))
    with pytest.raises(ProtocolError, match="second hello"):
        client.receive_hello(B.to_wire())


def test_a_refusal_keeps_its_reason() -> None:
    server = Handshake(Role.LISTENING, B)
    assert server.receive_hello(hello("b").to_wire()) is Stage.REFUSED
    assert "connect to itself" in server.fault
    client = Handshake(Role.CONNECTING, A)
    assert client.receive_refusal("in use by host:1, pid 3") is Stage.REFUSED
    assert client.fault == "in use by host:1, pid 3"
    with pytest.raises(ProtocolError):
        client.receive_refusal(3)


def test_a_hello_is_readable() -> None:
    shown = str(hello("b", address="h:1", library="2", pid=5))
    assert shown == "context 'b' at h:1 (workgroup 'lab', QMI 2, pid 5)"
