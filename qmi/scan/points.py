"""The points of a scan: plain generators, lists, and a few functions that combine them.

Whatever can be iterated is a list of points; a point is a value, or a tuple with one value for each thing that is set.
A generator is told each row that was measured, as the value of its ``yield``, so it may choose the next point by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from typing import TypeAlias

from qmi.errors import QMI_InvalidValueException

Feed: TypeAlias = Generator[object, object, None]
"""Yields points, and is sent the row of each."""


class Points:
    """Points that can be gone through any number of times; made by :func:`grid`, :func:`zip` and the others.

    Attributes:
        length: How many there are; None if that is not known, or if there is no end.
        kind: Which function has made them.
        parts: What of: the arguments of that function.
    """

    def __init__(
        self, what: str, begin: Callable[[], Feed], length: int | None, kind: str = "", parts: tuple[object, ...] = ()
    ) -> None:
        self._what = what
        self._begin = begin
        self.length = length
        self.kind: str = kind
        self.parts: tuple[object, ...] = parts

    def __iter__(self) -> Feed:
        return self._begin()

    def __repr__(self) -> str:
        return f"<{self._what}: {'an unknown number of' if self.length is None else self.length} points>"


def linspace(start: float, stop: float, number: int) -> tuple[float, ...]:
    """Numbers at equal distances, both ends included.

    Args:
        start: The first one.
        stop: The last one.
        number: How many; one is the start alone.

    Raises:
        QMI_InvalidValueException: If an end is not a finite number, or there would be less than one point.
    """
    first, last = _finite("start", start), _finite("stop", stop)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise QMI_InvalidValueException(f"number must be an int of at least 1, got {number!r}")
    if number == 1:
        return (first,)
    # Weights instead of a difference, which might be too large for a float.
    inner = (first * (1 - i / (number - 1)) + last * (i / (number - 1)) for i in range(1, number - 1))
    low, high = min(first, last), max(first, last)
    return (first, *(min(max(value, low), high) for value in inner), last)


def _finite(name: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise QMI_InvalidValueException(f"{name} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise QMI_InvalidValueException(f"{name} must be finite, got {value!r}")
    return number


def grid(*axes: Iterable[object]) -> Points:
    """Every combination of the points of several axes; the last axis changes fastest.

    Args:
        axes: The points of each axis, as :func:`linspace` gives them, or a list. The first axis may be a generator; the
            others are gone through many times.

    Raises:
        QMI_InvalidValueException: If there is no axis, or one that can be gone through only once.
    """
    _check_axes("grid", axes)
    for number, axis in enumerate(axes[1:], 2):
        _check_repeatable(f"axis {number} of grid()", axis)
    lengths = [length_of(axis) for axis in axes]
    known = [length for length in lengths if length is not None]
    length = 0 if 0 in known else math.prod(known) if len(known) == len(lengths) else None
    # Without that, an axis without an end beside one without points would be gone through for ever.
    return Points(f"grid of {len(axes)} axes", lambda: _grid(axes) if length != 0 else feed(()), length, "grid", axes)


def _grid(axes: tuple[Iterable[object], ...]) -> Feed:
    if not axes:
        yield ()
        return
    outer = feed(axes[0])
    value = _next(outer, None)
    while value is not _END:
        inner = _grid(axes[1:])
        row: object = None
        while (rest := _next(inner, row)) is not _END:
            row = yield (*as_tuple(value), *as_tuple(rest))
        value = _next(outer, row)  # the last row of the line


def zip(*axes: Iterable[object]) -> Points:  # noqa: A001 - as the builtin, of points
    """The first points of several axes together, then the second ones, and so on.

    Args:
        axes: The points of each axis. Where it is not known how many they have, the shortest one ends it.

    Raises:
        QMI_InvalidValueException: If there is no axis, or axes are known to have different numbers of points.
    """
    _check_axes("zip", axes)
    known = [length for axis in axes if (length := length_of(axis)) is not None]
    if len(set(known)) > 1:
        raise QMI_InvalidValueException(
            f"The axes of zip() must have the same number of points, got {', '.join(map(str, known))}"
        )
    length = known[0] if len(known) == len(axes) else None
    return Points(f"zip of {len(axes)} axes", lambda: _zip(axes), length, "zip", axes)


def _zip(axes: tuple[Iterable[object], ...]) -> Feed:
    row: object = None
    feeds = [feed(axis) for axis in axes]
    while True:
        values = [_next(each, row) for each in feeds]
        if any(value is _END for value in values):  # not "in": the values may be arrays
            return
        row = yield tuple(part for value in values for part in as_tuple(value))


def repeat(points: Iterable[object], times: int | None = None) -> Points:
    """The same points again and again.

    Args:
        points: The points.
        times: How often to go through them; None: for ever, until the scan is stopped.

    Raises:
        QMI_InvalidValueException: If the points can be gone through only once, or ``times`` is negative.
    """
    _check_repeatable("repeat()", points)
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise QMI_InvalidValueException(f"times must be None or an int of at least 0, got {times!r}")
    once = length_of(points)
    length = None if times is None else 0 if times == 0 else None if once is None else once * times
    return Points("repetition", lambda: _repeat(points, times), length, "repeat", (points, times))


def _repeat(points: Iterable[object], times: int | None) -> Feed:
    done = 0
    while times is None or done < times:
        done += 1
        empty = True
        row: object = None
        again = feed(points)
        while (point := _next(again, row)) is not _END:
            empty = False
            row = yield point
        if empty:  # for ever nothing
            return


def adaptive(choose: Callable[[list[object]], object]) -> Points:
    """Points that a function chooses by what was measured.

    Args:
        choose: Called with the rows so far, an empty list at first; returns the next point, or None at the end.
    """
    if not callable(choose):
        raise QMI_InvalidValueException(f"adaptive() takes a function that returns the next point, got {choose!r}")
    what = f"points chosen by {getattr(choose, '__name__', choose)}"
    return Points(what, lambda: _adaptive(choose), None, "adaptive", (choose,))


def _adaptive(choose: Callable[[list[object]], object]) -> Feed:
    rows: list[object] = []
    while (point := choose(list(rows))) is not None:
        row = yield point
        if row is not None:
            rows.append(row)


def feed(points: Iterable[object]) -> Feed:
    """Go through points; what is sent reaches those that are chosen by it."""
    iterator = iter(points)
    return iterator if isinstance(iterator, Generator) else _plain(iterator)


def _plain(iterator: Iterator[object]) -> Feed:
    for point in iterator:  # noqa: UP028 - "yield from" would send the rows on, which a plain iterator does not take
        yield point


def length_of(points: object) -> int | None:
    """How many points there are, if that is known."""
    if isinstance(points, Points):
        return points.length
    return len(points) if isinstance(points, Sized) else None


def as_tuple(point: object) -> tuple[object, ...]:
    """The values of a point."""
    return point if isinstance(point, tuple) else (point,)


_END = object()


def _next(points: Feed, row: object) -> object:
    try:
        return points.send(row)
    except StopIteration:
        return _END


def _check_axes(name: str, axes: tuple[Iterable[object], ...]) -> None:
    if not axes:
        raise QMI_InvalidValueException(f"{name}() needs the points of at least one axis")
    for number, axis in enumerate(axes, 1):
        _check_iterable(f"axis {number} of {name}()", axis)


def _check_iterable(what: str, points: object) -> None:
    if isinstance(points, str) or not isinstance(points, Iterable):
        raise QMI_InvalidValueException(f"{what} must be points, such as linspace(0, 5, 51) or a list, got {points!r}")


def _check_repeatable(what: str, points: object) -> None:
    _check_iterable(what, points)
    if isinstance(points, Iterator):
        raise QMI_InvalidValueException(
            f"{what} is gone through more than once, which {type(points).__name__!r} cannot: give it list(...) of it"
        )
