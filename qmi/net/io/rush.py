"""The links of a context on which much comes at the moment: they are read together, by one thread at a time.

A server that twenty programs call at once would change threads for every call if each of its links were read by itself.
So the links that are in a rush are one source of messages: an epoll instance with all their sockets. Who has the right
to read *it* reads them all, and whoever stands by sleeps at the one gate in front of it (:mod:`.reader_handoff`). The
thread of an object that has just answered reads there what comes next, from whichever program; a thread that is
started for the rush stands by.

The right to read each single link is the rush's meanwhile. A link leaves when it has ended, when something has come
that only the loop may handle, or when tasks of the loop wait for its answers; all leave when nothing has come for a
while.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from qmi.net.io import read_gate
from qmi.net.io.gate_watch import GateWatch
from qmi.net.io.read_gate import SocketSet
from qmi.net.io.reader_handoff import PATIENCE, PAUSE, ReaderHandoff, Source
from qmi.net.protocol.events import Event
from qmi.runtime.doorbell import Idler
from qmi.runtime.forks import abandon_in_child

_AT_ONCE = 16
"""So many links are read before whoever reads looks whether there is something else to do."""
_MOST_READS = 16
"""A link on which more comes without an end is left to the loop, which shares its time out fairly."""
_MANY = 8
_ANSWERING = 0.005
"""While more requests of a link than this have no answer, the thread that stands by leaves reading to the thread of an
object that has read in the last so many seconds."""
_NOTHING: tuple[bool, list[Event]] = (False, [])
_SHARED = 0.002
"""And for so long if there are several links: the object's thread has just read some requests, and when it has answered
them, it reads the next ones without a switch of threads."""


class Member(Source, Protocol):
    """A link."""

    @property
    def behind(self) -> int:
        """How many requests of the other side have no answer yet."""

    def fault(self, doing: str, error: Exception) -> None:
        """End the link by an exception that nobody foresaw."""

    def join_rush(self, reader: Reader) -> None:
        """It is a member from now on: who wants to read for itself does so there. In the loop."""

    def leave_rush(self, rest: list[Event]) -> None:
        """It is none any more: the right is the loop's again, and what only the loop may handle. From any thread."""


class Reader(Protocol):
    """Where those read who wait for what comes next; see :class:`.reader_handoff.ReaderHandoff`."""

    @property
    def stays_shut(self) -> bool:
        """Whether what comes wakes nobody, since somebody reads all the time."""

    def drive_io(self, done: Callable[[], object], timeout: float | None) -> None:
        """Read on behalf of a caller, until its call is done or its time is over; or not at all."""

    def idle(self, thread: Idler) -> None:
        """Wait for the next message in a thread that has just answered one."""

    def forgo(self) -> None:
        """The thread of an object waits for something else, and does not come to read."""


class _Part:
    """A member's part in a rush: with others on which something comes, it is read by whoever reads for itself."""

    __slots__ = ("_handoff", "forgo", "has_left", "idle", "member")

    def __init__(self, member: Member, handoff: ReaderHandoff) -> None:
        self.member: Member = member
        self.has_left: bool = False
        self._handoff = handoff
        # Whatever is read next is for any member.
        self.idle: Callable[[Idler], None] = handoff.idle
        self.forgo: Callable[[], None] = handoff.forgo

    def drive_io(self, done: Callable[[], object], timeout: float | None) -> None:
        """Read on behalf of a caller of this member, which waits elsewhere once that has left."""
        self._handoff.drive_io(lambda: done() or self.has_left, timeout)

    @property
    def stays_shut(self) -> bool:
        """Whether what comes wakes nobody, since somebody reads all the time."""
        return self._handoff.stays_shut


