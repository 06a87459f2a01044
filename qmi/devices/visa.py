"""Devices that PyVISA reaches, which speak in messages: USBTMC, GPIB, VXI-11, HiSLIP."""

from __future__ import annotations

import importlib
import math
import os
import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from qmi.devices.connecting import SILENT, advice_for, cannot_connect
from qmi.devices.descriptors import is_valid_host
from qmi.devices.libraries import import_pyvisa
from qmi.devices.line import PARTIAL
from qmi.devices.transport import DeviceTransport
from qmi.errors import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
)

R = TypeVar("R")
_NETWORK_NAME = re.compile(r"TCPIP\d*::([^:,]+)", re.IGNORECASE)


class MessageDevice(Protocol):
    """What a transport of messages needs of a library.

    Attributes:
        timeout: For how long a read waits, in seconds; None for ever.
    """

    timeout: float | None

    def open(self) -> None:
        """Make the connection."""

    def close(self) -> None:
        """End it."""

    def write_raw(self, data: bytes) -> None:
        """Send a message."""

    def read_raw(self, num: int = -1) -> bytes:
        """Receive a message."""

    def clear(self) -> None:
        """Have the device forget what it was asked and has to answer."""


class StreamDevice(MessageDevice, Protocol):
    """The same where messages may have no end of their own."""

    @property
    def is_stream(self) -> bool:
        """Whether messages have no end of their own: a raw socket or a serial port."""

    def read_count(self, count: int) -> bytes:
        """Receive a number of bytes of a stream."""

    def end_at(self, terminator: bytes) -> None:
        """Let messages of a stream end at the last byte of a terminator; at none if that is empty."""


D = TypeVar("D", bound=MessageDevice)


class Vxi11Instrument(MessageDevice, Protocol):
    """What a transport needs of a library for VXI-11.

    Attributes:
        max_recv_size: How many bytes one read may bring.
    """

    max_recv_size: int


class VisaResource(Protocol):
    """What a device needs of PyVISA's resource.

    Attributes:
        timeout: For how long it waits, in milliseconds; None for ever.
        read_termination: What a message of a stream ends in; None for nothing.
    """

    timeout: float | None
    read_termination: str | None

    def close(self) -> None:
        """Close it."""

    def write_raw(self, message: bytes) -> int:
        """Send a message."""

    def read_raw(self, size: int | None = None) -> bytes:
        """Receive a message."""

    def read_bytes(self, count: int) -> bytes:
        """Receive a number of bytes."""

    def clear(self) -> None:
        """Clear the device."""


