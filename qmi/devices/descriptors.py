"""What a text such as ``tcp:192.168.1.5:5025`` says about the way to a device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from qmi.devices.descriptor_hints import check_descriptor, form_of, hint_for, positional_hint
from qmi.errors import QMI_TransportDescriptorException

OPTIONS: Mapping[str, type] = {"reconnect": str, "out_of_step": str, "drain_timeout": float}
"""Keywords that every kind of transport takes; they do not go to its constructor."""

_PART = re.compile(r"\[[^\]]*\]|[^:]+")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_USB_IDENTITY = re.compile(r"usb=([0-9A-Fa-fx]+):([0-9A-Fa-fx]+)(?::([^:=]+))?(?=:|$)")
_TRAILING_KEYWORD = re.compile(r"(.*):([a-z_]+)=([^:]*)")


class TransportDescriptorParser:
    """Reads descriptors of one kind of transport: ``interface:positional:...:keyword=value:...``.

    Args:
        interface: What such a descriptor begins with.
        positionals: Names of the values that stand without a keyword, in order, each with its type and whether it must
            be there (in the descriptor or among the defaults).
        keywords: The same for the values that have a keyword.

    Attributes:
        interface: What such a descriptor begins with.
    """

    def __init__(
        self,
        interface: str,
        positionals: Sequence[tuple[str, tuple[type, bool]]],
        keywords: Mapping[str, tuple[type, bool]],
    ) -> None:
        self.interface: str = interface
        self._positionals = list(positionals)
        self._keywords = dict(keywords)

    def match_interface(self, transport_descriptor: str) -> bool:
        """Whether a descriptor is of this kind.

        Raises:
            QMI_TransportDescriptorException: If the text is no descriptor at all.
        """
        return interface_of(transport_descriptor) == self.interface

    def parse_parameter_strings(
        self, transport_descriptor: str, default_parameters: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """The values by name.

        Args:
            transport_descriptor: The descriptor.
            default_parameters: Values for what the descriptor does not say. Names that this kind does not know are
                left out, so that a driver can give defaults for several kinds at once.

        Raises:
            QMI_TransportDescriptorException: If a value is missing, unknown or of the wrong type.
        """
        check_descriptor(transport_descriptor)
        if hint := hint_for(transport_descriptor):
            raise QMI_TransportDescriptorException(f"Invalid transport descriptor {transport_descriptor!r}: {hint}")
        known = {name for name, _ in self._positionals} | set(self._keywords)
        values = {name: value for name, value in (default_parameters or {}).items() if name in known}
        parts = self._parts(transport_descriptor)
        values.update(self._positional_values([part for part in parts if "=" not in part], transport_descriptor))
        values.update(self._keyword_values([part for part in parts if "=" in part], transport_descriptor))
        required = [(name, rule) for name, rule in (*self._positionals, *self._keywords.items()) if rule[1]]
        missing = [name for name, _ in required if name not in values]
        if missing:
            raise QMI_TransportDescriptorException(
                f"Missing required parameter(s) {', '.join(missing)} in {transport_descriptor!r}: "
                f"write {form_of(self.interface)}"
            )
        return values

    def _parts(self, descriptor: str) -> list[str]:
        return split(descriptor)[1:]

    def _positional_values(self, parts: Sequence[str], descriptor: str) -> dict[str, Any]:
        if len(parts) > len(self._positionals):
            names = ", ".join(name for name, _ in self._positionals) or "none"
            raise QMI_TransportDescriptorException(
                f"Unexpected value {parts[len(self._positionals)]!r} in {descriptor!r}: without a keyword stand {names}"
                + positional_hint(self.interface, parts[len(self._positionals)])
            )
        return {
            name: _converted(name, kind, text)
            for (name, (kind, _)), text in zip(self._positionals, parts, strict=False)
        }

    def _keyword_values(self, parts: Iterable[str], descriptor: str) -> dict[str, Any]:
        values = {}
        for part in parts:
            name, _, text = part.partition("=")
            if name in OPTIONS:
                continue
            if name not in self._keywords:
                known = ", ".join((*self._keywords, *OPTIONS))
                raise QMI_TransportDescriptorException(
                    f"Unexpected keyword {name!r} in {descriptor!r}: {self.interface} knows {known}"
                )
            values[name] = _converted(name, self._keywords[name][0], text)
        return values


class _SerialParser(TransportDescriptorParser):
    """Takes ``usb=VID:PID[:SERIAL]`` in the place of a device."""

    def _parts(self, descriptor: str) -> list[str]:
        head, _, rest = descriptor.partition(":")
        found = _USB_IDENTITY.match(rest)
        if found is None and rest.startswith("usb="):
            raise QMI_TransportDescriptorException(
                f"Invalid USB identity in {descriptor!r}: usb= needs VID:PID or VID:PID:SERIAL, in hexadecimal, such "
                "as serial:usb=0403:6001:baudrate=9600"
            )
        if found is None:
            return super()._parts(descriptor)
        return super()._parts(f"{head}:-{rest[found.end() :]}")[1:]

    def _positional_values(self, parts: Sequence[str], descriptor: str) -> dict[str, Any]:
        found = _USB_IDENTITY.match(descriptor.partition(":")[2])
        if found is None:
            return super()._positional_values(parts, descriptor)
        return super()._positional_values([found[0], *parts], descriptor)


class _VisaParser(TransportDescriptorParser):
    """Takes a whole VISA resource name, colons and all; ``@BACKEND`` behind it is the VISA library to use."""

    def _parts(self, descriptor: str) -> list[str]:
        resource, keywords = visa_parts(descriptor)
        resource, at, backend = resource.rpartition("@") if "@" in resource else (resource, "", "")
        parts = [resource.strip()] if resource.strip() else []
        if at:
            keywords.append(f"backend=@{backend}")
        return parts + keywords

    def _positional_values(self, parts: Sequence[str], descriptor: str) -> dict[str, Any]:
        return {"resource": parts[0]} if parts else {}


SerialTransportDescriptorParser: TransportDescriptorParser = _SerialParser(
    "serial",
    [("device", (str, True))],
    {
        "baudrate": (int, False),
        "bytesize": (int, False),
        "parity": (str, False),
        "stopbits": (float, False),
        "rtscts": (bool, False),
    },
)
UdpTransportDescriptorParser: TransportDescriptorParser = TransportDescriptorParser(
    "udp", [("host", (str, True)), ("port", (int, True))], {"local_port": (int, False)}
)
TcpTransportDescriptorParser: TransportDescriptorParser = TransportDescriptorParser(
    "tcp", [("host", (str, True)), ("port", (int, True))], {"connect_timeout": (float, False)}
)
UsbTmcTransportDescriptorParser: TransportDescriptorParser = TransportDescriptorParser(
    "usbtmc", [], {"vendorid": (int, True), "productid": (int, True), "serialnr": (str, True)}
)
GpibTransportDescriptorParser: TransportDescriptorParser = TransportDescriptorParser(
    "gpib",
    [("primary_addr", (int, True))],
    {"board": (int, False), "secondary_addr": (int, False), "connect_timeout": (float, False)},
)
# Not "port": drivers give a default for that, which is meant for TCP.
Vxi11TransportDescriptorParser: TransportDescriptorParser = TransportDescriptorParser(
    "vxi11", [("host", (str, True))], {"name": (str, False), "rpc_port": (int, False)}
)
VisaTransportDescriptorParser: TransportDescriptorParser = _VisaParser(
    "visa", [("resource", (str, True))], {"backend": (str, False), "connect_timeout": (float, False)}
)


def split(descriptor: str) -> list[str]:
    """The parts of a descriptor; brackets around an address keep its colons together and are taken away.

    Raises:
        QMI_TransportDescriptorException: If there is nothing but an interface.
    """
    check_descriptor(descriptor)
    parts = [part[1:-1] if part[0] == "[" and part[-1] == "]" else part for part in _PART.findall(descriptor)]
    if len(parts) < 2:
        raise QMI_TransportDescriptorException(
            f"Invalid transport descriptor {descriptor!r}: "
            + (hint_for(descriptor) or f"expected {form_of(descriptor.strip(':').lower())}")
        )
    return parts


def interface_of(descriptor: str) -> str:
    """What a descriptor begins with, in lower case.

    Raises:
        QMI_TransportDescriptorException: If the text is no descriptor at all.
    """
    return split(descriptor)[0].lower()


def visa_parts(descriptor: str) -> tuple[str, list[str]]:
    """The resource name of a ``visa:`` descriptor, and the keywords behind it."""
    rest = descriptor.partition(":")[2]
    keywords: list[str] = []
    while (found := _TRAILING_KEYWORD.fullmatch(rest)) is not None:
        rest = found[1]
        keywords.insert(0, f"{found[2]}={found[3]}")
    return rest, keywords


def options_of(descriptor: str) -> dict[str, Any]:
    """What a descriptor says about the options that all kinds of transports have.

    Raises:
        QMI_TransportDescriptorException: If a value is of the wrong type.
    """
    parts = visa_parts(descriptor)[1] if interface_of(descriptor) == "visa" else split(descriptor)[1:]
    given = (part.partition("=") for part in parts)
    return {name: _converted(name, OPTIONS[name], text) for name, _, text in given if name in OPTIONS}


def _converted(name: str, kind: type, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind is int:
            return int(text, 16 if text.lower().startswith("0x") else 10)
        return kind(text)
    except (ValueError, KeyError):
        expected = {bool: "True or False", int: "an integer", float: "a number"}.get(kind, kind.__name__)
        raise QMI_TransportDescriptorException(f"Cannot parse {name}={text}: expected {expected}") from None


def is_valid_host(host: str) -> bool:
    """Whether this is an IP address or could be the name of a host."""
    return _is_address(host) or _is_host_name(host)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    # A name whose last part is a number is an address that somebody got wrong.
    return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
