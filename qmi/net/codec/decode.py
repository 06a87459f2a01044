"""How tags become values again, each checked, none running code that the sender can choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

from qmi.net.codec import arrays, exceptions, named_types
from qmi.net.codec.tags import (
    COLUMN_MAJOR,
    COMPLEX,
    MAX_DECIMAL_TEXT,
    MAX_FRACTION_BITS,
    MAX_INTEGER_BITS,
    NEGATIVE_BIGINT,
    POSITIVE_BIGINT,
    ROW_MAJOR,
    SET,
    TYPED_ARRAYS,
    Own,
)

Restore: TypeAlias = Callable[[Any], Any]


class Malformed(ValueError):
    """The payload of a tag is not what it should be."""


class Raising(dict[int, Callable[[Any, bool], Any]]):
    """The mapping from tags to values that cbor2 decodes with; made for one frame if that has segments.

    Args:
        segments: Memory that the frame brought along; each is used exactly once.
        restore: Makes an object of the plain values that stood for it (a proxy).
    """

    def __init__(self, segments: Sequence[Any] = (), restore: Restore | None = None) -> None:
        super().__init__()
        self._segments = list(segments)
        self._restore = restore
        self._unused = len(self._segments)
        for tag, method in _METHODS.items():
            self[tag] = method.__get__(self)

    def __missing__(self, tag: int) -> Any:
        """Close every tag that is not known, before its payload is read."""
        raise Malformed(f"CBOR tag {tag} is not used by this protocol")

    def finish(self) -> None:
        """Check that the frame brought no segment that nothing refers to.

        Raises:
            Malformed: If it did.
        """
        if self._unused:
            raise Malformed(f"{self._unused} segments of the frame are not used")

    def _segment(self, value: Any, _: bool) -> Any:
        number = _typed(value, int)
        if not 0 <= number < len(self._segments) or self._segments[number] is None:
            raise Malformed(f"segment {number} is not there, or used twice")
        memory, self._segments[number] = self._segments[number], None
        return _Segment(memory)

    def _take(self, value: Any) -> Any:
        """Return the bytes of a payload: themselves, or those of a segment."""
        if type(value) is bytes:
            return value
        memory = _typed(value, _Segment).memory
        self._unused -= 1
        return memory

    def _big(self, value: Any, _: bool) -> int:
        data = _typed(value, bytes)
        if len(data) * 8 > MAX_INTEGER_BITS:
            raise Malformed(f"an integer of {len(data)} bytes; the limit is {MAX_INTEGER_BITS // 8}")
        return int.from_bytes(data)

    def _negative_big(self, value: Any, immutable: bool) -> int:
        return -1 - self._big(value, immutable)

    def _tuple(self, value: Any, _: bool) -> tuple[Any, ...]:
        return tuple(_typed(value, list))

    def _set(self, value: Any, _: bool) -> set[Any]:
        members = _typed(value, list)
        named_types.check_hashes(members)
        return set(members)

    def _frozenset(self, value: Any, immutable: bool) -> frozenset[Any]:
        return frozenset(self._set(value, immutable))

    def _dict(self, value: Any, _: bool) -> dict[Any, Any]:
        flat = _typed(value, list)
        if len(flat) % 2:
            raise Malformed("a key of a dict has no value")
        named_types.check_hashes(flat[::2])
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _mapping_proxy(self, value: Any, _: bool) -> MappingProxyType[Any, Any]:
        return MappingProxyType(_typed(value, dict))

    def _bytes(self, value: Any, _: bool) -> bytes:
        return bytes(self._take(value))

    def _bytearray(self, value: Any, _: bool) -> bytearray:
        data = self._take(value)
        return data if type(data) is bytearray else bytearray(data)

    def _complex(self, value: Any, _: bool) -> complex:
        real, imag = _array(value, float, float)
        return complex(real, imag)

    def _datetime(self, value: Any, _: bool) -> datetime:
        year, month, day, hour, minute, second, micro, fold, offset, name = _numbers(value, 10)
        return datetime(year, month, day, hour, minute, second, micro, _zone(offset, name), fold=fold)

    def _date(self, value: Any, _: bool) -> date:
        return date(*_array(value, int, int, int))

    def _time(self, value: Any, _: bool) -> time:
        hour, minute, second, micro, fold, offset, name = _numbers(value, 7)
        return time(hour, minute, second, micro, _zone(offset, name), fold=fold)

    def _timedelta(self, value: Any, _: bool) -> timedelta:
        days, seconds, microseconds = _array(value, int, int, int)
        return timedelta(days, seconds, microseconds)

    def _decimal(self, value: Any, _: bool) -> Decimal:
        text = _typed(value, str)
        if len(text) > MAX_DECIMAL_TEXT:
            raise Malformed(f"a Decimal of {len(text)} characters; the limit is {MAX_DECIMAL_TEXT}")
        return Decimal(text)

    def _fraction(self, value: Any, _: bool) -> Fraction:
        numerator, denominator = _array(value, int, int)
        if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
            raise Malformed(f"a Fraction of more than {MAX_FRACTION_BITS} bits")
        return Fraction(numerator, denominator)

    def _uuid(self, value: Any, _: bool) -> UUID:
        return UUID(bytes=_typed(value, bytes))

    def _range(self, value: Any, _: bool) -> range:
        return range(*_array(value, int, int, int))

    def _slice(self, value: Any, _: bool) -> slice:
        start, stop, step = _sized(value, 3)
        return slice(start, stop, step)

    def _raw_array(self, value: Any, _: bool) -> Any:
        described, data = _sized(value, 2)
        return arrays.raise_flat(described, self._take(data))

    def _scalar(self, value: Any, _: bool) -> Any:
        described, data = _sized(value, 2)
        return arrays.raise_scalar(described, _typed(data, bytes))

    def _by_row(self, value: Any, _: bool) -> Any:
        sizes, flat = _sized(value, 2)
        return arrays.raise_shaped(sizes, flat, by_column=False)

    def _by_column(self, value: Any, _: bool) -> Any:
        sizes, flat = _sized(value, 2)
        return arrays.raise_shaped(sizes, flat, by_column=True)

    def _enum(self, value: Any, _: bool) -> Any:
        module, qualname, name, plain = _sized(value, 4)
        if name is not None:
            _typed(name, str)
        return named_types.rebuild_enum(_typed(module, str), _typed(qualname, str), name, plain)

    def _named_tuple(self, value: Any, _: bool) -> Any:
        return named_types.rebuild_named_tuple(*_fields(value))

    def _dataclass(self, value: Any, _: bool) -> Any:
        return named_types.rebuild_dataclass(*_fields(value))

    def _exception(self, value: Any, _: bool) -> Any:
        module, qualname, text, trace, args, state = _array(value, str, str, str, str, list, dict)
        if any(type(key) is not str for key in state):
            raise Malformed("an attribute of an exception has no name")
        return exceptions.rebuild_exception((module, qualname), text, trace, args, state)

    def _persistent(self, value: Any, _: bool) -> Any:
        if self._restore is None:
            raise Malformed("a reference to an object came over a link that has none")
        return self._restore(value)


class _Segment:
    """Holds a segment until the tag around it takes it; a value of a user never contains one."""

    __slots__ = ("memory",)

    def __init__(self, memory: Any) -> None:
        self.memory = memory


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Malformed(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _sized(value: Any, size: int) -> list[Any]:
    if len(_typed(value, list)) != size:
        raise Malformed(f"expected {size} items, got {len(value)}")
    return value  # type: ignore[no-any-return]


def _array(value: Any, *kinds: type) -> list[Any]:
    for item, kind in zip(_sized(value, len(kinds)), kinds, strict=True):
        _typed(item, kind)
    return value  # type: ignore[no-any-return]


def _numbers(value: Any, size: int) -> list[Any]:
    """Check the numbers of a point in time; the last two are offset and name of its zone."""
    for item in _sized(value, size)[:-2]:
        _typed(item, int)
    return value  # type: ignore[no-any-return]


def _zone(offset: Any, name: Any) -> timezone | None:
    if offset is None:
        return None
    delta = timedelta(microseconds=_typed(offset, int))
    if name is not None:
        return timezone(delta, _typed(name, str))
    return UTC if not delta else timezone(delta)


def _fields(value: Any) -> tuple[str, str, tuple[str, ...], list[Any]]:
    flat = _typed(value, list)
    if len(flat) < 2 or len(flat) % 2:
        raise Malformed("a field of a named value is not complete")
    names = tuple(_typed(name, str) for name in flat[2::2])
    if len(set(names)) != len(names):
        raise Malformed("a field of a named value comes twice")
    return _typed(flat[0], str), _typed(flat[1], str), names, flat[3::2]


_METHODS: dict[int, Any] = {
    POSITIVE_BIGINT: Raising._big, NEGATIVE_BIGINT: Raising._negative_big, SET: Raising._set,
    COMPLEX: Raising._complex, ROW_MAJOR: Raising._by_row, COLUMN_MAJOR: Raising._by_column,
    Own.SEGMENT: Raising._segment, Own.TUPLE: Raising._tuple, Own.FROZENSET: Raising._frozenset,
    Own.DICT: Raising._dict, Own.BYTES: Raising._bytes, Own.BYTEARRAY: Raising._bytearray,
    Own.DATETIME: Raising._datetime, Own.DATE: Raising._date, Own.TIME: Raising._time,
    Own.TIMEDELTA: Raising._timedelta, Own.DECIMAL: Raising._decimal, Own.FRACTION: Raising._fraction,
    Own.UUID: Raising._uuid, Own.RANGE: Raising._range, Own.SLICE: Raising._slice, Own.ARRAY: Raising._raw_array,
    Own.SCALAR: Raising._scalar, Own.ENUM: Raising._enum, Own.NAMED_TUPLE: Raising._named_tuple,
    Own.DATACLASS: Raising._dataclass, Own.EXCEPTION: Raising._exception, Own.PERSISTENT: Raising._persistent,
    Own.MAPPING_PROXY: Raising._mapping_proxy,
}  # fmt: skip


def _typed_array_method(tag: int) -> Callable[[Raising, Any, bool], Any]:
    def method(self: Raising, value: Any, _: bool) -> Any:
        return arrays.raise_typed(tag, self._take(value))

    return method


_METHODS.update((tag, _typed_array_method(tag)) for tag in TYPED_ARRAYS.values())
