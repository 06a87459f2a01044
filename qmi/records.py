"""Comparison and text of classes that are many fields and little else, written once.

A dataclass has methods of its own for both, compiled when its module is imported, and a frozen one five of them: that
is most of what such a class costs a program at its start.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, cast

__all__ = ["FieldRecord"]


class FieldRecord:
    """Base of dataclasses, and of classes of attrs, that are made with ``eq=False, repr=False``.

    Two are equal if they are of the same class and their fields are. As with a dataclass, there is no hash.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _names(type(self)).compared)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _names(type(self)).shown)
        return f"{type(self).__qualname__}({shown})"


class _Names:
    def __init__(self, compared: tuple[str, ...], shown: tuple[str, ...]) -> None:
        self.compared: Final = compared
        self.shown: Final = shown


_NAMES: dict[type[object], _Names] = {}


def _names(cls: type[object]) -> _Names:
    known = _NAMES.get(cls)
    if known is not None:
        return known
    if (of_dataclass := getattr(cls, "__dataclass_fields__", None)) is not None:
        fields = tuple(of_dataclass.values())
        compared = tuple(field.name for field in fields if field.compare)
    else:
        fields = cast("tuple[Any, ...]", getattr(cls, "__attrs_attrs__", ()))
        compared = tuple(field.name for field in fields if field.eq)
    _NAMES[cls] = names = _Names(compared, tuple(field.name for field in fields if field.repr))
    return names
