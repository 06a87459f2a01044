"""An interface as plain values, for links, and back; what comes from a link is believed in nothing."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from qmi.actors.interface import PROXY_NAMES, Interface, Kind, Method, Parameter, SignalInfo, signature_parameters


def interface_to_plain(interface: Interface) -> list[Any]:
    """The interface as lists of plain values."""
    methods = [
        [method.name, method.doc, [[*parameter] for parameter in method.parameters], method.returns,
         method.kind.value, method.direct]
        for method in interface.methods.values()
    ]  # fmt: skip
    signals = [[signal.name, list(signal.arg_types)] for signal in interface.signals]
    return [
        interface.class_name, interface.doc, interface.category, methods, dict(interface.constants), signals,
        list(interface.enter), list(interface.exit),
    ]  # fmt: skip


def interface_from_plain(plain: Any) -> Interface:
    """The interface that :func:`interface_to_plain` made these lists of.

    Raises:
        ValueError: If they are something else.
    """
    name, doc, category, methods, constants, signals, enter, leave = _fields(
        plain, str, str, str, list, dict, list, list, list
    )
    found = [_method_from_plain(method) for method in methods]
    return Interface(
        class_name=name,
        doc=doc,
        category=category,
        methods=MappingProxyType({method.name: method for method in found}),
        constants=MappingProxyType(_named(constants)),
        signals=tuple(SignalInfo(*_signal_from_plain(signal)) for signal in signals),
        enter=tuple(_names(enter)),
        exit=tuple(_names(leave)),
    )


def _method_from_plain(plain: Any) -> Method:
    name, doc, parameters, returns, kind, direct = _fields(plain, str, str, list, _OPTIONAL, str, bool)
    _names([name])
    if name in PROXY_NAMES or name.startswith("__"):
        raise ValueError(f"no method can be called {name!r}")
    found = [Parameter(*_fields(parameter, str, int, _OPTIONAL, _OPTIONAL)) for parameter in parameters]
    method = Method(name, doc, tuple(found), returns, Kind(kind), direct)
    signature_parameters(method)
    return method


def _signal_from_plain(plain: Any) -> tuple[str, tuple[str, ...]]:
    name, types = _fields(plain, str, list)
    _names([name])
    if not all(type(text) is str for text in types):
        raise ValueError("the types of a signal are texts")
    return name, tuple(types)


_OPTIONAL = object


def _fields(plain: Any, *kinds: type) -> list[Any]:
    if type(plain) is not list or len(plain) != len(kinds):
        raise ValueError("not the fields of an interface")
    for value, kind in zip(plain, kinds, strict=True):
        good = value is None or type(value) is str if kind is _OPTIONAL else type(value) is kind
        if not good:
            raise ValueError("a field of an interface has the wrong type")
    return plain


def _names(plain: list[Any]) -> list[str]:
    if not all(type(name) is str and name.isidentifier() for name in plain):
        raise ValueError("a name in an interface is no identifier")
    return plain


def _named(constants: dict[Any, Any]) -> dict[str, Any]:
    _names(list(constants))
    return constants
