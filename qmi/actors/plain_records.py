"""Records that travel as plain data, so that programs of different versions understand each other.

A record is a frozen dataclass. What is sent of it is a dictionary of texts, numbers, lists and dictionaries. Whoever
reads one ignores what it does not know, and takes the default of a field that is missing or is something else than
expected: an older program says less, a newer one more, and neither is a reason to fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeAlias, cast, get_args, get_origin, get_type_hints

_LONGEST_TEXT = 10_000

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"
_Reader: TypeAlias = Callable[[object], object]


class _Unfit(Exception):
    """It is something else than expected."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PlainRecord:
    """A record that travels as plain data. Fields are texts, numbers, booleans, records, or tuples or mappings of them.

    Every field of a derived dataclass has a default. Comparison and text are here, once: a dataclass would compile its
    own, which is most of what it costs a program at its start.
    """

    KEYS: ClassVar[dict[str, str]] = {}
    """What a field is called in the plain data, where that is no name in Python."""

    @classmethod
    def from_plain(cls, found: object) -> Self:
        """Read what another program has sent.

        Args:
            found: Anything. What makes no sense is left out.
        """
        if not isinstance(found, dict):
            return cls()
        values: dict[str, Any] = {}
        for name, key, read in _fields_of(cls):
            if key in found:
                try:
                    values[name] = read(found[key])
                except _Unfit:  # the default says that nothing is known
                    continue
        return cls(**values)

    def to_plain(self) -> dict[str, Plain]:
        """The same as texts, numbers, lists and dictionaries."""
        return {key: _to_plain(getattr(self, name)) for name, key, _ in _fields_of(type(self))}

    def _fields(self) -> list[tuple[str, object]]:
        names: tuple[str, ...] = self.__match_args__  # which the dataclass has made of its fields
        return [(name, getattr(self, name)) for name in names]

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), *self._fields()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._fields())
        return f"{type(self).__qualname__}({shown})"


def _to_plain(value: object) -> Plain:
    if isinstance(value, PlainRecord):
        return value.to_plain()
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    return cast("Plain", value)


_FIELDS: dict[type, list[tuple[str, str, _Reader]]] = {}


def _fields_of(cls: type[PlainRecord]) -> list[tuple[str, str, _Reader]]:
    if cls not in _FIELDS:
        hints, keys = get_type_hints(cls), cls.KEYS
        names = [field.name for field in fields(cls)]
        _FIELDS[cls] = [(name, keys.get(name, name), _reader(hints[name])) for name in names]
    return _FIELDS[cls]


def _reader(hint: Any) -> _Reader:
    """What reads a value of this type; it raises `_Unfit` for others."""
    arguments = get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return _record_of(cast("type[PlainRecord]", hint))
    if get_origin(hint) is UnionType:  # "X | None"
        (wanted,) = (argument for argument in arguments if argument is not NoneType)
        read = _reader(wanted)
        return lambda found: None if found is None else read(found)
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return _sequence_of(_reader(arguments[0]))
        return _row_of([_reader(argument) for argument in arguments])
    if get_origin(hint) is dict:
        return _mapping_of(_reader(arguments[1]))
    return _SCALARS[hint]


def _record_of(cls: type[PlainRecord]) -> _Reader:
    def record(found: object) -> PlainRecord:
        if not isinstance(found, dict):
            raise _Unfit
        return cls.from_plain(found)

    return record


def _text(found: object) -> str:
    if type(found) is not str:
        raise _Unfit
    if len(found) <= _LONGEST_TEXT and found.isprintable():  # as almost all are
        return found
    from qmi.config.validators import printable_lines  # here, since every program imports this module

    return printable_lines(found[:_LONGEST_TEXT])  # it is shown on a terminal


def _integer(found: object) -> int:
    if type(found) is not int:
        raise _Unfit
    return found


def _number(found: object) -> float:
    if type(found) not in (int, float):
        raise _Unfit
    try:
        value = float(cast("float", found))
    except OverflowError:
        raise _Unfit from None
    if not math.isfinite(value):
        raise _Unfit
    return value


def _boolean(found: object) -> bool:
    if type(found) is not bool:
        raise _Unfit
    return found


_SCALARS: dict[type, _Reader] = {str: _text, int: _integer, float: _number, bool: _boolean}


def _sequence_of(read: _Reader) -> _Reader:
    def sequence(found: object) -> tuple[object, ...]:
        if not isinstance(found, list | tuple):
            raise _Unfit
        kept = []
        for item in found:
            try:
                kept.append(read(item))
            except _Unfit:
                continue
        return tuple(kept)

    return sequence


def _row_of(readers: list[_Reader]) -> _Reader:
    def row(found: object) -> tuple[object, ...]:
        if not isinstance(found, list | tuple) or len(found) < len(readers):
            raise _Unfit
        return tuple(read(item) for read, item in zip(readers, found, strict=False))

    return row


def _mapping_of(read: _Reader) -> _Reader:
    def mapping(found: object) -> dict[str, object]:
        if not isinstance(found, dict):
            raise _Unfit
        kept: dict[str, object] = {}
        for key, value in found.items():
            try:
                kept[_text(key)] = read(value)
            except _Unfit:
                continue
        return kept

    return mapping
