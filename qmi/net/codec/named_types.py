"""Which types may be named on the wire, how they are found and how they are rebuilt without running their code.

A type is looked up among the modules that are imported already, through their dictionaries and nothing else: no
attribute access, since that can run code (a module's ``__getattr__``, a property, a metaclass).
"""

from __future__ import annotations

import dataclasses
import sys
import types
import uuid
from abc import ABCMeta
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, EnumType, Flag
from fractions import Fraction
from typing import Any

import qmi.errors
from qmi.net.codec.tags import MAX_KEYS_PER_HASH
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue

_MODULE_DICT: Any = vars(types.ModuleType)["__dict__"]
_CLASS_DICT: Any = type.__dict__["__dict__"]
_CLASS_MRO: Any = type.__dict__["__mro__"]
_OWN_ERRORS = frozenset(qmi.errors.__all__)
_KEYS = frozenset({
    type(None), bool, int, float, complex, str, bytes, datetime, date, time, timedelta, Decimal, Fraction, uuid.UUID,
    range,
})  # fmt: skip
_PLAIN_HASHES = (Enum.__dict__["__hash__"], int.__hash__, str.__hash__, float.__hash__)
_PLAIN_READS = (object.__getattribute__, int.__getattribute__, str.__getattribute__, float.__getattribute__)
_PLAIN_EQUALS = (object.__eq__, int.__eq__, str.__eq__, float.__eq__)
_FLAG_WALKERS = [
    found.__func__
    for name, found in vars(Flag).items()
    if name.startswith("_iter_member_") and isinstance(found, classmethod)
]
ABSENT: Any = object()


def static_lookup(cls: type, name: str) -> Any:
    """Find a class attribute without running code; ``ABSENT`` if there is none."""
    for base in _CLASS_MRO.__get__(cls):
        found = _CLASS_DICT.__get__(base).get(name, ABSENT)
        if found is not ABSENT:
            return found
    return ABSENT


def find_type(module: str, qualname: str) -> type | None:
    """Return the class of this name in a module that is imported already, or None."""
    if module in ("qmi.core.exceptions", "qmi.errors") and qualname in _OWN_ERRORS:
        module = "qmi.errors"  # the public path may not be imported
    found: Any = sys.modules.get(module)
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


def rebuild_enum(module: str, qualname: str, name: str | None, value: Any) -> Any:
    """Return the member of this name, or a stand-in."""
    cls = find_type(module, qualname)
    if cls is not None and type(cls) is EnumType:
        members = _CLASS_DICT.__get__(cls).get("_member_map_")
        if type(members) is dict and name in members:
            return members[name]
        if issubclass(cls, Flag) and type(value) is int and members:
            member = _combine_flag(cls, value)
            if member is not None:
                return member
    return UnknownTypeValue(NamedKind.ENUM, f"{module}:{qualname}", {"name": name, "value": value})


def _combine_flag(cls: type[Flag], value: int) -> Flag | None:
    """Return a combination of flags, if making it runs only the standard library's code."""
    own = _CLASS_DICT.__get__(cls)
    walker = static_lookup(cls, "_iter_member_")
    standard = (
        static_lookup(cls, "_missing_") is _CLASS_DICT.__get__(Flag)["_missing_"]
        and static_lookup(cls, "__setattr__") is object.__setattr__
        and static_lookup(cls, "__getattribute__") in _PLAIN_READS
        and type(walker) in (classmethod, types.MethodType)
        and walker.__func__ in _FLAG_WALKERS
        and own.get("_new_member_") in (object.__new__, int.__new__)
        and own.get("_member_type_") in (object, int)
    )
    if not standard or value < 0 or value & ~own.get("_flag_mask_", 0):
        return None
    try:
        member = cls(value)
    except ValueError:  # a class that refuses combinations
        return None
    return member if type(member) is cls else None


def rebuild_named_tuple(module: str, qualname: str, names: tuple[str, ...], values: list[Any]) -> Any:
    """Return the named tuple, or a stand-in if there is no such class here with the same fields."""
    cls = find_type(module, qualname)
    if cls is not None and type(cls) is type and field_names(cls) == names:
        return tuple.__new__(cls, values)
    return UnknownTypeValue(NamedKind.NAMED_TUPLE, f"{module}:{qualname}", dict(zip(names, values, strict=True)))


def rebuild_dataclass(module: str, qualname: str, names: tuple[str, ...], values: list[Any]) -> Any:
    """Return the dataclass instance, or a stand-in if there is no such class here with the same fields."""
    cls = find_type(module, qualname)
    if cls is not None and dataclass_fields(cls) == names:
        made = _fill(cls, names, values)
        if made is not ABSENT:
            return made
    return UnknownTypeValue(NamedKind.DATACLASS, f"{module}:{qualname}", dict(zip(names, values, strict=True)))


def _fill(cls: type, names: tuple[str, ...], values: list[Any]) -> Any:
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
        made: Any = object.__new__(cls)
    except TypeError:  # abstract, or made of a type of C that must be made its own way
        return ABSENT
    rest = getter.__get__(made) if len(slots) < len(names) else {}
    for name, value in zip(names, values, strict=True):
        if name in slots:
            slots[name].__set__(made, value)
        else:
            rest[name] = value
    return made


def is_plain_key(value: Any) -> bool:
    """Whether hashing and comparing the value runs no user's code, so that it may be a key or a member of a set."""
    cls = type(value)
    if cls in _KEYS:
        return True
    if cls is UnknownTypeValue:
        return all(is_plain_key(field) for field in value.fields.values())
    if issubclass(cls, Enum):
        return (
            static_lookup(cls, "__hash__") in _PLAIN_HASHES
            and static_lookup(cls, "__eq__") in _PLAIN_EQUALS
            and static_lookup(cls, "__getattribute__") in _PLAIN_READS
        )
    if issubclass(cls, (tuple, frozenset)):
        plain = cls in (tuple, frozenset) or (
            static_lookup(cls, "__hash__") is tuple.__hash__
            and static_lookup(cls, "__eq__") is tuple.__eq__
            and static_lookup(cls, "__iter__") is tuple.__iter__
        )
        return plain and all(is_plain_key(item) for item in value)
    generic = getattr(sys.modules.get("numpy"), "generic", ())
    return cls.__module__ == "numpy" and issubclass(cls, generic) and cls.__name__ != "void"


def check_hashes(keys: list[Any]) -> None:
    """Refuse keys that are no plain ones, or that were chosen to collide.

    Raises:
        ValueError: With what is wrong.
    """
    counts: dict[int, int] = {}
    for key in keys:
        if not is_plain_key(key):
            raise ValueError(f"{type(key).__qualname__} cannot be a key of a dict or a member of a set here")
        hashed = hash(key)
        count = counts[hashed] = counts.get(hashed, 0) + 1
        if count > MAX_KEYS_PER_HASH:
            raise ValueError(f"more than {MAX_KEYS_PER_HASH} keys have the same hash")
