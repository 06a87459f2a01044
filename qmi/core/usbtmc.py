"""USBTMC devices by the calls that transports make, for tests of drivers that replace them."""

from __future__ import annotations

from qmi.devices.visa import UsbTmcDevice as Instrument
from qmi.devices.visa import usb_resources

__all__ = ["Instrument", "list_resources"]


def list_resources() -> list[str]:
    """The VISA names of the USBTMC devices that are there."""
    return usb_resources()
