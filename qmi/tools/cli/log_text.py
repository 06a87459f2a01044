"""The times that somebody types for ``qmi log``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmi.core.context import LogBatch

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)")
_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?")


@dataclass(frozen=True)
class Since:
    """From when on records are wanted.

    Attributes:
        age: How many seconds ago at most, by the clock of the context; None if a moment is given.
        moment: From when on, in seconds since 1970.
    """

    age: float | None = None
    moment: float = 0.0

    def filter(self, batch: LogBatch) -> LogBatch:
        """The records of a batch that are wanted."""
        begin = self.moment if self.age is None else batch.now - self.age
        records = tuple(record for record in batch.records if record.time >= begin)
        return batch if len(records) == len(batch.records) else replace(batch, records=records, lost=0)


def since_text(text: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Since:
    """Read what somebody typed: an age such as ``10m``, a time of day, or a date and time; UTC if nothing else is said.

    Args:
        text: What was typed.
        clock: What time it is.

    Raises:
        ValueError: If it is none of these.
    """
    cleaned = text.strip()
    if age := _AGE.fullmatch(cleaned):
        return Since(float(age[1]) * _UNITS[age[2]])
    try:
        if clock_time := _CLOCK.fullmatch(cleaned):
            hour, minute, second = (int(part or 0) for part in clock_time.groups())
            now = clock()
            moment = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return Since(None, (moment if moment <= now else moment - timedelta(days=1)).timestamp())
        moment = datetime.fromisoformat(cleaned)
    except ValueError:
        raise ValueError(
            f"must be an age such as 30s, 10m, 2h or 3d, a time such as 14:30, or a date and time such as "
            f"'2026-11-26 14:30', got {text!r}"
        ) from None
    return Since(None, (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
