"""Long lists of numbers, texts or numpy scalars: one run of bytes instead of one item of CBOR for each.

They are written and read several times as quickly, and they may be larger than the CBOR of a frame: the bytes
travel as a segment. The payload is ``[form, what the form needs, bytes]``::

    "d"  floats      "q"  integers of 64 bits      "z"  complex numbers, as pairs of floats
    "i"  integers of 32 bits
    "?"  False, True and None, as 0, 1 and 2
    "b"  integers of as many bytes each as the second field says, with a sign
    "s"  texts, joined by the text that the second field says, which is in none of them
    "n"  numpy scalars of the element type that the second field says
    "m"  anything that is None, bool, int, float or str, as arrays of MessagePack; the second field is the list of how
         many bytes each of them has, or None if there is just one
    "B"  bytes, likewise
    "R"  rows of scalars, "N" rows with containers in them, "D" a dict of scalars: see :mod:`.records`
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from operator import countOf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from cbor2 import CBORTag
from msgspec import ValidationError, convert, msgpack

from qmi.net.codec import arrays, marshalled, records
from qmi.net.codec.budget import weigh_few
from qmi.net.codec.keys import check_keys
from qmi.net.codec.msgpack_parts import Scalar, announced, cut, join, parts_of, read_all, write, write_parts
from qmi.net.codec.rows import SCALARS, Decoding, Encoding, Malformed, Memory, Row, sized, typed
from qmi.net.codec.tags import MAX_INTEGER_BITS, Own
from qmi.net.codec.unknown import UnknownTypeValue

if TYPE_CHECKING:
    from typing_extensions import Buffer


T = TypeVar("T")

PACK_FROM = 64
"""A list of fewer items is written by cbor2 as quickly."""
PACK_FEW_FROM = 4
"""A list of fewer numpy scalars or complex numbers is."""
_PART = 1 << 16
"""So many items are unpacked at a time, which takes some milliseconds."""
_PART_OF_NUMBERS = 1 << 18
"""And so many numbers or bools: a list that grows part by part is new memory of the system's each time."""
_SEPARATORS = ("\0", "\x1f", "\ue000", "\U0010fffd")
_SWAP = sys.byteorder == "big"
_TEXT_COST = 2
_NUMPY_COST = 1
_FLAG = "|b1"
_OBJECT_COST = 4
"""What a complex number or a long integer counts."""
_MAX_WIDTH = 64
"""Integers of more bytes are written one by one."""
_NUMBERS = {float: (marshalled.FLOATS, "d"), int: (marshalled.INTEGERS, "i")}
"""By the type of numbers: how `marshal` writes them, and the form of the packed list."""
_SHORT = 1 << 31
_FEW = 4096
"""So many numbers are packed at a time."""
_FLAGS = b"\0\1\2"
_VALUES = (False, True, None)
_FROM_MARSHAL = bytes.maketrans(b"FTN", _FLAGS)
_Code: TypeAlias = Literal["d", "q", "i"]
_SIZES: dict[_Code, int] = {"d": 8, "q": 8, "i": 4}
_GAPS = list[float | None]
_read_scalars = msgpack.Decoder(list[Scalar]).decode
_read_bytes = msgpack.Decoder(list[bytes]).decode


