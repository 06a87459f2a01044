"""Fast path, must equal the loop that reads (``Link._read``): a thread, or a waiting caller, reads a link in a rush.

What comes is handled in the same order and by the same functions, whoever reads; ``tests/net/io/test_link.py`` compares
both (``test_messages_are_the_same_whoever_reads_them``).

Each message that comes by way of another thread costs a switch of threads, which is most of the time of a call. So a
blocking caller reads for itself while it waits for its answer, and the thread of an object that has just answered
looks for a moment whether the next request is there. Both look without sleeping for as long as a switch of threads
would take.

The *right* to read is a lock; nobody waits for it but the thread that was lent. Outside of a rush the loop has it; in a
rush, whoever reads takes it while it reads. What only the loop may handle goes back to the loop, and nobody reads on
before it has been handled: the order of what came is kept. The thread leaves the right to others only as long as they
make use of it.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from qmi.net.protocol.events import Event
from qmi.runtime.processors import PROCESSORS

_PATIENCE = 50
"""How many milliseconds the thread waits for something to come before the loop reads again."""
_YIELD_TIME = 0.001
"""For how long, in seconds, the thread leaves the right to those who may want to read for themselves."""
_MOST_UNTAKEN = 1024
"""After how many messages the thread offers the right again if nobody took it the last times."""
_POLL_MS = 250
"""How many milliseconds a caller sleeps before it looks whether the link is still there."""
_SPIN = 100e-6
"""For how long, in seconds, somebody looks for the next message before sleeping; a lone processor has better to do."""
_TRY_AGAIN = 32
"""After so many times of sleeping at once somebody looks again."""


class Source(Protocol):
    """What is read."""

    @property
    def is_up(self) -> bool:
        """Whether there is anything to read from."""

    @property
    def open_requests(self) -> int:
        """How many requests wait for an answer."""

    @property
    def is_amid(self) -> bool:
        """Whether a part of a message has come, so that the rest is under way."""

    @property
    def is_wanted_by_loop(self) -> bool:
        """Whether tasks of the loop wait for answers: then the loop wants to read for itself."""

    def descriptor(self) -> int:
        """The socket; negative if it is closed."""

    def read_once(self) -> tuple[bool, list[Event]]:
        """Read, and handle what anybody may handle.

        Returns:
            Whether there may be more, and what only the loop may handle from there on.
        """


class Poller(Protocol):
    """What ``select.poll()`` makes."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait until a descriptor is ready, so many milliseconds at most."""


class _AdaptiveSpin:
    """For how long it is worth looking before sleeping: not at all when nothing ever comes so soon.

    That is so when the object takes its time, and on a busy machine, where whoever looks keeps the other side from
    running. Now and then it is tried all the same.
    """

    __slots__ = ("_skipped", "_time")

    def __init__(self) -> None:
        self._time = _SPIN
        self._skipped = 0

    def time(self, now: float) -> float:
        """For how long to look, in seconds, by the time of the monotonic clock; not at all on a lone processor."""
        if not PROCESSORS.are_several(now):
            return 0.0
        if not self._time:
            self._skipped = (self._skipped + 1) % _TRY_AGAIN
            return 0.0 if self._skipped else _SPIN
        return self._time

    def learn(self, *, came: bool) -> None:
        """Whether something came while somebody looked."""
        self._time = _SPIN if came else self._time / 2 if self._time > _SPIN / 8 else 0.0


