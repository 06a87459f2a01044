"""Long lists of numbers, texts or numpy scalars: one run of bytes instead of one item of CBOR for each.

They are written and read several times as quickly, and they may be larger than the CBOR of a frame: the bytes
travel as a segment. The payload is ``[form, what the form needs, bytes]``::

    "d"  floats      "q"  integers of 64 bits      "?"  bools
    "s"  texts, joined by the text that the second field says, which is in none of them
    "n"  numpy scalars of the element type that the second field says
    "c"  anything that is None, bool, int, float or str, as a list of CBOR
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cbor2 import CBORDecodeError, CBORTag, dumps

from qmi.net.codec import arrays, pieces
from qmi.net.codec.keys import check_keys
from qmi.net.codec.rows import SCALARS, Decoding, Encoding, Malformed, Memory, Row, sized, typed
from qmi.net.codec.tags import MAX_INTEGER_BITS, NEGATIVE_BIGINT, POSITIVE_BIGINT, Own
from qmi.net.codec.unknown import UnknownTypeValue

if TYPE_CHECKING:
    from typing_extensions import Buffer


N = TypeVar("N", int, float)
T = TypeVar("T")

PACK_FROM = 128
"""A list of fewer items is written by cbor2 as quickly."""
PACK_NUMPY_FROM = 4
_PART = 1 << 16
"""So many items are unpacked at a time, which takes some milliseconds."""
_MIXED_SIZE = 1 << 20
"""Larger lists of scalars have no integers beyond 64 bits: they would be counted by their bytes."""
_SEPARATORS = ("\0", "\x1f", "\ue000", "\U0010fffd")
_SWAP = sys.byteorder == "big"
_TEXT_COST = 2
_NUMPY_COST = 1


def pack(encoding: Encoding, values: Sequence[object]) -> CBORTag | None:
    """Return what stands for a list of at least :data:`PACK_FROM` items; None if it has no packed form."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (first,) = kinds
        pack_all = _PACKERS.get(first)
        if pack_all is not None:
            found = pack_all(encoding, values)
            if found is not None:
                return found
        elif first not in SCALARS:
            return pack_numpy(encoding, values, first)
    if SCALARS.issuperset(kinds):
        return _pack_mixed(encoding, values)
    return None


def _packed(encoding: Encoding, form: str, detail: object, data: Buffer, objects: int) -> CBORTag:
    encoding.spend(objects)
    return CBORTag(Own.PACKED, [form, detail, encoding.add_segment(data)])


def _pack_floats(encoding: Encoding, values: Sequence[float]) -> CBORTag:
    return _packed(encoding, "d", None, _little(array("d", values)), len(values))


def _pack_integers(encoding: Encoding, values: Sequence[int]) -> CBORTag | None:
    try:
        return _packed(encoding, "q", None, _little(array("q", values)), len(values))
    except OverflowError:
        return None


def _little(numbers: array[N]) -> array[N]:
    if _SWAP:
        numbers.byteswap()
    return numbers


def _pack_bools(encoding: Encoding, values: Sequence[bool]) -> CBORTag:
    return _packed(encoding, "?", None, bytes(values), len(values))


def _pack_texts(encoding: Encoding, values: Sequence[str]) -> CBORTag | None:
    for separator in _SEPARATORS:
        joined = separator.join(values)
        if joined.count(separator) == len(values) - 1:
            try:
                return _packed(encoding, "s", separator, joined.encode(), _TEXT_COST * len(values))
            except UnicodeEncodeError:  # half of a surrogate pair: whoever refuses it says where it is
                return None
    return None


def _pack_mixed(encoding: Encoding, values: Sequence[object]) -> CBORTag | None:
    try:
        data = dumps(values if type(values) is list else list(values))
    except Exception:  # noqa: BLE001 - whatever cbor2 refuses: whoever refuses it says where it is
        return None
    if len(data) > _MIXED_SIZE or has_long_integer(data):
        most = 64 if len(data) > _MIXED_SIZE else MAX_INTEGER_BITS
        if any(type(value) is int and value.bit_length() > most for value in values):
            return None
    return _packed(encoding, "c", None, data, _TEXT_COST * len(values))