def pack(encoding: Encoding, values: Sequence[object]) -> CBORTag | None:
    """Return what stands for a list of at least :data:`PACK_FROM` items; None if it has no packed form."""
    at_once = _AT_ONCE.get(frozenset((type(values[0]), type(values[len(values) // 2]), type(values[-1]))))
    if at_once is not None and (found := at_once(encoding, values)) is not None:
        return found
    if arrays.is_flag(values[0]) and (found := _pack_flags(encoding, values)) is not None:
        return found
    kinds = kinds_of(values)
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
        return pack_scalars(encoding, values)
    return None


def kinds_of(values: Sequence[object]) -> set[type]:
    """Return the types of at least one value; counting them is quicker where all seem to be the same."""
    first = type(values[0])
    seems_one = type(values[-1]) is first and type(values[len(values) // 2]) is first
    if seems_one and countOf(map(type, values), first) == len(values):
        return {first}
    return set(map(type, values))


def _packed(encoding: Encoding, form: str, detail: object, data: Buffer, objects: int) -> CBORTag:
    encoding.spend(objects)
    return CBORTag(Own.PACKED, [form, detail, encoding.add_segment(data)])


def _pack_floats(encoding: Encoding, values: Sequence[float]) -> CBORTag:
    return _packed(encoding, "d", None, _bytes_of("d", values), len(values))


def _pack_integers(encoding: Encoding, values: Sequence[int]) -> CBORTag | None:
    try:
        return _packed(encoding, "q", None, _bytes_of("q", values), len(values))
    except struct.error:
        return _pack_long_integers(encoding, values)


def _bytes_of(code: str, values: Sequence[float]) -> bytes | bytearray:
    # In parts: the arguments of one call for all would be new memory of the system's each time.
    size = len(values)
    if size <= _FEW:
        return struct.pack(f"<{size}{code}", *values)
    data = bytearray(8 * size)
    write = struct.Struct(f"<{_FEW}{code}").pack_into
    whole = size - size % _FEW
    for begin in range(0, whole, _FEW):
        write(data, 8 * begin, *values[begin : begin + _FEW])
    struct.pack_into(f"<{size - whole}{code}", data, 8 * whole, *values[whole:])
    return data


def _pack_long_integers(encoding: Encoding, values: Sequence[int]) -> CBORTag | None:
    width = max(map(int.bit_length, values)) // 8 + 1
    if width > _MAX_WIDTH:
        return None
    data = b"".join([value.to_bytes(width, "little", signed=True) for value in values])
    return _packed(encoding, "b", width, data, _OBJECT_COST * len(values))


def _pack_complex(encoding: Encoding, values: Sequence[complex]) -> CBORTag:
    numpy = arrays.loaded_numpy()
    if numpy is not None:
        data: Buffer = numpy.fromiter(values, "<c16", len(values)).view("u1")
    else:
        parts = [part for value in values for part in (value.real, value.imag)]
        data = _bytes_of("d", parts)
    return _packed(encoding, "z", None, data, _OBJECT_COST * len(values))


def _pack_bools(encoding: Encoding, values: Sequence[bool]) -> CBORTag:
    return _packed(encoding, "?", None, bytes(values), len(values))


# Fast paths, must equal what follows the types of all items, which take longer to look at; see :mod:`.marshalled`.
# ``tests/net/codec/test_packed.py`` compares both.


def _floats_at_once(encoding: Encoding, values: Sequence[float]) -> CBORTag | None:
    # Without numpy the other way is quicker for floats.
    numbers = marshalled.numbers(values, marshalled.FLOATS) if arrays.loaded_numpy() else None
    return _gaps_at_once(encoding, values) if numbers is None else _packed(encoding, "d", None, *numbers)


def _integers_at_once(encoding: Encoding, values: Sequence[int]) -> CBORTag | None:
    if not all(-_SHORT <= number < _SHORT for number in (values[0], values[-1])):
        return None
    numbers = marshalled.numbers(values, marshalled.INTEGERS)
    return None if numbers is None else _packed(encoding, "i", None, *numbers)


def pack_rows_of_numbers(
    encoding: Encoding, rows: Sequence[Any], kind: type, width: int, number: type
) -> tuple[CBORTag, int] | None:
    """Return what stands for the items of all rows together, and how many rows were found.

    Args:
        encoding: Puts them aside.
        rows: Tuples or lists, as far as the first and the last one show.
        kind: Which of both.
        width: How many items each has.
        number: The type of these.

    Returns:
        None if a row is of another kind or length, or if not all items are floats or integers of 32 bits.
    """
    form = _NUMBERS.get(number)
    numbers = form and marshalled.numbers_in_rows(rows, kind, width, form[0])
    return (_packed(encoding, form[1], None, *numbers), numbers[1] // width) if form and numbers else None


def _gaps_at_once(encoding: Encoding, values: Sequence[float | None]) -> CBORTag | None:
    """Pack floats of which some are None.

    If msgspec is asked for floats or None, it refuses what is neither, or makes a float of a number, which is then
    written otherwise. What is written alike was a float or None before.
    """
    parts = []
    for part in parts_of(values):
        data = write(part)
        try:
            if data is None or write(convert(part, _GAPS)) != data:
                return None
        except ValidationError:
            return None
        parts.append(data)
    return _packed_parts(encoding, "m", parts, len(values))


def _packed_parts(encoding: Encoding, form: str, parts: list[bytes] | None, size: int) -> CBORTag | None:
    if parts is None:  # an integer beyond 64 bits, or half of a surrogate pair: whoever refuses it says where it is
        return None
    lengths, data = join(parts)
    return _packed(encoding, form, lengths, data, _TEXT_COST * size)


def _flags_at_once(encoding: Encoding, values: Sequence[bool | None]) -> CBORTag | None:
    data = marshalled.letters(values)
    if data is None or len(data) != len(values) or data.translate(None, b"FTN"):
        return None
    return _packed(encoding, "?", None, data.translate(_FROM_MARSHAL), len(data))


def _nones_at_once(encoding: Encoding, values: Sequence[None]) -> CBORTag | None:
    return _flags_at_once(encoding, values) or _gaps_at_once(encoding, values)


_NONE = type(None)
_AT_ONCE: dict[frozenset[type], Callable[[Encoding, Sequence[Any]], CBORTag | None]] = {
    frozenset((float,)): _floats_at_once, frozenset((float, _NONE)): _gaps_at_once,
    frozenset((int,)): _integers_at_once,
    frozenset((bool,)): _flags_at_once, frozenset((bool, _NONE)): _flags_at_once, frozenset((_NONE,)): _nones_at_once,
}  # fmt: skip
"""By the types of the first item, the last one, and one between them."""


def _pack_texts(encoding: Encoding, values: Sequence[str]) -> CBORTag | None:
    for separator in _SEPARATORS:
        joined = separator.join(values)
        if joined.count(separator) == len(values) - 1:
            try:
                return _packed(encoding, "s", separator, joined.encode(), _TEXT_COST * len(values))
            except UnicodeEncodeError:  # half of a surrogate pair: whoever refuses it says where it is
                return None
    return None


def _pack_bytes(encoding: Encoding, values: Sequence[bytes]) -> CBORTag | None:
    return _packed_parts(encoding, "B", write_parts(values), len(values))


def pack_scalars(encoding: Encoding, values: Sequence[object]) -> CBORTag | None:
    """Return what stands for items that are all of :data:`SCALARS`; None if one of them is too large for that."""
    return _packed_parts(encoding, "m", write_parts(values), len(values))


def pack_few(encoding: Encoding, values: Sequence[Any], kind: type) -> CBORTag | None:
    """Return what stands for at least :data:`PACK_FEW_FROM` items of one type; None if each is written by itself."""
    if kind is complex:
        return _pack_complex(encoding, values)
    return pack_numpy(encoding, values, kind)


def pack_numpy(encoding: Encoding, values: Sequence[Any], kind: type) -> CBORTag | None:
    """Return what stands for numpy scalars of one type; None for anything else."""
    numpy = arrays.loaded_numpy()
    if numpy is None or not issubclass(kind, numpy.generic):
        return None
    dtype = values[0].dtype
    if dtype.kind not in "biufcmM" or (dtype.kind in "mM" and any(value.dtype != dtype for value in values)):
        return None
    # Of what may be several, `array` looks for the shape; but of dates, `fromiter` may lose the unit.
    flat = numpy.array(values, dtype=dtype) if dtype.kind in "mM" else numpy.fromiter(values, dtype, len(values))
    return _packed(encoding, "n", arrays.describe_dtype(dtype), flat.view("u1"), len(values) * _NUMPY_COST)


def _pack_flags(encoding: Encoding, values: Sequence[Any]) -> CBORTag | None:
    flags = arrays.flags_of(values)
    return None if flags is None else _packed(encoding, "n", _FLAG, flags.view("u1").data, len(values) * _NUMPY_COST)


_PACKERS: dict[type, Callable[[Encoding, Sequence[Any]], CBORTag | None]] = {
    float: _pack_floats, int: _pack_integers, bool: _pack_bools, str: _pack_texts, complex: _pack_complex,
    bytes: _pack_bytes,
}  # fmt: skip


_LONG_HEADS = tuple((tag + width, size) for tag in (b"\xc2", b"\xc3") for width, size in ((b"\x5a", 4), (b"\x5b", 8)))


def has_long_integer(payload: bytes) -> bool:
    """Whether there may be an integer beyond the limit in some CBOR: other bytes can look like the head of one."""
    limit = MAX_INTEGER_BITS // 8
    if len(payload) <= limit or weigh_few(payload) is not None:
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
    keys, values = list(value), list(value.values())
    kind = type(keys[0])
    if kind not in SCALARS or kind is type(None):
        return None
    packed = pack(encoding, keys)
    if packed is None:
        return None
    if packed.value[0] not in ("s", "i"):  # texts, or integers that are their own hash
        check_keys(keys)
    return CBORTag(Own.PACKED_DICT, [packed, encoding.items(values, depth)])


# -- unpacking


def _unpack(decoding: Decoding, payload: object, _: bool) -> object:
    form, detail, data = sized(payload, 3)
    unpack = _UNPACKERS.get(form) if type(form) is str else None
    if unpack is None:
        raise Malformed("the form of a packed list is not known")
    return unpack(decoding, detail, decoding.take(data))


def _in_parts(size: int, make: Callable[[int, int], list[T]], part: int = _PART) -> list[T]:
    # Other threads have the interpreter between two parts.
    found = make(0, part)
    for begin in range(part, size, part):
        found += make(begin, begin + part)
    return found


def _unpack_numbers(code: _Code) -> Callable[[Decoding, object, Memory], object]:
    def unpack(decoding: Decoding, detail: object, data: Memory) -> object:
        decoding.spend(len(data) // _SIZES[code])
        numbers = _view(code, data)
        return _in_parts(len(numbers), lambda begin, end: numbers[begin:end].tolist(), _PART_OF_NUMBERS)

    return unpack


def _view(code: _Code, data: Memory) -> memoryview[Any]:
    if len(data) % _SIZES[code]:
        raise Malformed("packed numbers are no whole ones")
    if _SWAP:
        numbers: array[float] = array(code)
        numbers.frombytes(data)
        numbers.byteswap()
        return memoryview(numbers)
    return memoryview(data).cast("B").cast(code)


def _unpack_flags(decoding: Decoding, detail: object, data: Memory) -> object:
    decoding.spend(len(data))
    flags = bytes(data)
    if flags.translate(None, _FLAGS):
        raise Malformed("a packed False, True or None is neither of them")
    nones = flags.count(2)
    if nones == len(flags):
        return [None] * nones
    if nones:
        return _in_parts(len(flags), lambda begin, end: list(map(_VALUES.__getitem__, flags[begin:end])))
    view = memoryview(flags).cast("?")
    return _in_parts(len(flags), lambda begin, end: view[begin:end].tolist(), _PART_OF_NUMBERS)


def _unpack_complex(decoding: Decoding, detail: object, data: Memory) -> list[complex]:
    decoding.spend(len(data) // 16 * _OBJECT_COST)
    numpy = arrays.loaded_numpy()
    if numpy is not None:
        flat = numpy.frombuffer(data, "<c16")
        return _in_parts(len(flat), lambda begin, end: flat[begin:end].tolist())
    if len(data) % 16:
        raise Malformed("packed complex numbers are no whole ones")
    parts = _view("d", data).tolist()
    return list(map(complex, parts[::2], parts[1::2]))


def _unpack_long_integers(decoding: Decoding, width: object, data: Memory) -> list[int]:
    if type(width) is not int or not 0 < width <= _MAX_WIDTH or len(data) % width:
        raise Malformed("packed integers do not fit their width")
    decoding.spend(len(data) // width * _OBJECT_COST)
    packed = bytes(data)
    read = int.from_bytes
    return [read(packed[at : at + width], "little", signed=True) for at in range(0, len(packed), width)]


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
    part = _PART_OF_NUMBERS if detail == _FLAG else _PART  # no object is made for a flag
    return _in_parts(flat.size, lambda begin, end: list(flat[begin:end]), part)


def _without_numpy(decoding: Decoding, described: object, data: bytes) -> list[object]:
    digits = described[2:].partition("[")[0] if isinstance(described, str) else ""
    size = int(digits) if digits.isdecimal() else 0
    if not isinstance(described, str) or not 0 < size <= 64 or len(data) % size:
        raise Malformed("packed scalars do not fit their element type")
    decoding.spend(len(data) // size * _NUMPY_COST)
    return [arrays.scalar_without_numpy(described, data[at : at + size]) for at in range(0, len(data), size)]


def big_integer(value: object) -> int:
    """Return the integer that a byte string stands for."""
    data = typed(value, bytes)
    if len(data) * 8 > MAX_INTEGER_BITS:
        raise Malformed(f"an integer of {len(data)} bytes; the limit is {MAX_INTEGER_BITS // 8}")
    return int.from_bytes(data)


def _unpack_msgpack(decode: Callable[[memoryview], list[Any]]) -> Callable[[Decoding, object, Memory], object]:
    def unpack(decoding: Decoding, lengths: object, data: Memory) -> object:
        parts = cut(lengths, data)
        decoding.spend(_TEXT_COST * sum(map(announced, parts)))
        return read_all(decode, parts)

    return unpack


def _unpack_dict(decoding: Decoding, payload: object, _: bool) -> dict[object, object]:
    keys, values = sized(payload, 2)
    if len(typed(keys, list)) != len(typed(values, list)):
        raise Malformed("a dict does not have as many values as keys")
    check_keys(keys)
    found = dict(zip(keys, values, strict=False))
    if len(found) != len(keys):
        raise Malformed("a key of a dict comes twice")
    return found


_UNPACKERS: dict[str, Callable[[Decoding, object, Memory], object]] = {
    "d": _unpack_numbers("d"), "q": _unpack_numbers("q"), "i": _unpack_numbers("i"), "?": _unpack_flags,
    "s": _unpack_texts, "n": _unpack_numpy, "z": _unpack_complex, "b": _unpack_long_integers,
    "m": _unpack_msgpack(_read_scalars), "B": _unpack_msgpack(_read_bytes),
    "R": records.unpack_records, "N": records.unpack_nested, "D": records.unpack_dict,
}  # fmt: skip

ROWS = (Row(Own.PACKED, _unpack), Row(Own.PACKED_DICT, _unpack_dict))
