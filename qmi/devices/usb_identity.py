"""Serial ports by what the USB device behind them says that it is, without writing a byte to any of them."""

from __future__ import annotations

import importlib
import re
from typing import NamedTuple

from qmi.devices.libraries import import_serial
from qmi.errors import QMI_TransportDescriptorException, QMI_TransportLostException

_FORM = re.compile(r"usb=(?:0x)?([0-9A-Fa-f]{1,4}):(?:0x)?([0-9A-Fa-f]{1,4})(?::([^:=]+))?")


class UsbIdentity(NamedTuple):
    """Vendor, product and serial number of a USB device.

    Attributes:
        vendor: The vendor's number.
        product: The product's number.
        serial: The serial number; None for any.
    """

    vendor: int
    product: int
    serial: str | None = None

    @classmethod
    def parse(cls, text: str) -> UsbIdentity:
        """Read ``usb=VID:PID`` or ``usb=VID:PID:SERIAL``; the numbers are hexadecimal.

        Raises:
            QMI_TransportDescriptorException: If the text has another form.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise QMI_TransportDescriptorException(
                f"Invalid USB identity {text!r}: expected usb=VID:PID or usb=VID:PID:SERIAL, numbers in hexadecimal"
            )
        return cls(int(found[1], 16), int(found[2], 16), found[3])

    def __str__(self) -> str:
        return f"usb={self.vendor:04x}:{self.product:04x}" + (f":{self.serial}" if self.serial else "")


_NOTHING_SAID = "n/a"
"""What pyserial has for the description of a port of which the system says nothing."""


class SerialPort(NamedTuple):
    """A serial port of this computer.

    Attributes:
        device: Its path or name.
        identity: What the USB device behind it says; None if it is no USB device.
        description: What the system says about it.
    """

    device: str
    identity: UsbIdentity | None
    description: str


def serial_ports() -> list[SerialPort]:
    """The serial ports of this computer."""
    import_serial()
    ports = []
    for port in importlib.import_module("serial.tools.list_ports").comports():
        identity = None if port.vid is None else UsbIdentity(port.vid, port.pid, port.serial_number or None)
        said = port.description or ""
        ports.append(SerialPort(port.device, identity, "" if said == _NOTHING_SAID else said))
    return sorted(ports)


def port_of(text: str) -> str:
    """The port of the one USB device that a ``usb=`` text means.

    Raises:
        QMI_TransportLostException: If there is none; the text lists those that are there.
        QMI_TransportDescriptorException: If there are several.
    """
    wanted = UsbIdentity.parse(text)
    usb = [port for port in serial_ports() if port.identity is not None]
    found = [port for port in usb if port.identity is not None and _matches(wanted, port.identity)]
    if not found:
        there = ", ".join(str(port.identity) for port in usb) or "none"
        raise QMI_TransportLostException(f"There is no serial port of {wanted}; there are {there}")
    if len(found) > 1:
        several = ", ".join(f"{port.identity} at {port.device}" for port in found)
        raise QMI_TransportDescriptorException(f"Several serial ports are {wanted}: {several}; add the serial number")
    return found[0].device


def _matches(wanted: UsbIdentity, found: UsbIdentity) -> bool:
    return wanted[:2] == found[:2] and wanted.serial in (None, found.serial)
