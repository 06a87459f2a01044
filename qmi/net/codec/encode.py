"""How a value is turned into what CBOR has, and where a value sits that cannot be sent.

Encoding takes two steps: the value is lowered to plain lists, dicts and tags here (which bounds its depth and puts
large buffers aside), then cbor2 writes bytes. Only a refusal costs the work of finding out where it sits.
"""

from __future__ import annotations

import collections.abc
import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

from cbor2 import CBORTag, dumps

from qmi.net.codec import arrays, exceptions
from qmi.net.codec.named_types import check_hashes, dataclass_fields, field_names
from qmi.net.codec.tags import (
    COMPLEX,
    MAX_DECIMAL_TEXT,
    MAX_FRACTION_BITS,
    MAX_INTEGER_BITS,
    SET,
    Own,
)
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue
from qmi.net.frames import SEGMENT_THRESHOLD

Persistent: TypeAlias = Callable[[Any], Any]

SCALARS = frozenset({type(None), bool, int, float, str})
_TEXT = frozenset({str})
_NICE_NAMES = {
    "_thread.lock": "threading.Lock",
    "_thread.RLock": "threading.RLock",
    "builtins.generator": "a generator",
    "builtins.coroutine": "a coroutine",
    "builtins.async_generator": "an async generator",
    "builtins.function": "a function",
    "builtins.method": "a method",
    "builtins.module": "a module",
    "builtins.type": "a class",
}
_HINTS = (
    (tuple, "send tuple(value)"), (dict, "send dict(value)"), (list, "send list(value)"), (set, "send set(value)"),
    (frozenset, "send frozenset(value)"), (bool, "send bool(value)"), (int, "send int(value)"),
    (float, "send float(value)"), (str, "send str(value)"), ((bytes, memoryview), "send bytes(value)"),
    (bytearray, "send bytearray(value)"), (collections.abc.Iterator, "send list(value)"),
)  # fmt: skip


