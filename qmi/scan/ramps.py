"""How a value is taken slowly from where it is to where it is to be."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qmi.errors import QMI_InvalidValueException

STEP = 0.1
"""How long a step of a ramp takes, in seconds."""
LONGEST = 1e6
"""How long a ramp takes at most, in seconds: one that is slower than that is a mistake."""


def check_ramp(value: object, ramp: object) -> float | None:
    """The rate of a ramp.

    Raises:
        QMI_InvalidValueException: If it is no positive number, or the value at its end is no finite number.
    """
    if ramp is None:
        return None
    if isinstance(ramp, bool) or not isinstance(ramp, int | float) or not (math.isfinite(ramp) and ramp > 0):
        raise QMI_InvalidValueException(f"ramp must be None or a positive number, in units per second, got {ramp!r}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise QMI_InvalidValueException(f"A ramp ends at a finite number, got {value!r}")
    return float(ramp)


def ramp_time(start: float, stop: float, rate: float) -> float:
    """How long a ramp takes, in seconds."""
    return _steps(start, stop, rate) * STEP


def _steps(start: float, stop: float, rate: float) -> int:
    return math.ceil(min(abs(stop - start) / rate, LONGEST) / STEP)


def ramp_values(start: float, stop: float, rate: float) -> Iterator[float]:
    """The values of a ramp, one for each step; the last one is the end.

    Args:
        start: Where it is now.
        stop: Where it is to be.
        rate: In units per second.
    """
    steps = _steps(start, stop, rate)
    for number in range(1, steps):
        yield start + (stop - start) * (number / steps)
    yield stop
