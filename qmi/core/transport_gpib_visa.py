"""Devices on a GPIB bus."""

from qmi.devices.visa import QMI_GpibTransport as QMI_VisaGpibTransport

__all__ = ["QMI_VisaGpibTransport"]
