"""Text of the command line as values of the types that a method or parameter takes.

What :func:`qmi.presenting.value_text.text_of` prints, :func:`read` reads.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Final, Literal, Union
from uuid import UUID

from qmi.errors import QMI_InvalidValueException
from qmi.names import nearest
from qmi.net.codec.unknown import NamedKind, make_unknown
from qmi.presenting.annotation_types import ForeignType, is_array_type
from qmi.presenting.number_lists import array_from
from qmi.presenting.quantity_text import NUMBER, number_in_unit
from qmi.presenting.value_text import text_of


class Unfit(ValueError):
    """A text that is no value of a type.

    Attributes:
        expected: What the value must be.
        hint: What to do, or why; may be empty.
    """

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


def read_json(value: object, kind: object, unit: str = "") -> object:
    """The value of a type that a program has sent as JSON.

    A text is read as if it were typed, so that quantities, times, bytes and members of enumerations can be sent; what
    JSON has itself is taken as it is.

    Args:
        value: What JSON has.
        kind: The type, of :func:`type_of`.
        unit: The unit of numbers; a quantity in another unit is converted to it.

    Raises:
        Unfit: If it is no such value.
    """
    kind = _supertype(kind)
    if isinstance(value, str):
        is_any = kind is Any or isinstance(kind, typing.TypeVar)
        return value if kind is str or is_any else read(value, kind, unit)
    if _is_number_of_numpy(kind) and not isinstance(value, bool | int | float):
        raise Unfit(expected(kind, unit))
    return kind(value) if _is_number_of_numpy(kind) else _fill(value, kind)  # type: ignore[operator]


_WORDS: Final = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_NOTHING: Final = frozenset({"none", "null"})


def read(text: str, kind: object, unit: str = "") -> object:
    """The value of a type that somebody has typed.

    Args:
        text: The text.
        kind: The type, of :func:`type_of`.
        unit: The unit of numbers; a quantity in another unit is converted to it.

    Raises:
        Unfit: If it is no such value.
    """
    kind = _supertype(kind)
    origin = typing.get_origin(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return _read_any(text, unit)
    if kind is None or kind is type(None):
        _check_none(text)
        return None
    if origin in (Union, types.UnionType):
        return _read_union(text, kind, unit)
    if origin is Literal:
        return _read_literal(text, typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum | ForeignType):
        return _member(text, kind) if issubclass(kind, Enum) else _foreign(text, kind)
    reader = _READERS.get(kind) if isinstance(kind, type) else None
    if reader is not None:
        return reader(text, unit)
    if _is_number_of_numpy(kind):
        return kind(_read_number_like(text, kind, unit))  # type: ignore[operator]
    if is_array_type(kind) or _is_structure(origin or kind):
        return _fill(_loads(text, expected(kind)), kind)
    return _read_any(text, unit)


def _supertype(kind: object) -> object:
    while hasattr(kind, "__supertype__"):  # of typing.NewType
        kind = kind.__supertype__
    return kind


def _is_number_of_numpy(kind: object) -> bool:
    return isinstance(kind, type) and any(
        base.__module__ == "numpy" and base.__name__ in ("number", "bool", "bool_") for base in kind.__mro__
    )


def _read_number_like(text: str, kind: Any, unit: str) -> object:
    name = kind.__name__
    plain = bool if name.startswith("bool") else int if "int" in name else complex if "complex" in name else float
    return read(text, plain, unit)


def _is_structure(kind: object) -> bool:
    return kind in (list, tuple, dict, set, frozenset) or _fields_of(kind) is not None


def _read_any(text: str, unit: str) -> object:
    """What is written as a literal is that, a quantity of a unit the number, and all else a text."""
    stripped = text.strip()
    if stripped in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[stripped]
    if unit and (found := NUMBER.fullmatch(stripped)) is not None and found["unit"]:
        return _read_float(text, unit)
    try:
        return _load(stripped)
    except ValueError:
        return text


def _foreign(text: str, kind: type[ForeignType]) -> object:
    name = text.strip().removeprefix(f"{kind.__name__}.")
    if not name.isidentifier():
        return _read_any(text, "")
    return make_unknown(NamedKind.ENUM, kind.type_name, {"name": name, "value": name}, acting=name)


def _check_none(text: str) -> None:
    if text.strip().lower() not in _NOTHING:
        raise Unfit("none")


def _union(kind: object) -> list[object]:
    # What fits fewest texts comes first: "1" is no truth value where it can be a number, and everything is a text.
    order: list[object] = [type(None), int, float, Decimal, Fraction, complex, bool]
    last: list[object] = [bytes, bytearray, PurePath, str, Any]

    def place(item: object) -> int:
        if item in order:
            return order.index(item)
        return 100 + last.index(item) if item in last else 50

    return sorted(typing.get_args(kind), key=place)


def _read_union(text: str, kind: object, unit: str) -> object:
    hints = []
    for choice in _union(kind):
        try:
            return read(text, choice, unit)
        except Unfit as error:
            hints.append(error.hint)
    raise Unfit(expected(kind, unit), next(filter(None, hints), ""))


def _read_literal(text: str, choices: Iterable[object]) -> object:
    found = [choice for choice in choices if text.strip() in (text_of(choice), repr(choice))]
    if not found:
        raise Unfit(expected(Literal[tuple(choices)]))
    return found[0]


def _member(text: str, kind: type[Enum]) -> Enum:
    stripped = text.strip().removeprefix(f"{kind.__name__}.")
    if stripped in kind.__members__:
        return kind.__members__[stripped]
    if issubclass(kind, Flag) and "|" in stripped:
        parts = [_member(part, kind) for part in stripped.split("|")]
        together: Any = parts[0]
        for part in parts[1:]:
            together |= part
        return together  # type: ignore[no-any-return]
    folded = [member for name, member in kind.__members__.items() if name.lower() == stripped.lower()]
    named = folded or [member for member in kind if str(member.value) == stripped]
    if len({id(member) for member in named}) == 1:
        return named[0]
    raise Unfit(expected(kind))


def _read_str(text: str, unit: str) -> str:
    return text


def _read_bool(text: str, unit: str) -> bool:
    found = _WORDS.get(text.strip().lower())
    if found is None:
        raise Unfit(expected(bool))
    return found


def _read_int(text: str, unit: str) -> int:
    stripped = text.strip()
    for base in (10, 0):
        try:
            return int(stripped, base)
        except ValueError:
            continue
    number = _number(stripped, unit, int)
    if number != int(number):
        raise Unfit(expected(int, unit))
    return int(number)


def _read_float(text: str, unit: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(_number(text.strip(), unit, float))


def _number(text: str, unit: str, kind: type) -> float:
    """The number of a quantity such as ``5 V`` in a unit."""
    found = NUMBER.fullmatch(text)
    if found is None:
        comma = re.fullmatch(r"[+-]?\d+,\d+", text)
        raise Unfit(expected(kind, unit), f"write {text.replace(',', '.')} with a point" if comma else "")
    if not found["unit"]:
        raise Unfit(expected(kind, unit))
    try:
        return number_in_unit(found["number"], found["unit"], unit)
    except QMI_InvalidValueException as error:
        raise Unfit(expected(kind, unit), str(error)) from None


def _read_complex(text: str, unit: str) -> complex:
    try:
        return complex(re.sub(r"\s|\*", "", text).replace("i", "j").replace("jnf", "inf"))
    except ValueError:
        raise Unfit(expected(complex)) from None


def _read_bytes(text: str, unit: str) -> bytes:
    digits = re.sub(r"[\s:]|0x|0X|\\x", "", text)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise Unfit(expected(bytes)) from None


def _read_bytearray(text: str, unit: str) -> bytearray:
    return bytearray(_read_bytes(text, unit))


def _read_path(text: str, unit: str) -> PurePath:
    return Path(text)


def _reader_of(kind: Any, make: Callable[[str], object]) -> Callable[[str, str], object]:
    def read_it(text: str, unit: str) -> object:
        try:
            return make(text.strip())
        except (ValueError, InvalidOperation, ZeroDivisionError, OverflowError):
            raise Unfit(expected(kind)) from None

    return read_it


_DURATIONS: Final = {
    "us": "0.000001", "µs": "0.000001", "ms": "0.001", "s": "1", "sec": "1", "seconds": "1", "m": "60", "min": "60",
    "h": "3600", "hours": "3600", "d": "86400", "day": "86400", "days": "86400", "w": "604800",
}  # fmt: skip
_SECONDS: Final = {name: Fraction(value) for name, value in _DURATIONS.items()}


def duration(text: str) -> timedelta:
    """A length of time: ``90``, ``1.5 h``, ``1h30m``, ``0:05:00``, ``2 days, 0:05:00``.

    Raises:
        ValueError: If it is none.
    """
    stripped = text.strip()
    sign = -1 if stripped.startswith("-") and ("days" not in stripped and "day" not in stripped) else 1
    rest = stripped[1:] if sign < 0 else stripped
    clock = re.fullmatch(r"(?:([+-]?\d+) days?, *)?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?", rest)
    if clock is not None:
        days, hours, minutes, seconds = clock.groups()
        whole = Fraction(days or 0) * 86400 + Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds or 0)
    elif re.fullmatch(r"\d*\.?\d+(?:[eE][+-]?\d+)?", rest):
        whole = Fraction(rest)
    else:
        parts = re.findall(r"(\d*\.?\d+(?:[eE][+-]?\d+)?)\s*([a-zµ]+)", rest)
        if not parts or re.sub(r"(\d*\.?\d+(?:[eE][+-]?\d+)?)\s*([a-zµ]+)\s*", "", rest):
            raise ValueError(text)
        if strange := [name for _, name in parts if name not in _SECONDS]:
            raise ValueError(f"{strange[0]} is no unit of time")
        whole = sum((Fraction(number) * _SECONDS[name] for number, name in parts), Fraction(0))
    return sign * timedelta(microseconds=round(whole * 1_000_000))


_READERS: Final[Mapping[type, Callable[[str, str], object]]] = {
    str: _read_str,
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    complex: _read_complex,
    bytes: _read_bytes,
    bytearray: _read_bytearray,
    PurePath: _read_path,
    datetime: _reader_of(datetime, datetime.fromisoformat),
    date: _reader_of(date, date.fromisoformat),
    time: _reader_of(time, time.fromisoformat),
    timedelta: _reader_of(timedelta, duration),
    Decimal: _reader_of(Decimal, Decimal),
    Fraction: _reader_of(Fraction, Fraction),
    UUID: _reader_of(UUID, UUID),
}


# Structures, which are written as JSON5


def _load(text: str) -> object:
    """What a literal stands for, of JSON5 or of Python.

    Raises:
        ValueError: If the text is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    import json5

    try:
        return json5.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(text) from None


