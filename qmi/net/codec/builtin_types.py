"""How Python's own types travel, but for exceptions: each one's two ways side by side."""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

from cbor2 import CBORTag

from qmi.net.codec.keys import check_keys
from qmi.net.codec.packed import big_integer
from qmi.net.codec.rows import Decoding, Encoding, Malformed, Refusal, Row, fields_of, sized, typed
from qmi.net.codec.tags import (
    COMPLEX,
    MAX_DECIMAL_TEXT,
    MAX_FRACTION_BITS,
    MAX_TEXT_BYTES,
    NEGATIVE_BIGINT,
    POSITIVE_BIGINT,
    SET,
    Own,
)
from qmi.net.codec.unknown import NamedKind, make_unknown

# -- integers beyond 64 bits, which cbor2 writes by itself


def _big(decoding: Decoding, payload: object, _: bool) -> int:
    return big_integer(payload)


def _negative_big(decoding: Decoding, payload: object, _: bool) -> int:
    return -1 - big_integer(payload)


# -- containers


def _lower_tuple(encoding: Encoding, value: tuple[object, ...], depth: int) -> CBORTag:
    return CBORTag(Own.TUPLE, encoding.items(value, depth))


def _tuple(decoding: Decoding, payload: object, _: bool) -> tuple[object, ...]:
    return tuple(typed(payload, list))


def _lower_set(encoding: Encoding, value: AbstractSet[object], depth: int) -> CBORTag:
    tag = SET if type(value) is set else Own.FROZENSET
    members = list(value)
    _check(members)
    return CBORTag(tag, encoding.items(members, depth))


def _check(keys: list[object]) -> None:
    try:
        check_keys(keys)
    except (ValueError, TypeError) as error:
        raise Refusal(f"has a key that cannot be sent: {error}") from None


def _set(decoding: Decoding, payload: object, _: bool) -> set[object]:
    members = typed(payload, list)
    check_keys(members)
    return set(members)


def _frozenset(decoding: Decoding, payload: object, immutable: bool) -> frozenset[object]:
    return frozenset(_set(decoding, payload, immutable))


def _read_pairs(payload: object) -> dict[object, object]:
    flat = typed(payload, list)
    if len(flat) % 2:
        raise Malformed("a key of a dict has no value")
    check_keys(flat[::2])
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _dict(decoding: Decoding, payload: object, _: bool) -> dict[object, object]:
    return _read_pairs(payload)


def _lower_mapping_proxy(encoding: Encoding, value: MappingProxyType[object, object], depth: int) -> CBORTag:
    return CBORTag(Own.MAPPING_PROXY, encoding.lower(dict(value), depth))


def _mapping_proxy(decoding: Decoding, payload: object, _: bool) -> MappingProxyType[object, object]:
    return MappingProxyType(typed(payload, dict))


_FACTORIES: dict[str, Callable[[], object]] = {
    cls.__name__: cls
    for cls in (list, dict, set, frozenset, tuple, int, float, complex, bool, str, bytes, bytearray, deque, OrderedDict)
}
"""What may make the missing values of a ``defaultdict``."""


def _lower_ordered_dict(encoding: Encoding, value: OrderedDict[object, object], depth: int) -> CBORTag:
    return CBORTag(Own.MAPPING, ["OrderedDict", None, encoding.lower(dict(value), depth)])


def _lower_counter(encoding: Encoding, value: Counter[object], depth: int) -> CBORTag:
    return CBORTag(Own.MAPPING, ["Counter", None, encoding.lower(dict(value), depth)])


def _lower_defaultdict(encoding: Encoding, value: defaultdict[object, object], depth: int) -> CBORTag:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and _FACTORIES.get(name) is not factory:
        raise Refusal(
            f": a defaultdict that makes values by {factory!r:.80} cannot be sent, only by one of Python's own types; "
            "send dict(value)"
        )
    return CBORTag(Own.MAPPING, ["defaultdict", name, encoding.lower(dict(value), depth)])


def _mapping(decoding: Decoding, payload: object, _: bool) -> object:
    kind, detail, items = sized(payload, 3)
    typed(items, dict)
    if kind == "OrderedDict":
        return OrderedDict(items)
    if kind == "Counter":
        made: Counter[object] = Counter()
        dict.update(made, items)  # any values; not by counting
        return made
    if kind == "defaultdict" and (detail is None or (type(detail) is str and detail in _FACTORIES)):
        return defaultdict(None if detail is None else _FACTORIES[detail], items)
    raise Malformed("a kind of mapping is not known")