class VisaDevice:
    """A resource of PyVISA, with the exceptions of this library.

    Args:
        resource: Name of the resource, such as ``"TCPIP::192.168.1.5::INSTR"``.
        backend: The VISA library, as PyVISA names it: ``"@py"``, ``"@ivi"``, ``"@sim"``, a path; "" for its default.
        connect_timeout: How long opening may take, in seconds; None for the library's own.
    """

    WRITE_TIMEOUT: ClassVar[float] = 10.0
    """For how long a device may take nothing of what is written, in seconds."""

    def __init__(self, resource: str, backend: str = "", connect_timeout: float | None = None) -> None:
        self.resource: str = resource
        # PyVISA-py makes a buffer of this size for each read of a USB device.
        self.max_recv_size: int = 1 << (16 if resource.upper().startswith("USB") else 20)
        self._backend = backend
        self._connect_timeout = connect_timeout
        self._pyvisa: ModuleType | None = None
        self._visa: VisaResource | None = None
        self._timeout: float | None = 10.0
        self._applied: float | None = None
        self._termchar = b""

    @property
    def timeout(self) -> float | None:
        """For how long a read waits, in seconds; None for ever."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def _apply(self, visa: VisaResource, seconds: float | None) -> None:
        if seconds != self._applied:
            visa.timeout = _milliseconds(seconds)
            self._applied = seconds

    @property
    def is_stream(self) -> bool:
        """Whether messages have no end of their own: a raw socket or a serial port."""
        return self.resource.upper().endswith("::SOCKET") or self.resource.upper().startswith("ASRL")

    def open(self) -> None:
        """Open the resource.

        Raises:
            QMI_MissingLibraryException: If PyVISA is not installed.
            QMI_InstrumentException: If there is no such resource.
            OSError: If the system says that it cannot be reached.
        """
        self._pyvisa = import_pyvisa()
        options: dict[str, object] = {}
        if self._connect_timeout is not None:
            options["open_timeout"] = _milliseconds(self._connect_timeout)
        try:
            manager = visa_manager(self._backend)
            self._visa = manager.open_resource(self.resource, **options)
            self._applied = -1.0
            self._termchar = b""
        except OSError as error:
            raise cannot_connect(error, self.resource, self._advice()) from error
        except Exception as error:
            raise QMI_InstrumentException(
                f"{self.resource} cannot be opened: {error}; {self._advice() or SILENT}"
            ) from error

    def _advice(self) -> str:
        found = _NETWORK_NAME.match(self.resource)
        return advice_for(found[1]) if found is not None and is_valid_host(found[1]) else ""

    def close(self) -> None:
        """Close the resource."""
        visa, self._visa = self._visa, None
        if visa is not None:
            self._do(visa.close)

    def write_raw(self, data: bytes) -> None:
        """Send a message."""
        visa = self._resource()
        self._apply(visa, self.WRITE_TIMEOUT)
        self._do(visa.write_raw, bytes(data))

    def read_raw(self, num: int = -1) -> bytes:
        """Receive a message to its end, however long it is."""
        visa = self._resource()
        self._apply(visa, self._timeout)
        message = self._do(visa.read_raw, num if num > 0 else self.max_recv_size)
        return self._whole(message) if self._ends_early and len(message) == self.max_recv_size else message

    def _whole(self, message: bytes) -> bytes:
        """Read on: pyvisa-py takes a USB message to be at its end where as many bytes have come as were asked for."""
        data = bytearray(message)
        while len(message) == self.max_recv_size:
            try:
                message = self._do(self._resource().read_raw, self.max_recv_size)
            except QMI_TimeoutException:
                break  # it was just that long
            data += message
        return bytes(data)

    @property
    def _ends_early(self) -> bool:
        return self.resource.upper().startswith("USB")

    def read_count(self, count: int) -> bytes:
        """Receive a number of bytes of a stream."""
        visa = self._resource()
        self._apply(visa, self._timeout)
        return self._do(visa.read_bytes, count)

    def end_at(self, terminator: bytes) -> None:
        """Let messages of a stream end at the last byte of a terminator; at none if that is empty."""
        if terminator != self._termchar:
            self._resource().read_termination = terminator.decode("latin-1") or None
            self._termchar = terminator

    def clear(self) -> None:
        """Have the device forget what it was asked and has to answer.

        Raises:
            QMI_InstrumentException: If the device, or the library, cannot.
        """
        visa = self._resource()
        self._apply(visa, self.WRITE_TIMEOUT)
        try:
            self._do(visa.clear)
        except QMI_TransportLostException as error:
            if not isinstance(error.__cause__, RuntimeError):
                raise
            # With pyvisa-py, a late answer that is on its way over HiSLIP is taken for the reply; it is there no more.
            self._do(visa.clear)

    def _resource(self) -> VisaResource:
        if self._visa is None:
            raise QMI_TransportLostException(f"{self.resource} is not open")
        return self._visa

    def _do(self, call: Callable[..., R], *args: object) -> R:
        """Call the library; its exceptions become this library's."""
        assert self._pyvisa is not None
        errors, constants = self._pyvisa.errors, self._pyvisa.constants
        try:
            return call(*args)
        except errors.VisaIOError as error:
            code = error.error_code
            if code == constants.StatusCode.error_timeout:
                raise QMI_TimeoutException(f"{self.resource}: {error}") from error
            if code in (constants.StatusCode.error_connection_lost, constants.StatusCode.error_io):
                raise QMI_TransportLostException(f"The connection {self.resource} is lost: {error}") from error
            raise QMI_InstrumentException(f"{self.resource}: {error}") from error
        except TimeoutError as error:
            raise QMI_TimeoutException(f"{self.resource}: {error}") from error
        except (OSError, EOFError) as error:
            raise QMI_TransportLostException(f"The connection {self.resource} is lost: {error}") from error
        except errors.Error as error:
            raise QMI_InstrumentException(f"{self.resource}: {error}") from error
        except Exception as error:
            raise QMI_TransportLostException(f"The connection {self.resource} is lost: {error!r}") from error


