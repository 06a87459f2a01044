"""Which transport a descriptor means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from qmi.actors.simulated_kinds import KINDS as SIMULATED_KINDS
from qmi.devices.descriptor_hints import hint_for
from qmi.devices.descriptors import (
    OPTIONS,
    GpibTransportDescriptorParser,
    SerialTransportDescriptorParser,
    TcpTransportDescriptorParser,
    TransportDescriptorParser,
    UdpTransportDescriptorParser,
    UsbTmcTransportDescriptorParser,
    VisaTransportDescriptorParser,
    Vxi11TransportDescriptorParser,
    interface_of,
    options_of,
)
from qmi.devices.line import Line
from qmi.devices.plugged import SIMULATED, plugged
from qmi.errors import QMI_TransportDescriptorException

TransportFactory: TypeAlias = Callable[[str], Any]
"""Finds the class of a transport by its name."""


class Kind(NamedTuple):
    """One kind of transport.

    Attributes:
        parser: What reads its descriptors.
        blocking: Name of the class for plain drivers.
        awaited: Name of the class for drivers in the event loop.
    """

    parser: TransportDescriptorParser
    blocking: str
    awaited: str


KINDS: Mapping[str, Kind] = {
    kind.parser.interface: kind
    for kind in (
        Kind(SerialTransportDescriptorParser, "QMI_SerialTransport", "AsyncSerialTransport"),
        Kind(TcpTransportDescriptorParser, "QMI_TcpTransport", "AsyncTcpTransport"),
        Kind(UdpTransportDescriptorParser, "QMI_UdpTransport", "AsyncUdpTransport"),
        Kind(UsbTmcTransportDescriptorParser, "QMI_PyUsbTmcTransport", "AsyncThreadTransport"),
        Kind(GpibTransportDescriptorParser, "QMI_VisaGpibTransport", "AsyncThreadTransport"),
        Kind(Vxi11TransportDescriptorParser, "QMI_Vxi11Transport", "AsyncThreadTransport"),
        Kind(VisaTransportDescriptorParser, "QMI_VisaTransport", "AsyncThreadTransport"),
    )
}


def kind_of(descriptor: str) -> Kind:
    """The kind of transport that a descriptor means.

    Raises:
        QMI_TransportDescriptorException: If there is no such kind, or the text is no descriptor.
    """
    interface = interface_of(descriptor)
    if interface not in KINDS and (hint := hint_for(descriptor)):
        raise QMI_TransportDescriptorException(f"Invalid transport descriptor {descriptor!r}: {hint}")
    if interface not in KINDS:
        raise QMI_TransportDescriptorException(
            f"Unknown type in transport descriptor {descriptor!r}: expected one of {', '.join(KINDS)}"
        )
    return KINDS[interface]


def make_transport(descriptor: str, defaults: Mapping[str, object] | None, find: TransportFactory) -> Any:
    """Make the transport of a descriptor.

    Args:
        descriptor: The descriptor.
        defaults: Values for what it does not say.
        find: Gives the class of a name.

    Raises:
        QMI_TransportDescriptorException: If the descriptor cannot be understood.
    """
    plug = plugged()
    if plug is not None and descriptor == SIMULATED:
        return plug.transport()
    kind = kind_of(descriptor)
    values = kind.parser.parse_parameter_strings(descriptor, defaults)
    made = find(kind.blocking)(**values) if plug is None else plug.transport()
    return _configured(made, descriptor, defaults)


def make_async_transport(descriptor: str, defaults: Mapping[str, object] | None, find: TransportFactory) -> Any:
    """The same for drivers in the event loop."""
    plug = plugged()
    if plug is not None and descriptor == SIMULATED:
        return plug.async_transport()
    kind = kind_of(descriptor)
    if plug is not None:
        kind.parser.parse_parameter_strings(descriptor, defaults)
        return _configured(plug.async_transport(), descriptor, defaults)
    if kind.awaited == "AsyncThreadTransport":
        return find(kind.awaited)(make_transport(descriptor, defaults, find))
    transport = find(kind.awaited)(**kind.parser.parse_parameter_strings(descriptor, defaults))
    return _configured(transport, descriptor, defaults)


def _configured(transport: Any, descriptor: str, defaults: Mapping[str, object] | None) -> Any:
    """Give a transport the options that all kinds have; it may be whatever a test has put in its place."""
    options = {name: value for name, value in (defaults or {}).items() if name in OPTIONS} | options_of(descriptor)
    if isinstance(transport, Line):
        transport.describe(descriptor)
    return transport.configure(**options) if options else transport


def _simulated(cls: type, simulator: type | None) -> type | None:
    from qmi.devices.simulated_driver import simulated_driver  # only where an instrument is simulated

    return simulated_driver(cls, simulator)


# Whoever can make transports has imported this file.
SIMULATED_KINDS.append(_simulated)
