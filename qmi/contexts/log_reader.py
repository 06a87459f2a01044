"""How the log of a context is read from elsewhere: at once if there is something, else as soon as there is."""

from __future__ import annotations

import time
from typing import Any

import trio

from qmi.actors.log_records import LogBatch, LogRecordStatus, level_number
from qmi.errors import QMI_InvalidValueException
from qmi.runtime.log_ring import LOG_RING, LogRing
from qmi.runtime.wakeup import Loop

LONGEST_WAIT = 3600.0
MOST_RECORDS = 1000


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
        ring: LogRing = LOG_RING,
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
        self._after = 0 if after is not None and run not in ("", ring.run) else after
        self._pending = False
        self._woken = trio.Event()

    def read(self) -> LogBatch:
        """What there is now."""
        part = self._ring.read(self._after, self._level, self._limit)
        return LogBatch(
            tuple(LogRecordStatus(*entry) for entry in part.entries),
            part.last,
            part.lost,
            self._ring.run,
            bool(self._ring.feeders or part.entries),
            time.time(),
        )

    async def answer(self) -> dict[str, Any]:
        """What is sent to the caller."""
        return (await self.wait()).to_plain()

    async def wait(self) -> LogBatch:
        """What there is, as soon as there is something, or the time is over."""
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
                    self._after = batch.last
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
