"""USBTMC devices."""

from qmi.core.transport import QMI_UsbTmcTransport as QMI_VisaUsbTmcTransport

__all__ = ["QMI_VisaUsbTmcTransport"]