class Refusal(Exception):
    """A value that cannot be sent; the steps that lead to it are added on the way out."""

    def __init__(self, reason: str, step: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = [step] if step else []

    def under(self, step: str) -> Refusal:
        """Add the step that led here."""
        self.steps.append(step)
        return self

    @property
    def path(self) -> str:
        """Where the value sits, as in ``result[2].lock``."""
        return "".join(reversed(self.steps))


def type_name(value: object) -> str:
    """Name the type of a value as a person would."""
    cls = type(value)
    full = f"{cls.__module__}.{cls.__qualname__}"
    return _NICE_NAMES.get(full, full.removeprefix("builtins."))


class Lowering:
    """Lowers the parts of one frame.

    Args:
        persistent: Returns plain values for an object that travels as a reference (a proxy), None for any other.
        max_depth: How many containers may be inside each other.

    Attributes:
        segments: The buffers that were put aside, in order.
    """

    __slots__ = ("_max_depth", "_persistent", "segments")

    def __init__(self, persistent: Persistent | None = None, max_depth: int = 64) -> None:
        self._max_depth = max_depth
        self.segments: list[memoryview] = []
        self._persistent = persistent

    def lower(self, value: Any, depth: int) -> Any:
        """Return what stands for the value in CBOR; ``depth`` containers are around it.

        Raises:
            Refusal: If it cannot be sent.
        """
        kind = type(value)
        if kind in SCALARS:
            return value
        method = _METHODS.get(kind)
        if method is not None:
            return method(self, value, depth)
        return self._lower_named(value, depth)

    def _items(self, values: Any, depth: int) -> list[Any]:
        """Lower the items of a sequence that has ``depth`` containers around itself."""
        if depth >= self._max_depth:
            raise Refusal(f"is nested deeper than {self._max_depth} levels, or contains itself")
        if SCALARS.issuperset(map(type, values)):
            return list(values)
        result: list[Any] = []
        lower, deeper = self.lower, depth + 1
        try:
            for item in values:
                result.append(lower(item, deeper))
        except Refusal as refusal:
            raise refusal.under(f"[{len(result)}]") from None
        return result

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        return self._items(value, depth)

    def _tuple(self, value: tuple[Any, ...], depth: int) -> CBORTag:
        return CBORTag(Own.TUPLE, self._items(value, depth))

    def _set(self, value: Any, depth: int) -> CBORTag:
        tag = SET if type(value) is set else Own.FROZENSET
        members = list(value)
        self._check_keys(members)
        return CBORTag(tag, self._items(members, depth))

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if depth >= self._max_depth:
            raise Refusal(f"is nested deeper than {self._max_depth} levels, or contains itself")
        if SCALARS.issuperset(map(type, value.values())) and _TEXT.issuperset(map(type, value)):
            return dict(value)
        pairs = list(value.items())
        plain = all(type(key) is str for key, _ in pairs)
        if not plain:
            self._check_keys([key for key, _ in pairs])
        flat: list[Any] = []
        for key, item in pairs:
            if not plain:
                flat.append(self.lower(key, depth + 1))
            try:
                flat.append(item if type(item) in SCALARS else self.lower(item, depth + 1))
            except Refusal as refusal:
                raise refusal.under(f"[{exceptions.cut(repr(key), 80)}]") from None
        if plain:
            return dict(zip([key for key, _ in pairs], flat, strict=True))
        return CBORTag(Own.DICT, flat)

    def _mapping_proxy(self, value: MappingProxyType[Any, Any], depth: int) -> CBORTag:
        return CBORTag(Own.MAPPING_PROXY, self._dict(dict(value), depth))

    @staticmethod
    def _check_keys(keys: list[Any]) -> None:
        try:
            check_hashes(keys)
        except (ValueError, TypeError) as error:
            raise Refusal(f"has a key that cannot be sent: {error}") from None

    def put_away(self, buffer: Any) -> Any:
        """Return what stands for these bytes: themselves, or the number of a segment if they are many."""
        view = memoryview(buffer)
        if view.nbytes < SEGMENT_THRESHOLD:
            return bytes(view)
        self.segments.append(view.cast("B"))
        return CBORTag(Own.SEGMENT, len(self.segments) - 1)

    def _bytes(self, value: bytes, depth: int) -> Any:
        return value if len(value) < SEGMENT_THRESHOLD else CBORTag(Own.BYTES, self.put_away(value))

    def _bytearray(self, value: bytearray, depth: int) -> CBORTag:
        return CBORTag(Own.BYTEARRAY, self.put_away(value))

    def _complex(self, value: complex, depth: int) -> CBORTag:
        return CBORTag(COMPLEX, [value.real, value.imag])

    def _datetime(self, value: datetime, depth: int) -> CBORTag:
        zone = _zone(value, value.tzinfo)
        day = [value.year, value.month, value.day]
        return CBORTag(
            Own.DATETIME, [*day, value.hour, value.minute, value.second, value.microsecond, value.fold, *zone]
        )

    def _date(self, value: date, depth: int) -> CBORTag:
        return CBORTag(Own.DATE, [value.year, value.month, value.day])

    def _time(self, value: time, depth: int) -> CBORTag:
        zone = _zone(value, value.tzinfo)
        return CBORTag(Own.TIME, [value.hour, value.minute, value.second, value.microsecond, value.fold, *zone])

    def _timedelta(self, value: timedelta, depth: int) -> CBORTag:
        return CBORTag(Own.TIMEDELTA, [value.days, value.seconds, value.microseconds])

    def _decimal(self, value: Decimal, depth: int) -> CBORTag:
        text = str(value)
        if len(text) > MAX_DECIMAL_TEXT:
            raise Refusal(f"is a Decimal of {len(text)} characters; the limit is {MAX_DECIMAL_TEXT}")
        return CBORTag(Own.DECIMAL, text)

    def _fraction(self, value: Fraction, depth: int) -> CBORTag:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if bits > MAX_FRACTION_BITS:
            raise Refusal(f"is a Fraction of {bits} bits; the limit is {MAX_FRACTION_BITS}")
        return CBORTag(Own.FRACTION, [value.numerator, value.denominator])

    def _uuid(self, value: UUID, depth: int) -> CBORTag:
        return CBORTag(Own.UUID, value.bytes)

    def _range(self, value: range, depth: int) -> CBORTag:
        return CBORTag(Own.RANGE, [value.start, value.stop, value.step])

    def _slice(self, value: slice, depth: int) -> CBORTag:
        return CBORTag(Own.SLICE, self._items([value.start, value.stop, value.step], depth))

    def _standin(self, value: UnknownTypeValue, depth: int) -> CBORTag:
        if value.type_kind is NamedKind.ARRAY:
            raise Refusal("is an array that this program could not read; numpy is needed to send it on")
        module, _, qualname = value.type_name.partition(":")
        if value.type_kind is NamedKind.ENUM:
            return CBORTag(Own.ENUM, [module, qualname, value.fields["name"], self.lower(value.fields["value"], depth)])
        tag = Own.NAMED_TUPLE if value.type_kind is NamedKind.NAMED_TUPLE else Own.DATACLASS
        return self._by_name(tag, module, qualname, list(value.fields.items()), depth)

    def _by_name(self, tag: Own, module: str, qualname: str, fields: list[tuple[str, Any]], depth: int) -> CBORTag:
        if depth >= self._max_depth:
            raise Refusal(f"is nested deeper than {self._max_depth} levels, or contains itself")
        flat: list[Any] = [module, qualname]
        for name, value in fields:
            try:
                flat += (name, self.lower(value, depth + 1))
            except Refusal as refusal:
                raise refusal.under(f".{name}") from None
        return CBORTag(tag, flat)

    def _lower_named(self, value: Any, depth: int) -> Any:
        """Lower a value whose type is none of Python's own."""
        if self._persistent is not None:
            plain = self._persistent(value)
            if plain is not None:
                return CBORTag(Own.PERSISTENT, self.lower(plain, depth))
        cls = type(value)
        if issubclass(cls, Enum):
            return self._enum(value, depth)
        if issubclass(cls, BaseException):
            return self.lower_exception(value)
        names = field_names(cls)
        if names is not None:
            return self._by_name(
                Own.NAMED_TUPLE, cls.__module__, cls.__qualname__, list(zip(names, tuple(value), strict=True)), depth
            )
        fields = dataclass_fields(cls)
        if fields is None and dataclasses.is_dataclass(cls):
            fields = tuple(field.name for field in dataclasses.fields(value))
        if fields is not None:
            found = [(name, getattr(value, name)) for name in fields]
            return self._by_name(Own.DATACLASS, cls.__module__, cls.__qualname__, found, depth)
        return self._lower_numpy(value)

    def _enum(self, value: Enum, depth: int) -> CBORTag:
        cls = type(value)
        try:
            plain = self.lower(value._value_, depth + 1)
        except Refusal:  # the value is only for those who do not have the type
            plain = None
        return CBORTag(Own.ENUM, [cls.__module__, cls.__qualname__, value._name_, plain])

    def _lower_numpy(self, value: Any) -> Any:
        numpy = arrays.loaded_numpy()
        try:
            if numpy is not None and type(value) is numpy.ndarray:
                return arrays.lower_array(value, self.put_away)
            if numpy is not None and isinstance(value, numpy.generic):
                return arrays.lower_scalar(value)
        except arrays.UnsendableArray as error:
            raise Refusal(f"cannot be sent: {error}") from None
        hint = next((hint for base, hint in _HINTS if isinstance(value, base)), None)
        if numpy is not None and isinstance(value, numpy.ndarray):
            hint = "send numpy.asarray(value)"
        raise Refusal(f": {type_name(value)} cannot be sent" + (f"; {hint}" if hint else ""))

    def lower_exception(self, error: BaseException) -> CBORTag:
        """Lower an exception; whatever is in it, it can be sent."""
        cls = type(error)
        name = [exceptions.cut(cls.__module__, 200), exceptions.cut(cls.__qualname__, 200)]
        args = [self._tame(arg) for arg in exceptions.arguments_of(error)]
        state = {}
        for key, value in exceptions.attributes_of(error).items():
            if type(key) is str and self._is_sendable(value):
                state[key] = self.lower(value, self._max_depth // 2)
        text = exceptions.text_of(error)
        if len(dumps([args, state])) > exceptions.MAX_STATE:
            args, state = [text], {}
        return CBORTag(Own.EXCEPTION, [*name, text, exceptions.traceback_of(error), args, state])

    def _tame(self, value: Any) -> Any:
        """Lower an argument of an exception, or its text if that is impossible."""
        if type(value) is str:
            return exceptions.cut(value, exceptions.MAX_TEXT)
        if isinstance(value, BaseException):
            return self.lower(value, self._max_depth // 2)
        if type(value) in (list, tuple) and any(isinstance(item, BaseException) for item in value):
            return [self._tame(item) for item in value]  # the members of an exception group
        if self._is_sendable(value):
            return self.lower(value, self._max_depth // 2)
        return exceptions.text_of(value)

    def _is_sendable(self, value: Any) -> bool:
        """Whether a part of an exception can be sent within the frame's body, and is not too long."""
        trial = Lowering(self._persistent, self._max_depth)
        try:
            size = len(dumps(trial.lower(value, self._max_depth // 2)))
        except Exception:  # noqa: BLE001 - cbor2's errors, and user's code: the exception goes without this part
            return False
        return not trial.segments and size <= exceptions.MAX_STATE


def _zone(value: Any, zone: tzinfo | None) -> list[Any]:
    """Describe a time zone by its offset at this time, in microseconds, and its name."""
    if zone is None:
        return [None, None]
    offset = value.utcoffset()
    if offset is None:
        raise Refusal(f"has a time zone without an offset, {zone!r}; send a datetime, or a time with a fixed offset")
    name = None if zone is UTC else value.tzname()
    return [offset // timedelta(microseconds=1), name]


_METHODS: dict[type, Callable[[Lowering, Any, int], Any]] = {
    list: Lowering._list, tuple: Lowering._tuple, set: Lowering._set, frozenset: Lowering._set,
    dict: Lowering._dict, bytes: Lowering._bytes, bytearray: Lowering._bytearray, complex: Lowering._complex,
    datetime: Lowering._datetime, date: Lowering._date, time: Lowering._time, timedelta: Lowering._timedelta,
    Decimal: Lowering._decimal, Fraction: Lowering._fraction, UUID: Lowering._uuid, range: Lowering._range,
    slice: Lowering._slice, MappingProxyType: Lowering._mapping_proxy, UnknownTypeValue: Lowering._standin,
}  # fmt: skip


def find_refusal(plain: Any, name: str) -> Refusal | None:
    """Say which part of a lowered value cbor2 refused to write, and why; also integers that are too long."""
    if type(plain) is str:
        try:
            plain.encode()
        except UnicodeEncodeError as error:
            return Refusal(f"contains {plain[error.start]!r}, half of a surrogate pair, which is no character", name)
        return None
    if type(plain) is int and plain.bit_length() > MAX_INTEGER_BITS:
        return Refusal(f"is an integer of {plain.bit_length()} bits; the limit is {MAX_INTEGER_BITS}", name)
    found = (find_refusal(item, path) for item, path in _parts(plain, name))
    return next((refusal for refusal in found if refusal is not None), None)


def _parts(plain: Any, name: str) -> Iterator[tuple[Any, str]]:
    """Yield the parts of a lowered value, with their places in the value of the user."""
    if type(plain) is CBORTag and plain.tag in (Own.NAMED_TUPLE, Own.DATACLASS):
        for field, item in zip(plain.value[2::2], plain.value[3::2], strict=True):
            yield item, f"{name}.{field}"
    elif type(plain) is dict or (type(plain) is CBORTag and plain.tag == Own.DICT):
        flat = plain.value if isinstance(plain, CBORTag) else [part for pair in plain.items() for part in pair]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        for key, item in pairs:
            yield key, f"{name} (a key)"
            yield item, f"{name}[{key!r}]"
    elif type(plain) is CBORTag:
        yield plain.value, name
    elif type(plain) is list:
        yield from ((item, f"{name}[{index}]") for index, item in enumerate(plain))