class ReaderHandoff:
    """The right to read one link.

    Args:
        source: The link.

    Attributes:
        is_open: Whether there is a rush, so that it is worth trying to take the right.
    """

    def __init__(self, source: Source) -> None:
        self.is_open: bool = False
        self._source = source
        self._right = threading.Lock()
        self._right.acquire()  # the loop's
        self._poller: Poller | None = None
        self._more = False
        self._rest: list[Event] = []
        self._offered = False
        self._untaken = 1
        self._until_offer = 0
        self._wanted = threading.Event()
        self._for_answers = _AdaptiveSpin()
        self._for_requests = _AdaptiveSpin()
        self._for_pieces = _AdaptiveSpin()

    def serve(self) -> list[Event]:
        """Read in a thread until nothing comes for a while.

        Returns:
            What only the loop may handle; until it has, nobody reads.
        """
        if sys.platform != "win32":  # where there is no poll(), no link is lent to threads
            poller = select.poll()
            poller.register(self._source.descriptor(), select.POLLIN)
            self._poller = poller
        self.is_open = True
        self._right.release()
        try:
            while self._source.is_up and not self._rest and not self._source.is_wanted_by_loop:
                if self._offered:
                    self._offer()
                    continue
                with self._right:
                    if self._rest or not (self._more or self._wait(_PATIENCE)):
                        break
                    self._read()
                    self._until_offer -= 1
                    self._offered = self._until_offer <= 0
        finally:
            self._right.acquire()
            self.is_open = False
        rest, self._rest = self._rest, []  # what came must not live until the next rush
        return rest

    def _offer(self) -> None:
        # Whoever takes the right clears the offer and makes it anew when done.
        self._offered = False
        self._wanted.clear()
        if self._wanted.wait(_YIELD_TIME) or self._offered:
            return
        self._untaken = min(2 * self._untaken, _MOST_UNTAKEN)
        self._until_offer = self._untaken

    def drive_io(self, done: Callable[[], bool], timeout: float | None) -> None:
        """Read on behalf of a caller, until its call is done or its time is over; not at all if somebody else reads.

        Args:
            done: Whether the call is done.
            timeout: For how long at most, in seconds.
        """
        if not self._right.acquire(False):
            return
        now = time.monotonic()
        end = None if timeout is None else now + timeout
        try:
            self._spin(done, now, self._for_answers)
            while self._source.is_up and not self._rest and not done():
                left = _POLL_MS if end is None else min(_POLL_MS, max(0, round((end - time.monotonic()) * 1000)))
                if self._more or self._wait(left):
                    self._read()
                elif end is not None and time.monotonic() >= end:
                    break
        finally:
            self._give_back(used=not self._source.open_requests)

    def spin(self, busy: Callable[[], bool]) -> None:
        """Look for a moment whether the next message is there; for a thread that has just answered one.

        Args:
            busy: Whether the thread has something to do.
        """
        now = time.monotonic()
        if not PROCESSORS.are_several(now) or not self._right.acquire(False):
            return
        try:
            self._spin(busy, now, self._for_requests)
        finally:
            self._give_back(used=busy())

    def _spin(self, enough: Callable[[], bool], now: float, eagerness: _AdaptiveSpin) -> None:
        duration = eagerness.time(now)
        if not duration:
            return
        end = now + duration
        while now < end and self._source.is_up and not self._rest and not enough():
            if self._more or self._poll(0):
                self._read()
            now = time.monotonic()
        eagerness.learn(came=enough())

    def _give_back(self, *, used: bool) -> None:
        used = used and not self._rest and not self._more
        self._untaken = 1
        self._until_offer = 0
        self._offered = used  # who reads for itself once will want to do so again
        self._right.release()
        if not used:
            self._wanted.set()

    def _wait(self, milliseconds: int) -> bool:
        # Who sleeps in the midst of a large message has to be woken for each piece of it, for which the sender pays.
        if self._source.is_amid and (duration := self._for_pieces.time(now := time.monotonic())):
            end = now + duration
            came = False
            while not came and time.monotonic() < end:
                came = self._poll(0)
            self._for_pieces.learn(came=came)
            if came:
                return True
        return self._poll(milliseconds)

    def _poll(self, milliseconds: int) -> bool:
        assert self._poller is not None
        return bool(self._poller.poll(milliseconds))

    def _read(self) -> None:
        self._more, self._rest = self._source.read_once()
