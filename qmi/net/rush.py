"""Who reads a link while there is a rush: a thread that was lent to it, or a caller who waits for an answer.

Each answer that comes by way of another thread costs a switch of threads, which is a good part of a call. So a blocking
caller reads for itself while it waits, if nobody else does. The *right* to read is a lock: outside of a rush the loop
has it, in a rush whoever reads takes it for as long as it reads. What only the loop may handle goes back to the loop,
and nobody reads on before that has been handled: the order of what came is kept.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Protocol

from qmi.net.events import Event

_PATIENCE = 50
"""How many milliseconds the thread waits for something to come before the loop reads again."""
_COURTESY = 0.001
"""For so many seconds after a caller has read, the thread leaves the right to the next one."""
_GLANCE = 250
"""How many milliseconds a caller waits before it looks whether the link is still there."""


class Source(Protocol):
    """What is read."""

    @property
    def is_up(self) -> bool:
        """Whether there is anything to read from."""

    @property
    def open_requests(self) -> int:
        """How many requests wait for an answer."""

    def descriptor(self) -> int:
        """The socket; negative if it is closed."""

    def read_once(self) -> tuple[bool, list[Event], bool]:
        """Read, and handle what anybody may handle.

        Returns:
            Whether there may be more, what only the loop may handle from there on, and whether a request was answered.
        """


class Rush:
    """The right to read one link.

    Args:
        source: The link.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._right = threading.Lock()
        self._right.acquire()  # the loop's
        self._poller: select.poll | None = None
        self._more = False
        self._rest: list[Event] = []
        self._read_by_caller = 0.0
        self._wanted = threading.Event()

    def serve(self) -> list[Event]:
        """Read in a thread until nothing comes for a while.

        Returns:
            What only the loop may handle; until it has, nobody reads.
        """
        self._poller = select.poll()
        self._poller.register(self._source.descriptor(), select.POLLIN)
        self._rest = []
        self._right.release()
        try:
            while self._source.is_up and not self._rest:
                if time.monotonic() - self._read_by_caller < _COURTESY:
                    self._wanted.wait(_COURTESY)
                    self._wanted.clear()
                    continue
                with self._right:
                    if self._rest or not (self._more or self._poll(_PATIENCE)):
                        break
                    self._read(invite=True)
        finally:
            self._right.acquire()
        return self._rest

    def assist(self, done: Callable[[], bool], timeout: float | None) -> None:
        """Read on behalf of a caller, until its call is done or its time is over; not at all if somebody else reads.

        Args:
            done: Whether the call is done.
            timeout: For how long at most, in seconds.
        """
        if not self._right.acquire(False):
            return
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while self._source.is_up and not self._rest and not done():
                left = _GLANCE if end is None else min(_GLANCE, max(0, round((end - time.monotonic()) * 1000)))
                if self._more or self._poll(left):
                    self._read(invite=False)
                elif end is not None and time.monotonic() >= end:
                    break
        finally:
            self._read_by_caller = 0.0 if self._rest or self._more else time.monotonic()
            self._right.release()
            if self._rest or self._more or self._source.open_requests:
                # Others wait, and it is the thread's turn.
                self._read_by_caller = 0.0
                self._wanted.set()

    def _poll(self, milliseconds: int) -> bool:
        assert self._poller is not None
        return bool(self._poller.poll(milliseconds))

    def _read(self, *, invite: bool) -> None:
        self._more, self._rest, answered = self._source.read_once()
        if invite and answered:
            self._read_by_caller = time.monotonic()  # who was answered may well call again, and can read for itself
