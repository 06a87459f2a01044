"""Which types may be named on the wire, how they are found and how they are rebuilt without running their code.

A type is looked up among the modules that are imported already, through their dictionaries and nothing else: no
attribute access, since that can run code (a module's ``__getattr__``, a property, a metaclass).
"""

from __future__ import annotations

import dataclasses
import sys
import types
from abc import ABCMeta
from enum import Enum, EnumType, Flag
from typing import Any, Final, cast

from cbor2 import CBORTag

from qmi.net.codec.loading import find_own_module
from qmi.net.codec.rows import SCALARS, Decoding, Encoding, Malformed, Refusal, Row, sized, typed
from qmi.net.codec.tags import MAX_INTEGER_BITS, Own
from qmi.net.codec.unknown import NOT_IMPORTED, NamedKind, make_unknown

_MODULE_DICT: types.MemberDescriptorType = vars(types.ModuleType)["__dict__"]
_CLASS_DICT: types.GetSetDescriptorType = type.__dict__["__dict__"]
_CLASS_MRO: types.MemberDescriptorType = type.__dict__["__mro__"]
PLAIN_READS = (object.__getattribute__, int.__getattribute__, str.__getattribute__, float.__getattribute__)
_FLAG_WALKERS = [
    found.__func__
    for name, found in vars(Flag).items()
    if name.startswith("_iter_member_") and isinstance(found, classmethod)
]
ABSENT: Final = object()


def static_lookup(cls: type, name: str) -> Any:
    """Find a class attribute without running code; ``ABSENT`` if there is none."""
    for base in _CLASS_MRO.__get__(cls):
        found = _CLASS_DICT.__get__(base).get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def find_type(module: str, qualname: str) -> type | None:
    """Return the class of this name in a module that is imported already or is this library's, or None."""
    found: Any = sys.modules.get(module) or find_own_module(module)
    if not issubclass(type(found), types.ModuleType):
        return None
    names = _MODULE_DICT.__get__(found)
    for part in qualname.split("."):
        found = names.get(part, ABSENT)
        if not issubclass(type(found), type):
            return None
        names = _CLASS_DICT.__get__(found)
    # An object's finalizer is code too, and it would run for each object that is rebuilt.
    return None if static_lookup(found, "__del__") is not ABSENT else found


def field_names(cls: type) -> tuple[str, ...] | None:
    """Return the fields of a named tuple class, None for any other class."""
    names = static_lookup(cls, "_fields") if issubclass(cls, tuple) else ABSENT
    if type(names) is tuple and all(type(name) is str for name in names):
        return names
    return None


def dataclass_fields(cls: type) -> tuple[str, ...] | None:
    """Return the names of the fields of a dataclass, None for any other class."""
    if type(cls) not in (type, ABCMeta) or type(static_lookup(cls, "__dataclass_fields__")) is not dict:
        return None
    return tuple(field.name for field in dataclasses.fields(cls))


_BASES: dict[str, type] = {"int": int, "float": float, "str": str, "bytes": bytes, "tuple": tuple}
_MAX_MEMBER = 4096
"""Bytes of an enum member's value that are sent for those who lack the type."""
_MAX_COMBINATIONS = 4096
"""An enum keeps each combination of flags that was ever made; more than these are not made for a peer."""


# -- enums: [module, qualname, name of the member, its value or None, what the value is]


def lower_enum(encoding: Encoding, member: Enum, depth: int) -> CBORTag:
    """Lower a member of an enum: its name, and its value for those who do not have the type."""
    cls = type(member)
    value = member._value_
    plain: object
    if type(value) is int:
        plain = value if value.bit_length() <= MAX_INTEGER_BITS else None
    elif type(value) in SCALARS and type(value) is not str:
        plain = value
    else:
        try:
            plain, _ = encoding.lower_small(value, depth + 1, _MAX_MEMBER)
        except Exception:  # noqa: BLE001 - Refusal, and user's code: its name is enough for those who have the type
            plain = None
    name = next((name for name, base in _BASES.items() if issubclass(cls, base)), "")
    if not name and issubclass(cls, Flag):
        name = "int"
    return CBORTag(Own.ENUM, [cls.__module__, cls.__qualname__, member._name_, plain, name])


