"""USBTMC devices by the calls that transports make, for tests of drivers that replace them."""

from __future__ import annotations

from typing import Any

from qmi.core.exceptions import QMI_TransportDescriptorException
from qmi.devices.visa import UsbTmcDevice, usb_numbers, usb_resources

__all__ = ["Instrument", "list_resources"]


class Instrument(UsbTmcDevice):
    """A USBTMC device, looked up when it is opened.

    Args:
        args: The numbers of the vendor and the product, and the serial number if there are several such devices; or its
            VISA name, ``USB::0x1234::0x5678::SERIAL::INSTR``.
        kwargs: The same as ``vendor``, ``product`` and ``serial``.

    Raises:
        QMI_TransportDescriptorException: If a text is no such name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) == 1 and isinstance(args[0], str) and not kwargs:
            found = usb_numbers(args[0])
            if found is None:
                raise QMI_TransportDescriptorException(
                    f"Expected the name of a USB device such as USB::0x1234::0x5678::SERIAL::INSTR, got {args[0]!r}"
                )
            args = found
        super().__init__(*args, **kwargs)


def list_resources() -> list[str]:
    """The VISA names of the USBTMC devices that are there."""
    return usb_resources()
