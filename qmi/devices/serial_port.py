"""Devices at serial ports, real ones and those on USB."""

from __future__ import annotations

import errno
import os
import re
import select
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from qmi.devices.connecting import no_such_port
from qmi.devices.libraries import import_serial
from qmi.devices.line import CHUNK, LATE, SHORT
from qmi.devices.transport import DeviceTransport
from qmi.devices.usb_identity import UsbIdentity, port_of
from qmi.errors import QMI_TransportDescriptorException, QMI_TransportLostException

if TYPE_CHECKING:
    import serial

_COM = re.compile(r"COM\d*", re.IGNORECASE)
_GONE = "the device is gone"


class QMI_SerialTransport(DeviceTransport):
    """A device at a serial port.

    Args:
        device: The port, such as ``/dev/ttyUSB0`` or ``COM3``; or ``usb=VID:PID`` or ``usb=VID:PID:SERIAL`` for the
            one port of a USB device, which is looked up when the transport is opened.
        baudrate: Bits per second.
        bytesize: Bits of a byte, 5 to 8.
        parity: ``"N"`` (none), ``"E"`` (even) or ``"O"`` (odd).
        stopbits: 1, 1.5 or 2.
        rtscts: Whether the RTS and CTS lines say who may send.

    Raises:
        QMI_TransportDescriptorException: If a value is none of these.
    """

    SERIAL_READ_TIMEOUT: ClassVar[float] = 0.04
    """Longest single wait where the port cannot be waited for otherwise, in seconds."""

    def __init__(
        self,
        device: str,
        baudrate: int | None = None,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: float = 1.0,
        rtscts: bool = False,
    ) -> None:
        self._validate_device_name(device)
        self._validate_baudrate(baudrate)
        self._validate_bytesize(bytesize)
        self._validate_parity(parity)
        self._validate_stopbits(stopbits)
        self._validate_rstcts(rtscts)
        self.device: str = device
        self._baudrate = baudrate
        self._bytesize = bytesize
        self._parity = parity
        self._stopbits = stopbits
        self._rtscts = rtscts
        self._serial: serial.Serial | None = None
        self._fd = -1
        super().__init__()

    @staticmethod
    def _validate_device_name(device: str) -> None:
        is_path = isinstance(device, str) and device.startswith(("/", "\\\\.\\"))
        if not (is_path or (isinstance(device, str) and (_COM.fullmatch(device) or device.startswith("usb=")))):
            raise QMI_TransportDescriptorException(
                f"Unknown serial port device path {device!r}: expected /dev/..., COM... or usb=VID:PID:SERIAL"
            )
        if device.startswith("usb="):
            UsbIdentity.parse(device)

    @staticmethod
    def _validate_baudrate(baudrate: int | None) -> None:
        if baudrate is None:
            raise QMI_TransportDescriptorException("Missing baud rate: add :baudrate=9600, or whatever the device has")
        if baudrate < 1:
            raise QMI_TransportDescriptorException(f"Invalid baud rate {baudrate!r}: expected an integer >= 1")

    @staticmethod
    def _validate_bytesize(bytesize: int) -> None:
        if bytesize not in (5, 6, 7, 8):
            raise QMI_TransportDescriptorException(f"Invalid value for bytesize {bytesize!r}: expected 5, 6, 7 or 8")

    @staticmethod
    def _validate_parity(parity: str) -> None:
        if parity not in ("N", "E", "O"):
            raise QMI_TransportDescriptorException(f"Invalid parity specification {parity!r}: expected N, E or O")

    @staticmethod
    def _validate_stopbits(stopbits: float) -> None:
        if stopbits not in (1, 1.5, 2):
            raise QMI_TransportDescriptorException(f"Invalid value for stopbits {stopbits!r}: expected 1, 1.5 or 2")

    @staticmethod
    def _validate_rstcts(rtscts: bool) -> None:
        if rtscts not in (True, False):
            raise QMI_TransportDescriptorException(f"Invalid value for rtscts {rtscts!r}: expected True or False")

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.device!r}"

    def _short_name(self) -> str:
        return f"{type(self).__name__}_{self.device}"

    @property
    def serial_port(self) -> serial.Serial:
        """The port of pyserial.

        Raises:
            QMI_TransportLostException: If it is not open.
        """
        return self._safe_serial

    @property
    def _safe_serial(self) -> serial.Serial:
        if self._serial is None:
            raise QMI_TransportLostException(f"{self} is not open")
        return self._serial

    def _connect(self) -> None:
        library = import_serial()
        device = port_of(self.device) if self.device.startswith("usb=") else self.device
        try:
            self._serial = library.Serial(
                device,
                baudrate=self._baudrate,
                bytesize=self._bytesize,
                parity=self._parity,
                stopbits=self._stopbits,
                rtscts=self._rtscts,
                timeout=self.SERIAL_READ_TIMEOUT,
            )
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            raise type(error)(error.errno, no_such_port(device)) from error
        # Where the port is a file descriptor it can be waited for exactly; elsewhere it is asked every 40 ms.
        descriptor = getattr(self._serial, "fd", None)
        self._fd = descriptor if isinstance(descriptor, int) and hasattr(select, "poll") else -1

    def close_port(self) -> None:
        """Close the port alone, for those who hold it without :meth:`open`."""
        self._disconnect()

    def _disconnect(self) -> None:
        self._fd = -1
        if self._serial is not None:
            self._serial.close()

    def lost_by(self, detail: object) -> QMI_TransportLostException:
        """The exception for a port that is gone."""
        return _lost_exception(import_serial())(f"The connection {self} is lost: {detail}")

    def _send(self, data: bytes) -> None:
        try:
            self._safe_serial.write(data)
        except OSError as error:
            raise self.lost_by(error) from error

    def _receive(self, size: int, timeout: float | None) -> bytes:
        if self._fd < 0:
            return self._receive_by_asking(size, timeout)
        try:
            if not _wait_readable(self._fd, timeout):
                return b""
            data = os.read(self._fd, size)
        except OSError as error:
            raise self.lost_by(error) from error
        if not data:
            raise self.lost_by(_GONE)
        return data

    def _receive_by_asking(self, size: int, timeout: float | None) -> bytes:
        port = self._safe_serial
        deadline = None if timeout is None else time.monotonic() + timeout
        # Where the end is not known in bytes, what is there is taken, or else one byte is waited for.
        is_counted = size not in (SHORT, CHUNK)
        try:
            while True:
                waiting = port.in_waiting
                wanted = size if is_counted else max(1, waiting)
                data = port.read(wanted) if timeout != 0 or waiting else b""
                if data or (deadline is not None and time.monotonic() >= deadline):
                    return data
        except OSError as error:
            raise self.lost_by(error) from error

    def discard_read(self) -> None:
        """Drop what has been received and not been read, here and in the port."""
        self._check_is_open()
        if self._step == LATE or self._unread:
            super().discard_read()  # which sees whether the owed answers are among it
        self._safe_serial.reset_input_buffer()
        self._read_buffer = bytearray()


def _wait_readable(descriptor: int, timeout: float | None) -> bool:
    if sys.platform != "win32":
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        # Rounded up: a wait that ends too early would be a timeout before its time.
        return bool(waiter.poll(None if timeout is None else max(0, -int(-timeout * 1000 // 1))))
    raise AssertionError("there is no poll()")


def _lost_exception(library: ModuleType) -> type[QMI_TransportLostException]:
    """The exception for a port that is gone; it is pyserial's too, for those who catch that."""
    made: Any = _LOST.get(library.SerialException)
    if made is None:
        bases = (QMI_TransportLostException, library.SerialException)
        made = _LOST[library.SerialException] = type("QMI_TransportLostException", bases, {"__module__": __name__})
    found: type[QMI_TransportLostException] = made
    return found


_LOST: dict[type, type[QMI_TransportLostException]] = {}
