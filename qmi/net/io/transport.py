"""How the bytes of a link get onto a socket and off it: plainly, or through TLS.

The socket is non-blocking. Any thread may write, and one at a time may read (the link's mutex keeps them apart). A
write gets rid of as much as the socket takes at once; who writes the rest is decided in :mod:`qmi.net.io.writer`.

Ctrl-C may interrupt a thread between any two steps of the interpreter, also between sending some bytes and noting how
many. So both happen in one step: what is sent is counted by the C code of ``list.extend``, and everything else follows
from the counts.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

import trio

from qmi.net.io.tls import explain
from qmi.net.protocol.limits import Buffer
from qmi.net.protocol.packets import drop_sent, total_size
from qmi.runtime.forks import close_in_child

_MANY = 512
_CHUNK = 1 << 16
FULL = 1 << 14
"""From so many bytes on, what waits to be written takes up nothing more."""
_JOINED = 1 << 15
"""Pieces of fewer bytes together are copied into one."""


class Unsent:
    """What has to be written, in one or several parts, and how much of it has been.

    Args:
        buffers: The first part; not changed here.
        number: The request that it is, None if it is something else.

    Attributes:
        buffers: All that has to be written.
        size: Bytes in all.
        counts: Bytes that the connection took, one number for each time.
        behind: Whether it was put behind what waited for the socket already.
    """

    __slots__ = ("_ends", "_numbers", "behind", "buffers", "counts", "size")

    def __init__(self, buffers: list[Buffer], number: int | None = None) -> None:
        self.buffers: list[Buffer] = list(buffers)
        # For each part, where it ends among the buffers, and which request it is.
        self._ends: list[int] = [len(buffers)]
        self._numbers: list[int | None] = [number]
        self.size: int = total_size(buffers)
        self.counts: list[int] = []
        self.behind: bool = False

    def add(self, buffers: list[Buffer], number: int | None = None) -> bool:
        """Append a part that goes out with it; False if it is too large for that, or is being written already."""
        if self.size >= FULL or self.counts:
            return False
        self.buffers += buffers
        self._ends.append(len(self.buffers))
        self._numbers.append(number)
        self.size += total_size(buffers)
        return True

    def remove(self, number: int) -> None:
        """Take a request out of it, if nothing of that has been written yet, whatever has been of those before it."""
        if number not in self._numbers or number in self.begun():
            return
        index = self._numbers.index(number)
        begin = self._ends[index - 1] if index else 0
        count = self._ends[index] - begin
        del self._numbers[index], self.buffers[begin : begin + count]
        self._ends = self._ends[:index] + [end - count for end in self._ends[index + 1 :]]
        self.size = total_size(self.buffers)

    def rest(self) -> list[Buffer]:
        """What has not been written yet."""
        buffers = self.buffers
        if self.size < _JOINED and len(buffers) > 1:
            buffers = [b"".join(buffers)]  # copying little is quicker than telling the system of every piece
        if not self.counts:
            return buffers
        rest = list(buffers)
        drop_sent(rest, sum(self.counts))
        return rest

    def borrowed(self) -> list[memoryview]:
        """The memory of others in what has not been written yet.

        A buffer that was written in part is split, so that its first part need not be copied. The bytes of a ``bytes``
        object are nobody's to change, and do not count.
        """
        taken = sum(self.counts)
        found: list[memoryview] = []
        index = 0
        while index < len(self.buffers):
            buffer = self.buffers[index]
            size = len(buffer)
            if taken < size and type(buffer) is memoryview and not _never_changes(buffer):
                if taken > 0:
                    self.buffers[index : index + 1] = [buffer[:taken], buffer[taken:]]
                    self._ends = [end + 1 if end > index else end for end in self._ends]
                    size = taken
                else:
                    found.append(buffer)
            taken = max(taken - size, 0)
            index += 1
        return found

    def exchange(self, borrowed: memoryview, copied: bytes) -> None:
        """Write from a copy what would have been written from the memory of somebody else."""
        for index, buffer in enumerate(self.buffers):
            if buffer is borrowed:
                self.buffers[index] = copied

    def not_begun(self) -> list[int]:
        """The requests of which the connection has taken nothing yet."""
        begun = self.begun() if self.counts else []
        return [number for number in self._numbers if number is not None and number not in begun]

    def begun(self) -> list[int]:
        """The requests of which the connection has taken a byte."""
        taken = sum(self.counts)
        numbers = []
        begin = 0
        for end, number in zip(self._ends, self._numbers, strict=True):
            if taken <= 0:
                break
            if number is not None:
                numbers.append(number)
            if taken < self.size:
                taken -= total_size(self.buffers[begin:end])
            begin = end
        return numbers


def _never_changes(buffer: memoryview) -> bool:
    return buffer.readonly and type(buffer.obj) is bytes


class Wire(Protocol):
    """One connection."""

    @property
    def may_hold_more(self) -> bool:
        """Whether there may be more to read although a read filled less than its memory."""

    def put(self, unsent: Unsent) -> None:
        """Write some of the rest, and count it.

        Raises:
            BlockingIOError: If nothing can be written now.
            OSError: If the connection is gone.
        """

    def flush(self) -> bool:
        """Send what was held back; True if some of it still is.

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

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written; False if that takes longer, or threads cannot wait."""

    def fileno(self) -> int:
        """The descriptor, for who wants to wait for it."""

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it. May be called more than once."""

    def close(self) -> None:
        """Give the descriptor back. May be called more than once."""


