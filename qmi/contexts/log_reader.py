"""How the log of a context is read from elsewhere: at once if there is something, else as soon as there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from qmi.actors.log_records import LogBatch, LogRecordStatus, level_number
from qmi.errors import QMI_InvalidValueException, QMI_NotDeliveredException
from qmi.runtime.log_ring import LOG_RING, LogFound
from qmi.runtime.wakeup import Loop

LONGEST_WAIT = 3600.0
MOST_RECORDS = 1000


class LogSource(Protocol):
    """The records of a log: of this program, or of another one at a site."""

    @property
    def fault(self) -> str:
        """Why nothing can come now; empty if it can."""

    @property
    def feeders(self) -> int:
        """How many parts of its program feed it."""

    def part(self, run: str, after: int | None, level: int, limit: int) -> LogFound:
        """Read on."""

    def clock(self) -> float:
        """The clock of the computer that it comes from."""

    def listen(self, level: int, wake: Callable[[], object]) -> Callable[[], None]:
        """Have a function called with each record that comes."""


class LogReader:
    """Reads the log on behalf of one caller.

    Args:
        loop: The loop of the context.
        after: What was read last; None wants the newest ones, and waits for nothing.
        level: The lowest level that is wanted, by name or as a number.
        limit: How many records are wanted at most.
        wait: How many seconds to wait for one.
        run: Where ``after`` was told; if that was another program, everything is new.
        ring: The records.

    Raises:
        QMI_InvalidValueException: If an argument makes no sense.
    """

    def __init__(
        self,
        loop: Loop,
        after: object,
        level: object,
        limit: object,
        wait: object,
        run: object,
        *,
        ring: LogSource = LOG_RING,
    ) -> None:
        self._loop = loop
        self._ring = ring
        if after is not None and (type(after) is not int or after < 0):
            raise QMI_InvalidValueException(f"after must be None or the number of a record, got {after!r}")
        if type(limit) is not int or not 1 <= limit <= MOST_RECORDS:
            raise QMI_InvalidValueException(f"limit must be 1 to {MOST_RECORDS} records, got {limit!r}")
        if type(wait) not in (int, float) or not 0 <= float(wait) <= LONGEST_WAIT:  # type: ignore[arg-type]
            raise QMI_InvalidValueException(f"wait must be 0 to {LONGEST_WAIT:g} seconds, got {wait!r}")
        self._level = level_number(level)
        self._limit = limit
        self._wait = 0.0 if after is None else float(wait)  # type: ignore[arg-type]
        self._after = after
        self._run = run if isinstance(run, str) else ""
        self._pending = False
        self._woken = trio.Event()

    def read(self) -> LogBatch:
        """What there is now."""
        run, part, is_more = self._ring.part(self._run, self._after, self._level, self._limit)
        return LogBatch(
            tuple(LogRecordStatus(*entry) for entry in part.entries),
            part.last,
            part.lost,
            run,
            bool(self._ring.feeders or part.entries),
            self._ring.clock(),
            is_more,
        )

    async def answer(self) -> dict[str, Any]:
        """What is sent to the caller."""
        return (await self.wait()).to_plain()

    async def wait(self) -> LogBatch:
        """What there is, as soon as there is something, or the time is over.

        Raises:
            QMI_NotDeliveredException: If there is nothing, and nothing can come now.
        """
        batch = self.read()
        if not self._wait:
            return batch
        end = self._ring.listen(self._level, self._wake)
        try:
            with trio.move_on_after(self._wait):
                while True:
                    batch = self.read()
                    if batch.records or batch.lost:
                        break
                    self._after, self._run = batch.last, batch.run
                    if self._ring.fault:
                        raise QMI_NotDeliveredException(self._ring.fault)
                    await self._woken.wait()
                    self._woken, self._pending = trio.Event(), False
        finally:
            end()
        return batch

    def _wake(self) -> None:
        # In any thread, with the locks of logging: the loop is told once, and looks for itself. A record that comes
        # between that and the next look is found by it, since `_pending` is reset before.
        if not self._pending:
            self._pending = True
            self._loop.soon(self._tell)

    def _tell(self) -> None:
        self._woken.set()
