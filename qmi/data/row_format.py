"""How a row stands in the log: ``[number, time, value of each column]`` in CBOR; and how many of them are read at once.

Rows of the same columns are often equal but for the bits of their numbers. :class:`RowLayout` finds out from one row
where these are, and numpy takes them out of all the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cbor2
from cbor2 import CBORTag

from qmi.data.column_values import TAG_ARRAY, TAG_TIME, Encoded
from qmi.data.record_format import HEAD_SIZE, Block

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[Any]]

_BYTES, _LIST = 2, 4
_UNSIGNED: Final = {24: ">u1", 25: ">u2", 26: ">u4", 27: ">i8"}
"""Numbers after the first byte of an item; no integer in a log has more than 63 bits."""
_TAGS: Final = {tag: cbor2.dumps(CBORTag(tag, 0))[:-1] for tag in (TAG_TIME, TAG_ARRAY)}
_DTYPE: Final = re.compile(r"[<|](b1|[iu][1248]|f[48]|c8|c16|M8\[ns\])")
_FLOAT, _TRIPLE = 0xFB, 0x83


def row_parts(number: int, time: int, row: Sequence[Encoded]) -> list[bytes | memoryview]:
    """The payload of a row's record; large arrays are their own memory."""
    if all(value.array is None for value in row):
        return [cbor2.dumps([number, time, *(value.plain for value in row)])]
    parts: list[bytes | memoryview] = []
    piece = _head(_LIST, len(row) + 2) + cbor2.dumps(number) + cbor2.dumps(time)
    for value in row:
        if value.array is None:
            piece += cbor2.dumps(value.plain)
        else:
            piece += _array_head(value.type.dtype, value.array.shape, value.array.nbytes)
            parts += (piece, value.array.reshape(-1).view("u1").data)
            piece = b""
    return [*parts, piece] if piece else parts


def _head(major: int, size: int) -> bytes:
    if size < 24:
        return bytes([major << 5 | size])
    width = next(width for width in (1, 2, 4, 8) if size < 1 << 8 * width)
    return bytes([major << 5 | 23 + width.bit_length()]) + size.to_bytes(width, "big")


@lru_cache(64)
def _array_head(dtype: str, shape: tuple[int, ...], size: int) -> bytes:
    """What comes before the bytes of an array."""
    return cbor2.dumps(CBORTag(TAG_ARRAY, [dtype, list(shape), b""]))[:-1] + _head(_BYTES, size)


class _Field(NamedTuple):
    """A value that differs from row to row.

    Attributes:
        at: Where it begins in the payload.
        dtype: How numpy reads it.
        shape: Of an array.
        kind: "int", "negative", "float", "time" or "array".
    """

    at: int
    dtype: str
    shape: tuple[int, ...]
    kind: str


class _Constant(NamedTuple):
    """A value that is the same in all rows of one layout."""

    value: object


@dataclass(frozen=True)
class RowLayout:
    """Where the values are in rows that are encoded alike.

    Attributes:
        items: The number of the row, its time, and the values of its columns.
        fixed: Where bytes are that all these rows have in common: first, one behind the last, and these bytes.
    """

    items: tuple[_Field | _Constant, ...]
    fixed: tuple[tuple[int, int, bytes], ...]

    @classmethod
    def of(cls, payload: bytes) -> RowLayout | None:
        """The layout of a row; None if it is none, or has values that are of another length each time."""
        try:
            return _Walk(payload).layout()
        except (_Unknown, IndexError, UnicodeDecodeError):
            return None

    def count(self, block: Block, first: int) -> int:
        """How many records of a block, from one on, have this layout."""
        import numpy

        left = block.count - first
        for begin, end, content in self.fixed:
            place = block.start + first * block.stride + HEAD_SIZE + begin
            width = end - begin
            for offset, size in _words(width):
                dtype = f"<u{size}"
                found = numpy.ndarray((left,), dtype, block.buffer, place + offset, (block.stride,))
                differs = found != numpy.frombuffer(content, dtype, 1, offset)[0]
                if differs.any():
                    left = int(differs.argmax())
                    if not left:
                        return 0
        return left

    def columns(self, block: Block, first: int, count: int) -> tuple[Array, Array, list[Array | list[object]]]:
        """Numbers and times of records of a block, and the values of each column: an array, or a list of what is none.

        The arrays are made of the block's own memory as far as that is possible.
        """
        numbers, times, *columns = (_column(item, block, first, count) for item in self.items)
        assert not isinstance(numbers, list)
        assert not isinstance(times, list)
        return numbers, times, columns


