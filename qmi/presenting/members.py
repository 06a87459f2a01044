"""What an object offers, by the names under which it is used on a command line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from qmi.actors.interface import Interface, Method, ParameterBrief
from qmi.actors.signatures import Source, signature_parameters


def methods(interface: Interface) -> Iterable[tuple[str, Method]]:
    """The published methods of an object by name, those of its channels as ``channels[1].name``."""
    yield from sorted((name, method) for name, method in interface.methods.items() if not name.startswith("_"))
    groups = interface.parameters.channels.values() if interface.parameters is not None else ()
    for group in groups:
        for name, method in sorted(group.methods.items()):
            yield f"{group.name}[{group.first}].{name}", method


def parameters(interface: Interface) -> Iterable[tuple[str, ParameterBrief]]:
    """The parameters of an object by name, those of its channels as ``channels[1].name``."""
    if interface.parameters is None:
        return
    yield from interface.parameters.own.items()
    for group in interface.parameters.channels.values():
        for number in range(group.first, group.last + 1):
            for name, brief in group.parameters.items():
                yield f"{group.name}[{number}].{name}", brief


def signature(method: Method) -> str:
    """How a method is called."""
    returns = inspect.Signature.empty if method.returns is None else Source(method.returns)
    return str(inspect.Signature(signature_parameters(method), return_annotation=returns))


def member_texts(interface: Interface) -> dict[str, dict[str, str]]:
    """What an object offers, by kind and name, with what each is in a line."""
    return {
        "methods": {name: first_line(method.doc) for name, method in methods(interface)},
        "parameters": {name: first_line(brief.doc) for name, brief in parameters(interface)},
        "signals": {signal.name: ", ".join(signal.arg_types) for signal in interface.signals},
    }


def first_line(doc: str) -> str:
    """The first line of a docstring, without the marks that only documentation makes type of."""
    return doc.strip().partition("\n")[0].replace("``", "")
