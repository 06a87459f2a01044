"""Which types the items of a list have, told by what `marshal` writes: that takes less time than looking at them.

Each item stands there behind a letter for its exact type. Whether the letters are where they would be if all items were
of one type is the proof that they are. Whatever else `marshal` may write, now or in another Python, fails that, and
costs only time. Nothing of it is sent as it is, and nothing is ever read by it.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qmi.net.codec.arrays import loaded_numpy
from qmi.net.codec.msgpack_parts import PART, parts_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

_VERSION = 2
"""The newest that writes no references to earlier items."""
_HEAD = 5
"""A letter for the list, and its length."""
_WIDEST_WITHOUT_NUMPY = 16
"""Rows of more numbers are too few in a part for what is done with each place in them."""
_ROW_HEADS: dict[type, bytes] = {tuple: b"(", list: b"["}


class Form(NamedTuple):
    """How numbers of one type are written.

    Attributes:
        letter: What stands before each.
        dtype: What it is, for numpy.
        size: How many bytes it has.
    """

    letter: bytes
    dtype: str
    size: int


FLOATS: Final = Form(b"g", "<f8", 8)
INTEGERS: Final = Form(b"i", "<i4", 4)
"""Those of 32 bits; longer ones are written otherwise."""


def letters(values: Sequence[object]) -> bytes | None:
    """Return what is written for all items, without the head of the list; None if that cannot be written."""
    try:
        return marshal.dumps(values if type(values) is list else list(values), _VERSION)[_HEAD:]
    except ValueError:
        return None


def _written(values: Sequence[object], form: Form) -> Iterator[bytes | None]:
    step = 1 + form.size
    for part in parts_of(values):
        data = letters(part)
        proven = data is not None and len(data) == step * len(part) and data[::step].count(form.letter) == len(part)
        yield data if proven else None


def numbers(values: Sequence[object], form: Form) -> tuple[Buffer, int] | None:
    """Return the items, one behind the other, and how many there are; None if one of them is of another form."""
    found = []
    step = 1 + form.size
    for data in _written(values, form):
        if data is None:
            return None
        found.append(_gathered(data, len(data) // step, _Layout(0, 1, step), form))
    return _joined(found, form)


def _joined(found: list[Buffer], form: Form) -> tuple[Buffer, int]:
    # As many as were found: another thread may have added some since, or removed some.
    data = found[0] if len(found) == 1 else b"".join(found)
    return data, memoryview(data).nbytes // form.size


class _Layout(NamedTuple):
    """Where numbers are: behind so many bytes of each row, so many in each row, whose length is the step."""

    head: int
    width: int
    step: int


def _gathered(data: bytes, rows: int, layout: _Layout, form: Form) -> Buffer:
    """Return numbers without what is between them."""
    numpy = loaded_numpy()
    head, width, step = layout
    size = form.size
    if numpy is not None:
        strides = (step, 1 + size)
        copied = numpy.ndarray((rows, width), form.dtype, data, head + 1, strides).copy()
        return copied.reshape(-1).view("u1")  # type: ignore[no-any-return]
    # The first byte of all of them at once, and so on, takes half a nanosecond each.
    found = bytearray(rows * width * size)
    for number in range(width):
        begin = head + number * (1 + size) + 1
        for byte in range(size):
            found[number * size + byte :: width * size] = data[begin + byte :: step]
    return found


def are(values: Sequence[object], form: Form) -> bool:
    """Whether all items are of this form."""
    return all(data is not None for data in _written(values, form))


def numbers_in_rows(rows: Sequence[Any], kind: type, width: int, form: Form) -> tuple[Buffer, int] | None:
    """Return the items of all rows, one behind the other, and how many there are.

    Args:
        rows: The rows.
        kind: Tuples or lists.
        width: How many items each is to have.
        form: Which these are to be of.

    Returns:
        None if one of the rows or items is something else.
    """
    if width > _WIDEST_WITHOUT_NUMPY and loaded_numpy() is None:
        return None
    head = _ROW_HEADS[kind] + width.to_bytes(4, "little")
    item = 1 + form.size
    step = len(head) + width * item
    constant = (*enumerate(head), *((place, form.letter[0]) for place in range(len(head), step, item)))
    found = []
    for part in parts_of(rows, max(1, PART // width)):
        data, size = letters(part), len(part)
        if not data or len(data) != step * size:  # nothing is left where another thread has removed rows meanwhile
            return None
        if any(data[place::step].count(byte) != size for place, byte in constant):
            return None
        found.append(_gathered(data, size, _Layout(len(head), width, step), form))
    return _joined(found, form)
