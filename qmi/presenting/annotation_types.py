"""The types that annotations stand for, made of their text alone: a method's description has them as text."""

from __future__ import annotations

import ast
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Final, Literal, Union
from uuid import UUID

Resolve = Callable[[str], object]
"""Finds what a name in an annotation stands for; None if that is not known."""


class ForeignType:
    """A class that this program does not have; derived for each of them by :func:`foreign_type`.

    A word that is given for one is sent as the name of a member of an enumeration. Where the class is another one, it
    is a text there.
    """

    type_name = ""


def foreign_type(module: str, qualname: str) -> type[ForeignType]:
    """What stands for a class of another program.

    Args:
        module: Its module there.
        qualname: Its name in that module.
    """
    return type(qualname, (ForeignType,), {"type_name": f"{module}:{qualname}"})


_OF_PYTHON = (int, float, bool, str, bytes, complex, list, tuple, dict, set, frozenset, bytearray)
_OF_LIBRARY = (date, datetime, time, timedelta, Decimal, Fraction, UUID, PurePath)
_TYPES: Final[Mapping[str, object]] = {
    **{kind.__name__: kind for kind in (*_OF_PYTHON, *_OF_LIBRARY)},
    "None": None, "Any": Any, "object": Any, "Path": PurePath, "Number": float, "Real": float, "Integral": int,
    "Complex": complex, "SupportsFloat": float, "SupportsInt": int, "Text": str, "AnyStr": str,
    "Optional": typing.Optional, "Union": Union, "Literal": Literal, "Annotated": typing.Annotated,
    "List": list, "Tuple": tuple, "Dict": dict, "Set": set, "FrozenSet": frozenset, "AbstractSet": set,
    "Sequence": list, "MutableSequence": list, "Iterable": list, "Collection": list, "Iterator": list,
    "Mapping": dict, "MutableMapping": dict, "OrderedDict": dict, "defaultdict": dict,
}  # fmt: skip
_MODULES: Final = frozenset(
    {"typing", "t", "builtins", "collections", "collections.abc", "abc", "datetime", "dt", "decimal", "fractions"}
    | {"pathlib", "uuid", "numbers", "typing_extensions"}
)
_ARRAYS: Final = frozenset({"ndarray", "NDArray", "ArrayLike"})
_OF_NUMPY: Final = frozenset({"", "np", "numpy", "npt", "np.typing", "numpy.typing"})


def type_of(annotation: str | None, resolve: Resolve = lambda name: None) -> object:
    """The type that an annotation stands for; ``Any`` where it is not known.

    Args:
        annotation: Its text; None if there is none.
        resolve: Finds names that are neither Python's nor numpy's.
    """
    if annotation is None:
        return Any
    try:
        return _type(ast.parse(annotation.strip(), mode="eval").body, resolve)
    except (SyntaxError, TypeError, ValueError, RecursionError):
        return Any


def _type(node: ast.expr, resolve: Resolve) -> Any:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return type_of(node.value, resolve)
        return None if node.value is None else node.value
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(ast.unparse(node), resolve)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_type(node.left, resolve), _type(node.right, resolve)]  # noqa: UP007 - of values, not of types
    if isinstance(node, ast.Subscript):
        return _subscripted(node, resolve)
    return Any


def _named(name: str, resolve: Resolve) -> Any:
    module, _, last = name.rpartition(".")
    if last in _TYPES and (not module or module in _MODULES):
        return _TYPES[last]
    if module in _OF_NUMPY and (last in _ARRAYS or module):
        found = _of_numpy(last)
        if found is not None:
            return found
    found = resolve(name)
    return Any if found is None else found


def _of_numpy(name: str) -> object:
    try:
        import numpy
    except ImportError:
        return None
    if name in _ARRAYS:
        return numpy.ndarray
    found = getattr(numpy, name, None)
    return found if isinstance(found, type) and issubclass(found, numpy.generic) else None


def _subscripted(node: ast.Subscript, resolve: Resolve) -> Any:
    base = _type(node.value, resolve)
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base is Literal:
        return Literal[tuple(_literal(item, resolve) for item in items)]
    if base is typing.Annotated:
        return _type(items[0], resolve)
    if is_array_type(base):
        return base if len(items) != 1 else _array_of(_type(items[0], resolve))
    if base is Any or (isinstance(base, type) and base not in (list, tuple, dict, set, frozenset)):
        return base
    arguments = tuple(_type(item, resolve) for item in items)
    return base[arguments if len(arguments) > 1 else arguments[0]]


def _literal(node: ast.expr, resolve: Resolve) -> object:
    if isinstance(node, ast.Attribute):
        kind = resolve(ast.unparse(node.value))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind.__members__[node.attr]
    return ast.literal_eval(node)


def _array_of(scalar: object) -> object:
    import numpy

    if isinstance(scalar, type) and issubclass(scalar, numpy.generic):
        return numpy.ndarray[Any, numpy.dtype[scalar]]  # type: ignore[valid-type]
    return numpy.ndarray


def is_array_type(kind: object) -> bool:
    """Whether a type is that of numpy's arrays, of one type of number or of any."""
    plain = typing.get_origin(kind) or kind
    return isinstance(plain, type) and plain.__module__ == "numpy" and plain.__name__ == "ndarray"
