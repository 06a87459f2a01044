"""An interface as plain values, for links, and back; what comes from a link is believed in nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from qmi.actors.interface import (
    BLOCK_METHODS,
    BLOCK_SERVICES,
    RESERVED_NAMES,
    SPECIAL_METHODS,
    ChannelsBrief,
    Interface,
    Kind,
    Method,
    Parameter,
    ParameterBrief,
    ParameterInterface,
    PropertyInfo,
    SignalInfo,
)
from qmi.actors.signatures import signature_parameters
from qmi.config.validators import printable, printable_lines


def interface_to_plain(interface: Interface, parameters: bool = True) -> list[object]:
    """The interface as lists of plain values.

    Args:
        interface: The interface.
        parameters: Whether to say which of the properties are declared parameters, and which channels there are: those
            who know of neither understand an interface that says nothing of them.
    """
    signals = [[signal.name, list(signal.arg_types)] for signal in interface.signals]
    constants = {name: value for name, value in interface.constants.items() if not interface.local.get(name)}
    plain: list[object] = [
        interface.class_name, interface.doc, interface.category, _methods_to_plain(interface.methods), constants,
        signals, list(interface.enter), list(interface.exit),
    ]  # fmt: skip
    more = _parameters_to_plain(interface.parameters) if parameters and interface.parameters is not None else None
    # Those who know of no properties understand an interface that has none.
    if interface.properties or more is not None:
        plain.append([[*info] for info in interface.properties.values()])
    return plain if more is None else [*plain, more]


def _methods_to_plain(methods: Mapping[str, Method]) -> list[object]:
    return [
        [method.name, method.doc, [[*parameter] for parameter in method.parameters], method.returns,
         method.kind.value, method.direct]
        for method in methods.values()
    ]  # fmt: skip


def _parameters_to_plain(parameters: ParameterInterface) -> dict[str, object]:
    return {
        "own": [[*brief] for brief in parameters.own.values()],
        "channels": [
            [group.name, group.first, group.last, group.class_name, group.doc,
             [[*brief] for brief in group.parameters.values()], _methods_to_plain(group.methods)]
            for group in parameters.channels.values()
        ],
        "handles": parameters.handles,
    }  # fmt: skip


def interface_from_plain(plain: object) -> Interface:
    """The interface that :func:`interface_to_plain` made these lists of.

    Raises:
        ValueError: If they are something else.
    """
    missing: list[object] = []
    if type(plain) is list and len(plain) in (8, 9):
        missing = [[], None] if len(plain) == 8 else [None]
    name, doc, category, methods, constants, signals, enter, leave, properties, more = _fields(
        [*plain, *missing] if type(plain) is list else plain,
        str, str, str, list, dict, list, list, list, list, _ANYTHING,
    )  # fmt: skip
    infos = [PropertyInfo(*_property_from_plain(info)) for info in properties]
    return Interface(
        class_name=printable(name),
        doc=doc,
        category=printable(category),
        methods=_methods_from_plain(methods),
        constants=MappingProxyType(_named(constants)),
        signals=tuple(SignalInfo(*_signal_from_plain(signal)) for signal in signals),
        enter=tuple(_block(enter)),
        exit=tuple(_block(leave)),
        properties=MappingProxyType({info.name: info for info in infos}),
        parameters=None if more is None else _parameters_from_plain(more),
    )


_MOST_CHANNELS = 10_000


def _parameters_from_plain(plain: object) -> ParameterInterface:
    # A newer version may say more.
    if type(plain) is not dict:
        raise ValueError("not the parameters of an interface")
    own, channels, handles = _fields(
        [plain.get("own"), plain.get("channels"), plain.get("handles")], list, list, bool
    )  # fmt: skip
    groups = [_channels_from_plain(group) for group in channels]
    return ParameterInterface(_briefs(own), MappingProxyType({group.name: group for group in groups}), handles)


def _channels_from_plain(plain: object) -> ChannelsBrief:
    name, first, last, class_name, doc, own, methods = _fields(plain, str, int, int, str, str, list, list)
    _published([name], "attribute")
    if not 0 <= first <= last < first + _MOST_CHANNELS:
        raise ValueError(f"no channels are numbered from {first} to {last}")
    return ChannelsBrief(name, first, last, printable(class_name), doc, _briefs(own), _methods_from_plain(methods))


def _briefs(plain: list[object]) -> Mapping[str, ParameterBrief]:
    found = [ParameterBrief(*_fields(brief, str, str, str, str, bool, bool, str)) for brief in plain]
    _published([brief.name for brief in found], "parameter")
    return MappingProxyType({brief.name: brief._replace(unit=printable(brief.unit)) for brief in found})


def _methods_from_plain(plain: list[object]) -> Mapping[str, Method]:
    return MappingProxyType({method.name: method for method in map(_method_from_plain, plain)})


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
_ANYTHING = type


def _fields(plain: object, *kinds: type) -> list[Any]:
    if type(plain) is not list or len(plain) != len(kinds):
        raise ValueError("not the fields of an interface")
    for value, kind in zip(plain, kinds, strict=True):
        good = value is None or type(value) is str if kind is _OPTIONAL else type(value) is kind
        if not good and kind is not _ANYTHING:
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
