"""A class of a stub: what a blocking proxy of a driver, or of its channels, has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Literal

from qmi.core.rpc import QMI_RpcObject
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import describe
from qmi.tools.driver.members import STARS, Argument, Members, Method, base_of, is_of_every_driver, members_of
from qmi.tools.driver.stub_types import StubTypes, docstring, hints_of

_BASES = {"QMI_Instrument": "qmi.core.instrument", "QMI_RpcObject": "qmi.core.rpc", "Channel": "qmi.core.driver"}
_SHOWN_DEFAULTS = (bool, int, float, str, bytes, type(None))
_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY


def bases_in(cls: type, classes: Sequence[type]) -> list[type]:
    """The classes of the stub that a class derives from; a base of a base comes with it."""
    bases = [base for base in cls.__mro__[1:] if base in classes]
    return [base for base in bases if not any(base is not other and issubclass(other, base) for other in bases)]


def blocking_class(cls: type, classes: Sequence[type], types: StubTypes) -> Iterator[str]:
    """The class of a driver, or of channels, as blocking proxies have it.

    Args:
        cls: The class.
        classes: All of the stub.
        types: The names in the stub.
    """
    bases = bases_in(cls, classes)
    base = base_of(cls)
    names = [base.__name__ for base in bases] or [types.name(_BASES[base.__name__], base.__name__)]
    offered = members_of(cls, tuple(bases))
    body = [*_constructor(cls, types)] if issubclass(cls, QMI_RpcObject) else []
    types.within(offered.names)
    body += _values(offered, types)
    for name, declared in offered.parameters.items():
        body += _parameter(name, declared, offered, types)
    for name, method in offered.methods.items():
        if name == "parameters" and is_of_every_driver(cls, name):
            # A proxy has handles there, too: proxy.parameters.voltage.
            body += property_of(name, types.name("qmi.core.driver", "ProxyParameters"), method.doc, types)
        else:
            body += _method(method, types)
    types.within(())
    yield f"class {cls.__name__}({', '.join(names)}):"
    documented = list(docstring(cls.__dict__.get("__doc__")))
    yield from documented
    yield from body
    if not documented and not body:
        yield "    ..."


def _constructor(cls: Any, types: StubTypes) -> Iterator[str]:
    """How the object is made, which a program does that has the driver."""
    arguments = list(inspect.signature(cls.__init__).parameters.values())[1:]
    hints = hints_of(cls.__init__)
    given = [Argument(a.name, a.kind, hints.get(a.name, Any), a.default) for a in arguments]
    yield f"    def __init__({arguments_of(given, types)}) -> None: ..."


def _values(offered: Members, types: StubTypes) -> Iterator[str]:
    for name, value in offered.constants.items():
        yield f"    {name}: {types.name('typing', 'ClassVar')}[{types.text(type(value))}]"
    for name, kind in offered.properties.items():
        yield f"    {name}: {types.text(kind)}"
    for name in offered.signals:
        yield f"    {name}: {types.name('qmi.core.pubsub', 'QMI_Signal')}"
    for name, declared in offered.channels.items():
        channel_list = types.name("qmi.core.driver", "ChannelList")
        yield from property_of(name, f"{channel_list}[{declared.channel_class.__name__}]", "", types)


def _parameter(name: str, declared: Parameter[object], offered: Members, types: StubTypes) -> Iterator[str]:
    kind = value_type(declared, types)
    yield from property_of(name, kind, describe(declared), types)
    given = kind + texts_of(declared, types)
    if declared.settable:
        yield f"    @{name}.setter"
        yield f"    def {name}(self, value: {given}) -> None: ..."
    rpc_method = types.name("qmi.core.rpc", "rpc_method")
    if declared.gettable and f"get_{name}" not in offered.methods:
        yield f"    @{rpc_method}"
        yield f"    def get_{name}(self) -> {kind}: ..."
    if declared.settable and f"set_{name}" not in offered.methods:
        yield f"    @{rpc_method}"
        yield f"    def set_{name}(self, value: {given}) -> None: ..."


def texts_of(declared: Parameter[object], types: StubTypes) -> str:
    """What stands for the members of an enumeration in a program that does not have it: their values."""
    if not issubclass(declared.type, Enum):
        return ""
    values = [member.value for member in declared.type if type(member.value) in (int, str)]
    return f" | {types.text(Literal[tuple(values)])}" if values else ""


def property_of(name: str, kind: str, doc: str, types: StubTypes, base: type = object) -> Iterator[str]:
    """A property that can be read.

    Args:
        name: Its name.
        kind: Its type.
        doc: Its documentation; empty if it has none.
        types: The names in the stub.
        base: What the class derives from.
    """
    yield f"    @{types.name('builtins', 'property')}"
    documented = list(docstring(doc, "        "))
    yield f"    def {name}(self) -> {kind}:{'' if documented else ' ...'}{hidden(name, base)}"
    yield from documented


def _method(method: Method, types: StubTypes) -> Iterator[str]:
    yield f"    @{types.name('qmi.core.rpc', 'rpc_method')}"
    documented = list(docstring(method.doc, "        "))
    returns = types.text(method.returns)
    yield f"    def {method.name}({arguments_of(method.arguments, types)}) -> {returns}:{'' if documented else ' ...'}"
    yield from documented


def hidden(name: str, base: type) -> str:
    """A comment for type checkers where a name of the driver hides one of proxies, which is what it does there, too."""
    return "  # type: ignore[override]" if hasattr(base, name) else ""


def arguments_of(arguments: Sequence[Argument], types: StubTypes) -> str:
    """The arguments of a method, as they stand between its parentheses, ``self`` included."""
    parts = ["self"]
    named = False
    for index, argument in enumerate(arguments):
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and not named:
            parts.append("*")
        named = named or argument.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        text = f"{STARS.get(argument.kind, '')}{argument.name}: {types.text(argument.annotation)}"
        if argument.default is not inspect.Parameter.empty:
            text += f" = {_default(argument.default)}"
        parts.append(text)
        following = arguments[index + 1].kind if index + 1 < len(arguments) else None
        if argument.kind is _POSITIONAL_ONLY and following is not _POSITIONAL_ONLY:
            parts.append("/")
    return ", ".join(parts)


def _default(value: object) -> str:
    shown = repr(value)
    plain = type(value) in _SHOWN_DEFAULTS and len(shown) < 60
    return shown if plain and shown not in ("inf", "-inf", "nan") else "..."


def value_type(declared: Parameter[object], types: StubTypes) -> str:
    """The type of a parameter's values."""
    if declared.block is not None:
        return f"{types.name('numpy', 'ndarray')}[{types.any()}, {types.any()}]"
    return types.any() if declared.type is object else types.text(declared.type)
