"""The floor of an import, and that of awaited calls between processes: trio alone, in the environment of this library.

Its calls have no messages, objects or errors. A task appends a byte to what is unsent and sleeps; one task writes and
reads for all, and wakes as many as bytes have come back. The other process sends back whatever comes.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from benchmarks.systems.base import System
from benchmarks.systems.sockets import echoing

_CHUNK = 1 << 16


class _Calls:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unsent = 0
        self._waiting: deque[Any] = deque()

    async def nothing(self) -> None:
        """Have a byte sent there and back."""
        from trio import lowlevel

        self._unsent += 1
        self._waiting.append(lowlevel.current_task())

        def abort(_: object) -> lowlevel.Abort:
            self._waiting.clear()  # whoever is cancelled, it is the end
            return lowlevel.Abort.SUCCEEDED

        await lowlevel.wait_task_rescheduled(abort)

    async def drive(self) -> None:
        """Write and read for all."""
        from trio import lowlevel

        while True:
            await lowlevel.checkpoint()  # all callers have their turn
            if self._unsent:
                self._sock.send(bytes(self._unsent))
                self._unsent = 0
            if self._waiting:
                await lowlevel.wait_readable(self._sock)
                for _ in range(min(len(self._sock.recv(_CHUNK)), len(self._waiting))):
                    lowlevel.reschedule(self._waiting.popleft())


class TrioAlone(System):
    """Trio, and a socket."""

    module = "trio"

    @contextmanager
    def serving(self, variant: str) -> Iterator[str]:
        """A thread that sends back what comes."""
        with echoing(_echo) as port:
            yield str(port)

    @asynccontextmanager
    async def remote_async(self, address: str) -> AsyncIterator[Any]:
        """Calls that share a connection to it."""
        import trio

        with socket.create_connection(("127.0.0.1", int(address))) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            calls = _Calls(sock)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(calls.drive)
                yield calls
                nursery.cancel_scope.cancel()


def _echo(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := sock.recv(_CHUNK):
            sock.sendall(data)
    except ConnectionError:  # the other side has left with answers on their way
        pass


SYSTEM = TrioAlone()