def _enum(decoding: Decoding, payload: object, _: bool) -> object:
    module, qualname, name, value, base = sized(payload, 5)
    if name is not None:
        typed(name, str)
    return rebuild_enum(typed(module, str), typed(qualname, str), name, value, typed(base, str))


def rebuild_enum(module: str, qualname: str, name: str | None, value: object, base: str = "") -> object:
    """Return the member of this name, or what stands for it."""
    reason = NOT_IMPORTED
    cls = find_type(module, qualname)
    if cls is not None:
        reason = "this program has another type of that name"
        if issubclass(type(cls), EnumType):
            member = _find_member(cls, name, value, base)
            if member is not None:
                return member
            reason = "this program's type has no such member"
    acting = value if type(value) is _BASES.get(base) else None
    return make_unknown(NamedKind.ENUM, f"{module}:{qualname}", {"name": name, "value": value}, reason, acting)


def _find_member(cls: type, name: str | None, value: object, base: str) -> object:
    members = _CLASS_DICT.__get__(cls).get("_member_map_")
    if type(members) is not dict:
        return None
    if name in members:
        return members[name]
    if base and type(value) in (int, str):
        # A member that the class made of a value, in a ``_missing_`` of its own.
        found = _CLASS_DICT.__get__(cls).get("_value2member_map_")
        if type(found) is dict and value in found:
            return found[value]
    if issubclass(cls, Flag) and type(value) is int:
        return _combine_flag(cls, value)
    return None


def _combine_flag(cls: type[Flag], value: int) -> Flag | None:
    """Return a combination of flags, made by the standard library's code alone; unnamed bits stay where they may."""
    own = _CLASS_DICT.__get__(cls)
    walker = static_lookup(cls, "_iter_member_")
    known = own.get("_value2member_map_")
    standard = (
        type(cls) is EnumType
        and type(known) is dict
        and len(known) < _MAX_COMBINATIONS
        and static_lookup(cls, "__setattr__") is object.__setattr__
        and static_lookup(cls, "__getattr__") is ABSENT
        and static_lookup(cls, "__getattribute__") in PLAIN_READS
        and type(walker) in (classmethod, types.MethodType)
        and walker.__func__ in _FLAG_WALKERS
        and own.get("_member_type_") in (object, int)
    )
    if not standard:
        return None
    if value in known:
        return cast("Flag", known[value])
    if value < 0 or value.bit_length() > MAX_INTEGER_BITS:
        return None
    try:
        # Not by calling the class: its ``_missing_`` may be the user's.
        member = _CLASS_DICT.__get__(Flag)["_missing_"].__func__(cls, value)
    except ValueError:  # a class that refuses this combination
        return None
    return member if type(member) is cls and member._value_ == value else None


# -- named tuples and dataclasses: [module, qualname, name of a field, its value, ...]


def lower_fields(
    encoding: Encoding, tag: int, module: str, qualname: str, fields: list[tuple[str, object]], depth: int
) -> CBORTag:
    """Lower a value that has named fields."""
    encoding.check_depth(depth)
    flat: list[object] = [module, qualname]
    for name, value in fields:
        try:
            flat += (name, encoding.lower(value, depth + 1))
        except Refusal as refusal:
            raise refusal.under(f".{name}") from None
    return CBORTag(tag, flat)


def lower_named_tuple(encoding: Encoding, value: tuple[object, ...], names: tuple[str, ...], depth: int) -> CBORTag:
    """Lower a named tuple."""
    cls = type(value)
    items = tuple.__iter__(value)
    fields = list(zip(names, items, strict=True))
    return lower_fields(encoding, Own.NAMED_TUPLE, cls.__module__, cls.__qualname__, fields, depth)