class MessageTransport(DeviceTransport, Generic[D]):
    """A transport whose answers are messages: each read takes one to its end, whatever its terminator.

    What a driver does not read of a message is dropped when it writes the next one, as the device drops it too.
    """

    DEFAULT_READ_TIMEOUT: ClassVar[float | None] = None
    """For how long a read without a timeout waits, in seconds; None for ever."""
    _renewal_drops_answers = True
    reads_messages = True

    def __init__(self) -> None:
        super().__init__()
        self._device: D | None = None

    def _make_device(self) -> D:
        """What does the work; a subclass writes this."""
        raise NotImplementedError(f"{type(self).__name__} cannot be opened")

    @property
    def _safe_device(self) -> D:
        if self._device is None:
            raise QMI_TransportLostException(f"{self} has no connection")
        return self._device

    def _connect(self) -> None:
        device = self._make_device()
        device.open()
        self._device = device

    def _disconnect(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def _clear_device(self) -> bool:
        try:
            self._safe_device.clear()
        except (QMI_InstrumentException, QMI_TimeoutException, QMI_EndOfInputException, NotImplementedError):
            return False
        self._read_buffer = bytearray()
        return True

    def _send(self, data: bytes) -> None:
        self._read_buffer = bytearray()
        self._safe_device.write_raw(data)

    def _receive(self, size: int, timeout: float | None) -> bytes:
        device = self._safe_device
        device.timeout = self.DEFAULT_READ_TIMEOUT if timeout is None else timeout
        try:
            return bytes(device.read_raw())
        except QMI_TimeoutException:
            return b""

    def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        if not self._read_buffer:
            self._keep(self._message(timeout))
        return self._take(len(self._read_buffer))

    def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        if not self._read_buffer and nbytes:
            self._keep(self._message(timeout))
        if len(self._read_buffer) < nbytes:
            raise QMI_EndOfInputException(
                f"The message from {self} has {len(self._read_buffer)} bytes where {nbytes} were expected"
            )
        return self._take(nbytes)

    def _read_into(self, view: memoryview, timeout: float | None) -> None:
        view[:] = self._read_exactly(len(view), timeout)

    def _read_some(self, nbytes: int, timeout: float | None) -> bytes:
        if not self._read_buffer:
            self._check_not_lost()
            self._keep(self._receive(nbytes, timeout))
            self._note("message")
        return self._take(len(self._read_buffer))

    def _message(self, timeout: float | None) -> bytes:
        self._check_not_lost()
        message = self._receive(0, timeout)
        if not message:
            raise self._timeout_with("Timeout: no message", timeout, b"")
        self._note("message")
        return message

    def _drop_received(self) -> bytes:
        """Drop the rest of a message, or else a message that is there."""
        dropped = bytes(self._read_buffer) or self._receive(0, 0.0)
        self._read_buffer = bytearray()
        return dropped

    def _drain(self) -> bool:
        """Wait for one message: that is the owed answer, whatever it ends in."""
        if self._step == PARTIAL:
            return False
        if not all(self._receive(0, self._out_of_step.drain_timeout) for _ in range(self._owed.answers)):
            return False
        return self._dropped_late()


class QMI_VisaTransport(MessageTransport[StreamDevice]):
    """Whatever VISA reaches.

    Args:
        resource: Name of the resource, such as ``"TCPIP::192.168.1.5::hislip0::INSTR"``.
        backend: The VISA library, as PyVISA names it; "" for its default.
        connect_timeout: How long opening may take, in seconds; None for the library's own.
    """

    def __init__(self, resource: str, backend: str = "", connect_timeout: float | None = None) -> None:
        self._resource_name = resource
        self._backend = backend
        self._connect_timeout = connect_timeout
        super().__init__()

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._resource_name})"

    def _short_name(self) -> str:
        return f"visa_{self._resource_name}"

    def _make_device(self) -> StreamDevice:
        return VisaDevice(self._resource_name, self._backend, self._connect_timeout)

    def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        self._check_not_lost()
        device = self._safe_device
        if not device.is_stream:
            return super()._read_until(terminator, timeout)
        device.end_at(terminator[-1:])
        return DeviceTransport._read_until(self, terminator, timeout)

    def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        self._check_not_lost()
        device = self._safe_device
        if not device.is_stream:
            return super()._read_exactly(nbytes, timeout)
        device.timeout = timeout
        device.end_at(b"")
        if (lacking := nbytes - len(self._read_buffer)) > 0:
            self._keep(device.read_count(lacking))
        return self._take(nbytes)


