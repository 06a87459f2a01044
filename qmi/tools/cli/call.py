"""``qmi call``: call a method of an object, or list its methods."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from qmi.actors.interface import Interface
from qmi.names import Address, parse_member
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.call_arguments import bind
from qmi.presenting.members import first_line
from qmi.presenting.methods import Found, find_method, method_json, setting_of, signature_text
from qmi.presenting.places import allowed_now
from qmi.tools.cli.errors import EXIT_OK, user_errors
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.results import check_output, show, show_item, write_output
from qmi.tools.cli.session import Laboratory, laboratory, parse_object
from qmi.tools.cli.terminal import Terminal

DESCRIPTION = """
Call a method of an object:

  qmi call lab.psu                            list its methods
  qmi call lab.psu.set_voltage 5              call one; a number may have a unit: "3 mV"
  qmi call lab.psu.ramp 5 rate=0.1            an argument by its name
  qmi call lab.psu.set_voltage --help         what it takes and does
  qmi call lab.scope.get_trace -o trace.npy   write its result to a file

Arguments are read by the types that the method declares: numbers, on and off, the names of members of an enumeration,
bytes as hexadecimal digits, times, and JSON5 for lists, dicts and arrays. An argument without a type is a literal of
JSON5, or else a text. What comes after -- is an argument, whatever it looks like.
"""

OWN_HELP = True


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of the command."""
    parser.allow_numbers()
    parser.add_argument("-h", "--help", dest="help", action="store_true", help="show this, or what a method does")
    parser.add_argument(
        "path", nargs="?", metavar="CONTEXT.OBJECT[.METHOD]", help="the method, or the object to list those of"
    )
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="a value, or name=value")
    parser.set_defaults(parser=parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write the result to a .npy or .csv file")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    if not arguments.path:
        if not arguments.help:
            arguments.parser.error("name a method, such as lab.psu.get_voltage, or an object, such as lab.psu")
        terminal.write(arguments.parser.format_help().rstrip())
        return EXIT_OK
    if arguments.output:
        check_output(arguments.output)
    if arguments.path.count(".") == 1:
        address, path = parse_object(arguments.path), ""
    else:
        address, path = parse_member(arguments.path)
    with laboratory(arguments) as lab:
        proxy = lab.proxy(str(address))
        if not path:
            return list_methods(proxy.__rpc_interface__, address, terminal)
        found = find_method(proxy, address, path)
        if arguments.help:
            terminal.write(method_help(found))
            return EXIT_OK
        _call(lab, found, arguments, terminal)
    return EXIT_OK


# Methods


def list_methods(interface: Interface, address: Address, terminal: Terminal) -> int:
    """Print the methods of an object; returns the exit code."""
    groups = interface.parameters.channels if interface.parameters is not None else {}
    found = [(name, method) for name, method in sorted(interface.methods.items())]
    for group in groups.values():
        found += [(f"{group.name}[{group.first}].{name}", method) for name, method in sorted(group.methods.items())]
    if terminal.json:
        terminal.write_json(
            {
                "object": str(address),
                "class": interface.class_name,
                "methods": [method_json(name, method) for name, method in found],
            }
        )
        return EXIT_OK
    from qmi.actors.presentation import shown_class  # it needs trio, for which a shell would wait after TAB

    terminal.write(f"{address} ({shown_class(interface)})")
    rows = [(signature_text(name, method), first_line(method.doc)) for name, method in found]
    terminal.table(("method", "what it does"), rows)
    return EXIT_OK


def method_help(found: Found) -> str:
    """What a method takes and does."""
    lines = [signature_text(found.where, found.method)]
    if found.brief is not None:
        about = f"Sets the parameter {found.prefix}{found.brief.name}"
        lines += ["", f"{about}, in {found.brief.unit}." if found.brief.unit else f"{about}."]
    if found.method.doc:
        lines += ["", found.method.doc]
    return "\n".join(lines)


# Calling


def _call(lab: Laboratory, found: Found, arguments: Namespace, terminal: Terminal) -> None:
    method = found.method
    resolve = resolver(found.class_name, configured_modules(lab.config))
    args, kwargs = bind(
        arguments.arguments,
        method.parameters,
        found.where,
        resolve=resolve,
        setting=setting_of(found),
        limits=lambda: _allowed(found),
    )
    if arguments.timeout is not None:
        kwargs["rpc_timeout"] = arguments.timeout
    with user_errors(f"{found.where}()"):
        result = getattr(found.target, method.name)(*args, **kwargs)
        if method.kind.is_stream:
            result = _print_items(result, arguments, terminal)
            if not arguments.output:
                return
    if arguments.output:
        said = write_output(result, arguments.output)
        terminal.note(f"{said} written to {arguments.output}")
    else:
        show(result, terminal)


def _allowed(found: Found) -> str:
    return "" if found.brief is None else allowed_now(found.proxy, f"{found.prefix}{found.brief.name}")


def _print_items(items: Any, arguments: Namespace, terminal: Terminal) -> list[object]:
    kept: list[object] = []
    for item in items:
        if arguments.output:
            kept.append(item)
        else:
            show_item(item, terminal)
    return kept
