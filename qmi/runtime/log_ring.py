"""The last log records of this process, in memory, for whoever asks from elsewhere.

Records come from what writes the log (:mod:`qmi.runtime.logs`): nothing is kept that is not logged, and nothing is
logged for it. They are numbered from 1. When there are too many, or too long ones, the oldest go.

Any thread may log at any time, also in a signal handler that interrupts the thread that is just about to add a record:
so the mutex may be taken again by the thread that has it, and each step stands for itself. Who waits for a record is
woken by a function that must neither wait nor log.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from qmi.config.validators import printable_lines
from qmi.records import NamedTuple
from qmi.runtime.forks import abandon_in_child
from qmi.runtime.random_bytes import random_bytes

_LONGEST_MESSAGE = 4_000
_LONGEST_TRACE = 12_000
_OVERHEAD = 200


class LogEntry(NamedTuple):
    """A log record.

    Attributes:
        number: Records of a process are numbered from 1.
        time: When, in seconds since 1970.
        level: As in :mod:`logging`.
        logger: Name of the logger.
        context: The context of the process that it came from.
        message: The text.
        trace: The traceback; empty if there is none.
    """

    number: int
    time: float
    level: int
    logger: str
    context: str
    message: str
    trace: str


class LogPart(NamedTuple):
    """A part of the log.

    Attributes:
        entries: The records, oldest first.
        last: The number up to which the log was looked through: what comes after it has not been read.
        lost: How many records before these, of any level, are not kept any more although some of them were wanted.
    """

    entries: list[LogEntry]
    last: int
    lost: int


class LogFound(NamedTuple):
    """What was read.

    Attributes:
        run: Of which process.
        part: What there was.
        is_more: Whether there is more to be read at once.
    """

    run: str
    part: LogPart
    is_more: bool


class _Listener(NamedTuple):
    level: int
    wake: Callable[[], object]


class LogRing:
    """The last records.

    Args:
        records: How many are kept at most.
        size: How many characters of text they have together at most.

    Attributes:
        run: Another one in each process, in which the numbers begin anew.
        feeders: How many parts of the program feed it; without any, nothing comes.
        fault: Why nothing can come: always empty, since it is of this process.
    """

    fault: Final = ""

    def __init__(self, records: int = 2_000, size: int = 1_000_000) -> None:
        self.run: str = random_bytes(8).hex()
        self.feeders: int = 0
        self._records = records
        self._size_limit = size
        self._mutex = threading.RLock()
        self._entries: deque[LogEntry] = deque()
        self._numbers = itertools.count(1)
        self._totals: dict[int, int] = {}
        self._size = 0
        self._newest = 0
        self._oldest_kept = 1
        self._gone: dict[int, int] = {}  # of each level, the last record that is not kept any more
        self._listeners: tuple[_Listener, ...] = ()
        abandon_in_child(self)

    def abandon(self) -> None:
        """This is a forked child: another thread may have held the mutex, and nobody here waits."""
        self._mutex = threading.RLock()
        self._listeners = ()
        self.run = random_bytes(8).hex()

    def add(self, record: logging.LogRecord, message: str, context: str) -> None:
        """Keep a record. Never waits.

        Args:
            record: The record.
            message: Its text.
            context: The context that it came from.
        """
        text = _cut(printable_lines(message), _LONGEST_MESSAGE)
        trace = _cut(printable_lines(_trace_of(record)), _LONGEST_TRACE)
        with self._mutex:
            entry = LogEntry(next(self._numbers), record.created, record.levelno, record.name, context, text, trace)
            self._entries.append(entry)
            self._size += _size_of(entry)
            self._totals[record.levelno] = self._totals.get(record.levelno, 0) + 1
            self._newest = max(self._newest, entry.number)
            while len(self._entries) > self._records or (self._size > self._size_limit and len(self._entries) > 1):
                old = self._entries.popleft()
                self._size -= _size_of(old)
                self._gone[old.level] = max(old.number, self._gone.get(old.level, 0))
                self._oldest_kept = max(self._oldest_kept, old.number + 1)
        for listener in self._listeners:
            if record.levelno >= listener.level:
                listener.wake()

    def total(self, lowest: int, below: int | None = None) -> int:
        """How many records there were so far of these levels.

        Args:
            lowest: The lowest of them.
            below: The level above them; None if there is none.
        """
        with self._mutex:
            return sum(n for level, n in self._totals.items() if lowest <= level and (below is None or level < below))

    def read(self, after: int | None, level: int, limit: int) -> LogPart:
        """Read on.

        Args:
            after: The number that was read last; None reads the newest ones.
            level: The lowest level that is wanted.
            limit: How many are wanted at most.
        """
        with self._mutex:
            newest, oldest = self._newest, self._oldest_kept
            found = [entry for entry in self._entries if entry.level >= level and entry.number > (after or 0)]
            gone = max((number for level_of, number in self._gone.items() if level_of >= level), default=0)
        found.sort()  # one that was added by a signal handler may stand before the one that it interrupted
        if after is None:
            return LogPart(found[-limit:], newest, 0)
        lost = oldest - 1 - after if gone > after else 0
        if len(found) > limit:
            found = found[:limit]
            return LogPart(found, found[-1].number, lost)
        return LogPart(found, max(newest, after), lost)

    def part(self, run: str, after: int | None, level: int, limit: int) -> LogFound:
        """The same for who may have read the log of another process before.

        Args:
            run: Of which process something was read last; empty if nothing was.
            after: The number that was read last; None reads the newest ones.
            level: The lowest level that is wanted.
            limit: How many are wanted at most.
        """
        known = after if after is None or run in ("", self.run) else 0
        return LogFound(self.run, self.read(known, level, limit), False)

    def clock(self) -> float:
        """The clock of the computer that it comes from, in seconds since 1970."""
        return time.time()

    def listen(self, level: int, wake: Callable[[], object]) -> Callable[[], None]:
        """Have a function called with each record that comes, by the thread that logs it.

        Args:
            level: The lowest level that is wanted.
            wake: The function. It must neither wait nor log.

        Returns:
            What ends that.
        """
        listener = _Listener(level, wake)
        with self._mutex:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._mutex:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end


def _trace_of(record: logging.LogRecord) -> str:
    # What formats the record for a file or the console keeps the text there.
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return "\n".join(text for text in (record.exc_text, record.stack_info) if text)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} more characters)"


def _size_of(entry: LogEntry) -> int:
    return len(entry.message) + len(entry.trace) + _OVERHEAD


LOG_RING = LogRing()
"""The ring of this process."""
