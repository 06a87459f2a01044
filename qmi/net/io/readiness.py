"""Which of the threads that wait for one socket is woken when something comes.

The *reader* has the right to read, and sleeps until there is something. The *stand-by* reads when no reader does: it is
woken by what comes while no reader sleeps, and by :meth:`Readiness.call`. With plain ``poll()`` both would be woken,
one of them for nothing. Linux wakes waiters that registered exclusively one at a time, in the order in which they
registered, and passes by those that do not sleep; so the reader registers first.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress


class Readiness:
    """Waits for one socket; see the module. This one has ``poll()`` alone, so that nobody can stand by.

    Args:
        descriptor: The socket.

    Attributes:
        can_stand_by: Whether :meth:`stand_by` waits; else it returns at once.
    """

    __slots__ = ("_poll", "can_stand_by")

    def __init__(self, descriptor: int) -> None:
        self.can_stand_by = False
        if sys.platform != "win32":  # where there is no poll(), no link is lent to threads
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)

    def wait(self, milliseconds: int) -> bool:
        """Wait as the reader until there is something to read, so long at most; 0 only looks. Whether there is."""
        return sys.platform != "win32" and bool(self._poll.poll(milliseconds))

    def stand_by(self, milliseconds: int) -> bool:
        """Wait until something comes while no reader sleeps, or somebody calls; whether that was so.

        The first time it returns at once.
        """
        return True

    def call(self) -> None:
        """End the wait of the stand-by. Not after :meth:`close`."""

    def close(self) -> None:
        """Nobody waits any more."""


if sys.platform == "linux":

    class ExclusiveReadiness(Readiness):
        """The same with exclusive waiters, from the first time that somebody stands by."""

        __slots__ = ("_call", "_descriptor", "_reader", "_stand_by")

        def __init__(self, descriptor: int) -> None:
            super().__init__(descriptor)
            self._descriptor = descriptor
            self._reader: select.epoll | None = None
            self._stand_by: select.epoll | None = None
            self._call = -1
            self.can_stand_by = True

        def wait(self, milliseconds: int) -> bool:
            """Wait as the reader."""
            if milliseconds and self._reader is not None:
                return bool(self._reader.poll(milliseconds / 1000, 1))
            return bool(self._poll.poll(milliseconds))

        def stand_by(self, milliseconds: int) -> bool:
            """Wait as the stand-by."""
            if self._stand_by is None:
                try:
                    self._register()
                except OSError:  # an old system, or no descriptor left
                    self.can_stand_by = False
                return True  # whoever called before found nothing to call
            woken = bool(self._stand_by.poll(milliseconds / 1000, 1))
            with suppress(BlockingIOError):
                os.eventfd_read(self._call)
            return woken

        def _register(self) -> None:
            self._call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            reader = _exclusive(self._descriptor)  # first
            stand_by = _exclusive(self._descriptor)
            stand_by.register(self._call, select.EPOLLIN)
            self._reader, self._stand_by = reader, stand_by

        def call(self) -> None:
            """Wake the stand-by."""
            if self._call >= 0:
                os.eventfd_write(self._call, 1)

        def close(self) -> None:
            """Close what was opened."""
            for waiter in (self._reader, self._stand_by):
                if waiter is not None:
                    waiter.close()
            if self._call >= 0:
                os.close(self._call)
                self._call = -1

    def _exclusive(descriptor: int) -> select.epoll:
        waiter = select.epoll()
        try:
            waiter.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        except OSError:
            waiter.close()
            raise
        return waiter


def readiness_of(descriptor: int) -> Readiness:
    """What waits for a socket, in the best way that the system has."""
    if sys.platform == "linux":
        return ExclusiveReadiness(descriptor)
    else:  # noqa: RET505 - mypy reads it as what other systems do
        return Readiness(descriptor)
