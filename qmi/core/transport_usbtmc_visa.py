"""USBTMC devices."""

from qmi.devices.visa import QMI_UsbTmcTransport as QMI_VisaUsbTmcTransport

__all__ = ["QMI_VisaUsbTmcTransport"]
