"""The log of a program at a site, as it is known here: put together of what is published and what servers have kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from qmi.runtime.log_ring import LogEntry, LogFound, LogPart
from qmi.site.log_batch import LogPiece

MOST_RECORDS: Final = 20_000
MOST_CHARACTERS: Final = 8_000_000
"""So much of one log is known here; the oldest records go."""
_MOST_RUNS: Final = 100


class _Run:
    """The log of one process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: deque[LogEntry] = deque()
        self.newest = 0
        self._begin = 0  # records up to here are not known any more
        self._holes: list[tuple[int, int]] = []  # nor these: after the first number, up to the second one

    def skip(self, number: int) -> None:
        if number > self.newest:
            self._holes.append((self.newest, number))
            self.newest = number

    def forget_oldest(self) -> LogEntry:
        entry = self.entries.popleft()
        self._begin = entry.number
        self._holes = [hole for hole in self._holes if hole[1] > self._begin]
        return entry

    def missing(self, after: int, last: int) -> int:
        """How many records between two numbers are not known."""
        holes = [(0, self._begin), *((max(begin, self._begin), end) for begin, end in self._holes)]
        return sum(max(min(end, last) - max(begin, after), 0) for begin, end in holes)


class _Listener(NamedTuple):
    level: int
    wake: Callable[[], object]


class FollowedLog:
    """The log of a context, also of its programs before. On the loop; it is read like the log of this program.

    Attributes:
        fault: Why nothing can come now; empty if it can.
        feeders: How many parts of the other program feed its log, as far as is known.
    """

    def __init__(self) -> None:
        self.fault: str = ""
        self.feeders: int = 1
        self._runs: dict[str, _Run] = {}
        self._records = self._characters = 0
        self._skew = 0.0
        self._listeners: tuple[_Listener, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self._runs)

    @property
    def is_listened_to(self) -> bool:
        """Whether somebody waits for more."""
        return bool(self._listeners)

    def clock(self) -> float:
        """The clock of the computer that it comes from, in seconds since 1970."""
        return time.time() + self._skew

    # What comes

    def heard(self, piece: LogPiece) -> None:
        """A part was published just now."""
        self._skew = piece.now - time.time()

    def take(self, piece: LogPiece, *, is_last_chance: bool = False) -> bool:
        """Take a part.

        Args:
            piece: The part; what was taken before is left out.
            is_last_chance: Whether what is missing before it will not come any more.

        Returns:
            False if something is missing before it: it was not taken.
        """
        run = self._runs.get(piece.run)
        due = 0 if run is None else run.newest
        if piece.after > due and not is_last_chance:
            return False
        if run is None:
            run = self._runs[piece.run] = _Run(piece.run)
        if piece.last > run.newest:
            run.skip(piece.after + piece.lost)
            for entry in piece.entries:
                self._add(run, entry)
            run.newest = piece.last
            self._forget_the_oldest()
        return True

    def _add(self, run: _Run, entry: LogEntry) -> None:
        if entry.number <= run.newest:
            return
        run.entries.append(entry)
        self._records += 1
        self._characters += len(entry.message) + len(entry.trace)
        for listener in self._listeners:
            if entry.level >= listener.level:
                listener.wake()

    def _forget_the_oldest(self) -> None:
        while self._records > MOST_RECORDS or self._characters > MOST_CHARACTERS or len(self._runs) > _MOST_RUNS:
            oldest = next(iter(self._runs.values()))
            if oldest.entries:
                entry = oldest.forget_oldest()
                self._records -= 1
                self._characters -= len(entry.message) + len(entry.trace)
            elif len(self._runs) > 1:
                del self._runs[oldest.name]
            else:
                return

    def fail(self, fault: str) -> None:
        """Nothing can come now, for a reason; or it can again, if that is empty."""
        if fault != self.fault:
            self.fault = fault
            for listener in self._listeners:
                listener.wake()

    # Reading

    def part(self, run: str, after: int | None, level: int, limit: int) -> LogFound:
        """Read on.

        Args:
            run: Of which process something was read last; empty if nothing was.
            after: The number that was read last; None reads the newest ones.
            level: The lowest level that is wanted.
            limit: How many are wanted at most.
        """
        names = list(self._runs)
        if not names:
            return LogFound("", LogPart([], 0, 0), False)
        if after is None:
            newest = self._runs[names[-1]]
            found = [entry for entry in newest.entries if entry.level >= level]
            return LogFound(newest.name, LogPart(found[-limit:], newest.newest, 0), False)
        if run not in names:
            place = 0 if not run and not after else len(names) - 1
            after = after if not run else 0
        else:
            place = names.index(run)
        while True:
            current, is_later = self._runs[names[place]], place + 1 < len(names)
            part, is_cut = _part(current, after, level, limit)
            if part.entries or part.lost or not is_later:
                return LogFound(current.name, part, is_cut or is_later)
            place, after = place + 1, 0

    def listen(self, level: int, wake: Callable[[], object]) -> Callable[[], None]:
        """Have a function called with each record that comes, and when it is known that none can come.

        Args:
            level: The lowest level that is wanted.
            wake: The function.

        Returns:
            What ends that.
        """
        listener = _Listener(level, wake)
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end


def _part(run: _Run, after: int, level: int, limit: int) -> tuple[LogPart, bool]:
    found = [entry for entry in run.entries if entry.level >= level and entry.number > after]
    is_cut = len(found) > limit
    found = found[:limit]
    last = found[-1].number if is_cut else max(run.newest, after)
    return LogPart(found, last, run.missing(after, last)), is_cut
