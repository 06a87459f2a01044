"""Which values a parameter must take, and which it must refuse: those at the edges of what was declared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, TypeAlias

from qmi.parameters.declaration import Parameter

Limits: TypeAlias = tuple[float | None, float | None]

_CLOSE = 1e-6
"""By how much a value that reads back may differ, as a part of it: devices round."""


class Refused(NamedTuple):
    """A value that must be refused.

    Attributes:
        value: The value.
        why: What is wrong with it, for messages.
    """

    value: object
    why: str


def accepted(parameter: Parameter[object], limits: Limits | None) -> list[object]:
    """Values that a parameter must take: at each edge, one in between, and all that are listed.

    Args:
        parameter: The parameter.
        limits: Its limits as they are now; None if it has none.
    """
    if parameter.block is not None:
        return []
    if parameter.values is not None:
        return list(parameter.values)
    if issubclass(parameter.type, Enum):
        return list(parameter.type)
    if parameter.type is bool:
        return [True, False]
    if parameter.type in (int, float):
        values = dict.fromkeys(_numbers(parameter, limits or (None, None)))
        return [int(value) if parameter.type is int else float(value) for value in values]
    return []  # a device may want texts of a form that nobody knows


def refused(parameter: Parameter[object], limits: Limits | None) -> list[Refused]:
    """Values that a parameter must refuse: just beyond each edge, between two steps, and of another kind.

    Args:
        parameter: The parameter.
        limits: Its limits as they are now; None if it has none.
    """
    if parameter.block is not None:
        return [Refused("a text", "a text, where data are expected")]
    if parameter.type is str:
        found = [Refused(5, "a number, where a text is expected")]
        if parameter.values:
            found.append(Refused(f"not {parameter.values[0]}", "none of the allowed values"))
        return found
    found = [Refused("no such value", "a text that is no value of it")]
    if parameter.type in (int, float):
        found += _beyond(parameter, limits or (None, None))
    if parameter.type is float:
        found.append(Refused(math.nan, "no number"))
    return found


def is_same(read: object, value: object) -> bool:
    """Whether a value reads back as it was set, but for the rounding of a device."""
    if hasattr(read, "dtype") or hasattr(value, "dtype"):
        import numpy

        return numpy.array_equal(read, value)  # type: ignore[arg-type]
    if isinstance(value, float) and isinstance(read, int | float) and not isinstance(read, bool):
        return math.isclose(read, value, rel_tol=_CLOSE, abs_tol=1e-12)
    return bool(read == value)


def is_of_type(value: object, parameter: Parameter[object]) -> bool:
    """Whether what was read is a value of the parameter's type."""
    if parameter.block is not None:
        return hasattr(value, "dtype")
    return isinstance(value, parameter.type)


def _ends(limits: Limits) -> Limits:
    low, high = (None if end is None or math.isinf(end) else end for end in limits)
    return low, high


def _numbers(parameter: Parameter[object], limits: Limits) -> Iterator[float]:
    low, high = _ends(limits)
    if parameter.step is not None:
        yield from _multiples(parameter.step, low, high)
        return
    if low is not None:
        yield math.ceil(low) if parameter.type is int else low
    if high is not None:
        yield math.floor(high) if parameter.type is int else high
    if low is not None and high is not None:
        middle = float(f"{low + (high - low) / 2:.4g}")
        if parameter.type is int:
            middle = math.floor(middle)
        if low <= middle <= high:
            yield middle
    elif low is None and high is None:
        yield from (1.0, 2.0)
    else:
        yield (low + 1) if low is not None else (high or 0) - 1


def _multiples(step: float, low: float | None, high: float | None) -> Iterator[float]:
    start = low or 0.0
    if low is None and high is not None:
        start = min(math.floor(high / step + 1e-9) * step, high)  # a multiple may be rounded to beyond it
        yield from (start - step, start)
        return
    yield start
    if high is None:
        yield start + step
        return
    number = math.floor((high - start) / step + 1e-9)
    yield from (start + step * (number // 2), min(start + step * number, high))


def _beyond(parameter: Parameter[object], limits: Limits) -> Iterator[Refused]:
    unit = f" {parameter.unit}" if parameter.unit else ""
    if parameter.values is not None:
        numbers = [value for value in parameter.values if isinstance(value, int | float)]
        if numbers:
            yield Refused(max(numbers) * 2 + 1, "none of the allowed values")
        return
    low, high = _ends(limits)
    width = high - low if low is not None and high is not None else 0.0
    for end, sign in ((low, -1), (high, 1)):
        if end is None:
            continue
        least = max(width, abs(end), 1e-6) * 1e-3
        by = max(parameter.step or 0, 1 if parameter.type is int else least)
        value = (math.floor(end) if sign > 0 else math.ceil(end)) if parameter.type is int else end
        yield Refused(value + sign * by, f"beyond its limit of {end!r}{unit}")
    step = parameter.step
    if step is not None and (parameter.type is float or step > 1):
        start = next(_multiples(step, low, high))
        between = start + (step / 2 if parameter.type is float else 1)
        if high is None or between <= high:
            yield Refused(between, f"no multiple of its step of {step!r}{unit}")
