"""What the classes have in common that are many fields and little else: they are structs of msgspec.

A dataclass compiles its methods when its module is imported, and so does a class of attrs: 0.15 to 0.4 ms for each
class, and one with slots is made twice. A struct takes 0.01 ms, since its methods are written in C, and its instances
are made in less than half of the time. Some fifty of them are needed before a context is ready.

Those that users get and may send stay dataclasses: links know these by name (docs/values.md).

What is a named tuple stays one, and is made by :class:`NamedTuple` of this module. That of :mod:`typing` compiles the
annotation of each field, which takes half of the time.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

__all__ = ["NamedTuple", "asdict"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    _MADE: Final = frozenset(("__annotations__", "__module__", "__qualname__"))

    class _NamedTupleType(type):
        """Makes a named tuple of the body of a class, and keeps annotations as they are written: texts."""

        def __new__(cls, name, bases, body):
            fields = body["__annotations__"]
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            made.__annotations__ = made.__new__.__annotations__ = fields
            made.__qualname__ = body["__qualname__"]
            for key, value in body.items():
                if key not in fields and key not in _MADE:
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_NamedTupleType, "NamedTuple", (), {})


def asdict(record: Struct) -> dict[str, Any]:
    """The fields by name; records in them, also in lists and mappings, become dictionaries too."""
    return {name: _plain(getattr(record, name)) for name in record.__struct_fields__}


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return asdict(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(map(_plain, value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
