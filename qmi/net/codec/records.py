"""Rows of scalars, and dicts of scalars, written and read by the C code of msgspec.

The payload of a packed list is ``["R", [kind, rows, items, lengths], bytes]`` for a list of tuples, lists or dicts, and
``["D", kind, bytes]`` for a dict::

    kind     "t" tuples, "l" lists, "d" dicts; of a dict that of its keys: "s" texts, "i" integers of 64 bits
    rows     how many there are
    items    how many items they have together, of dicts how many keys
    lengths  how many bytes each array of rows has, or None if there is just one

How many rows there are stands in front, so that what they take up is known before they are made. The decoder of each
kind takes nothing but scalars for an item, so that there are no other containers than the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, Final

from cbor2 import CBORTag
from msgspec import msgpack

from qmi.net.codec.budget import CONTAINER
from qmi.net.codec.msgpack_parts import Scalar, announced, cut, join, read, read_all, write, write_parts
from qmi.net.codec.rows import SCALARS, Decoding, Encoding, Malformed, Memory, sized, typed
from qmi.net.codec.tags import Own

LETTERS: Final[dict[type, str]] = {tuple: "t", list: "l", dict: "d"}
DICT_FROM: Final = 48
"""A dict of fewer scalars is written by cbor2 as quickly."""
_DICT_UP_TO = 1 << 16
"""One of more is written as a list of its keys and one of its values, which are made piece by piece."""
_ROWS = 1024
"""So many rows are written and read at a time; fewer if they are long."""
_WIDEST = 512
"""Rows of more items on the average are packed each by itself."""
_CHANGED = 64
"""So many items more or fewer may be in the rows than were counted: another thread may have changed them meanwhile."""
_SCALAR = 2
_DICT = 12
_KEY = 4
"""What a scalar counts, a dict, and each key in it."""
_TEXT = {str}
_INTEGER = {int}
_DECODERS: dict[str, Callable[[memoryview], list[Any]]] = {
    "t": msgpack.Decoder(list[tuple[Scalar, ...]]).decode,
    "l": msgpack.Decoder(list[list[Scalar]]).decode,
    "d": msgpack.Decoder(list[dict[str, Scalar]]).decode,
}
_DICT_DECODERS: dict[str, Callable[[memoryview], dict[Any, Any]]] = {
    "s": msgpack.Decoder(dict[str, Scalar]).decode,
    "i": msgpack.Decoder(dict[int, Scalar]).decode,
}


def weight_of_rows(count: int, keys: int) -> int:
    """Return what so many rows count, in the units of :mod:`.budget`: dicts of so many keys, or tuples or lists."""
    return count * (_DICT + _KEY * keys if keys else CONTAINER)


def _weight(kind: str, rows: int, items: int) -> int:
    if kind == "d":
        return _DICT * rows + (_KEY + _SCALAR) * items
    return CONTAINER * rows + _SCALAR * items


def _items_of(rows: Iterable[Any], kind: type) -> Iterable[object]:
    return chain.from_iterable(map(dict.values, rows) if kind is dict else rows)


def pack_records(encoding: Encoding, rows: Sequence[Any], kind: type, items: int) -> CBORTag | None:
    """Return what stands for rows of one kind if all their so many items are scalars; None if they are not.

    Nobody can change a row while it is written, which is one step of the interpreter.
    """
    rows = list(rows)
    count = len(rows)
    if items > _WIDEST * count or not SCALARS.issuperset(map(type, _items_of(rows[:1], kind))):
        return None
    if not SCALARS.issuperset(set(map(type, _items_of(rows, kind)))):
        return None
    if kind is dict and set(map(type, chain.from_iterable(rows))) != _TEXT:
        return None
    parts = write_parts(rows, max(1, min(_ROWS, 8 * _ROWS * count // (items + 1))))
    if parts is None:
        return None
    letter = LETTERS[kind]
    encoding.spend(_weight(letter, count, items))
    lengths, data = join(parts)
    return CBORTag(Own.PACKED, ["R", [letter, count, items, lengths], encoding.add_segment(data)])


def unpack_records(decoding: Decoding, detail: object, data: Memory) -> list[Any]:
    """Make the rows."""
    kind, count, items, lengths = sized(detail, 4)
    decode = _DECODERS.get(typed(kind, str))
    parts = cut(lengths, data)
    if decode is None or sum(map(announced, parts)) != typed(count, int) or not 0 <= typed(items, int) <= len(data):
        raise Malformed("packed rows are not as many as they should be")
    decoding.spend(_weight(kind, count, items))
    found = read_all(decode, parts)
    if abs(sum(map(len, found)) - items) > _CHANGED:
        raise Malformed("packed rows do not have as many items as they should")
    return found


def pack_scalar_dict(encoding: Encoding, value: dict[Any, Any]) -> CBORTag | None:
    """Return what stands for a dict whose keys are all texts, or all integers, and whose values are scalars."""
    if not DICT_FROM <= len(value) <= _DICT_UP_TO or not SCALARS.issuperset(set(map(type, value.values()))):
        return None
    kinds = set(map(type, value))
    letter = "s" if kinds == _TEXT else "i" if kinds == _INTEGER else ""
    data = write(value) if letter else None
    if data is None:
        return None
    encoding.spend(_weight("d", 1, len(value)))
    return CBORTag(Own.PACKED, ["D", letter, encoding.add_segment(data)])


def unpack_dict(decoding: Decoding, kind: object, data: Memory) -> dict[Any, Any]:
    """Make the dict. Of integers of 64 bits too few have the same hash for anybody to choose them for that."""
    decode = _DICT_DECODERS.get(typed(kind, str))
    view = memoryview(data)
    count = announced(view)
    if decode is None or count > _DICT_UP_TO:
        raise Malformed("the kind of a packed dict is not known, or it is too large")
    decoding.spend(_weight("d", 1, count))
    found = read(decode, view)
    if len(found) != count:
        raise Malformed("a key of a dict comes twice")
    return found