def _loads(text: str, wanted: str) -> object:
    try:
        return _load(text.strip())
    except ValueError:
        raise Unfit(wanted, "it is no JSON5") from None


def _fields_of(kind: object) -> dict[str, tuple[object, bool]] | None:
    """The fields of a dataclass, named tuple or typed dict: their types, and whether they must be given."""
    if not isinstance(kind, type):
        return None
    if dataclasses.is_dataclass(kind):
        empty = dataclasses.MISSING
        needed = {
            item.name: item.default is empty and item.default_factory is empty
            for item in dataclasses.fields(kind)
            if item.init
        }
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        defaults = vars(kind).get("_field_defaults", {})
        needed = {name: name not in defaults for name in kind._fields}
    elif issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        needed = {name: name in kind.__required_keys__ for name in kind.__annotations__}
    else:
        return None
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # noqa: BLE001 - annotations of a user that cannot be evaluated: the types are not known then
        hints = {}
    return {name: (hints.get(name, Any), must) for name, must in needed.items()}


def _fill(value: object, kind: object) -> object:
    """A value of a type, made of what JSON has for it."""
    kind = _supertype(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or isinstance(kind, typing.TypeVar):
        return value
    if origin in (Union, types.UnionType):
        return _fill_union(value, kind)
    if origin is Literal:
        return _one_of(value, arguments)
    if is_array_type(kind):
        return _fill_array(value, kind)
    plain = origin or kind
    if plain in (list, set, frozenset):
        items = _items(value, kind)
        return plain(_fill(item, arguments[0] if arguments else Any) for item in items)
    if plain is tuple:
        return _fill_tuple(_items(value, kind), kind, arguments)
    if plain is dict:
        if not isinstance(value, dict):
            raise Unfit(expected(kind))
        of_key, of_value = arguments or (Any, Any)
        return {_fill_key(key, of_key): _fill(item, of_value) for key, item in value.items()}
    fields = _fields_of(kind)
    return _fill_scalar(value, kind) if fields is None else _fill_fields(value, kind, fields)


def _one_of(value: object, choices: tuple[object, ...]) -> object:
    for choice in choices:
        if (type(choice) is type(value) and choice == value) or (isinstance(choice, Enum) and value == choice.name):
            return choice
    raise Unfit(expected(Literal[choices]))


def _fill_union(value: object, kind: object) -> object:
    for choice in _union(kind):
        try:
            return _fill(value, choice)
        except Unfit:
            continue
    raise Unfit(expected(kind))


def _fill_key(key: object, kind: object) -> object:
    return read(key, kind) if isinstance(key, str) else _fill(key, kind)  # JSON has texts alone


def _items(value: object, kind: object) -> Sequence[object]:
    if not isinstance(value, list | tuple | set):
        raise Unfit(expected(kind))
    return list(value)


def _fill_tuple(items: Sequence[object], kind: object, arguments: tuple[object, ...]) -> tuple[object, ...]:
    if not arguments:
        return tuple(items)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_fill(item, arguments[0]) for item in items)
    if len(items) != len(arguments):
        raise Unfit(expected(kind), f"it has {len(items)} items, not {len(arguments)}")
    return tuple(_fill(item, argument) for item, argument in zip(items, arguments, strict=True))


