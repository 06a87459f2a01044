"""What stands in for a value whose type this program does not have."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class NamedKind(Enum):
    """The kinds of types that travel by name."""

    ENUM = "enum"
    NAMED_TUPLE = "named tuple"
    DATACLASS = "dataclass"
    ARRAY = "array"


class UnknownTypeValue:
    """A value of a type that is not available here: its fields can be read as attributes, and it can be sent on.

    Attributes:
        type_kind: What kind of type the sender had.
        type_name: Module and name of the sender's type, as in ``"my.module:Settings"``.
        fields: Names and values, in the sender's order.
    """

    __slots__ = ("fields", "type_kind", "type_name")

    def __init__(self, type_kind: NamedKind, type_name: str, fields: Mapping[str, Any]) -> None:
        self.type_kind: NamedKind = type_kind
        self.type_name: str = type_name
        self.fields: dict[str, Any] = dict(fields)

    def __getattr__(self, name: str) -> Any:
        if name in UnknownTypeValue.__slots__ or name.startswith("__"):
            raise AttributeError(name)  # half made, as by copy(): there are no fields to look at
        if name in self.fields:
            return self.fields[name]
        raise AttributeError(f"{self!r} has no field {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnknownTypeValue):
            return NotImplemented
        return (self.type_kind, self.type_name, self.fields) == (other.type_kind, other.type_name, other.fields)

    def __hash__(self) -> int:
        return hash((self.type_kind.value, self.type_name, *self.fields.values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.fields.items())
        return f"<{self.type_name.replace(':', '.')}({fields}): a type that this program has not imported>"