def lower_dataclass(encoding: Encoding, value: object, names: tuple[str, ...], depth: int) -> CBORTag:
    """Lower an instance of a dataclass."""
    cls = type(value)
    fields = [(name, getattr(value, name)) for name in names]
    return lower_fields(encoding, Own.DATACLASS, cls.__module__, cls.__qualname__, fields, depth)


def _read_fields(payload: object) -> tuple[str, str, tuple[str, ...], list[object]]:
    flat = typed(payload, list)
    if len(flat) < 2 or len(flat) % 2:
        raise Malformed("a field of a named value is not complete")
    names = tuple(typed(name, str) for name in flat[2::2])
    if len(set(names)) != len(names):
        raise Malformed("a field of a named value comes twice")
    return typed(flat[0], str), typed(flat[1], str), names, flat[3::2]


def _named_tuple(decoding: Decoding, payload: object, _: bool) -> object:
    """Return the named tuple, or what stands for it if there is no such class here with the same fields."""
    module, qualname, names, values = _read_fields(payload)
    cls = find_type(module, qualname)
    if cls is not None and type(cls) is type and field_names(cls) == names:
        return _checked(tuple.__new__(cls, values), cls)
    fields = dict(zip(names, values, strict=True))
    return make_unknown(NamedKind.NAMED_TUPLE, f"{module}:{qualname}", fields, _reason(cls), tuple(values))


def _dataclass(decoding: Decoding, payload: object, _: bool) -> object:
    """Return the dataclass instance, or what stands for it if there is no such class here with the same fields."""
    module, qualname, names, values = _read_fields(payload)
    cls = find_type(module, qualname)
    if cls is not None and dataclass_fields(cls) == names:
        made = _fill(cls, names, values)
        if made is not ABSENT:
            return _checked(made, cls)
    fields = dict(zip(names, values, strict=True))
    return make_unknown(NamedKind.DATACLASS, f"{module}:{qualname}", fields, _reason(cls))


def _reason(cls: type | None) -> str:
    return NOT_IMPORTED if cls is None else "this program's type of that name cannot be rebuilt from these fields"


def _checked(made: object, cls: type) -> object:
    """Let the author of a class check what was rebuilt without calling the class.

    Raises:
        Malformed: If the check fails, with the author's message.
    """
    check = static_lookup(cls, "__qmi_check__")
    if type(check) is types.FunctionType:
        try:
            check(made)
        except Exception as error:  # the author's code: it refuses this value
            detail = f"{type(error).__name__}: {error}"
            raise Malformed(f"{cls.__qualname__} refuses what arrived: {detail}") from error
    return made


def _fill(cls: type, names: tuple[str, ...], values: list[object]) -> object:
    """Make an instance and set its fields where the class keeps them: in slots, or in the instance's dictionary."""
    slots = {}
    for name in names:
        found = static_lookup(cls, name)
        if type(found) is types.MemberDescriptorType:
            slots[name] = found
        elif static_lookup(type(found), "__set__") is not ABSENT:
            return ABSENT  # a property: its setter is the user's code
    getter = static_lookup(cls, "__dict__")
    if len(slots) < len(names) and type(getter) is not types.GetSetDescriptorType:
        return ABSENT
    try:
        made: object = object.__new__(cls)
    except TypeError:  # abstract, or made of a type of C that must be made its own way
        return ABSENT
    rest = getter.__get__(made) if len(slots) < len(names) else {}
    for name, value in zip(names, values, strict=True):
        if name in slots:
            slots[name].__set__(made, value)
        else:
            rest[name] = value
    return made


ROWS = (
    Row(Own.ENUM, _enum),
    Row(Own.NAMED_TUPLE, _named_tuple),
    Row(Own.DATACLASS, _dataclass),
)
