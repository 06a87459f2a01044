"""Dataclasses as sections of a configuration: declared, made from plain values with their types checked, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union, dataclass_transform, get_args, get_origin

from qmi.config.structure import path_text
from qmi.errors import QMI_ConfigurationException

T = TypeVar("T")

_PLAIN = (int, float, str, bool, list, dict, tuple)


@dataclass_transform(kw_only_default=True, field_specifiers=(dataclasses.field,))
def configstruct(cls: type[T]) -> type[T]:
    """Make a dataclass whose fields are given by keyword and checked against their types.

    Fields with a default may stand before those without one. A field is an ``int``, ``float`` (a whole number is made
    one), ``str``, ``bool``, ``list``, ``dict``, ``tuple``, another such class, ``list[T]``, ``dict[str, T]``,
    ``tuple[A, B]``, ``tuple[T, ...]``, ``T | None`` or ``Any``.
    """
    made = dataclasses.dataclass(init=False)(cls)

    def __init__(self: object, **kwargs: object) -> None:
        where = f"{made.__name__}.__init__()"
        for name, field in _fields(made).items():
            if name in kwargs:
                value = _read(kwargs.pop(name), _types_of(made)[name], (name,))
            elif (default := _default_of(field)) is not dataclasses.MISSING:
                value = default
            else:
                raise TypeError(f"{where} missing required argument {name!r}")
            setattr(self, name, value)
        for name in kwargs:
            raise TypeError(f"{where} got an unexpected keyword argument {name!r}")

    setattr(made, __init__.__name__, __init__)
    return made


def from_dict(data: Mapping[str, object], cls: type[T]) -> T:
    """Make an instance of a dataclass from plain values.

    Raises:
        TypeError: If the class is no dataclass.
        QMI_ConfigurationException: If a value is missing, unknown or of a wrong type; the message says where it stands.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError("Configuration class type must be a dataclass")
    return typing.cast("T", _read_struct(data, cls, ()))


def to_dict(cfg: object) -> dict[str, object]:
    """The plain values of an instance of a dataclass; tuples become lists.

    Raises:
        TypeError: If it is no such instance, or a value in it is of a type that no configuration has.
    """
    if isinstance(cfg, type) or not dataclasses.is_dataclass(cfg):
        raise TypeError("Configuration data must be a dataclass instance")
    return {field.name: _plain(getattr(cfg, field.name)) for field in dataclasses.fields(cfg)}


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"Unsupported non-string dictionary key {key!r}")
        return {key: _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    raise TypeError(f"Unsupported value type: {value!r}")


def _fields(cls: type) -> dict[str, dataclasses.Field[object]]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _default_of(field: dataclasses.Field[object]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _types_of(cls: type) -> dict[str, object]:
    """The types of the fields; texts (``from __future__ import annotations``) are looked up where the class stands."""
    if not any(isinstance(field.type, str) for field in dataclasses.fields(cls)):
        return {field.name: field.type for field in dataclasses.fields(cls)}
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise QMI_ConfigurationException(
            f"The types of {cls.__qualname__} cannot be looked up: {error}. Define what is missing beside it, at the "
            "top of the module"
        ) from error


def _read(value: object, kind: object, path: tuple[object, ...]) -> object:
    if kind is Any:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else _read_struct(value, kind, path)
    if get_origin(kind) is not None:
        return _read_generic(value, kind, path)
    if not isinstance(kind, type) or kind not in _PLAIN:
        raise _unsupported(kind, path)
    if kind is float and type(value) is int:
        return float(value)
    _check(value, kind, path)
    return value


def _read_generic(value: object, kind: object, path: tuple[object, ...]) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not types.NoneType]
        if len(rest) != 1:
            raise _unsupported(kind, path)
        return None if value is None else _read(value, rest[0], path)
    if origin is list:
        if not isinstance(value, list):
            raise _mismatch(value, list, path)
        return [_read(item, arguments[0], (*path, index)) for index, item in enumerate(value)]
    if origin is dict:
        return _read_dict(value, kind, arguments, path)
    if origin is tuple:
        return _read_tuple(value, arguments, path)
    raise _unsupported(kind, path)


def _check(value: object, kind: type, path: tuple[object, ...]) -> None:
    # True is a kind of 1 in Python, but no number in a file.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _mismatch(value, kind, path)


def _mismatch(value: object, kind: object, path: tuple[object, ...]) -> QMI_ConfigurationException:
    return QMI_ConfigurationException(
        f"Type mismatch in configuration item {path_text(path)}: got {type(value)} while expecting {kind}"
    )


def _unsupported(kind: object, path: tuple[object, ...]) -> QMI_ConfigurationException:
    return QMI_ConfigurationException(f"Unsupported type {kind} of configuration item {path_text(path)}")


def _read_dict(
    value: object, kind: object, arguments: tuple[object, ...], path: tuple[object, ...]
) -> dict[str, object]:
    key_type, item_type = arguments
    if key_type is not str:
        raise _unsupported(kind, path)
    if not isinstance(value, dict):
        raise _mismatch(value, dict, path)
    for key in value:
        if not isinstance(key, str):
            raise QMI_ConfigurationException(
                f"Unsupported non-string dictionary key {key!r} in configuration item {path_text(path)}"
            )
    return {key: _read(item, item_type, (*path, key)) for key, item in value.items()}


def _read_tuple(value: object, arguments: tuple[object, ...], path: tuple[object, ...]) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise _mismatch(value, tuple, path)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise QMI_ConfigurationException(
            f"Configuration item {path_text(path)} has {len(value)} values; expected {len(arguments)}"
        )
    return tuple(
        _read(item, kind, (*path, index)) for index, (item, kind) in enumerate(zip(value, arguments, strict=True))
    )


def _read_struct(data: object, cls: type, path: tuple[object, ...]) -> object:
    if not isinstance(data, Mapping):
        raise _mismatch(data, dict, path)
    fields, kinds = _fields(cls), _types_of(cls)
    for key in data:
        if not isinstance(key, str) or key not in fields:
            known = ", ".join(fields)
            raise QMI_ConfigurationException(f"Unknown configuration item {path_text((*path, key))}; known are {known}")
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _read(data[name], kinds[name], (*path, name))
        elif _default_of(field) is dataclasses.MISSING:
            raise QMI_ConfigurationException(f"Missing value for configuration item {path_text((*path, name))}")
    return cls(**values)
