"""How the bytes of a link get onto a socket and off it: plainly, or through TLS.

The socket is non-blocking. Any thread may write (the link's mutex keeps them apart); only the loop reads. A thread
that writes gets rid of as much as the socket takes at once, and leaves the rest to the loop.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import trio

from qmi.net.frames import Buffer, drop_sent
from qmi.net.tls import explain

_MANY = 512
_CHUNK = 1 << 16


class Wire(Protocol):
    """One connection."""

    @property
    def unsent(self) -> bool:
        """Whether bytes that were taken wait for the socket; writing nothing sends them."""

    def write(self, buffers: list[Buffer]) -> bool:
        """Write what can be written at once and remove that from the list; True if anything was.

        Raises:
            OSError: If the connection is gone.
        """

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection.

        Raises:
            BlockingIOError: If there is nothing yet.
            OSError: If the connection is gone.
        """

    async def wait_readable(self) -> None:
        """Wait until there may be something to read."""

    async def wait_writable(self) -> None:
        """Wait until something can be written."""

    def close(self) -> None:
        """End the connection. May be called more than once."""


class PlainWire:
    """A TCP connection as it is.

    Args:
        sock: A connected socket.
    """

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def unsent(self) -> bool:
        """Never: what is taken is sent."""
        return False

    def write(self, buffers: list[Buffer]) -> bool:
        """Write what can be written at once and remove that from the list; True if anything was."""
        try:
            sent = self._send(buffers)
        except BlockingIOError:
            return False
        drop_sent(buffers, sent)
        return sent > 0

    def _send(self, buffers: Sequence[Buffer]) -> int:
        if len(buffers) == 1:
            return self.sock.send(buffers[0])
        if hasattr(self.sock, "sendmsg"):
            return self.sock.sendmsg(buffers[:_MANY])
        return self.sock.send(buffers[0])

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        return self.sock.recv_into(memory)

    async def wait_readable(self) -> None:
        """Wait until there may be something to read."""
        await trio.lowlevel.wait_readable(self.sock)

    async def wait_writable(self) -> None:
        """Wait until something can be written."""
        await trio.lowlevel.wait_writable(self.sock)

    def close(self) -> None:
        """End the connection."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()


class TlsWire:
    """A TCP connection inside TLS.

    TLS runs in memory, so that any thread can encrypt what it writes; the caller keeps them apart.

    Args:
        sock: A connected socket.
        context: What is demanded of the other side.
        server: Whether this side listened.
    """

    __slots__ = ("_inbound", "_outbound", "_pending", "_tls", "plain")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> None:
        self.plain = PlainWire(sock)
        self._inbound = ssl.MemoryBIO()
        self._outbound = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=server)
        self._pending: list[Buffer] = []

    async def handshake(self) -> Mapping[str, Any] | None:
        """Let both sides prove themselves, and return the other side's certificate.

        Raises:
            ConnectionError: If that fails; the message says why.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
                await self._feed()
            except ssl.SSLError as error:
                await self._flush_all()  # the other side gets to know the reason
                raise ConnectionError(explain(error)) from error
            else:
                await self._flush_all()
                return self._tls.getpeercert()

    async def _feed(self) -> None:
        await self.plain.wait_readable()
        data = self.plain.sock.recv(_CHUNK)
        if data:
            self._inbound.write(data)
        else:
            self._inbound.write_eof()
            raise ConnectionError("the connection was closed during the TLS handshake")

    async def _flush_all(self) -> None:
        while self._flush() or self._pending:
            await self.plain.wait_writable()

    def _flush(self) -> bool:
        if self._outbound.pending:
            self._pending.append(self._outbound.read())
        while self._pending:
            if not self.plain.write(self._pending):
                return True
        return False

    def write(self, buffers: list[Buffer]) -> bool:
        """Write what can be written at once and remove that from the list; True if anything was."""
        if self._flush():
            return False
        before = len(buffers)
        while buffers:
            data = memoryview(buffers[0]).cast("B")
            try:
                sent = self._tls.write(data[:_CHUNK])
            except ssl.SSLError as error:
                raise ConnectionError(explain(error)) from error
            drop_sent(buffers, sent)
            if self._flush():
                return True
        return before > 0

    @property
    def unsent(self) -> bool:
        """Whether encrypted bytes wait for the socket."""
        return bool(self._pending)

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        try:
            return int(self._tls.read(len(memory), memory))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return 0
        except ssl.SSLError as error:
            raise ConnectionError(explain(error)) from error
        data = self.plain.sock.recv(_CHUNK)
        if not data:
            return 0
        self._inbound.write(data)
        try:
            return int(self._tls.read(len(memory), memory))
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return 0
        except ssl.SSLError as error:
            raise ConnectionError(explain(error)) from error

    async def wait_readable(self) -> None:
        """Wait until there may be something to read."""
        await self.plain.wait_readable()

    async def wait_writable(self) -> None:
        """Wait until something can be written."""
        await self.plain.wait_writable()

    def close(self) -> None:
        """End the connection."""
        self.plain.close()