class Rush:
    """One rush, from the first link that joins to the last one that leaves.

    Args:
        sockets: Gets those of the links; closed when the rush is over.
        watch: Looks after the gate while it stays shut.

    Attributes:
        handoff: The right to read all members.

    Raises:
        OSError: If the system has no descriptor left.
    """

    def __init__(self, sockets: SocketSet, watch: GateWatch) -> None:
        self._sockets = sockets
        self._members: dict[int, _Part] = {}
        self._latest: Member | None = None
        self._began = time.monotonic()
        try:
            self.handoff: ReaderHandoff = ReaderHandoff(self, watch, least_uses=4)
            self.handoff.open()
        except OSError:
            self._sockets.close()
            raise
        self.handoff.leave()
        abandon_in_child(self)

    def __len__(self) -> int:
        return len(self._members)

    def abandon(self) -> None:
        """This is a forked child, which must not change what its parent waits for."""
        self._members = {}
        self._sockets.close()

    # What a source of messages is

    @property
    def is_up(self) -> bool:
        """Whether any link is a member."""
        return bool(self._members)

    @property
    def is_for_threads(self) -> bool:
        """The same: a link that is not leaves."""
        return bool(self._members)

    @property
    def is_amid(self) -> bool:
        """Whether the link that was read last is in the midst of a message."""
        latest = self._latest
        return latest is not None and latest.is_amid

    @property
    def volume(self) -> int:
        """How many bytes have come or were given to be written, if there is one member: a guess, see `_SPIN`."""
        latest = self._latest
        return 0 if latest is None or len(self._members) > 1 else latest.volume

    def head_start(self) -> float:
        """For how many seconds who stands by leaves the right to the thread of an object that has just read."""
        if time.monotonic() - self.handoff.answered >= _ANSWERING:  # it would be over
            return 0.0
        members = list(self._members.values())
        if any(part.member.behind > _MANY for part in members):
            return _ANSWERING
        return _SHARED if len(members) > 1 else 0.0

    def descriptor(self) -> int:
        """The epoll instance, which is readable when one of the sockets is."""
        return self._sockets.fileno()

    def read_once(self) -> tuple[bool, list[Event]]:
        """Read those on which something has come. Nothing is ever left to the loop by the rush itself."""
        members = self._members
        numbers: Sequence[int] = tuple(members)
        if len(numbers) > 1:
            numbers = self._sockets.ready(_AT_ONCE)
        for number in numbers:
            part = members.get(number)
            if part is None:  # it is about to join
                continue
            self._latest = member = part.member
            stays = False
            rest: list[Event] = []
            try:
                more, rest = member.read_once()
                again = _MOST_READS
                while more and (again := again - 1) and not rest and member.is_for_threads:
                    more, rest = member.read_once()
                stays = not more and not rest and member.is_for_threads
            except Exception as error:  # who reads it has nothing to do with it
                member.fault("reading in a thread", error)
            if not stays:
                self._remove(number, part, rest)
        return _NOTHING

    def call_loop(self) -> None:
        """Nothing was left to it."""

    def free(self) -> None:
        """Nobody reads here any more."""
        self._sockets.close()

    # Members

    def add(self, member: Member) -> None:
        """Let a link in, which the loop has the right to read. In the loop.

        Raises:
            OSError: If the system does not take it.
        """
        number = member.descriptor()
        part = _Part(member, self.handoff)
        self._sockets.add(number)
        try:
            member.join_rush(part)
            try:
                self._members[number] = part  # from here on somebody may read it
            except BaseException:
                member.leave_rush([])
                raise
        except BaseException:
            self._sockets.remove(number)
            raise

    def _remove(self, number: int, part: _Part, rest: list[Event]) -> None:
        # With the right, without which nobody closes the socket.
        del self._members[number]
        if self._latest is part.member:
            self._latest = None
        try:
            self._sockets.remove(number)
        except OSError as error:  # the link goes back all the same, and ends
            part.member.fault("leaving a rush", error)
        part.has_left = True
        part.member.leave_rush(rest)

    def may_end(self) -> bool:
        """Whether it is of no use any more, if nothing has come for a while that nobody reads for itself."""
        # Callers read their own links at the same time without a rush, and one link is read more quickly.
        quiet_since = self._began if len(self._members) == 1 else max(self._began, self.handoff.answered)
        return not self._members or time.monotonic() - quiet_since >= PATIENCE

    def dismiss(self) -> None:
        """Have all links leave. With the right to read."""
        for number, part in list(self._members.items()):
            self._remove(number, part, [])


def _make_set() -> SocketSet:
    if sys.platform == "linux":
        return read_gate.EpollSet()
    else:  # noqa: RET505 - mypy takes what follows for unreachable
        raise OSError("links have no gates here, without which none joins")


class RushReader:
    """Has the links of a context that are in a rush read together, while there is a rush.

    Args:
        failed: Called with an exception that nobody foresaw.

    Attributes:
        watch: Looks after the gates of the context.
    """

    def __init__(self, failed: Callable[[Exception], object]) -> None:
        self._failed = failed
        self.watch: GateWatch = GateWatch(failed)
        self._mutex = threading.Lock()
        self._rush: Rush | None = None

    def __len__(self) -> int:
        rush = self._rush
        return 0 if rush is None else len(rush)

    def join(self, member: Member) -> None:
        """Have a link read, which the loop has the right to read. In the loop.

        Raises:
            OSError: If the system has no descriptor left.
            RuntimeError: If it has no thread left.
            MemoryError: If it has no memory left.
        """
        # With the mutex the last one cannot leave meanwhile, and the rush be over.
        with self._mutex:
            rush = self._rush
            if rush is None:
                self._rush = rush = self._begin()
            rush.add(member)

    def _begin(self) -> Rush:
        rush = Rush(_make_set(), self.watch)
        try:
            trio.lowlevel.start_thread_soon(lambda: self._stand_by(rush), lambda _: None, "qmi-rush")
        except BaseException:
            rush.handoff.retire()
            raise
        return rush

    def _stand_by(self, rush: Rush) -> None:
        try:
            while not self._is_over(rush):
                rush.handoff.serve(rush.head_start)
                if not len(rush):  # somebody still reads, and is about to find out
                    time.sleep(PAUSE)
        except Exception as error:  # nobody else learns of it
            self._failed(error)
            while not self._is_over(rush, by_force=True):
                time.sleep(PAUSE)

    def _is_over(self, rush: Rush, *, by_force: bool = False) -> bool:
        with self._mutex:
            if not (by_force or rush.may_end()) or not rush.handoff.take():
                return False
            self._rush = None
            rush.dismiss()
            rush.handoff.retire()
            return True
