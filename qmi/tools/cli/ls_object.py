"""``qmi ls CONTEXT.OBJECT``: what an object offers, as its context describes it; the object itself is not called."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qmi.actors.context_object import RpcObjectDescriptor
from qmi.actors.interface import Interface, Method, ParameterBrief
from qmi.actors.signatures import Source, signature_parameters
from qmi.errors import QMI_RuntimeException
from qmi.tools.cli.errors import EXIT_OK
from qmi.tools.cli.session import parse_object
from qmi.tools.cli.terminal import Block, Table, Terminal, Text

if TYPE_CHECKING:
    from qmi.tools.cli.session import Laboratory


def describe(lab: Laboratory, address: str) -> Interface:
    """What an object offers, as its context tells.

    Raises:
        QMI_UnknownNameException: If there is none of that name.
        QMI_RuntimeException: If the context does not tell.
    """
    where = parse_object(address)
    found = lab.call_context(where.context, "get_rpc_object_descriptor", name=where.object)
    if not isinstance(found, RpcObjectDescriptor):
        raise QMI_RuntimeException(f"context {where.context!r} does not say what {address} offers")
    lab.learn_members(where, found.interface)
    return found.interface


def member_texts(interface: Interface) -> dict[str, dict[str, str]]:
    """What an object offers, by kind and name, with what each is in a line."""
    return {
        "methods": {name: _first_line(method.doc) for name, method in methods(interface)},
        "parameters": {name: _first_line(brief.doc) for name, brief in parameters(interface)},
        "signals": {signal.name: ", ".join(signal.arg_types) for signal in interface.signals},
    }


def _first_line(doc: str) -> str:
    return doc.strip().partition("\n")[0]


def show_objects(lab: Laboratory, addresses: Sequence[str], terminal: Terminal) -> int:
    """Show what objects offer."""
    found = {address: describe(lab, address) for address in addresses}
    if terminal.json:
        terminal.write_json([as_json(address, interface) for address, interface in found.items()])
        return EXIT_OK
    for number, (address, interface) in enumerate(found.items()):
        terminal.show([*([Text()] if number else []), *_blocks(address, interface)])
    return EXIT_OK


def as_json(address: str, interface: Interface) -> dict[str, object]:
    """What an object offers, for programs."""
    return {
        "address": address,
        "category": interface.category,
        "class": interface.class_name,
        "doc": interface.doc,
        "methods": [
            {"name": name, "signature": signature(method), "doc": method.doc} for name, method in methods(interface)
        ],
        "parameters": [
            {"name": name, "type": brief.type_name, "unit": brief.unit, "gettable": brief.gettable,
             "settable": brief.settable, "doc": brief.doc}
            for name, brief in parameters(interface)
        ],
        "signals": [{"name": signal.name, "types": list(signal.arg_types)} for signal in interface.signals],
    }  # fmt: skip


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


def _blocks(address: str, interface: Interface) -> list[Block]:
    blocks: list[Block] = [Text(address, "bold").add(f", {interface.category}: {interface.class_name}")]
    if interface.doc:
        blocks.append(Text(interface.doc.strip().partition("\n")[0]))
    found = Table(("method", "arguments", "what it does"))
    for name, method in methods(interface):
        found.add(name, signature(method), _first_line(method.doc))
    declared = Table(("parameter", "type", "unit", "", "what it is"))
    for name, brief in parameters(interface):
        access = "" if brief.gettable and brief.settable else "read only" if brief.gettable else "write only"
        declared.add(name, brief.type_name, brief.unit, access, _first_line(brief.doc))
    published = Table(("signal", "types"))
    for signal in interface.signals:
        published.add(signal.name, ", ".join(signal.arg_types))
    for table in (found, declared, published):
        if table.rows:
            blocks += [Text(), table]
    return blocks
