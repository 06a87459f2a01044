"""The bytes between a client and a server of a site.

Reading is for the loop. Writing is for one thread at a time, any: whoever writes sees to it that nobody else does, and
that nothing is left of what was written before. With TLS both change the same state, which the mutex here guards; it is
held for no longer than a system call that does not wait.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import trio

from qmi.names import HostPort
from qmi.net.io.tls import TlsWire
from qmi.net.io.transport import PlainWire, Unsent
from qmi.site import wire
from qmi.site.wire import Message, Parser, ServerError

E = TypeVar("E")

_READ_BYTES: Final = 1 << 16


class SiteConnection:
    """A connection, from when there is one until it is closed.

    Args:
        sock: A connected socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._wire: PlainWire | TlsWire = PlainWire(sock)
        # Held while bytes change hands and while the socket is closed: nobody writes to a descriptor that is another
        # file by now.
        self._mutex = threading.Lock()
        self._memory = memoryview(bytearray(_READ_BYTES))
        self._unsent: Unsent | None = None

    @classmethod
    async def open(cls, where: HostPort) -> SiteConnection:
        """Connect.

        Raises:
            OSError: If nobody listens there, or nothing gets there.
        """
        stream = await trio.open_tcp_stream(where.host, where.port)
        return cls(socket.socket(fileno=stream.socket.detach()))

    async def prove(self, tls: ssl.SSLContext) -> Mapping[str, Any] | None:
        """Go on with TLS.

        Returns:
            The server's certificate.

        Raises:
            OSError: If that fails.
        """
        wire = TlsWire(self._sock, tls, server=False)
        try:
            certificate = await wire.handshake()
        except ConnectionError as error:
            raise OSError(f"TLS fails: {error}") from error
        self._wire = wire
        return certificate

    # Writing

    def send_now(self, data: bytes) -> bool:
        """Write, without waiting; never while something is left.

        Returns:
            False if something is left, which the loop has to :meth:`finish`.

        Raises:
            OSError: If the connection is lost.
        """
        with self._mutex:
            self._unsent = Unsent([data])
            return self._put()

    def _put(self) -> bool:
        unsent = self._unsent
        try:
            while unsent is not None and sum(unsent.counts) < unsent.size:
                self._wire.put(unsent)
            if self._wire.flush():
                return False
        except BlockingIOError:
            return False
        self._unsent = None
        return True

    async def send_all(self, data: bytes) -> None:
        """Write; a checkpoint only where it waits.

        Raises:
            OSError: If the connection is lost.
        """
        if not self.send_now(data):
            await self.finish()

    async def finish(self) -> None:
        """Write what is left, if anything is.

        Raises:
            OSError: If the connection is lost.
        """
        while self._unsent is not None:
            await trio.lowlevel.wait_writable(self._sock)
            with self._mutex:
                self._put()

    # Reading

    async def receive_some(self) -> bytes:
        """What has come; empty at the end of the connection. A checkpoint.

        Raises:
            OSError: If the connection is lost.
        """
        data = self._read()
        if data is not None:
            await trio.lowlevel.checkpoint()
            return data
        while data is None:
            await trio.lowlevel.wait_readable(self._sock)
            data = self._read()
        return data

    def _read(self) -> bytes | None:
        with self._mutex:
            try:
                size = self._wire.read_into(self._memory)
            except BlockingIOError:
                size = -1
            self._wire.flush()  # TLS answers some of what comes by itself; what is left goes with the next write
        return bytes(self._memory[:size]) if size >= 0 else None

    def close(self) -> None:
        """Close it; whoever waits for it gets a :class:`trio.ClosedResourceError`."""
        with self._mutex:
            self._wire.close()


class Arrivals:
    """What comes on a connection.

    Args:
        connection: The connection.

    Attributes:
        connection: The same.
    """

    def __init__(self, connection: SiteConnection) -> None:
        self.connection: SiteConnection = connection
        self._parser = Parser()
        self._events: list[wire.Event] = []

    async def next(self) -> list[wire.Event]:
        """What came; there is something.

        Raises:
            OSError: If the server hung up.
        """
        while not self._events:
            data = await self.connection.receive_some()
            if not data:
                raise OSError("the server hung up")
            self._events = self._parser.feed(data)
        events, self._events = self._events, []
        return events

    async def wait_for(self, kind: type[E]) -> E:
        """The first event of a kind; of what came before it, messages are kept.

        Raises:
            OSError: If the server refuses something, or hung up.
        """
        messages: list[wire.Event] = []
        while True:
            events = await self.next()
            for index, event in enumerate(events):
                if isinstance(event, kind):
                    self._events = messages + events[index + 1 :]
                    return event
                if isinstance(event, Message):
                    messages.append(event)
                if isinstance(event, ServerError):
                    raise OSError(f"it refuses: {event.text}")
