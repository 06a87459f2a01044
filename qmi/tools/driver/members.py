"""What a driver offers beyond its base class: parameters, channels, methods, signals, constants."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from qmi.actors.channels import Channel
from qmi.actors.interface import BLOCK_METHODS, Kind, method_kind, published_functions
from qmi.actors.parameters import ParameterMethods, is_made_for_parameter
from qmi.actors.pubsub.signal import QMI_Signal, declared_signals
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject
from qmi.parameters.channels import BaseChannel, Channels
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import declared_of
from qmi.tools.driver.stub_types import hints_of

STARS: Mapping[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
"""What stands before the name of an argument that takes several."""


@dataclass(frozen=True)
class Argument:
    """An argument of a method.

    Attributes:
        name: Its name.
        kind: One of those of :class:`inspect.Parameter`.
        annotation: Its type; ``Any`` where the driver does not say.
        default: The default; ``inspect.Parameter.empty`` if there is none.
    """

    name: str
    kind: object
    annotation: object
    default: object


@dataclass(frozen=True)
class Method:
    """A published method, as a blocking proxy has it.

    Attributes:
        name: Its name.
        doc: Its documentation.
        arguments: Without ``self``.
        returns: Type of what a call gives.
        is_stream: Whether that comes item by item.
    """

    name: str
    doc: str
    arguments: tuple[Argument, ...]
    returns: object
    is_stream: bool


@dataclass(frozen=True)
class Members:
    """What a class offers that its base does not.

    Attributes:
        parameters: The declared parameters, in order.
        channels: The declared channels.
        methods: The published methods; those that parameters bring are not among them.
        signals: The signals, with the types of their arguments.
        constants: Values that proxies show.
        properties: Values that proxies read and set, with their types.
    """

    parameters: dict[str, Parameter[object]] = field(default_factory=dict)
    channels: dict[str, Channels[BaseChannel]] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    signals: dict[str, QMI_Signal] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    properties: dict[str, object] = field(default_factory=dict)

    @property
    def accessors(self) -> set[str]:
        """The names of the methods that parameters bring."""
        return {f"{verb}_{name}" for verb in ("get", "set") for name in self.parameters}

    @property
    def names(self) -> set[str]:
        """All names, with those of the methods that parameters bring."""
        return {name for kind in vars(self).values() for name in kind} | self.accessors


def base_of(cls: type) -> type:
    """The base class that a client has: of this library, and nothing of a driver in it."""
    for base in (QMI_Instrument, QMI_RpcObject, Channel):
        if issubclass(cls, base):
            return base
    return object


def members_of(cls: type, without: tuple[type, ...] = ()) -> Members:
    """What a driver, or a class of channels, offers.

    Args:
        cls: The class.
        without: Classes whose members are left out, where the class has them from there; the base class is one of them.
    """
    known = (base_of(cls), *without)

    def is_new(name: str) -> bool:
        value = inspect.getattr_static(cls, name)
        return not any(inspect.getattr_static(base, name, None) is value for base in known)

    declared, names = declared_of(cls), _names_in_order(cls)
    found = Members(
        parameters={name: value for name, value in declared.parameters.items() if is_new(name)},
        channels={name: value for name, value in declared.channels.items() if is_new(name)},
        signals={signal.name: getattr(cls, signal.name) for signal in declared_signals(cls) if is_new(signal.name)},
    )
    functions = published_functions(cls)
    for name in sorted(functions, key=names.index):
        function = functions[name]
        if name not in BLOCK_METHODS and is_new(name) and not is_made_for_parameter(function):
            found.methods[name] = method_of(name, function)
    hints = hints_of(cls)
    for name in filter(is_new, getattr(cls, "_rpc_constants", ())):
        found.constants[name] = getattr(cls, name)
    for name in getattr(cls, "_rpc_properties", ()):
        value = getattr(cls, name, None)
        if any(name in getattr(base, "_rpc_properties", ()) for base in known):
            continue
        found.properties[name] = hints.get(name, Any if value is None or isinstance(value, property) else type(value))
    return found


def is_of_every_driver(cls: type, name: str) -> bool:
    """Whether a method is one that every driver with parameters has: ``parameters()``, ``snapshot()`` and the like."""
    function: Any = inspect.getattr_static(cls, name, None)
    given = getattr(ParameterMethods, name, None)
    return given is not None and inspect.unwrap(function) is given


def method_of(name: str, function: Any) -> Method:
    """A published method.

    Args:
        name: Its name.
        function: As the class has it.
    """
    kind = method_kind(function)
    bound = isinstance(function, staticmethod)
    function = getattr(function, "__func__", function)
    signature = inspect.signature(function)
    hints = hints_of(function)
    arguments = list(signature.parameters.values())
    return Method(
        name,
        inspect.getdoc(function) or "",
        tuple(
            Argument(argument.name, argument.kind, hints.get(argument.name, Any), argument.default)
            for argument in (arguments if bound else arguments[1:])
        ),
        _result(hints.get("return", Any), kind),
        kind.is_stream,
    )


def _result(annotation: object, kind: Kind) -> object:
    if not kind.is_stream:
        return annotation
    if get_origin(annotation) is not None and get_args(annotation):
        item = get_args(annotation)[0]
        return Iterator[item]  # type: ignore[valid-type]
    return Iterator[Any]


def _names_in_order(cls: type) -> list[str]:
    """The names of a class, those of its bases first, each where it was first given."""
    return list(dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base)))
