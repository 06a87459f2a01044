"""Fast path, must equal the loop that reads (``Link._read``): a thread, or a waiting caller, reads a link in a rush.

What comes is handled in the same order and by the same functions, whoever reads; ``tests/net/io/test_link.py`` compares
both (``test_messages_are_the_same_whoever_reads_them``).

Each message that comes by way of another thread costs a switch of threads, which is most of the time of a call. So a
blocking caller reads for itself while it waits for its answer, and the thread of an object that has just answered
looks for a moment whether the next request is there. Both look without sleeping for as long as a switch of threads
would take, if there is more than one processor.

The *right* to read is a lock; nobody waits for it but the thread that was lent. Outside of a rush the loop has it; in a
rush, whoever reads takes it while it reads. What only the loop may handle goes back to the loop, and nobody reads on
before it has been handled: the order of what came is kept. The thread leaves the right to others only as long as they
make use of it. Where callers do, it stands by without the right, and is woken only by what comes while none of them
waits (:mod:`qmi.net.io.readiness`): an answer wakes one thread, not two, however long it takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from qmi.net.io.readiness import Readiness, readiness_of
from qmi.net.io.rush_rules import AdaptiveSpin
from qmi.net.protocol.events import Event
from qmi.runtime.processors import PROCESSORS

_PATIENCE = 50
"""How many milliseconds the thread waits for something to come before the loop reads again."""
_YIELD_TIME = 0.001
"""For how long, in seconds, the thread leaves the right to those who may want to read for themselves."""
_MOST_UNTAKEN = 1024
"""After how many messages the thread offers the right again if nobody took it the last times."""
_STAND_BY = 1000
"""How many milliseconds without a message end the rush after somebody has read for itself."""
_POLL_MS = 250
"""How many milliseconds a caller sleeps before it looks whether the link is still there."""
_SPIN = 100e-6
"""For how long, in seconds, somebody looks for the next message before sleeping; a lone processor has better to do."""


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
        self._readiness: Readiness | None = None
        self._reads = 0
        self._standing_by = False
        self._needed = False
        self._is_for_callers = False
        self._caller_reads = False
        self._more = False
        self._rest: list[Event] = []
        self._offered = False
        self._untaken = 1
        self._until_offer = 0
        self._wanted = threading.Event()
        self._for_answers = AdaptiveSpin(_SPIN)
        self._for_requests = AdaptiveSpin(_SPIN)
        self._for_pieces = AdaptiveSpin(_SPIN)

    def serve(self) -> list[Event]:
        """Read in a thread until nothing comes for a while.

        Returns:
            What only the loop may handle; until it has, nobody reads.
        """
        readiness = self._readiness = readiness_of(self._source.descriptor())
        self.is_open = True
        self._right.release()
        try:
            while self._source.is_up and not self._rest and not self._source.is_wanted_by_loop:
                if self._offered and not self._is_awaited():
                    self._offer()
                    continue
                patience = self._take_right(readiness)
                try:
                    if self._rest:
                        break
                    if not patience:
                        self._read()
                        continue
                    if not (self._more or self._wait(patience)):
                        break
                    self._read()
                    self._until_offer -= 1
                    self._offered = self._until_offer <= 0
                finally:
                    self._right.release()
        finally:
            self._right.acquire()
            self.is_open = False
            self._readiness = None
            readiness.close()
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

    def _is_awaited(self) -> bool:
        # A caller that finds the right taken by the thread has sent its request before. So the request is seen here,
        # after the thread has given the right back, and the thread reads the answer; or else the caller will have it.
        return self._is_for_callers and self._source.open_requests > 0 and not self._right.locked()

    def _take_right(self, readiness: Readiness) -> int:
        # For how many milliseconds the thread may wait with it. Where callers read for themselves, it is not in their
        # way: it comes for what is there already and nobody waits for, and does not wait at all.
        if self._more or not readiness.can_stand_by or not (self._is_for_callers or self._caller_reads):
            self._right.acquire()
            return _PATIENCE
        self._stand_by(readiness)
        if self._right.acquire(False):
            return 0
        self._right.acquire()
        return 0 if self._offered else _PATIENCE

    def _stand_by(self, readiness: Readiness) -> None:
        # Whoever gives the right back sets `_needed` first and looks then whether there is a stand-by to call; here it
        # is the other way round, so that no call is missed.
        self._standing_by = True
        while not self._needed and not self._source.is_wanted_by_loop:
            reads = self._reads
            if readiness.stand_by(_STAND_BY):
                break
            if reads == self._reads and not self._right.locked():
                self._is_for_callers = False
                break
        self._standing_by = self._needed = False

    def drive_io(self, done: Callable[[], bool], timeout: float | None) -> None:
        """Read on behalf of a caller, until its call is done or its time is over; not at all if somebody else reads.

        Args:
            done: Whether the call is done.
            timeout: For how long at most, in seconds.
        """
        if not self._right.acquire(False):
            return
        try:
            self._caller_reads = True
            now = time.monotonic()
            end = None if timeout is None else now + timeout
            self._spin(done, now, self._for_answers)
            while self._source.is_up and not self._rest and not done():
                left = _POLL_MS if end is None else min(_POLL_MS, max(0, round((end - time.monotonic()) * 1000)))
                if self._more or self._wait(left):
                    self._read()
                elif end is not None and time.monotonic() >= end:
                    break
                else:
                    self._read()  # should the stand-by have been woken instead
        finally:
            used = self._is_for_callers = not self._source.open_requests
            self._caller_reads = False
            self._give_back(used=used)

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

    def _spin(self, enough: Callable[[], bool], now: float, eagerness: AdaptiveSpin) -> None:
        duration = eagerness.time()
        if not duration or not PROCESSORS.are_several(now):
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
        if not used:
            self._needed = True
            if self._standing_by and self._readiness is not None:
                self._readiness.call()
        self._right.release()
        if not used:
            self._wanted.set()

    def _wait(self, milliseconds: int) -> bool:
        # Who sleeps in the midst of a large message has to be woken for each piece of it, for which the sender pays.
        if self._source.is_amid and (duration := self._for_pieces.time()):
            now = time.monotonic()
            if PROCESSORS.are_several(now):
                end = now + duration
                came = False
                while not came and time.monotonic() < end:
                    came = self._poll(0)
                self._for_pieces.learn(came=came)
                if came:
                    return True
        return self._poll(milliseconds)

    def _poll(self, milliseconds: int) -> bool:
        assert self._readiness is not None
        return self._readiness.wait(milliseconds)

    def _read(self) -> None:
        self._reads += 1
        self._more, self._rest = self._source.read_once()
