"""The name under which drivers have known the base of all SCPI instruments, and checks of their arguments."""

from __future__ import annotations

import math

from qmi.core.driver import ScpiInstrument
from qmi.core.exceptions import QMI_InstrumentException

# What SCPI instruments send in place of a value: no number, and too large a one.
_NOT_A_NUMBER = 9.91e37
_INFINITY = 9.9e37

Scpi_Instrument = ScpiInstrument
"""The base of the drivers here, and of your own; :class:`qmi.core.driver.ScpiInstrument`."""


def as_number(answer: str, question: str) -> float:
    """The number that an instrument sent; infinite if it is out of range, NaN if there is none.

    Args:
        answer: What it sent.
        question: What it was asked, for the message.

    Raises:
        QMI_InstrumentException: If it is no number.
    """
    try:
        value = float(answer)
    except ValueError:
        raise QMI_InstrumentException(f"Expected a number in answer to {question!r}, got {answer!r}") from None
    if value == _NOT_A_NUMBER:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= _INFINITY else value


def setting(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> str:
    """A number as instruments understand it.

    Args:
        name: What it is, for the message.
        value: The number.
        low: The least that will do.
        high: The most that will do.

    Raises:
        ValueError: If it is no finite number between both.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise ValueError(f"{name} must be {bounds}, got {value!r}")
    return f"{value:.9G}"


def number_of(name: str, value: int, most: int) -> int:
    """A number of a channel, or of items.

    Raises:
        ValueError: If it is no whole number from 1 to that many.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
    return value