class PlainWire:
    """A TCP connection as it is.

    Args:
        sock: A connected socket.
    """

    __slots__ = ("_gather", "sock")

    may_hold_more = False

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = close_in_child(sock)
        self._gather = hasattr(sock, "sendmsg")
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(self, unsent: Unsent) -> None:
        """Write some of the rest, and count it."""
        rest = unsent.rest()
        if len(rest) == 1 or not self._gather or sys.platform == "win32":
            unsent.counts.extend(map(self.sock.send, rest[:1]))
        else:
            unsent.counts.extend(map(self.sock.sendmsg, (rest[:_MANY],)))

    def flush(self) -> bool:
        """Nothing is ever held back."""
        return False

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        return self.sock.recv_into(memory)

    async def wait_readable(self) -> None:
        """Wait until there may be something to read."""
        await trio.lowlevel.wait_readable(self.sock)

    async def wait_writable(self) -> None:
        """Wait until something can be written."""
        await trio.lowlevel.wait_writable(self.sock)

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written."""
        descriptor = self.sock.fileno()
        if sys.platform != "win32" and descriptor >= 0 and hasattr(select, "poll"):
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            return bool(poller.poll(patience * 1000))
        return False

    def fileno(self) -> int:
        """The descriptor."""
        return self.sock.fileno()

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
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

    __slots__ = ("_cipher", "_inbound", "_outbound", "_tls", "plain")

    may_hold_more = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool) -> None:
        self.plain: PlainWire = PlainWire(sock)
        self._inbound = ssl.MemoryBIO()
        self._outbound = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._inbound, self._outbound, server_side=server)
        self._cipher = Unsent([])

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
        while True:
            try:
                data = self.plain.sock.recv(_CHUNK)
                break
            except BlockingIOError:
                await self.plain.wait_readable()
        if not data:
            raise ConnectionError("the connection was closed during the TLS handshake")
        self._inbound.write(data)

    async def _flush_all(self) -> None:
        while self.flush():
            await self.plain.wait_writable()

    def flush(self) -> bool:
        """Send the encrypted bytes that wait; True if some of them still do."""
        while True:
            if not self._cipher.rest():
                if not self._outbound.pending:
                    return False
                self._cipher = Unsent([])
                # In one step, as everything that moves bytes.
                self._cipher.buffers.extend(map(self._outbound.read, (-1,)))
            try:
                self.plain.put(self._cipher)
            except BlockingIOError:
                return True

    def put(self, unsent: Unsent) -> None:
        """Encrypt some of the rest, and count it; the socket gets of that what it takes."""
        if self.flush():
            raise BlockingIOError
        data = memoryview(unsent.rest()[0])
        try:
            unsent.counts.extend(map(self._tls.write, (data[:_CHUNK],)))
        except ssl.SSLError as error:
            raise ConnectionError(explain(error)) from error
        self.flush()

    def read_into(self, memory: memoryview) -> int:
        """Read what is there; 0 at the end of the connection."""
        size = self._decrypt(memory)
        while size is None:
            data = self.plain.sock.recv(_CHUNK)
            if not data:
                return 0
            self._inbound.write(data)
            size = self._decrypt(memory)
        return size

    def _decrypt(self, memory: memoryview) -> int | None:
        try:
            return int(self._tls.read(len(memory), memory))
        except ssl.SSLWantReadError:
            return None
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

    def is_writable(self, patience: float) -> bool:
        """Wait in a thread until something can be written."""
        return self.plain.is_writable(patience)

    def fileno(self) -> int:
        """The descriptor."""
        return self.plain.fileno()

    def shut(self) -> None:
        """End the connection, and wake whoever waits for it."""
        self.plain.shut()

    def close(self) -> None:
        """Give the descriptor back."""
        self.plain.close()