def _lower_deque(encoding: Encoding, value: deque[object], depth: int) -> CBORTag:
    return CBORTag(Own.DEQUE, [value.maxlen, encoding.items(list(value), depth)])


def _deque(decoding: Decoding, payload: object, _: bool) -> deque[object]:
    maxlen, items = sized(payload, 2)
    if maxlen is not None and not 0 <= typed(maxlen, int) <= sys.maxsize:
        raise Malformed("the length of a deque makes no sense")
    return deque(typed(items, list), maxlen)


def _lower_namespace(encoding: Encoding, value: SimpleNamespace, depth: int) -> CBORTag:
    return CBORTag(Own.NAMESPACE, encoding.lower(dict(vars(value)), depth))


def _namespace(decoding: Decoding, payload: object, _: bool) -> SimpleNamespace:
    made = SimpleNamespace()
    for name, value in typed(payload, dict).items():
        if type(name) is not str or name.startswith("__"):
            raise Malformed("a name of a namespace is no name")
        vars(made)[name] = value
    return made


# -- texts, bytes, and numbers in a row


def _text(decoding: Decoding, payload: object, _: bool) -> str:
    data = decoding.take(payload)
    if len(data) > MAX_TEXT_BYTES:
        raise Malformed(f"a text of {len(data)} bytes; the limit is {MAX_TEXT_BYTES}")
    return str(data, "utf-8")


def _lower_bytearray(encoding: Encoding, value: bytearray, depth: int) -> CBORTag:
    return CBORTag(Own.BYTEARRAY, encoding.add_segment(value))


def _bytes(decoding: Decoding, payload: object, _: bool) -> bytes:
    return bytes(decoding.take(payload))


def _bytearray(decoding: Decoding, payload: object, _: bool) -> bytearray:
    data = decoding.take(payload)
    return data if type(data) is bytearray else bytearray(data)


_SIGNED, _UNSIGNED, _REAL = "bhilq", "BHILQ", "fd"


def _lower_numbers(encoding: Encoding, value: array[Any], depth: int) -> CBORTag:
    code = value.typecode
    if code not in _SIGNED + _UNSIGNED + _REAL:
        return CBORTag(Own.NUMBERS, [code, 0, value.tounicode()])
    if sys.byteorder == "big":
        value = array(code, value)
        value.byteswap()
    return CBORTag(Own.NUMBERS, [code, value.itemsize, encoding.add_segment(value)])


def _numbers(decoding: Decoding, payload: object, _: bool) -> array[Any]:
    code, size, data = sized(payload, 3)
    if typed(code, str) in ("u", "w"):
        return array("u", typed(data, str))
    family = (
        next((family for family in (_SIGNED, _UNSIGNED, _REAL) if code in family), None) if len(code) == 1 else None
    )
    if family is None:
        raise Malformed("an array of numbers has no known type")
    # A C type may have another size there.
    fitting = next((one for one in (code, *family) if array(one).itemsize == size), None)
    if fitting is None:
        raise Malformed(f"this machine has no number of {size!r:.20} bytes like that")
    made = array(fitting)
    made.frombytes(decoding.take(data))
    if sys.byteorder == "big":
        made.byteswap()
    return made


# -- numbers


def _lower_complex(encoding: Encoding, value: complex, depth: int) -> CBORTag:
    return CBORTag(COMPLEX, [value.real, value.imag])


def _complex(decoding: Decoding, payload: object, _: bool) -> complex:
    real, imag = fields_of(payload, float, 2)
    return complex(real, imag)


def _lower_decimal(encoding: Encoding, value: Decimal, depth: int) -> CBORTag:
    text = str(value)
    if len(text) > MAX_DECIMAL_TEXT:
        raise Refusal(f"is a Decimal of {len(text)} characters; the limit is {MAX_DECIMAL_TEXT}")
    return CBORTag(Own.DECIMAL, text)


def _decimal(decoding: Decoding, payload: object, _: bool) -> Decimal:
    text = typed(payload, str)
    if len(text) > MAX_DECIMAL_TEXT:
        raise Malformed(f"a Decimal of {len(text)} characters; the limit is {MAX_DECIMAL_TEXT}")
    return Decimal(text)


def _lower_fraction(encoding: Encoding, value: Fraction, depth: int) -> CBORTag:
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    if bits > MAX_FRACTION_BITS:
        raise Refusal(f"is a Fraction of {bits} bits; the limit is {MAX_FRACTION_BITS}")
    return CBORTag(Own.FRACTION, [value.numerator, value.denominator])