def _fill_array(value: object, kind: object) -> object:
    found = typing.get_args(kind)
    scalar = typing.get_args(found[1])[0] if len(found) == 2 and typing.get_args(found[1]) else None
    try:
        array = array_from(value, scalar)
    except (ValueError, TypeError, OverflowError):
        raise Unfit(expected(kind), "all its rows must have as many numbers") from None
    if array.dtype == object or array.dtype.kind in "US":
        raise Unfit(expected(kind), "an array has numbers")
    return array


def _fill_fields(value: object, kind: Any, fields: Mapping[str, tuple[object, bool]]) -> object:
    if isinstance(value, list | tuple) and issubclass(kind, tuple):
        if len(value) > len(fields):
            raise Unfit(expected(kind), f"it has {len(value)} items, not {len(fields)}")
        value = dict(zip(fields, value, strict=False))
    if not isinstance(value, dict):
        raise Unfit(expected(kind))
    if strange := [name for name in value if name not in fields]:
        near = nearest(str(strange[0]), fields)
        raise Unfit(expected(kind), f"it has no {strange[0]!r}" + (f". Did you mean {near!r}?" if near else ""))
    if lacking := [name for name, (_, must) in fields.items() if must and name not in value]:
        raise Unfit(expected(kind), f"{', '.join(lacking)} is missing")
    filled = {}
    for name, item in value.items():
        try:
            filled[name] = _fill(item, fields[name][0])
        except Unfit as error:
            raise Unfit(expected(kind), f"{name} must be {error.expected}, got {item!r}") from None
    return kind(**filled)


