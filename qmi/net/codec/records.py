"""Rows of scalars, and dicts of scalars, written and read by the C code of msgspec.

The payload of a packed list is ``["R", [kind, rows, items, lengths], bytes]`` for a list of tuples, lists or dicts, and
``["D", kind, bytes]`` for a dict::

    kind     "t" tuples, "l" lists, "d" dicts; of a dict that of its keys: "s" texts, "i" integers of 64 bits
    rows     how many there are
    items    how many items they have together, of dicts how many keys
    lengths  how many bytes each array of rows has, or None if there is just one

How many rows there are stands in front, so that what they take up is known before they are made. The decoder of each
kind takes nothing but scalars for an item, so that there are no other containers than the rows. Should there be more
items than announced, this is seen after each part, which has half a megabyte at most.

``["N", [kind, rows, inner, lengths], bytes]`` is for rows whose items are scalars or containers of scalars, all of one
kind: the *inner* one. How many of these there are is not known before, so that each byte counts as if it were one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Sized
from functools import cache
from gc import get_referents
from itertools import chain
from operator import countOf
from typing import Any, Final, NamedTuple

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
_IS_TOLD_OF_VALUES = sys.version_info < (3, 13)
_EXPECTED = SCALARS | LETTERS.keys()
_CHANGED = 64
"""So many items more may be in the rows than were counted: another thread may have added them meanwhile."""
_SCALAR = 2
_DICT = 12
_KEY = 4
"""What a scalar counts, a dict, and each key in it."""
_BYTE = 8
"""What a byte of rows with containers in them counts: the empty list takes one."""
_MOST_NESTED = 1 << 17
"""So many bytes of such rows are packed; more are written by columns."""
_LARGEST = 1 << 19
"""What a part has in bytes, at most."""
_TEXT = {str}
_INTEGER = {int}
_KINDS: dict[str, object] = {"t": tuple[Scalar, ...], "l": list[Scalar], "d": dict[str, Scalar]}
_DECODERS: dict[str, Callable[[memoryview], Sequence[Sized]]] = {
    "t": msgpack.Decoder(list[tuple[Scalar, ...]]).decode,
    "l": msgpack.Decoder(list[list[Scalar]]).decode,
    "d": msgpack.Decoder(list[dict[str, Scalar]]).decode,
}
_DICT_DECODERS: dict[str, Callable[[memoryview], Mapping[str, Scalar] | Mapping[int, Scalar]]] = {
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


class _Look(NamedTuple):
    """What is in rows of one kind.

    Attributes:
        items: The items of all rows, in some order.
        types: Their types.
        round: The types that come round regularly among them, if each row has the same; else nothing.
        has_texts: Whether all keys are texts, if the rows are dicts.
    """

    items: list[object]
    types: set[type]
    round: list[type]
    has_texts: bool

    def of_type(self, kind: type) -> list[Any]:
        """Return the items of one type."""
        if not self.round:
            return [item for item in self.items if type(item) is kind]
        width = len(self.round)
        places = (place for place, each in enumerate(self.round) if each is kind)
        return list(chain.from_iterable(self.items[place::width] for place in places))


def _look(rows: Sequence[Any], kind: type, count: int) -> _Look:
    """Look at rows that have so many items together."""
    # Fast path, must equal the set of the types of `_items_of`: the garbage collector knows the items of a tuple or
    # list without making an iterator for each, in some order. Of a dict it names the values, and the keys too unless
    # all of them are texts: if these are as many as there are values in all dicts, there are no other keys. Since
    # Python 3.13 it names nothing of some dicts, those of objects, so that this would prove nothing.
    items = get_referents(*rows) if kind is not dict or _IS_TOLD_OF_VALUES else []
    is_told = len(items) == count
    if not is_told:
        items = list(_items_of(rows, kind))
    has_texts = kind is dict and (is_told or countOf(map(type, chain.from_iterable(rows)), str) == count)
    types = list(map(type, items))
    # In most tables each row has the same types. Comparing types takes less time than putting each into a set.
    some = types[: len(rows[0])]
    if some and types == some * (len(types) // len(some)):
        return _Look(items, set(some), some, has_texts)
    return _Look(items, set(types), [], has_texts)


def pack_records(encoding: Encoding, rows: Sequence[Any], kind: type, items: int, depth: int) -> CBORTag | None:
    """Return what stands for rows of one kind if all their so many items are scalars, or containers of such.

    Returns None if they are not, or not to be packed in this way.

    Nobody can change a row while it is written, which is one step of the interpreter.
    """
    rows = list(rows)
    count, letter = len(rows), LETTERS[kind]
    if items > _WIDEST * count or not _EXPECTED.issuperset(map(type, _items_of(rows[:1], kind))):
        return None
    if not SCALARS.issuperset(map(type, _items_of(rows[:1], kind))) and _are_too_large(rows):
        return None
    look = _look(rows, kind, items)
    others = look.types - SCALARS
    inner = LETTERS.get(next(iter(others))) if len(others) == 1 else None
    if (others and inner is None) or (kind is dict and not look.has_texts):
        return None
    if inner is not None and not _are_of_scalars(look.of_type(found := others.pop()), found):
        return None
    parts = write_parts(rows, max(1, min(_ROWS, 8 * _ROWS * count // (items + 1))), _LARGEST)
    if parts is None:
        return None
    lengths, data = join(parts)
    if inner is None:
        encoding.spend(_weight(letter, count, items))
        return CBORTag(Own.PACKED, ["R", [letter, count, items, lengths], encoding.add_segment(data)])
    if len(data) > _MOST_NESTED:
        return None
    encoding.check_depth(depth + 1)
    encoding.spend(_BYTE * len(data))
    return CBORTag(Own.PACKED, ["N", [letter, count, inner, lengths], encoding.add_segment(data)])


def _are_too_large(rows: Sequence[Any]) -> bool:
    # Before all of them are looked at and written in vain. If the first one is not like the others, this only decides
    # in which of two ways they are written.
    data = write(rows[0])
    return data is None or len(data) * len(rows) > _MOST_NESTED


def _are_of_scalars(rows: Sequence[Any], kind: type) -> bool:
    look = _look(rows, kind, sum(map(len, rows)))
    return SCALARS.issuperset(look.types) and (kind is not dict or look.has_texts)


def unpack_records(decoding: Decoding, detail: object, data: Memory) -> list[Sized]:
    """Make the rows."""
    kind, count, items, lengths = sized(detail, 4)
    decode = _DECODERS.get(typed(kind, str))
    parts = _parts_of_rows(lengths, data, count)
    if decode is None or not 0 <= typed(items, int) <= len(data):
        raise Malformed("packed rows do not have as many items as they should")
    decoding.spend(_weight(kind, count, items))
    found: list[Sized] = []
    left = items + _CHANGED
    for part in parts:
        rows = read(decode, part)
        left -= sum(map(len, rows))
        if left < 0:
            raise Malformed("packed rows do not have as many items as they should")
        found += rows
    return found


def _parts_of_rows(lengths: object, data: Memory, count: object) -> list[memoryview]:
    parts = cut(lengths, data)
    if max(map(len, parts)) > _LARGEST or sum(map(announced, parts)) != typed(count, int):
        raise Malformed("packed rows are not as many as they should be")
    return parts


def unpack_nested(decoding: Decoding, detail: object, data: Memory) -> list[Any]:
    """Make rows with containers in them."""
    kind, count, inner, lengths = sized(detail, 4)
    if typed(kind, str) not in _KINDS or typed(inner, str) not in _KINDS:
        raise Malformed("the kind of packed rows is not known")
    parts = _parts_of_rows(lengths, data, count)
    decoding.spend(_BYTE * len(data))
    return read_all(_nested_decoder(kind, inner), parts)


@cache
def _nested_decoder(kind: str, inner: str) -> Callable[[memoryview], list[Any]]:
    container: Any = _KINDS[inner]
    item = Scalar | container
    row: Any = {"t": tuple[item, ...], "l": list[item], "d": dict[str, item]}[kind]  # type: ignore[valid-type]
    return msgpack.Decoder(list[row]).decode


def pack_scalar_dict(encoding: Encoding, value: dict[Any, Any]) -> CBORTag | None:
    """Return what stands for a dict whose keys are all texts, or all integers, and whose values are scalars."""
    if not DICT_FROM <= len(value) <= _DICT_UP_TO or not SCALARS.issuperset(
        _types_of(value.values(), next(reversed(value.values())))
    ):
        return None
    kinds = _types_of(value, next(reversed(value)))
    letter = "s" if kinds == _TEXT else "i" if kinds == _INTEGER else ""
    data = write(value) if letter else None
    if data is None:
        return None
    encoding.spend(_weight("d", 1, len(value)))
    return CBORTag(Own.PACKED, ["D", letter, encoding.add_segment(data)])


def _types_of(items: Collection[object], last: object) -> set[type]:
    # Counting is quicker than a set where all are the same.
    first = type(next(iter(items)))
    if type(last) is first and countOf(map(type, items), first) == len(items):
        return {first}
    return set(map(type, items))


def unpack_dict(decoding: Decoding, kind: object, data: Memory) -> Mapping[str, Scalar] | Mapping[int, Scalar]:
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