def _fraction(decoding: Decoding, payload: object, _: bool) -> Fraction:
    numerator, denominator = fields_of(payload, int, 2)
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise Malformed(f"a Fraction of more than {MAX_FRACTION_BITS} bits")
    return Fraction(numerator, denominator)


def _lower_range(encoding: Encoding, value: range, depth: int) -> CBORTag:
    return CBORTag(Own.RANGE, [value.start, value.stop, value.step])


def _range(decoding: Decoding, payload: object, _: bool) -> range:
    return range(*fields_of(payload, int, 3))


def _lower_slice(encoding: Encoding, value: slice, depth: int) -> CBORTag:
    return CBORTag(Own.SLICE, encoding.items([value.start, value.stop, value.step], depth))


def _slice(decoding: Decoding, payload: object, _: bool) -> slice:
    start, stop, step = sized(payload, 3)
    return slice(start, stop, step)


# -- points in time; the last items are offset in microseconds, name and key of the zone


_KEY = re.compile(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,3}", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)


def _lower_zone(value: datetime | time, zone: tzinfo | None) -> list[object]:
    if zone is None:
        return [None, None]
    offset = value.utcoffset()
    if offset is None:
        raise Refusal(f"has a time zone without an offset, {zone!r}; send a datetime, or a time with a fixed offset")
    return [offset // _MICROSECOND, None if zone is UTC else value.tzname()]


def _zone(offset: object, name: object) -> timezone | None:
    if offset is None:
        return None
    delta = timedelta(microseconds=typed(offset, int))
    if name is not None:
        return timezone(delta, typed(name, str))
    return UTC if not delta else timezone(delta)


def zone_key(zone: object) -> str | None:
    """Return the key of a ``ZoneInfo``; None for any other object, and for one that was read from a file."""
    zoneinfo = sys.modules.get("zoneinfo")
    if zoneinfo is None or type(zone) is not getattr(zoneinfo, "ZoneInfo", None):
        return None
    key = getattr(zone, "key", None)
    return key if type(key) is str and _KEY.fullmatch(key) else None


def find_zone(key: object) -> tzinfo | None:
    """Return the zone of this key from this machine's own tables, None if they lack it."""
    text = typed(key, str)
    if not _KEY.fullmatch(text):
        raise Malformed(f"{text!r:.80} is no time zone")
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _lower_datetime(encoding: Encoding, value: datetime, depth: int) -> CBORTag:
    day = [value.year, value.month, value.day]
    clock = [value.hour, value.minute, value.second, value.microsecond, value.fold]
    zone = value.tzinfo
    if zone is None or type(zone) is timezone:
        return CBORTag(Own.DATETIME, [*day, *clock, *_lower_zone(value, zone), None])
    return CBORTag(Own.DATETIME, [*day, *clock, *_lower_zone(value, zone), zone_key(zone)])


def _datetime(decoding: Decoding, payload: object, _: bool) -> datetime:
    numbers, offset, name, key = _moment(payload, 11)
    year, month, day, hour, minute, second, micro, fold = numbers
    zone = None if key is None else find_zone(key)
    if zone is None:
        zone = _zone(offset, name)
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _moment(payload: object, size: int) -> tuple[list[int], object, object, object]:
    *numbers, offset, name, key = sized(payload, size)
    for number in numbers:
        typed(number, int)
    return numbers, offset, name, key


def _lower_date(encoding: Encoding, value: date, depth: int) -> CBORTag:
    return CBORTag(Own.DATE, [value.year, value.month, value.day])


def _date(decoding: Decoding, payload: object, _: bool) -> date:
    year, month, day = fields_of(payload, int, 3)
    return date(year, month, day)


def _lower_time(encoding: Encoding, value: time, depth: int) -> CBORTag:
    zone = _lower_zone(value, value.tzinfo)
    return CBORTag(Own.TIME, [value.hour, value.minute, value.second, value.microsecond, value.fold, *zone, None])


def _time(decoding: Decoding, payload: object, _: bool) -> time:
    numbers, offset, name, _key = _moment(payload, 8)
    hour, minute, second, micro, fold = numbers
    return time(hour, minute, second, micro, _zone(offset, name), fold=fold)


def _lower_timedelta(encoding: Encoding, value: timedelta, depth: int) -> CBORTag:
    return CBORTag(Own.TIMEDELTA, [value.days, value.seconds, value.microseconds])


def _timedelta(decoding: Decoding, payload: object, _: bool) -> timedelta:
    days, seconds, microseconds = fields_of(payload, int, 3)
    return timedelta(days, seconds, microseconds)


def _lower_timezone(encoding: Encoding, value: timezone, depth: int) -> CBORTag:
    offset = value.utcoffset(None)
    plain = timezone(offset) == value and repr(timezone(offset)) == repr(value)
    name = None if value is UTC or plain else value.tzname(None)
    return CBORTag(Own.TIMEZONE, [offset // _MICROSECOND, name])


def _timezone(decoding: Decoding, payload: object, _: bool) -> timezone:
    offset, name = sized(payload, 2)
    found = _zone(typed(offset, int), name)
    assert found is not None
    return found


def lower_zone_info(zone: object) -> CBORTag | None:
    """Lower a ``ZoneInfo``; None for anything else."""
    key = zone_key(zone)
    return None if key is None else CBORTag(Own.ZONE, key)


def _zone_info(decoding: Decoding, payload: object, _: bool) -> object:
    zone = find_zone(payload)
    if zone is not None:
        return zone
    return make_unknown(NamedKind.LIBRARY, "zoneinfo:ZoneInfo", {"key": payload}, "this machine has no such time zone")


# -- others


def _lower_uuid(encoding: Encoding, value: UUID, depth: int) -> CBORTag:
    return CBORTag(Own.UUID, value.bytes)


def _uuid(decoding: Decoding, payload: object, _: bool) -> UUID:
    return UUID(bytes=typed(payload, bytes))


_PATHS: dict[str, type[PurePath]] = {
    cls.__name__: cls for cls in (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
}


def _lower_path(encoding: Encoding, value: PurePath, depth: int) -> CBORTag:
    return CBORTag(Own.PATH, [type(value).__name__, str(value)])


def _path(decoding: Decoding, payload: object, _: bool) -> object:
    kind, text = fields_of(payload, str, 2)
    cls: type[PurePath] | None = _PATHS.get(kind)
    if cls is None:
        raise Malformed("a kind of path is not known")
    foreign = PosixPath if sys.platform == "win32" else WindowsPath
    if cls is foreign:  # only a pure one can be made here
        cls = PurePosixPath if cls is PosixPath else PureWindowsPath
    return cls(text)


ROWS = (
    Row(POSITIVE_BIGINT, _big),
    Row(NEGATIVE_BIGINT, _negative_big),
    Row(Own.TUPLE, _tuple, (tuple,), _lower_tuple),
    Row(SET, _set, (set,), _lower_set),
    Row(Own.FROZENSET, _frozenset, (frozenset,), _lower_set),
    Row(Own.DICT, _dict),
    Row(Own.MAPPING_PROXY, _mapping_proxy, (MappingProxyType,), _lower_mapping_proxy),
    Row(Own.MAPPING, _mapping, (OrderedDict,), _lower_ordered_dict),
    Row(Own.MAPPING, _mapping, (Counter,), _lower_counter),
    Row(Own.MAPPING, _mapping, (defaultdict,), _lower_defaultdict),
    Row(Own.DEQUE, _deque, (deque,), _lower_deque),
    Row(Own.NAMESPACE, _namespace, (SimpleNamespace,), _lower_namespace),
    Row(Own.TEXT, _text),
    Row(Own.BYTES, _bytes),
    Row(Own.BYTEARRAY, _bytearray, (bytearray,), _lower_bytearray),
    Row(Own.NUMBERS, _numbers, (array,), _lower_numbers),
    Row(COMPLEX, _complex, (complex,), _lower_complex),
    Row(Own.DECIMAL, _decimal, (Decimal,), _lower_decimal),
    Row(Own.FRACTION, _fraction, (Fraction,), _lower_fraction),
    Row(Own.RANGE, _range, (range,), _lower_range),
    Row(Own.SLICE, _slice, (slice,), _lower_slice),
    Row(Own.DATETIME, _datetime, (datetime,), _lower_datetime),
    Row(Own.DATE, _date, (date,), _lower_date),
    Row(Own.TIME, _time, (time,), _lower_time),
    Row(Own.TIMEDELTA, _timedelta, (timedelta,), _lower_timedelta),
    Row(Own.TIMEZONE, _timezone, (timezone,), _lower_timezone),
    Row(Own.ZONE, _zone_info),
    Row(Own.UUID, _uuid, (UUID,), _lower_uuid),
    Row(Own.PATH, _path, tuple(_PATHS.values()), _lower_path),
)
