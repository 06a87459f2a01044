"""Which devices there are, found by what they say that they are, without a byte to any of them."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from qmi.devices.usb_identity import SerialPort, serial_ports
from qmi.devices.visa import usb_resources, usbtmc_descriptors, visa_resources
from qmi.errors import QMI_InstrumentException, QMI_MissingLibraryException


class FoundTransport(NamedTuple):
    """A way to a device that there is.

    Attributes:
        descriptor: What :func:`create_transport` takes. The baud rate of a serial port is to be added.
        description: What the system says about it.
    """

    descriptor: str
    description: str


FoundTransport.__module__ = "qmi.core.transport"


def list_transports(*, network: bool = False) -> list[FoundTransport]:
    """The serial ports and USBTMC devices of this computer, and the devices that VISA finds in the network.

    A serial port on USB is named by its vendor, product and serial number where these tell it from the others: that
    stays the same whatever port it is plugged into.

    Args:
        network: Whether to ask in the network, too: VISA broadcasts there, and waits a second or more for answers.
    """
    ports = serial_ports()
    same = Counter(port.identity for port in ports)
    found = [FoundTransport(_serial_descriptor(port, same[port.identity]), _about(port)) for port in ports]
    # Without the extra "visa", or a library for USB, there are simply no such devices.
    with suppress(QMI_MissingLibraryException, QMI_InstrumentException):
        descriptors = usbtmc_descriptors(usb_resources())
        found += [FoundTransport(descriptor, "USB test and measurement device") for descriptor in descriptors]
    if network:
        found += [
            FoundTransport(f"visa:{name}", "VISA resource")
            for name in visa_resources()
            if not name.upper().startswith(("USB", "ASRL"))
        ]
    return found


def _serial_descriptor(port: SerialPort, same: int) -> str:
    if port.identity is None or same > 1:
        return f"serial:{port.device}"
    return f"serial:{port.identity}"


def _about(port: SerialPort) -> str:
    return f"{port.device}: {port.description}" if port.description else port.device