def _fill_scalar(value: object, kind: object) -> object:
    if isinstance(value, str) and kind is not str and kind is not bool and kind is not int:
        return read(value, kind)  # the name of a member, a time, bytes, infinity
    if isinstance(kind, type) and issubclass(kind, ForeignType):
        return value
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    is_number = is_whole or isinstance(value, float)
    fits = {
        bool: isinstance(value, bool), int: is_whole, float: is_number, str: isinstance(value, str),
        complex: is_number or isinstance(value, complex), type(None): value is None, None: value is None,
    }.get(kind)  # type: ignore[call-overload]  # fmt: skip
    if fits is None:
        if isinstance(kind, type) and (issubclass(kind, Enum) or kind in (Decimal, Fraction, timedelta)) and is_number:
            return read(str(value), kind)
        if kind in _READERS or (isinstance(kind, type) and issubclass(kind, Enum)):
            raise Unfit(expected(kind))
        return value
    if not fits:
        raise Unfit(expected(kind))
    try:
        return float(value) if kind is float else value  # type: ignore[arg-type]
    except OverflowError:
        raise Unfit(expected(kind)) from None


# What is expected, in words


_WORDS_FOR: Final[Mapping[object, str]] = {
    bool: "on or off (or true, false, yes, no, 1, 0)", str: "a text", bytes: "bytes as hexadecimal digits",
    complex: "a complex number such as 1+2j", bytearray: "bytes as hexadecimal digits", PurePath: "a path",
    datetime: "a time such as 2026-05-04T09:12:31", date: "a day such as 2026-05-04", time: "a time such as 09:12:31",
    timedelta: "a duration such as 5 s or 1h30m", Decimal: "a number", Fraction: "a fraction such as 1/3",
    UUID: "a UUID", None: "none", type(None): "none", int: "a whole number", float: "a number", Any: "any value",
}  # fmt: skip
_STRUCTURES: Final[Mapping[object, str]] = {
    list: "a JSON list", tuple: "a JSON list", set: "a JSON list", frozenset: "a JSON list", dict: "a JSON object",
}  # fmt: skip


def expected(kind: object, unit: str = "") -> str:
    """What a value of a type must be, for messages.

    Args:
        kind: The type.
        unit: The unit of numbers.
    """
    kind = _supertype(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _or([expected(item, unit) for item in _union(kind)])
    if origin is Literal:
        return _or([repr(item) if isinstance(item, str) else text_of(item) for item in arguments])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _or(list(kind.__members__))
    if is_array_type(kind):
        return "an array as a JSON list of numbers"
    if (origin or kind) in _STRUCTURES:
        inner = [item for item in arguments if item is not Ellipsis and item is not Any]
        if not inner:
            return _STRUCTURES[origin or kind]
        several = f"{len(inner)} items: " if (origin or kind) is tuple and Ellipsis not in arguments else ""
        return f"{_STRUCTURES[origin or kind]} of {several}{', '.join(expected(item) for item in inner)}"
    fields = _fields_of(kind)
    if fields is not None:
        return f"a JSON object with {', '.join(fields)}"
    words = _WORDS_FOR.get(kind) if kind is None or kind is Any or isinstance(kind, type) else None
    if words is None:
        return f"a value of type {getattr(kind, '__name__', kind)}"
    return f"{words} in {unit}" if unit and kind in (int, float) else words


def _or(words: Sequence[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
