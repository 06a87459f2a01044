"""Signals on their way to many links: encoded once, and written together in a burst.

Fast path, must equal sending each signal on each link by itself: the bytes and their order are the same
(``test_signals_of_a_burst_are_the_bytes_that_they_are_alone`` compares both).

A signal that comes alone is written to each link by its publisher, at once. That takes some 10 µs a link, nearly all of
it in the system. So what is published soon after is *held*: it is put into the queue of each link, and nothing else.
The next signal that comes when the time is over is written again, and takes along what its links hold. If none comes,
a task of the loop writes what is held: one for all links.

The time is 0.2 ms, and longer where there are many links: about as long as writing to all of them takes, which is how
long a signal would have waited anyway for the one before it. It is at most 0.2 ms for each link: a publisher that had
to wait for the processor while it wrote does not hold up the next signal to a lone link. Nor does a signal to few links
wait for those of a burst to many: it is written when its own time is over, and leaves to them what they hold.

Locks: the broker's mutex is held by who publishes, so that one signal at a time goes out. The mutex here guards which
links hold something; it is held for some steps only, in which nothing is written and nobody is called. The loop's task
takes the links out with it, and then writes with the mutex of each link alone, as any publisher does: all that a link
holds is in its queue, in order, and whoever writes first writes all of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Protocol

import trio

from qmi.net.io.transport import FULL, total_size
from qmi.net.limits import Buffer
from qmi.runtime.sigint import PROGRAM_HANDLERS
from qmi.runtime.wakeup import Loop

_BURST = 0.0002
"""What is published within so many seconds after a signal was written waits for what comes next; with many links, at
most so many seconds for each."""
_EACH = 0.00005
_MANY = 10
"""With up to so many links at least so many seconds for each, since writing takes longer than putting into a queue."""
_LONGEST = 0.01
"""And no longer than so many seconds, however many there are."""

Spawn = Callable[[Callable[[], Coroutine[object, object, None]]], bool]


def _time_to_hold(links: int, took: float) -> float:
    return min(max(_BURST, min(links, _MANY) * _EACH, min(took, links * _BURST)), _LONGEST)


class HoldingLink(Protocol):
    """What is needed of a link."""

    @property
    def loop(self) -> Loop:
        """The loop that it runs in."""

    def write_held(self) -> None:
        """Write what it holds, if it does. Never waits, never raises."""


class Frame:
    """One signal as the bytes of a frame.

    Args:
        buffers: The frame.

    Attributes:
        buffers: The frame.
        size: Bytes in all.
        is_small: Whether it may be held: nobody may change its memory, and it is no array.
    """

    __slots__ = ("buffers", "is_small", "size")

    def __init__(self, buffers: list[Buffer]) -> None:
        self.buffers: list[Buffer] = buffers
        self.size: int = total_size(buffers)
        self.is_small: bool = len(buffers) == 1 and self.size < FULL


class Publication:
    """One signal that goes to several links, as long as that takes.

    Attributes:
        began: When this began.
        holds: Whether links hold it, and do not write it at once.
        links: Those that do the one or the other.
        size: Bytes that one of them holds of it.
        frames: What is written, by what links encode alike.
    """

    __slots__ = ("began", "frames", "holds", "links", "size")

    def __init__(self, began: float, holds: bool) -> None:
        self.began: float = began
        self.holds: bool = holds
        self.links: list[HoldingLink] = []
        self.size: int = 0
        self.frames: dict[Hashable, Frame] = {}


class FanOut:
    """What the links of one context hold. Safe for threads.

    Args:
        spawn: Starts a task in the loop, on the loop; False if it takes no more.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._mutex = threading.Lock()
        self._holding: dict[HoldingLink, None] = {}
        self._size = 0  # of what one of them holds, at most
        self._due = 0.0  # when it is written at the latest
        self._wrote = 0.0  # when a signal was written last
        self._took = 0.0  # how long that took
        self._watched = False

    def begin(self, links: int) -> Publication:
        """A signal is about to be given to so many links."""
        now = time.monotonic()
        holds = now < self._due and now < self._wrote + _time_to_hold(links, self._took) and self._size < FULL
        if holds and PROGRAM_HANDLERS.may_break_in():
            holds = False  # links know what to do where an exception may be raised between any two steps
        return Publication(now, holds)

    def finish(self, publication: Publication) -> None:
        """A signal was given to all its links; write what they hold, or see to it that this is done soon."""
        if not publication.links:
            return
        if publication.holds:
            self._hold(publication)
            return
        if self._holding:
            if time.monotonic() < self._due and self._size < FULL:
                return
            with self._mutex:
                links = self._take()
            self._write(links)
        self._wait_after(len(publication.links), publication.began)

    def _hold(self, publication: Publication) -> None:
        with self._mutex:
            holding = self._holding
            for link in publication.links:
                holding[link] = None
            self._size += publication.size
            if self._watched:
                return
            self._watched = True
        loop = publication.links[0].loop
        # On the loop, when all tasks that can run now have had their turn; unless writing would take them all the time.
        if loop.is_here() and len(self._holding) < _MANY:
            loop.soon(self._write_as_watcher)
        elif not loop.soon(self._start_watching):
            self._write_as_watcher()

    def _write_as_watcher(self) -> None:
        # Whoever holds something after the mutex was given back finds that nobody watches.
        with self._mutex:
            self._watched = False
        self._write_all()

    def _start_watching(self) -> None:
        if not self._spawn(self._watch):
            self._write_as_watcher()

    async def _watch(self) -> None:
        # For publishers that do something else after a burst. As long as they go on, they write by themselves: this
        # finds each time that there is a later time to wait for.
        try:
            while self._holding:
                left = self._due - time.monotonic()
                if left > 0:
                    await trio.sleep(left)
                else:
                    self._write_all()
        finally:
            self._write_as_watcher()

    def _write_all(self) -> None:
        began = time.monotonic()
        with self._mutex:
            links = self._take()
        if links:
            self._write(links)
            self._wait_after(len(links), began)

    def _take(self) -> dict[HoldingLink, None]:
        # With the mutex.
        links, self._holding = self._holding, {}
        self._size = 0
        return links

    def _write(self, links: Iterable[HoldingLink]) -> None:
        for link in links:
            link.write_held()

    def _wait_after(self, links: int, began: float) -> None:
        # So many were written. Without the mutex: of two threads, one has the last word, which is as good as the other.
        self._wrote = now = time.monotonic()
        self._took = took = now - began
        self._due = now + _time_to_hold(links, took)
