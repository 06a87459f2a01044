"""When a value may take the place of another one: both are built in the same way, of the same types and sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


def same_structure(one: object, other: object) -> bool:
    """Whether two values are built in the same way.

    Single values have the same type; ``True`` is no whole number, and a whole number is no ``float``. Lists, tuples,
    sets and dictionaries have the same length or keys, and items that are alike in turn. Arrays have the same element
    type and shape.

    Args:
        one: A value.
        other: Another one.
    """
    return type(one) is type(other) and _structure(one) == _structure(other)


def _structure(value: object) -> object:
    if isinstance(value, list | tuple):
        return (type(value), tuple(map(_structure, value)))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(Counter(map(_structure, value)).items()))
    if isinstance(value, Mapping):
        return (type(value), frozenset((key, _structure(item)) for key, item in value.items()))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return (type(value), value.dtype, value.shape)
    return type(value)


def describe_structure(value: object) -> str:
    """The structure of a value in words, for messages: ``"float"``, ``"list of 3 items"``."""
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        return f"{type(value).__name__} of {len(value)} item{'' if len(value) == 1 else 's'}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__name__} of {value.dtype} with shape {value.shape}"
    return type(value).__name__
