"""``qmi ls CONTEXT.OBJECT``: what an object offers, as its context describes it; the object itself is not called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qmi.actors.interface import Interface
from qmi.errors import QMI_RuntimeException
from qmi.presenting.members import first_line, methods, parameters, signature
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
    # Of an RpcObjectDescriptor; its module needs trio, so it may be a stand-in with the same attributes.
    interface = getattr(found, "interface", None)
    if not isinstance(interface, Interface):
        raise QMI_RuntimeException(f"context {where.context!r} does not say what {address} offers")
    lab.learn_members(where, interface)
    return interface


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


def _blocks(address: str, interface: Interface) -> list[Block]:
    blocks: list[Block] = [Text(address, "bold").add(f", {interface.category}: {interface.class_name}")]
    if interface.doc:
        blocks.append(Text(interface.doc.strip().partition("\n")[0]))
    found = Table(("method", "arguments", "what it does"))
    for name, method in methods(interface):
        found.add(name, signature(method), first_line(method.doc))
    declared = Table(("parameter", "type", "unit", "", "what it is"))
    for name, brief in parameters(interface):
        access = "" if brief.gettable and brief.settable else "read only" if brief.gettable else "write only"
        declared.add(name, brief.type_name, brief.unit, access, first_line(brief.doc))
    published = Table(("signal", "types"))
    for signal in interface.signals:
        published.add(signal.name, ", ".join(signal.arg_types))
    for table in (found, declared, published):
        if table.rows:
            blocks += [Text(), table]
    return blocks
