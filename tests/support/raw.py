"""Somebody who speaks the protocol by hand, in a trio program: as a client of a context, or as its server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio

from qmi._version import __version__
from qmi.contexts.async_context import Context
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import Event, PeerLost
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import Role


class Raw:
    """One end of a connection whose other end is a context.

    Args:
        stream: The connection.
        role: Which side of it this is.
        name: What this end calls itself.
    """

    def __init__(self, stream: trio.SocketStream, role: Role, name: str) -> None:
        self.stream = stream
        hello = Hello(context=name, incarnation="1", workgroup="default", library=__version__)
        self.peer = Connection(role, hello, now=0.0)
        self.events: list[Event] = []

    async def send(self, buffers: Iterable[Any]) -> None:
        """Write whatever it is."""
        await self.stream.send_all(b"".join(map(bytes, buffers)))

    async def read(self) -> None:
        """Take what the context says next."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:  # it was reset, with some of what was sent unread
            data = b""
        self.events += self.peer.receive_data(data, 0.0) if data else self.peer.receive_eof(0.0)

    async def get_ready(self) -> None:
        """Do the handshake."""
        await self.send(self.peer.data_to_send())
        while not self.peer.is_ready:
            await self.read()
            if self.peer.theirs is not None and not self.peer.is_ready:
                self.events += self.peer.accept(0.0)
                await self.send(self.peer.data_to_send())

    async def read_to_the_end(self) -> PeerLost:
        """Read until the context has ended the link; why it did."""
        while self.peer.lost is None:
            await self.read()
        return self.peer.lost


@asynccontextmanager
async def client(context: Context, name: str = "raw", *, ready: bool = True) -> AsyncIterator[Raw]:
    """A client of a context."""
    async with await trio.open_tcp_stream("127.0.0.1", context.connections.port) as stream:
        raw = Raw(stream, Role.CONNECTING, name)
        if ready:
            await raw.get_ready()
        yield raw


@asynccontextmanager
async def server(context: Context, name: str = "raw") -> AsyncIterator[Raw]:
    """A server that a context has connected to."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    connected = trio.Event()

    async def connect() -> None:
        await context.connect_to_peer(name, f"127.0.0.1:{port}")
        connected.set()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        async with await listener.accept() as stream:
            raw = Raw(stream, Role.LISTENING, name)
            await raw.get_ready()
            await connected.wait()
            yield raw