class QMI_GpibTransport(QMI_VisaTransport):
    """A device on a GPIB bus.

    Args:
        primary_addr: Its primary address, 0 to 30.
        board: Number of the GPIB board; None for the first one.
        secondary_addr: Its secondary address, 0 to 30; None if it has none.
        connect_timeout: How long opening may take, in seconds.

    Raises:
        QMI_TransportDescriptorException: If an address is none.
    """

    def __init__(
        self,
        primary_addr: int,
        board: int | None = None,
        secondary_addr: int | None = None,
        connect_timeout: float = 30.0,
        backend: str = "",
    ) -> None:
        for name, value in (("primary", primary_addr), ("secondary", secondary_addr)):
            if value is not None and not 0 <= value <= 30:
                raise QMI_TransportDescriptorException(f"Invalid {name} address {value!r}: expected 0 to 30")
        self._primary_addr = primary_addr
        self._board = board
        self._secondary_addr = secondary_addr
        secondary = "" if secondary_addr is None else f"::{secondary_addr}"
        name = f"GPIB{'' if board is None else board}::{primary_addr}{secondary}::INSTR"
        super().__init__(name, backend, connect_timeout)

    def __str__(self) -> str:
        return f"{type(self).__name__} {self._resource_name}"


class QMI_UsbTmcTransport(MessageTransport[MessageDevice]):
    """A device of the USB test and measurement class.

    Args:
        vendorid: The vendor's number.
        productid: The product's number.
        serialnr: The serial number; "" for the only such device.

    Raises:
        QMI_TransportDescriptorException: If a number is none of 16 bits.
    """

    DEFAULT_READ_TIMEOUT: ClassVar[float | None] = 60.0
    WRITE_TIMEOUT: ClassVar[float] = 5.0

    def __init__(self, vendorid: int, productid: int, serialnr: str) -> None:
        self._validate_vendor_id(vendorid)
        self._validate_product_id(productid)
        self.vendorid: int = vendorid
        self.productid: int = productid
        self.serialnr: str = serialnr
        super().__init__()

    @staticmethod
    def _validate_vendor_id(vendorid: int) -> None:
        if not 0 <= vendorid <= 0xFFFF:
            raise QMI_TransportDescriptorException(f"Invalid USB vendor ID {vendorid!r}: expected 0 to 0xffff")

    @staticmethod
    def _validate_product_id(productid: int) -> None:
        if not 0 <= productid <= 0xFFFF:
            raise QMI_TransportDescriptorException(f"Invalid USB product ID {productid!r}: expected 0 to 0xffff")

    def __str__(self) -> str:
        return f"QMI_UsbTmcTransport 0x{self.vendorid:04x}:0x{self.productid:04x} ({self.serialnr})"

    def _short_name(self) -> str:
        return f"usbtmc_{self.vendorid:04x}_{self.productid:04x}_{self.serialnr}"

    def _make_device(self) -> MessageDevice:
        return UsbTmcDevice(self.vendorid, self.productid, self.serialnr)

    @staticmethod
    def list_resources() -> list[str]:
        """The descriptors of the devices of this class that are there."""
        return usbtmc_descriptors(usb_resources())


