"""Clients of a site for tests, and servers that do exactly what a test says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from qmi.names import HostPort
from qmi.runtime.wakeup import Loop
from qmi.site.client import ClientOptions, Server, SiteClient

INFO = {"server_name": "fake", "max_payload": 1000, "jetstream": True}


def options(*ports: int, name: str = "lab", **settings: object) -> ClientOptions:
    """Options of a client for servers of loopback."""
    made = ClientOptions([Server(HostPort("127.0.0.1", port)) for port in ports], name, f"_INBOX.{name}")
    return replace(made, **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    chosen: ClientOptions, *, wait: bool = True, before: Callable[[SiteClient], object] = lambda _: None
) -> AsyncIterator[SiteClient]:
    """A client that runs for the block."""
    client = SiteClient(chosen, Loop())
    before(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        if wait:
            await client.up.wait()
        yield client
        nursery.cancel_scope.cancel()


class FakeServer:
    """A server that a test plays itself.

    Attributes:
        port: Where it listens.
        stream: The connection that came last.
        hello: What the client said first.
        before_pong: Called before its first sign of life is answered.
    """

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.port: int = listener.socket.getsockname()[1]
        self.stream: trio.SocketStream | None = None
        self._buffer = b""
        self.hello: bytes = b""
        self.before_pong: Callable[[], object] = lambda: None

    async def accept(self, before_pong: bytes = b"", **info: object) -> None:
        """Let a client connect, up to its first sign of life; so much is said before that is answered."""
        stream = await self._listener.accept()
        if self.stream is not None:
            await self.stream.aclose()
        self.stream = stream
        self._buffer = b""
        await self.say(b"INFO " + json.dumps(INFO | info).encode() + b"\r\n")
        self.hello = await self.expect(b"PING\r\n")
        self.before_pong()
        await self.say(before_pong + b"PONG\r\n")

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        assert self.stream is not None
        await self.stream.send_all(data)

    async def expect(self, text: bytes) -> bytes:
        """Read until something comes; returns all up to there, with it."""
        assert self.stream is not None
        while text not in self._buffer:
            data = await self.stream.receive_some(65536)
            assert data, f"the client hung up, after {self._buffer!r}"
            self._buffer += data
        end = self._buffer.index(text) + len(text)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return found

    async def expect_end(self) -> None:
        """Read until the client hangs up."""
        assert self.stream is not None
        try:
            while await self.stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass

    async def hang_up(self) -> None:
        """Close the connection."""
        assert self.stream is not None
        await self.stream.aclose()


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A server that does what the test says."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        server = FakeServer(listener)
        yield server
        if server.stream is not None:
            await server.stream.aclose()
