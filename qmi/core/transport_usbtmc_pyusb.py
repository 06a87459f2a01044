"""USBTMC devices."""

from __future__ import annotations

from qmi.core import usbtmc
from qmi.devices.visa import MessageDevice, QMI_UsbTmcTransport, usbtmc_descriptors

__all__ = ["QMI_PyUsbTmcTransport"]


class QMI_PyUsbTmcTransport(QMI_UsbTmcTransport):
    """A USBTMC device.

    Args:
        vendorid: The vendor's number.
        productid: The product's number.
        serialnr: The serial number; "" for the only such device.
    """

    def _make_device(self) -> MessageDevice:
        return usbtmc.Instrument(self.vendorid, self.productid, self.serialnr)

    @staticmethod
    def list_resources() -> list[str]:
        """The descriptors of the USBTMC devices that are there."""
        return usbtmc_descriptors(usbtmc.list_resources())