def _words(width: int) -> list[tuple[int, int]]:
    """Numbers of 8, 4, 2 and 1 bytes that so many bytes consist of: where they begin, and their size."""
    found: list[tuple[int, int]] = []
    at = 0
    for size in (8, 4, 2, 1):
        while width - at >= size:
            found.append((at, size))
            at += size
    return found


def _column(item: _Field | _Constant, block: Block, first: int, count: int) -> Array | list[object]:
    import numpy

    if isinstance(item, _Constant):
        if type(item.value) is int:
            return numpy.full(count, item.value, "i8")
        return [item.value] * count
    place = block.start + first * block.stride + HEAD_SIZE + item.at
    dtype = numpy.dtype(item.dtype)
    inner = numpy.empty(item.shape, dtype).strides
    found: Array = numpy.ndarray((count, *item.shape), dtype, block.buffer, place, (block.stride, *inner))
    if item.kind == "float" or item.kind == "array":
        return found
    numbers = found.astype("i8")
    if item.kind == "negative":
        return -1 - numbers
    return numbers.view("M8[ns]") if item.kind == "time" else numbers


def _is_integer(item: _Field | _Constant) -> bool:
    return item.kind in ("int", "negative") if isinstance(item, _Field) else type(item.value) is int


class _Unknown(Exception):
    """A value that has no fixed place."""


class _Walk:
    """Goes through the items of a row's payload."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0
        self._items: list[_Field | _Constant] = []
        self._fixed: list[tuple[int, int, bytes]] = []
        self._last = 0  # the end of the last field

    def layout(self) -> RowLayout:
        if self._payload[0] >> 5 != _LIST:
            raise _Unknown
        for _ in range(self._size()):
            self._item()
        if self._at != len(self._payload):
            raise _Unknown
        self._fix(self._at)
        if len(self._items) < 3 or not all(map(_is_integer, self._items[:2])):
            raise _Unknown  # a number, a time, and at least one value
        return RowLayout(tuple(self._items), tuple(self._fixed))

    def _size(self) -> int:
        """The number in the head of an item, which is passed."""
        info = self._payload[self._at] & 0x1F
        self._at += 1
        if info < 24:
            return info
        if info > 27:
            raise _Unknown
        width = 1 << (info - 24)
        self._at += width
        return int.from_bytes(self._payload[self._at - width : self._at], "big")

    def _fix(self, end: int) -> None:
        if end > self._last:
            self._fixed.append((self._last, end, self._payload[self._last : end]))

    def _field(self, at: int, size: int, dtype: str, kind: str, shape: tuple[int, ...] = ()) -> None:
        self._fix(at)
        self._items.append(_Field(at, dtype, shape, kind))
        self._at = self._last = at + size

    def _item(self) -> None:
        first = self._payload[self._at]
        if first == _FLOAT:
            self._field(self._at + 1, 8, ">f8", "float")
        elif first >> 5 in (0, 1):
            self._integer("negative" if first >> 5 else "int")
        elif self._payload.startswith(_TAGS[TAG_TIME], self._at):
            self._at += len(_TAGS[TAG_TIME])
            if self._payload[self._at] >> 5 or self._payload[self._at] & 0x1F < 24:
                raise _Unknown  # before 1970
            self._integer("time")
        elif self._payload.startswith(_TAGS[TAG_ARRAY], self._at):
            self._array()
        elif first in (0xF4, 0xF5, 0xF6, 0xF9):
            size = 3 if first == 0xF9 else 1
            self._items.append(_Constant(cbor2.loads(self._payload[self._at : self._at + size])))
            self._at += size
        else:
            raise _Unknown

    def _integer(self, kind: str) -> None:
        info = self._payload[self._at] & 0x1F
        if info < 24:
            self._items.append(_Constant(info if kind == "int" else -1 - info))
            self._at += 1
        elif info in _UNSIGNED:
            self._field(self._at + 1, 1 << (info - 24), _UNSIGNED[info], kind)
        else:
            raise _Unknown

    def _array(self) -> None:
        self._at += len(_TAGS[TAG_ARRAY])
        if self._payload[self._at] != _TRIPLE:
            raise _Unknown
        self._at += 1
        length = self._size()
        dtype = self._payload[self._at : self._at + length].decode()
        self._at += length
        shape = tuple([self._size() for _ in range(self._size())])
        if self._payload[self._at] >> 5 != _BYTES:
            raise _Unknown  # texts
        size = self._size()
        if not _DTYPE.fullmatch(dtype) or int(dtype[2:].partition("[")[0]) * prod(shape) != size:
            raise _Unknown
        self._field(self._at, size, dtype, "array", shape)
