"""An interface as plain values, for links, and back; what comes from a link is believed in nothing."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from qmi.actors.interface import (
    BLOCK_METHODS,
    BLOCK_SERVICES,
    RESERVED_NAMES,
    SPECIAL_METHODS,
    Interface,
    Kind,
    Method,
    Parameter,
    PropertyInfo,
    SignalInfo,
    signature_parameters,
)
from qmi.config.validators import printable, printable_lines


def interface_to_plain(interface: Interface) -> list[object]:
    """The interface as lists of plain values."""
    methods = [
        [method.name, method.doc, [[*parameter] for parameter in method.parameters], method.returns,
         method.kind.value, method.direct]
        for method in interface.methods.values()
    ]  # fmt: skip
    signals = [[signal.name, list(signal.arg_types)] for signal in interface.signals]
    constants = {name: value for name, value in interface.constants.items() if not interface.local.get(name)}
    plain: list[object] = [
        interface.class_name, interface.doc, interface.category, methods, constants, signals,
        list(interface.enter), list(interface.exit),
    ]  # fmt: skip
    # Those who know of no properties understand an interface that has none.
    return [*plain, [[*info] for info in interface.properties.values()]] if interface.properties else plain


def interface_from_plain(plain: object) -> Interface:
    """The interface that :func:`interface_to_plain` made these lists of.

    Raises:
        ValueError: If they are something else.
    """
    name, doc, category, methods, constants, signals, enter, leave, properties = _fields(
        [*plain, []] if type(plain) is list and len(plain) == 8 else plain,
        str, str, str, list, dict, list, list, list, list,
    )  # fmt: skip
    infos = [PropertyInfo(*_property_from_plain(info)) for info in properties]
    found = [_method_from_plain(method) for method in methods]
    return Interface(
        class_name=printable(name),
        doc=doc,
        category=printable(category),
        methods=MappingProxyType({method.name: method for method in found}),
        constants=MappingProxyType(_named(constants)),
        signals=tuple(SignalInfo(*_signal_from_plain(signal)) for signal in signals),
        enter=tuple(_block(enter)),
        exit=tuple(_block(leave)),
        properties=MappingProxyType({info.name: info for info in infos}),
    )


def _method_from_plain(plain: object) -> Method:
    name, doc, parameters, returns, kind, direct = _fields(plain, str, str, list, _OPTIONAL, str, bool)
    if name in BLOCK_METHODS or name not in SPECIAL_METHODS:
        _published([name], "method")
    found = [Parameter(*_fields(parameter, str, int, _OPTIONAL, _OPTIONAL)) for parameter in parameters]
    method = Method(name, doc, tuple(found), returns, Kind(kind), direct)
    signature_parameters(method)
    return method


def _signal_from_plain(plain: object) -> tuple[str, tuple[str, ...]]:
    name, types = _fields(plain, str, list)
    _published([name], "signal")
    if not all(type(text) is str for text in types):
        raise ValueError("the types of a signal are texts")
    return name, tuple(printable(text) for text in types)


def _property_from_plain(plain: object) -> list[str]:
    fields: list[str] = _fields(plain, str, str, str)
    _published(fields[:1], "property")
    return fields


_OPTIONAL = object


def _fields(plain: object, *kinds: type) -> list[Any]:
    if type(plain) is not list or len(plain) != len(kinds):
        raise ValueError("not the fields of an interface")
    for value, kind in zip(plain, kinds, strict=True):
        good = value is None or type(value) is str if kind is _OPTIONAL else type(value) is kind
        if not good:
            raise ValueError("a field of an interface has the wrong type")
    # It is shown by help() and repr(), and must not get to write to a terminal.
    return [printable_lines(value) if type(value) is str else value for value in plain]


def _names(plain: list[Any]) -> list[str]:
    if not all(type(name) is str and name.isidentifier() for name in plain):
        raise ValueError("a name in an interface is no identifier")
    return plain


def _published(plain: list[Any], what: str) -> list[str]:
    for name in _names(plain):
        if name in RESERVED_NAMES or name.startswith("__"):
            raise ValueError(f"no {what} can be called {name!r}")
    return plain


def _block(plain: list[Any]) -> list[str]:
    # They are called as methods of the proxy, but for those that every object has.
    return plain if all(name in BLOCK_SERVICES for name in _names(plain)) else _published(plain, "method")


def _named(constants: dict[Any, Any]) -> dict[str, object]:
    _published(list(constants), "constant")
    return constants