def pack_numpy(encoding: Encoding, values: Sequence[Any], kind: type) -> CBORTag | None:
    """Return what stands for numpy scalars of one type; None for anything else."""
    numpy = arrays.loaded_numpy()
    if numpy is None or not issubclass(kind, numpy.generic):
        return None
    dtype = values[0].dtype
    if dtype.kind not in "biufcmM" or (dtype.kind in "mM" and any(value.dtype != dtype for value in values)):
        return None
    flat = numpy.array(values, dtype=dtype)
    return _packed(encoding, "n", arrays.describe_dtype(dtype), flat.view("u1"), len(values) * _NUMPY_COST)


_PACKERS: dict[type, Callable[[Encoding, Sequence[Any]], CBORTag | None]] = {
    float: _pack_floats, int: _pack_integers, bool: _pack_bools, str: _pack_texts,
}  # fmt: skip


_LONG_HEADS = tuple((tag + width, size) for tag in (b"\xc2", b"\xc3") for width, size in ((b"\x5a", 4), (b"\x5b", 8)))


def has_long_integer(payload: bytes) -> bool:
    """Whether there may be an integer beyond the limit in some CBOR: other bytes can look like the head of one."""
    limit = MAX_INTEGER_BITS // 8
    if len(payload) <= limit:
        return False
    for head, size in _LONG_HEADS:
        place = payload.find(head)
        while place >= 0:
            begin = place + len(head) + size
            if limit <= int.from_bytes(payload[place + len(head) : begin]) <= len(payload) - begin:
                return True
            place = payload.find(head, place + 1)
    return False


def pack_dict(encoding: Encoding, value: dict[object, object], depth: int) -> CBORTag | None:
    """Return what stands for a large dict whose keys have a packed form; None if they have not."""
    keys = list(value)
    kind = type(keys[0])
    if kind not in SCALARS or kind is type(None):
        return None
    packed = pack(encoding, keys)
    if packed is None:
        return None
    check_keys(keys)
    return CBORTag(Own.PACKED_DICT, [packed, encoding.items(list(value.values()), depth)])


# -- unpacking


def _unpack(decoding: Decoding, payload: object, _: bool) -> object:
    form, detail, data = sized(payload, 3)
    unpack = _UNPACKERS.get(form) if type(form) is str else None
    if unpack is None:
        raise Malformed("the form of a packed list is not known")
    return unpack(decoding, detail, decoding.take(data))


def _in_parts(size: int, make: Callable[[int, int], list[T]]) -> list[T]:
    # Other threads have the interpreter between two parts.
    found = make(0, _PART)
    for begin in range(_PART, size, _PART):
        found += make(begin, begin + _PART)
    return found


