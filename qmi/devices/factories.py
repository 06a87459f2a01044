"""Transports by their descriptors, from the classes of this package."""

from __future__ import annotations

from collections.abc import Mapping

from qmi.devices.async_serial import AsyncSerialTransport
from qmi.devices.async_sockets import AsyncTcpTransport, AsyncUdpTransport
from qmi.devices.async_thread import AsyncThreadTransport
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.create import make_async_transport, make_transport
from qmi.devices.serial_port import QMI_SerialTransport
from qmi.devices.sockets import QMI_TcpTransport, QMI_UdpTransport
from qmi.devices.transport import DeviceTransport
from qmi.devices.visa import QMI_GpibTransport, QMI_UsbTmcTransport, QMI_VisaTransport, QMI_Vxi11Transport

_CLASSES: Mapping[str, type[DeviceTransport] | type[AsyncTransport]] = {
    "AsyncSerialTransport": AsyncSerialTransport,
    "AsyncTcpTransport": AsyncTcpTransport,
    "AsyncThreadTransport": AsyncThreadTransport,
    "AsyncUdpTransport": AsyncUdpTransport,
    "QMI_PyUsbTmcTransport": QMI_UsbTmcTransport,
    "QMI_SerialTransport": QMI_SerialTransport,
    "QMI_TcpTransport": QMI_TcpTransport,
    "QMI_UdpTransport": QMI_UdpTransport,
    "QMI_VisaGpibTransport": QMI_GpibTransport,
    "QMI_VisaTransport": QMI_VisaTransport,
    "QMI_Vxi11Transport": QMI_Vxi11Transport,
}


def transport_of(descriptor: str, defaults: Mapping[str, object] | None = None) -> DeviceTransport:
    """Make the transport of a descriptor, with values for what it does not say."""
    transport: DeviceTransport = make_transport(descriptor, defaults, _CLASSES.__getitem__)
    return transport


def async_transport_of(descriptor: str, defaults: Mapping[str, object] | None = None) -> AsyncTransport:
    """The same for drivers in the event loop."""
    transport: AsyncTransport = make_async_transport(descriptor, defaults, _CLASSES.__getitem__)
    return transport
