"""What stands for a value whose type this program does not have, or cannot rebuild."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from qmi.config.validators import printable

NOT_IMPORTED = "a type that this program has not imported"
NO_NUMPY = "numpy is not installed here, or too old: pip install 'qmi-trio[numpy]'"


class NamedKind(Enum):
    """The kinds of types that travel by name."""

    ENUM = "enum"
    NAMED_TUPLE = "named tuple"
    DATACLASS = "dataclass"
    ARRAY = "array"
    LIBRARY = "library"


class UnknownTypeValue:
    """A value of a type that is not available here: its fields can be read as attributes, and it can be sent on.

    Where the sender's type is made of int, float, str, bytes or tuple (an IntEnum, a flag, a named tuple), the value
    is one, too: it can be calculated with, compared, indexed and unpacked.

    Attributes:
        type_kind: What kind of type the sender had.
        type_name: Module and name of the sender's type, as in ``"my.module:Settings"``.
        fields: Names and values, in the sender's order.
        reason: Why it is not a value of its own type.
    """

    type_kind: NamedKind
    type_name: str
    fields: dict[str, Any]
    reason: str

    def __init__(
        self, type_kind: NamedKind, type_name: str, fields: Mapping[str, object], reason: str = NOT_IMPORTED
    ) -> None:
        vars(self).update(type_kind=type_kind, type_name=type_name, fields=dict(fields), reason=reason)

    def __getattr__(self, name: str) -> Any:
        fields = vars(self).get("fields")
        if fields is None or name.startswith("__"):
            raise AttributeError(name)  # half made, as by copy(): there are no fields to look at
        if name in fields:
            return fields[name]
        raise AttributeError(f"{self!r} has no field {name!r}")

    def _identity(self) -> tuple[object, ...]:
        if self.type_kind is NamedKind.ENUM and self.fields.get("name") is not None:
            return (self.type_kind.value, self.type_name, self.fields["name"])  # its value may have no hash
        return (self.type_kind.value, self.type_name, *self.fields.items())

    def _is_data(self, key: str) -> bool:
        """Whether a field is the bytes of an array, which say nothing to people."""
        return key == "data" and self.type_kind is NamedKind.ARRAY

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnknownTypeValue):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        # The names are the sender's; what is printed here must not be obeyed by a terminal.
        name = printable(self.type_name.replace(":", "."))
        if self.type_kind is NamedKind.ENUM:
            member = printable(str(self.fields.get("name")))
            return f"<{name}.{member}: {self.fields.get('value')!r} ({self.reason})>"
        shown = {key: value for key, value in self.fields.items() if not self._is_data(key)}
        fields = ", ".join(f"{printable(str(key))}={value!r}" for key, value in shown.items())
        return f"<{name}({fields}): {self.reason}>"


class UnknownArray(UnknownTypeValue):
    """An array, in a program without numpy: what is done with it says what is missing."""

    def __getitem__(self, index: object) -> NoReturn:
        raise TypeError(f"{self!r} has no items that can be read here")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{self!r} has no items that can be read here")


class UnknownInt(UnknownTypeValue, int):
    """A value of an unknown type that is an int."""

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...
        def __str__(self) -> str: ...

    else:
        __eq__ = int.__eq__
        __hash__ = int.__hash__
        __str__ = int.__repr__


class UnknownFloat(UnknownTypeValue, float):
    """A value of an unknown type that is a float."""

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...
        def __str__(self) -> str: ...

    else:
        __eq__ = float.__eq__
        __hash__ = float.__hash__
        __str__ = float.__repr__


class UnknownStr(UnknownTypeValue, str):
    """A value of an unknown type that is a text."""

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...
        def __str__(self) -> str: ...

    else:
        __eq__ = str.__eq__
        __hash__ = str.__hash__
        __str__ = str.__str__


class UnknownBytes(UnknownTypeValue, bytes):
    """A value of an unknown type that is bytes."""

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...

    else:
        __eq__ = bytes.__eq__
        __hash__ = bytes.__hash__


class UnknownTuple(UnknownTypeValue, tuple[object, ...]):
    """A value of an unknown named tuple: it has its fields, and can be indexed and unpacked."""

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...

    else:
        __eq__ = tuple.__eq__
        __hash__ = tuple.__hash__


_ACTING: Mapping[type, type[UnknownTypeValue]] = {
    int: UnknownInt, float: UnknownFloat, str: UnknownStr, bytes: UnknownBytes, tuple: UnknownTuple,
}  # fmt: skip
UNKNOWN_TYPES: tuple[type[UnknownTypeValue], ...] = (UnknownTypeValue, UnknownArray, *_ACTING.values())


def make_unknown(
    kind: NamedKind, type_name: str, fields: Mapping[str, object], reason: str = NOT_IMPORTED, acting: Any = None
) -> UnknownTypeValue:
    """Return what stands for a value.

    Args:
        kind: What kind of type the sender had.
        type_name: Module and name of the sender's type.
        fields: Names and values.
        reason: Why it is not a value of its own type.
        acting: The int, float, str, bytes or tuple that it is besides, or None.
    """
    cls = _ACTING.get(type(acting))
    if cls is None:
        return UnknownTypeValue(kind, type_name, fields, reason)
    made: UnknownTypeValue = acting.__new__(cls, acting)
    UnknownTypeValue.__init__(made, kind, type_name, fields, reason)
    if cls is UnknownTuple:
        # Fields win over the methods of a tuple, as in a named tuple.
        vars(made).update({name: fields[name] for name in ("count", "index") if name in fields})
    return made


UnknownTypeValue.__module__ = "qmi.core.rpc"
