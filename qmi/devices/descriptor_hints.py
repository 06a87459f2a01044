"""What to write in place of a descriptor that cannot be understood."""

from __future__ import annotations

import re

from qmi.errors import QMI_TransportDescriptorException

_VISA_NAME = re.compile(r"(TCPIP|USB|ASRL|PXI|VXI)\d*::|GPIB\d+::|.*::(INSTR|SOCKET|RAW)$", re.IGNORECASE)
_PORT = re.compile(r"/dev/[^:]+|COM\d+", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(\d+\.){3}\d+:\d+|localhost:\d+")
_SLASHES = re.compile(r"(\w+)://([^/]*)/?")
_FORMS = {
    "tcp": "tcp:HOST:PORT, such as tcp:192.168.1.5:5025",
    "udp": "udp:HOST:PORT, such as udp:192.168.1.5:5025",
    "serial": "serial:DEVICE:baudrate=9600, such as serial:/dev/ttyUSB0:baudrate=9600",
    "usbtmc": "usbtmc:vendorid=0x0699:productid=0x3000:serialnr=SERIAL",
    "gpib": "gpib:ADDRESS, such as gpib:7 or gpib:7:board=1",
    "vxi11": "vxi11:HOST, such as vxi11:192.168.1.5",
    "visa": "visa:RESOURCE, such as visa:TCPIP::192.168.1.5::INSTR",
}


def form_of(interface: str) -> str:
    """How descriptors of one kind are written."""
    return _FORMS.get(interface, "INTERFACE:ADDRESS, such as tcp:192.168.1.5:5025")


def hint_for(descriptor: str) -> str:
    """What is wrong with a descriptor whose kind is unknown, or which is written for something else; "" if unknown."""
    if not descriptor.lower().startswith("visa:") and _VISA_NAME.match(descriptor):
        return f"this is the name of a VISA resource, which needs visa: before it; write visa:{descriptor}"
    if (found := _SLASHES.fullmatch(descriptor)) is not None and found[1].lower() in _FORMS:
        where = found[2] if ":" in found[2] or found[1].lower() == "vxi11" else f"{found[2] or 'HOST'}:PORT"
        return f"write {found[1].lower()}:{where}, without //"
    if _PORT.match(descriptor):
        return f"write serial:{descriptor}" + ("" if "baudrate" in descriptor else ":baudrate=9600")
    if _HOST_AND_PORT.fullmatch(descriptor):
        return f"write tcp:{descriptor}"
    return ""


def positional_hint(interface: str, value: str) -> str:
    """What to write in place of a value that stands without a keyword where none can."""
    if interface == "serial" and value.isdigit():
        return f"; write baudrate={value}"
    return f"; write {form_of(interface)}"


def check_descriptor(descriptor: object) -> None:
    """Refuse what is no text.

    Raises:
        QMI_TransportDescriptorException: If it is something else.
    """
    if not isinstance(descriptor, str):
        raise QMI_TransportDescriptorException(
            f'A transport is a text such as "tcp:192.168.1.5:5025"; got {descriptor!r}'
        )


def check_transport(transport: object, *needed: str) -> None:
    """Refuse what is no transport; anything that has its methods is one.

    Args:
        transport: The transport.
        needed: Names of the methods that it must have.

    Raises:
        QMI_TransportDescriptorException: If it lacks one.
    """
    if not all(callable(getattr(transport, name, None)) for name in needed):
        raise QMI_TransportDescriptorException(
            f'A transport is a text such as "tcp:192.168.1.5:5025", or a transport; got {transport!r}'
        )


def check_is_transport(transport: object) -> None:
    """The same where a text is none yet.

    Raises:
        QMI_TransportDescriptorException: If it is a text, or no transport at all.
    """
    if isinstance(transport, str):
        raise QMI_TransportDescriptorException(
            f"A protocol needs a transport, got the text {transport!r}: make one by create_transport({transport!r})"
        )
    if not callable(getattr(transport, "write", None)):
        raise QMI_TransportDescriptorException(
            f'A protocol needs a transport, got {transport!r}: make one by create_transport("tcp:192.168.1.5:5025")'
        )