def _unpack_numbers(code: Literal["d", "q"]) -> Callable[[Decoding, object, Memory], object]:
    def unpack(decoding: Decoding, detail: object, data: Memory) -> list[float]:
        numbers: array[float] = array(code)
        decoding.spend(len(data) // numbers.itemsize)
        numbers.frombytes(data)
        numbers = _little(numbers)
        return _in_parts(len(numbers), lambda begin, end: numbers[begin:end].tolist())

    return unpack


def _unpack_bools(decoding: Decoding, detail: object, data: Memory) -> list[bool]:
    decoding.spend(len(data))
    flags = bytes(data)
    try:
        return _in_parts(len(flags), lambda begin, end: list(map((False, True).__getitem__, flags[begin:end])))
    except IndexError:
        raise Malformed("a bool is neither 0 nor 1") from None


def _unpack_texts(decoding: Decoding, detail: object, data: Memory) -> list[str]:
    if not isinstance(detail, str) or detail not in _SEPARATORS:
        raise Malformed("the separator of packed texts is not known")
    text = str(data, "utf-8")
    decoding.spend(_TEXT_COST * (text.count(detail) + 1))
    *found, rest = text.split(detail, _PART)
    while detail in rest:
        *more, rest = rest.split(detail, _PART)
        found += more
    found.append(rest)
    return found


def _unpack_numpy(decoding: Decoding, detail: object, data: Memory) -> list[object]:
    flat = arrays.decode_flat(detail, data)
    if isinstance(flat, UnknownTypeValue):
        return _without_numpy(decoding, detail, bytes(data))
    decoding.spend(flat.size * _NUMPY_COST)
    return _in_parts(flat.size, lambda begin, end: list(flat[begin:end]))


def _without_numpy(decoding: Decoding, described: object, data: bytes) -> list[object]:
    digits = described[2:].partition("[")[0] if isinstance(described, str) else ""
    size = int(digits) if digits.isdecimal() else 0
    if not isinstance(described, str) or not 0 < size <= 64 or len(data) % size:
        raise Malformed("packed scalars do not fit their element type")
    decoding.spend(len(data) // size * _NUMPY_COST)
    return [arrays.scalar_without_numpy(described, data[at : at + size]) for at in range(0, len(data), size)]


class _BigIntegers(dict[int, Callable[[object, bool], int]]):
    """The tags that may be in a list of scalars."""

    def __missing__(self, tag: int) -> Callable[[object, bool], int]:
        raise Malformed(f"CBOR tag {tag} is not used in a packed list")


def big_integer(value: object) -> int:
    """Return the integer that a byte string stands for."""
    data = typed(value, bytes)
    if len(data) * 8 > MAX_INTEGER_BITS:
        raise Malformed(f"an integer of {len(data)} bytes; the limit is {MAX_INTEGER_BITS // 8}")
    return int.from_bytes(data)


_BIG = _BigIntegers({
    POSITIVE_BIGINT: lambda value, _: big_integer(value),
    NEGATIVE_BIGINT: lambda value, _: -1 - big_integer(value),
})  # fmt: skip


def _unpack_mixed(decoding: Decoding, detail: object, data: Memory) -> list[object]:
    packed = bytes(data)
    decoding.spend(_TEXT_COST * _length(packed))
    sealed = b"".join((b"\x82", packed, b"\x00"))  # cbor2 ignores what follows the first item
    try:
        # At this depth there can be no list in the list.
        found, end = pieces.decode(sealed, semantic_decoders=_BIG, max_depth=2, allow_indefinite=False)
    except CBORDecodeError:
        # Or there is a large integer, which counts as a level.
        decoding.spend(len(data))
        found, end = pieces.decode(sealed, semantic_decoders=_BIG, max_depth=3, allow_indefinite=False)
        if type(found) is not list or not SCALARS.issuperset(map(type, found)):
            raise Malformed("a packed list has something else than scalars in it") from None
    if type(found) is not list or end != 0:
        raise Malformed("packed scalars are no list")
    return found


def _length(data: bytes) -> int:
    """Return the length that a list announces."""
    head = data[0] if data else 0
    if not 0x80 <= head <= 0x9B:
        raise Malformed("packed scalars are no list")
    if head < 0x98:
        return head & 0x1F
    return int.from_bytes(data[1 : 1 + (1 << (head & 3))])


def _unpack_dict(decoding: Decoding, payload: object, _: bool) -> dict[object, object]:
    keys, values = sized(payload, 2)
    if len(typed(keys, list)) != len(typed(values, list)):
        raise Malformed("a dict does not have as many values as keys")
    check_keys(keys)
    found = dict(zip(keys, values, strict=True))
    if len(found) != len(keys):
        raise Malformed("a key of a dict comes twice")
    return found


_UNPACKERS: dict[str, Callable[[Decoding, object, Memory], object]] = {
    "d": _unpack_numbers("d"), "q": _unpack_numbers("q"), "?": _unpack_bools, "s": _unpack_texts,
    "n": _unpack_numpy, "c": _unpack_mixed,
}  # fmt: skip

ROWS = (Row(Own.PACKED, _unpack), Row(Own.PACKED_DICT, _unpack_dict))