class UsbTmcDevice(VisaDevice):
    """A USBTMC device, looked up by its numbers when it is opened.

    Args:
        vendor: The vendor's number.
        product: The product's number.
        serial: The serial number; "" or None for the only such device.
        backend: The VISA library, as PyVISA names it.
    """

    def __init__(self, vendor: int, product: int, serial: str | None = None, backend: str = "") -> None:
        self.idVendor: int = vendor
        self.idProduct: int = product
        self.iSerial: str | None = serial
        super().__init__(f"USB::0x{vendor:04x}::0x{product:04x}::{serial or '?*'}::INSTR", backend)

    def open(self) -> None:
        """Find the device, and open it.

        Raises:
            QMI_InstrumentException: If there is not exactly one.
        """
        found: list[str] = []
        for name in usb_resources(self._backend):
            numbers = usb_numbers(name)
            if numbers is not None and numbers[:2] == (self.idVendor, self.idProduct):
                found += [name] if self.iSerial in (None, "", numbers[2]) else []
        if len(found) != 1:
            what = f"{self.idVendor:04x}:{self.idProduct:04x}" + (f" ({self.iSerial})" if self.iSerial else "")
            there = f"there are several, add the serial number: {', '.join(found)}" if found else "it is not there"
            raise QMI_TransportLostException(f"USBTMC device {what} cannot be opened: {there}")
        self.resource: str = found[0]
        super().open()


class QMI_Vxi11Transport(DeviceTransport):
    """A device that speaks VXI-11.

    Args:
        host: Name or address of the device.
        name: Name of the device at that host.
        rpc_port: Port number of the service; None asks the port mapper of the host.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host.
    """

    _renewal_drops_answers = True

    def __init__(self, host: str, name: str = "inst0", rpc_port: int | None = None) -> None:
        if not is_valid_host(host):
            raise QMI_TransportDescriptorException(f"Invalid host name {host!r}: expected a name or an IP address")
        self._host = host
        self._name = name
        self._rpc_port = rpc_port
        self._instr: Vxi11Instrument | None = None
        super().__init__()

    def __str__(self) -> str:
        return f"{type(self).__name__}({self._host})"

    def _short_name(self) -> str:
        return f"vxi11_{self._host}"

    @property
    def _safe_instr(self) -> Vxi11Instrument:
        if self._instr is None:
            raise QMI_TransportLostException(f"{self} has no connection")
        return self._instr

    def _make_device(self) -> Vxi11Instrument:
        return self._make_vxi11(Vxi11Device)

    def _make_vxi11(self, instrument: Callable[..., Vxi11Instrument]) -> Vxi11Instrument:
        options: dict[str, object] = {} if self._name == "inst0" else {"name": self._name}
        if self._rpc_port is not None:
            options["rpc_port"] = self._rpc_port
        return instrument(self._host, **options)

    def _connect(self) -> None:
        instr = self._make_device()
        instr.open()
        self._instr = instr

    def _disconnect(self) -> None:
        instr, self._instr = self._instr, None
        if instr is not None:
            instr.close()

    def _clear_device(self) -> bool:
        try:
            self._safe_instr.clear()
        except (QMI_InstrumentException, QMI_TimeoutException, QMI_EndOfInputException, NotImplementedError):
            return False
        self._read_buffer = bytearray()
        return True

    def _send(self, data: bytes) -> None:
        self._safe_instr.write_raw(data)

    def _receive(self, size: int, timeout: float | None) -> bytes:
        instr = self._safe_instr
        usual = instr.timeout
        instr.timeout = timeout
        try:
            return bytes(instr.read_raw(instr.max_recv_size))
        except QMI_TimeoutException:
            return b""
        finally:
            instr.timeout = usual


