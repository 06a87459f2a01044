"""The methods of objects by their names, those of channels included."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from qmi.actors.interface import Interface, Method, ParameterBrief
from qmi.actors.signatures import KINDS, Source, signature_parameters
from qmi.errors import QMI_UnknownNameException
from qmi.names import Address, nearest, parse_parameter_path
from qmi.presenting.call_arguments import Setting


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
    target: Any
    proxy: Any
    method: Method
    class_name: str
    brief: ParameterBrief | None = None
    prefix: str = ""


def find_method(proxy: Any, address: Address, path: str) -> Found:
    """The method of a name, that of a channel included: ``"channels[1].ramp"``.

    Raises:
        QMI_UnknownNameException: If there is none; says what there is instead.
    """
    interface: Interface = proxy.__rpc_interface__
    parts = parse_parameter_path(path)
    groups = interface.parameters.channels if interface.parameters is not None else {}
    target: Any
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
        raise QMI_UnknownNameException(_no_method(address, prefix, name, methods, parameters, interface))
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


def setting_of(found: Found) -> Setting:
    """Which argument of a method is the value of a parameter."""
    if found.brief is None or not found.method.parameters:
        return Setting()
    return Setting(found.method.parameters[0].name, found.brief.unit)


def method_json(name: str, method: Method) -> dict[str, object]:
    """A method, for programs."""
    parameters = [
        {"name": item.name, "kind": KINDS[item.kind].name.lower(), "type": item.annotation,
         "default": item.default}
        for item in method.parameters
    ]  # fmt: skip
    return {"name": name, "doc": method.doc, "parameters": parameters, "returns": method.returns,
            "kind": method.kind.value}  # fmt: skip


def signature_text(name: str, method: Method) -> str:
    """A method as it is called: ``"set_voltage(value: float) -> None"``."""
    returns = inspect.Signature.empty if method.returns is None else Source(method.returns)
    return f"{name}{inspect.Signature(signature_parameters(method), return_annotation=returns)}"
