"""Where the numbers on an axis are, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Final

_STEPS_OF_TIME: Final = (
    *(number * 10.0**power for power in range(-6, 0) for number in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600.0 * hours for hours in (1, 2, 3, 6, 12)),
    *(86400.0 * days for days in (1, 2, 7, 14, 28, 91, 182, 365, 3650)),
)


def number_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Round numbers within an axis, and how they are written, all with the same number of decimals.

    Args:
        low: The lower end, finite.
        high: The upper end, which is above it.
        most: How many at most, at least 1.
    """
    rough = (high - low) / max(most, 1)
    power = math.floor(math.log10(rough)) if rough > 0 else 0
    step = next(number * 10.0**power for number in (1, 2, 5, 10, 20) if number * 10.0**power >= rough * (1 - 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    if len(numbers) > most:  # both ends are ticks
        return number_ticks(low, high, most - 1) if most > 1 else [(low, f"{low:.4g}")]
    values = [number * step for number in numbers]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    largest = max(abs(low), abs(high))
    if largest >= 1e6 or decimals > 6:
        digits = min(17, max(1, math.ceil(math.log10(largest / step)) + 1))
        return [(value, f"{value:.{digits}g}") for value in values]
    return [(value, f"{value:.{decimals}f}") for value in values]


def time_ticks(low: float, high: float, most: int, zone: tzinfo | None) -> list[tuple[float, str]]:
    """Round times within an axis, and how they are written.

    Args:
        low: The lower end, in seconds since 1970.
        high: The upper end, which is above it.
        most: How many at most, at least 1.
        zone: The time zone in which they are round, and written.
    """
    offset = datetime.fromtimestamp(high, zone).utcoffset()
    shift = 0.0 if offset is None else offset.total_seconds()
    for step in _STEPS_OF_TIME:
        first = math.ceil((low + shift) / step - 1e-9)
        count = math.floor((high + shift) / step + 1e-9) - first + 1
        if count <= most:
            times = [(first + number) * step - shift for number in range(count)]
            return [(time, _written(time, step, zone)) for time in times]
    return []


def _written(time: float, step: float, zone: tzinfo | None) -> str:
    moment = datetime.fromtimestamp(round(time, 6), zone)
    if step >= 86400:
        return f"{moment:%Y-%m-%d}" if step >= 365 * 86400 else f"{moment:%d %b}"
    if step >= 60:
        return f"{moment:%H:%M}"
    if step >= 1:
        return f"{moment:%H:%M:%S}"
    decimals = min(6, max(1, -math.floor(math.log10(step) + 1e-9)))
    return f"{moment:%H:%M:%S}.{f'{moment.microsecond:06}'[:decimals]}"


def spread(labels: Sequence[tuple[int, str]], width: int) -> str:
    """Labels in a line, each in the middle above its place; those that have no room are left out.

    Args:
        labels: Places, rising, and what is written there.
        width: How long the line may be.
    """
    line = ""
    for place, label in labels:
        begin = max(0, min(place - len(label) // 2, width - len(label)))
        if begin >= len(line) + (1 if line else 0) and begin + len(label) <= width:
            line = line.ljust(begin) + label
    return line