class Vxi11Device(VisaDevice):
    """A VXI-11 device.

    Args:
        host: Name or address of the device.
        name: Name of the device at that host.
        rpc_port: Port number of the service; None asks the port mapper of the host.
        backend: The VISA library, as PyVISA names it.
    """

    def __init__(self, host: str, name: str = "inst0", rpc_port: int | None = None, backend: str = "") -> None:
        # This form with a port is pyvisa-py's alone.
        where = f"{host},{rpc_port}" if rpc_port is not None else host
        super().__init__(f"TCPIP::{where}::{name}::INSTR", backend or ("@py" if rpc_port is not None else ""), 10.0)


def visa_manager(backend: str) -> Any:
    """PyVISA's resource manager of a VISA library.

    Args:
        backend: The library, as PyVISA names it; "" for its default.
    """
    return import_pyvisa().ResourceManager(_visa_library(backend, os.environ.get("PYVISA_LIBRARY", "")))


@cache
def _visa_library(backend: str, from_environment: str) -> Any:
    # To look for the default one takes nearly a second, each time.
    return import_pyvisa().highlevel.open_visa_library(backend)


def visa_resources(query: str = "?*::INSTR", backend: str = "") -> list[str]:
    """The names of the resources that VISA finds; it may ask around in the network.

    Raises:
        QMI_MissingLibraryException: If PyVISA is not installed.
    """
    pyvisa = import_pyvisa()
    # pyvisa-py warns of each package that would let it find more.
    with warnings.catch_warnings(), suppress(pyvisa.errors.VisaIOError):  # says that it has found none
        warnings.simplefilter("ignore")
        return list(visa_manager(backend).list_resources(query))
    return []


def usb_resources(backend: str = "") -> list[str]:
    """The names of the USBTMC devices that VISA finds; nothing else is looked for.

    Raises:
        QMI_MissingLibraryException: If PyVISA is not installed.
        QMI_InstrumentException: If there is no access to USB.
    """
    manager = visa_manager(backend)
    if str(manager.visalib.library_path) != "py":
        return visa_resources("USB?*INSTR", backend)
    try:
        # The whole list would have pyvisa-py ask the network, too.
        session = importlib.import_module("pyvisa_py.usb").USBInstrSession
    except Exception as error:
        raise QMI_InstrumentException(f"There is no access to USB: {error}") from error
    found: list[str] = session.list_resources()
    return found


def usbtmc_descriptors(names: list[str]) -> list[str]:
    """The descriptors of those resources that are USBTMC devices."""
    numbers = [found for name in names if (found := usb_numbers(name)) is not None]
    return [f"usbtmc:vendorid=0x{one[0]:04x}:productid=0x{one[1]:04x}:serialnr={one[2]}" for one in numbers]


_USB_NAME = re.compile(r"USB[A-Z]*\d*::(0x[0-9A-Fa-f]+|\d+)::(0x[0-9A-Fa-f]+|\d+)::([^:]+)(?:::\d+)?::INSTR")


def usb_numbers(name: str) -> tuple[int, int, str] | None:
    """The numbers of vendor and product and the serial number in the VISA name of a USB device; None if it is none."""
    found = _USB_NAME.fullmatch(name)
    return None if found is None else (int(found[1], 0), int(found[2], 0), found[3])


def _milliseconds(seconds: float | None) -> float | None:
    # Rounded up: a wait that ends too early would be a timeout before its time. Some libraries take 0 for no limit.
    return None if seconds is None else max(1, math.ceil(seconds * 1000))


__all__ = ["QMI_GpibTransport", "QMI_UsbTmcTransport", "QMI_VisaTransport", "QMI_Vxi11Transport"]
