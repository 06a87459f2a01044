"""A browser that stops reading: it holds up nobody, and is told what it has missed and for how long it was away."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from anyio import aclose_forcefully

from qmi.actors.proxy import AsyncProxy
from qmi.web import listening
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, web_and_lab

pytestmark = pytest.mark.slow

TOPIC = "signal:lab.psu.sig_told"
SMALL = 1 << 16
"""Bytes that a socket keeps; the system makes some more of it."""
TEXT = "x" * 4_000
VALUES = 200
"""So many of these texts, which are not large enough to be reduced, fit into no two sockets that keep little."""


class Stream:
    """A stream of events, of which no more is read than a test asks for.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: trio.SocketStream) -> None:
        self._connection = connection
        self._rest = b""
        self.last_id = ""

    async def event(self) -> tuple[str, Any]:
        """The next event: its kind, and what it says."""
        fields: dict[str, str] = {}
        with trio.fail_after(20):
            while line := await self._line() or "data" not in fields:
                name, _, value = str(line).partition(": ")
                fields[name] = value
        self.last_id = fields.get("id", self.last_id)
        return fields["event"], json.loads(fields["data"])

    async def _line(self) -> str:
        """The next line; the lengths of the parts in which an answer comes stand on lines of their own, too."""
        while b"\n" not in self._rest:
            part = await self._connection.receive_some(4096)
            assert part, "the server has closed it"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def value(self) -> tuple[int, int]:
        """The number of the next value, and how many were left out before it."""
        kind, push = await self.event()
        assert kind == "push"
        return push["value"]["args"][1], push["missed"]


@asynccontextmanager
async def opened(web: Web, last_id: str = "") -> AsyncIterator[tuple[Stream, Any]]:
    """A stream whose socket keeps little, and what it is told first."""
    made = trio.socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    await made.connect(("127.0.0.1", web.port))
    async with trio.SocketStream(made) as connection:
        last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        request = f"GET /api/events?topic={TOPIC}&rate=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n{last}\r\n"
        await connection.send_all(request.encode())
        stream = Stream(connection)
        kind, hello = await stream.event()
        assert kind == "hello"
        yield stream, hello


@pytest.fixture
async def web(config: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """Pages whose sockets keep little."""
    create_server = socket.create_server

    def with_small_buffers(*arguments: Any, **options: Any) -> socket.socket:
        made = create_server(*arguments, **options)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # so have those that it accepts
        return made

    monkeypatch.setattr(socket, "create_server", with_small_buffers)
    async with web_and_lab(config) as found:
        yield found


@pytest.fixture
async def psu(web: Web) -> AsyncProxy[ShellSupply]:
    """What publishes; the pages are connected to it."""
    made = await web.lab.make_instrument("psu", ShellSupply)
    assert (await web.client.get("/api/objects/lab/psu")).status_code == 200
    return made


async def test_browser_that_stops_reading_holds_up_no_other_and_gets_the_newest_with_a_count(
    web: Web, psu: AsyncProxy[ShellSupply]
) -> None:
    async with opened(web) as (slow, _), opened(web) as (quick, _):
        await psu.tell("first", 0)
        assert await slow.value() == await quick.value() == (0, 0)
        for number in range(1, VALUES + 1):
            await psu.tell(TEXT, number)
            # Each value at once, whatever the other one does.
            assert await quick.value() == (number, 0)
        got = [await slow.value()]
        while got[-1][0] < VALUES:
            got.append(await slow.value())
        assert len(got) < VALUES, "it was to have left some out"
        assert sum(1 + missed for _, missed in got) == VALUES, "each is there, or counted"
        last = 0
        for number, missed in got:
            assert number == last + missed + 1
            last = number
        await psu.tell("again", VALUES + 1)
        assert await slow.value() == await quick.value() == (VALUES + 1, 0)


async def test_browser_that_stops_reading_for_long_is_dropped_and_comes_back(
    web: Web, psu: AsyncProxy[ShellSupply], monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = 0.1
    dropped = trio.Event()

    async def close_and_say(stream: Any) -> None:
        await aclose_forcefully(stream)
        dropped.set()

    monkeypatch.setattr(listening, "SEND_PATIENCE", patience)
    monkeypatch.setattr("anyio.aclose_forcefully", close_and_say)
    async with opened(web) as (slow, hello), opened(web) as (quick, _):
        assert (hello["away"], hello["resumed"]) == (None, False)
        await psu.tell("first", 0)
        assert await slow.value() == await quick.value() == (0, 0)
        last_id = slow.last_id
        for number in range(1, VALUES + 1):
            await psu.tell(TEXT, number)
            assert await quick.value() == (number, 0)
        with trio.fail_after(20):
            await dropped.wait()
        async with opened(web, last_id) as (again, hello):
            assert hello["resumed"]
            assert hello["away"] >= patience
            assert (await again.value())[0] == VALUES
            await psu.tell("last", VALUES + 1)
            assert await again.value() == await quick.value() == (VALUES + 1, 0)
