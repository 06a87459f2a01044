"""Transports: how drivers reach their devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_RuntimeException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
)
from qmi.core.util import format_address_and_port
from qmi.devices import visa as _visa
from qmi.devices.async_serial import AsyncSerialTransport
from qmi.devices.async_sockets import AsyncTcpTransport, AsyncUdpTransport
from qmi.devices.async_thread import AsyncThreadTransport
from qmi.devices.async_transport import AsyncTransport
from qmi.devices.create import make_async_transport as _make_async_transport
from qmi.devices.create import make_transport as _make_transport
from qmi.devices.descriptors import (
    GpibTransportDescriptorParser,
    SerialTransportDescriptorParser,
    TcpTransportDescriptorParser,
    TransportDescriptorParser,
    UdpTransportDescriptorParser,
    UsbTmcTransportDescriptorParser,
    VisaTransportDescriptorParser,
    Vxi11TransportDescriptorParser,
)
from qmi.devices.discovery import FoundTransport, list_transports
from qmi.devices.exchange import OutOfStep
from qmi.devices.reconnect import ConnectionEvent, Reconnect
from qmi.devices.serial_port import QMI_SerialTransport
from qmi.devices.sockets import QMI_SocketTransport, QMI_TcpTransport, QMI_UdpTransport
from qmi.devices.traffic import Traffic, read_traffic
from qmi.devices.transport import DeviceTransport, QMI_Transport
from qmi.devices.visa import QMI_GpibTransport, QMI_UsbTmcTransport, QMI_VisaTransport

__all__ = [
    "AsyncSerialTransport",
    "AsyncTcpTransport",
    "AsyncThreadTransport",
    "AsyncTransport",
    "AsyncUdpTransport",
    "ConnectionEvent",
    "DeviceTransport",
    "FoundTransport",
    "GpibTransportDescriptorParser",
    "OutOfStep",
    "QMI_EndOfInputException",
    "QMI_GpibTransport",
    "QMI_InstrumentException",
    "QMI_InvalidOperationException",
    "QMI_RuntimeException",
    "QMI_SerialTransport",
    "QMI_SocketTransport",
    "QMI_TcpTransport",
    "QMI_TimeoutException",
    "QMI_Transport",
    "QMI_TransportDescriptorException",
    "QMI_UdpTransport",
    "QMI_UsbTmcTransport",
    "QMI_VisaTransport",
    "QMI_Vxi11Transport",
    "Reconnect",
    "SerialTransportDescriptorParser",
    "TcpTransportDescriptorParser",
    "Traffic",
    "TransportDescriptorParser",
    "UdpTransportDescriptorParser",
    "UsbTmcTransportDescriptorParser",
    "VisaTransportDescriptorParser",
    "Vxi11TransportDescriptorParser",
    "create_async_transport",
    "create_transport",
    "format_address_and_port",
    "list_transports",
    "list_usbtmc_transports",
    "read_traffic",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """What tests of drivers replace here: the libraries behind transports, imported when they are asked for."""
        if name == "vxi11":
            import qmi.core.vxi11 as library

            return library
        if name == "serial":
            from qmi.devices.libraries import import_serial

            return import_serial()
        if name in ("QMI_PyUsbTmcTransport", "QMI_VisaGpibTransport"):
            import qmi.core.transport_gpib_visa as gpib
            import qmi.core.transport_usbtmc_pyusb as usbtmc

            return getattr(usbtmc if name == "QMI_PyUsbTmcTransport" else gpib, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _find(name: str) -> Any:
    # Looked up anew each time: tests of drivers put something else there.
    return globals()[name] if name in globals() else __getattr__(name)  # type: ignore[name-defined]


class QMI_Vxi11Transport(_visa.QMI_Vxi11Transport):
    """A device that speaks VXI-11.

    Args:
        host: Name or address of the device.
        name: Name of the device at that host.
        rpc_port: Port number of the service; None asks the port mapper of the host.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host.
    """

    def _make_device(self) -> _visa.Vxi11Instrument:
        return self._make_vxi11(_find("vxi11").Instrument)


def create_transport(
    transport_descriptor: str,
    default_attributes: Mapping[str, object] | None = None,
    *,
    reconnect: Reconnect | bool | str | None = None,
) -> DeviceTransport:
    """Make the transport that a text describes. It is not opened.

    ================================================  ===================================================
    ``tcp:HOST:PORT``                                 ``connect_timeout=``
    ``udp:HOST:PORT``                                 ``local_port=``
    ``serial:DEVICE:baudrate=N``                      ``bytesize=``, ``parity=``, ``stopbits=``, ``rtscts=``
    ``serial:usb=VID:PID:SERIAL:baudrate=N``          the same; the port is found by what the device says it is
    ``usbtmc:vendorid=V:productid=P:serialnr=S``
    ``gpib:ADDRESS``                                  ``board=``, ``secondary_addr=``, ``connect_timeout=``
    ``vxi11:HOST``                                    ``name=``, ``rpc_port=``
    ``visa:RESOURCE`` or ``visa:RESOURCE@BACKEND``    ``backend=``, ``connect_timeout=``
    ================================================  ===================================================

    Keywords go behind the rest, as ``:name=value``. All kinds know ``reconnect=``, ``out_of_step=`` and
    ``drain_timeout=``; see :meth:`DeviceTransport.configure`. An IPv6 address stands in brackets.

    Args:
        transport_descriptor: The text.
        default_attributes: Values for what it does not say, by name. Names that the kind of transport does not know
            are passed over.
        reconnect: Whether and how a lost connection is made again, whatever the text says; see :class:`Reconnect`.

    Raises:
        QMI_TransportDescriptorException: If the text cannot be understood.
    """
    transport: DeviceTransport = _make_transport(transport_descriptor, default_attributes, _find)
    return transport if reconnect is None else transport.configure(reconnect=reconnect)


def create_async_transport(
    transport_descriptor: str,
    default_attributes: Mapping[str, object] | None = None,
    *,
    reconnect: Reconnect | bool | str | None = None,
) -> AsyncTransport:
    """Make the transport that a text describes, for a driver whose methods are ``async def``. It is not opened.

    Serial ports and sockets are waited for by the event loop, and a call that is cancelled ends at once. What goes
    through VISA blocks a thread of its own, and cannot be broken off; see :class:`AsyncThreadTransport`.

    Args:
        transport_descriptor: The text, as for :func:`create_transport`.
        default_attributes: Values for what it does not say, by name.
        reconnect: Whether and how a lost connection is made again, whatever the text says; see :class:`Reconnect`.

    Raises:
        QMI_TransportDescriptorException: If the text cannot be understood.
    """
    transport: AsyncTransport = _make_async_transport(transport_descriptor, default_attributes, _find)
    if reconnect is not None:
        transport.configure(reconnect=reconnect)
    return transport


def list_usbtmc_transports() -> list[str]:
    """The descriptors of the USBTMC devices that are there."""
    found: list[str] = _find("QMI_PyUsbTmcTransport").list_resources()
    return found
