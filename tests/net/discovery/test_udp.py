from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from qmi.net.discovery.packets import reply_to
from qmi.net.discovery.udp import Responder, ask

PORT = 30_000 + os.getpid() % 2_000
BROADCAST = "127.255.255.255"


def answers(name: str, port: int = 5) -> Any:
    def answer(packet: bytes, asker: str) -> bytes | None:
        return reply_to(
            packet, asker_host=asker, name=name, workgroup="lab", host="127.0.0.1", port=port, version="1", pid=1
        )

    return answer


async def find(
    *made: Responder, pattern: str = "*", enough: int | None = None, addresses: Sequence[str] = (BROADCAST,)
) -> Any:
    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(one.run)
        found = await ask("lab", pattern, addresses=addresses, port=PORT, timeout=0.3, enough=enough)
        nursery.cancel_scope.cancel()
    return [(answer.name, str(answer.address)) for answer in found]


async def test_all_who_match_answer_once_each() -> None:
    many = [
        Responder(answers(name, port), host="127.0.0.1", port=PORT, broadcasts=[BROADCAST, "10.0.0.255"])
        for name, port in (("b", 2), ("a", 1), ("a", 3))
    ]
    assert await find(*many) == [("a", "127.0.0.1:1"), ("a", "127.0.0.1:3"), ("b", "127.0.0.1:2")]


async def test_question_ends_as_soon_as_enough_have_answered() -> None:
    one = Responder(answers("a"), host="localhost", port=PORT, broadcasts=[BROADCAST])
    assert await find(one, pattern="a", enough=1) == [("a", "127.0.0.1:5")]


async def test_an_address_without_a_network_is_no_error() -> None:
    one = Responder(answers("a"), host="0.0.0.0", port=PORT, broadcasts=[])
    assert await find(one, addresses=["no.such.host.invalid", BROADCAST]) == [("a", "127.0.0.1:5")]


async def test_a_port_that_cannot_be_had_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:  # without SO_REUSEADDR: nobody else gets it
        taken.bind(("0.0.0.0", PORT))
        one = Responder(answers("a"), host="0.0.0.0", port=PORT, broadcasts=[])
        assert f"This context cannot be found by others: UDP port {PORT} on this machine" in caplog.text
        assert await find(one) == []


async def test_responder_binds_every_address_where_a_broadcast_address_cannot_be_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Windows(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] == BROADCAST:
                raise OSError("cannot assign")
            super().bind(address)

    monkeypatch.setattr("qmi.net.discovery.udp.socket.socket", Windows)
    one = Responder(answers("a"), host="127.0.0.1", port=PORT, broadcasts=[BROADCAST])
    assert [sock.getsockname()[0] for sock in one._sockets] == ["0.0.0.0"]
    assert await find(one) == [("a", "127.0.0.1:5")]


class Over(BaseException):
    """Ends a test; the boundary of the responder lets it pass, since it is no Exception."""


class Troubled:
    """A socket with answers of its own."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.sent = 0

    def recvfrom(self, size: int) -> Any:
        if not self.steps:
            raise Over  # ends the test
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def sendto(self, data: bytes, target: Any) -> None:
        self.sent += 1
        raise OSError("unreachable")

    def close(self) -> None:
        pass


async def test_trouble_is_logged_once_a_minute_and_a_flood_lets_others_breathe(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    one = Responder(lambda data, source: b"x", host="127.0.0.1", port=PORT, broadcasts=[])
    gone = ConnectionResetError("nobody is there any more")  # no trouble
    sock: Any = Troubled(gone, OSError("first"), OSError("second"), *[(b"q", ("127.0.0.1", 1))] * 401)
    one._sockets = [sock]

    with pytest.RaisesGroup(Over):
        await one.run()
    assert sock.sent == 401
    assert caplog.text.count("Trouble with discovery: first") == 1
    assert "second" not in caplog.text
    assert "unreachable" not in caplog.text
