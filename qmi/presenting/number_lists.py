"""Lists of numbers as arrays of numpy and the other way round, in steps between which other threads run.

What numpy does in one go, it does with Python's lock in its hands: a thread that turns a million numbers into a list
holds up all others for that long, an event loop among them.
"""

from __future__ import annotations

from typing import Any

STEP = 10_000
"""So many numbers take no longer than a millisecond or two."""


def list_of(array: Any) -> Any:
    """An array as lists of lists, as its ``tolist`` has it."""
    if array.size <= STEP or not array.ndim:
        return array.tolist()
    if array.ndim == 1:
        found: list[object] = []
        for begin in range(0, len(array), STEP):
            found += array[begin : begin + STEP].tolist()
        return found
    rows = max(1, STEP * len(array) // array.size)
    if rows == 1:
        return [list_of(row) for row in array]
    return [row for begin in range(0, len(array), rows) for row in array[begin : begin + rows].tolist()]


def array_from(values: Any, dtype: Any = None) -> Any:
    """A list, or a list of lists, as an array: as ``numpy.asarray`` has it, where these are numbers.

    Args:
        values: The list.
        dtype: The type of its elements; None for the one that they have.

    Raises:
        ValueError: If its lists are of different lengths.
        TypeError: If it is of things that no array has together.
        OverflowError: If a number is too large for the type.
    """
    import numpy

    size = _size(values)
    if size <= STEP:
        return numpy.asarray(values, dtype)
    if _size(values[0]) > STEP:
        return numpy.stack([array_from(item, dtype) for item in values])
    step = max(1, STEP * len(values) // size)
    parts = [numpy.asarray(values[begin : begin + step], dtype) for begin in range(0, len(values), step)]
    return numpy.concatenate(parts)


def _size(value: Any) -> int:
    """How many numbers a list has, if its lists are all of one length."""
    size = 1
    while isinstance(value, list | tuple) and value:
        size *= len(value)
        value = value[0]
    return size
