"""``qmi call``: call a method of an object, or list its methods."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

from qmi.actors.interface import Interface, Method, ParameterBrief
from qmi.actors.presentation import shown_class
from qmi.actors.proxy import QMI_RpcProxy
from qmi.actors.proxy_parameters import ProxyChannel
from qmi.actors.signatures import KINDS, Source, signature_parameters
from qmi.names import Address, nearest, parse_parameter_path
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.call_arguments import Setting, bind
from qmi.tools.cli.errors import EXIT_OK, CommandError, user_errors
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.places import allowed_now
from qmi.tools.cli.results import check_output, show, show_item, write_output
from qmi.tools.cli.session import Laboratory, laboratory, parse_member, parse_object
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


class Found(NamedTuple):
    """A method of an object, or of one of its channels.

    Attributes:
        where: Its whole name, ``"lab.psu.set_voltage"``.
        target: What has it: the proxy, or the channel of it.
        proxy: The proxy.
        method: What is known of it.
        class_name: Full name of the class that it is in.
        brief: The parameter that it sets; None if it sets none.
        prefix: What the name of that parameter begins with: that of the channel.
    """

    where: str
    target: QMI_RpcProxy | ProxyChannel
    proxy: QMI_RpcProxy
    method: Method
    class_name: str
    brief: ParameterBrief | None = None
    prefix: str = ""


def find_method(proxy: QMI_RpcProxy, address: Address, path: str) -> Found:
    """The method of a name, that of a channel included: ``"channels[1].ramp"``.

    Raises:
        CommandError: If there is none; says what there is instead.
    """
    interface: Interface = proxy.__rpc_interface__
    parts = parse_parameter_path(path)
    groups = interface.parameters.channels if interface.parameters is not None else {}
    target: QMI_RpcProxy | ProxyChannel
    if parts is not None and parts.group in groups:
        group = groups[parts.group]
        target = getattr(proxy, parts.group)[parts.number]
        name, methods, parameters, owner = parts.name, group.methods, group.parameters, group.class_name
        prefix = f"{parts.group}[{parts.number}]."
    else:
        own = interface.parameters.own if interface.parameters is not None else {}
        target = proxy
        name, methods, parameters, owner = path, interface.methods, own, interface.class_name
        prefix = ""
    if name not in methods:
        raise CommandError(_no_method(address, prefix, name, methods, parameters, interface))
    brief = next((brief for brief in parameters.values() if brief.setter == name), None)
    return Found(f"{address}.{path}", target, proxy, methods[name], owner, brief, prefix)


def _no_method(
    address: Address,
    prefix: str,
    name: str,
    methods: Mapping[str, Method],
    parameters: Mapping[str, ParameterBrief],
    interface: Interface,
) -> str:
    whole = f"{address}.{prefix}{name}"
    if name in parameters or name in interface.properties:
        return f"{whole} is a value and no method: qmi get {whole}"
    if any(signal.name == name for signal in interface.signals):
        return f"{whole} is a signal and no method: qmi monitor {whole}"
    if name in ("lock", "unlock", "reserve"):
        return f"{whole} is no method of the object: qmi {name} {address}"
    near = nearest(name, methods)
    hint = f"Did you mean {near!r}?" if near else f"'qmi call {address}' lists its methods"
    return f"{address} has no method {prefix + name!r}. {hint}"


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
                "methods": [_method_json(name, method) for name, method in found],
            }
        )
        return EXIT_OK
    terminal.write(f"{address} ({shown_class(interface)})")
    rows = [(signature_text(name, method), _first_line(method.doc)) for name, method in found]
    terminal.table(("method", "what it does"), rows)
    return EXIT_OK


def _method_json(name: str, method: Method) -> dict[str, object]:
    parameters = [
        {"name": item.name, "kind": KINDS[item.kind].name.lower(), "type": item.annotation,
         "default": item.default}
        for item in method.parameters
    ]  # fmt: skip
    return {"name": name, "doc": method.doc, "parameters": parameters, "returns": method.returns,
            "kind": method.kind.value}  # fmt: skip


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def signature_text(name: str, method: Method) -> str:
    """A method as it is called: ``"set_voltage(value: float) -> None"``."""
    returns = inspect.Signature.empty if method.returns is None else Source(method.returns)
    return f"{name}{inspect.Signature(signature_parameters(method), return_annotation=returns)}"


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
    method, brief = found.method, found.brief
    setting = Setting()
    if brief is not None and method.parameters:
        setting = Setting(method.parameters[0].name, brief.unit)
    resolve = resolver(found.class_name, configured_modules(lab.config))
    args, kwargs = bind(
        arguments.arguments,
        method.parameters,
        found.where,
        resolve=resolve,
        setting=setting,
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
