"""Directly where that works, else through the site; and what is said where neither does."""

from __future__ import annotations

import socket

import pytest

from qmi.names import HostPort, Relay
from qmi.peers import relaying
from qmi.peers.relaying import PATIENCE, reach

HERE, SERVER = HostPort("10.0.0.7", 40001), Relay("10.0.0.5", 4222)
REFUSED, SILENT = ConnectionRefusedError("refused"), TimeoutError("nobody answered")


class Attempts:
    """Stands for the network and the site: each attempt comes to what a test says, in this order.

    Attributes:
        made: Each attempt: how long the address was waited for, or "site".
    """

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)
        self.made: list[object] = []

    async def tcp_connect(self, where: HostPort, timeout: float) -> object:
        return self._next(timeout)

    async def find(self, name: str) -> Relay | None:
        raise NotImplementedError

    async def only_by_it(self, pattern: str) -> list[tuple[str, Relay]]:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def open(self, name: str) -> tuple[socket.socket, Relay] | None:
        return self._next("site")  # type: ignore[return-value]

    def _next(self, what: object) -> object:
        self.made.append(what)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome


@pytest.mark.parametrize(
    ("where", "outcomes", "found", "made"),
    [
        (HERE, ["direct"], ("direct", HERE), [PATIENCE]),
        (HERE, [REFUSED, ("relayed", SERVER)], ("relayed", SERVER), [PATIENCE, "site"]),
        (HERE, [SILENT, ("relayed", SERVER)], ("relayed", SERVER), [PATIENCE, "site"]),
        (HERE, [SILENT, None, "late"], ("late", HERE), [PATIENCE, "site", 10 - PATIENCE]),
        (SERVER, [("relayed", SERVER)], ("relayed", SERVER), ["site"]),
    ],
)
async def test_connection_is_direct_where_that_works(
    where: HostPort, outcomes: list[object], found: object, made: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(*outcomes)
    monkeypatch.setattr(relaying, "tcp_connect", attempts.tcp_connect)
    assert await reach("lab", where, 10.0, attempts) == found
    assert attempts.made == made


@pytest.mark.parametrize(
    ("where", "outcomes", "fault"),
    [
        (HERE, [REFUSED, None], REFUSED),
        (HERE, [SILENT, None, SILENT], SILENT),
        (HERE, [REFUSED, OSError("it stops")], ConnectionRefusedError("refused; nor through the site: it stops")),
        (SERVER, [None], ConnectionError("no context of that name is at the site")),
        (SERVER, [OSError("it stops")], OSError("it stops")),
    ],
)
async def test_attempt_that_fails_says_why(
    where: HostPort, outcomes: list[object], fault: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = Attempts(*outcomes)
    monkeypatch.setattr(relaying, "tcp_connect", attempts.tcp_connect)
    with pytest.raises(type(fault)) as caught:
        await reach("lab", where, 10.0, attempts)
    assert str(caught.value) == str(fault)


async def test_address_is_waited_for_in_full_where_nothing_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(SILENT)
    monkeypatch.setattr(relaying, "tcp_connect", attempts.tcp_connect)
    with pytest.raises(TimeoutError):
        await reach("lab", HERE, 10.0, None)
    assert attempts.made == [10.0]
