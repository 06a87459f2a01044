"""Devices at serial ports, for drivers in the event loop."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import outcome
import trio

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.serial_port import QMI_SerialTransport

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


class AsyncSerialTransport(AsyncTransport):
    """A device at a serial port; see :class:`QMI_SerialTransport`.

    The event loop waits for the port where that is a file descriptor; elsewhere a thread does, woken by a cancellation.

    Args:
        device: The port, or ``usb=VID:PID:SERIAL``.
        baudrate: Bits per second.
        bytesize: Bits of a byte, 5 to 8.
        parity: ``"N"``, ``"E"`` or ``"O"``.
        stopbits: 1, 1.5 or 2.
        rtscts: Whether the RTS and CTS lines say who may send.

    Raises:
        QMI_TransportDescriptorException: If a value is none of these.
    """

    _wait_in_thread: ClassVar[bool] = termios is None

    def __init__(
        self,
        device: str,
        baudrate: int | None = None,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: float = 1.0,
        rtscts: bool = False,
    ) -> None:
        # It checks the values, opens the port, and says what went wrong.
        self._port = QMI_SerialTransport(device, baudrate, bytesize, parity, stopbits, rtscts)
        self._fd = -1
        self._first = b""
        super().__init__()

    def __str__(self) -> str:
        return f"{type(self).__name__} {self._port.device!r}"

    def _short_name(self) -> str:
        return f"{type(self).__name__}_{self._port.device}"

    async def _connect(self) -> None:
        # Some drivers of ports take their time to open one.
        await trio.to_thread.run_sync(self._port._connect)
        if self._wait_in_thread:
            self._port.serial_port.timeout = None
            return
        self._fd = self._port.serial_port.fileno()
        if sys.platform != "win32":  # where a thread waits, see above; this way type checkers know as well
            # A read that finds nothing must say so: with a VMIN of 0 it looks like the end.
            attributes = termios.tcgetattr(self._fd)
            attributes[6][termios.VMIN] = 1
            attributes[6][termios.VTIME] = 0
            termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def _drop_line(self) -> None:
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
            self._fd = -1
        self._first = b""
        self._port.close_port()

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._fd < 0:
            self._sent = 1  # or more, or none: the thread does not say
            await self._do_in_thread(self._port._send, data)
            return
        view = memoryview(data)
        try:
            while self._sent < len(view):
                try:
                    self._sent += os.write(self._fd, view[self._sent :])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._fd)
        except OSError as error:
            raise self._port.lost_by(error) from error
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _receive_now(self, size: int) -> bytes:
        port = self._port.serial_port
        try:
            if self._fd < 0:
                first, self._first = self._first, b""
                waiting = min(size - len(first), port.in_waiting)
                return first + port.read(waiting) if waiting else first
            data = os.read(self._fd, size)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._port.lost_by(error) from error
        if not data:
            raise self._port.lost_by("the device is gone")
        return data

    async def _wait_to_receive(self) -> None:
        if self._fd >= 0:
            await trio.lowlevel.wait_readable(self._fd)
            return
        # One byte in the thread, and then what is there: pyserial waits until all that was asked for has come.
        self._first += await self._do_in_thread(self._port.serial_port.read, 1)

    async def _do_in_thread(self, call: Callable[..., object], *args: object) -> Any:
        """Call something that a cancellation breaks off by pyserial's own means; what was read by then is kept."""
        port = self._port.serial_port
        results: list[outcome.Outcome[Any]] = []

        async def wait() -> None:
            # The thread is waited for, whatever happens: nobody else may use the port while it does.
            with trio.CancelScope(shield=True):
                results.append(await trio.to_thread.run_sync(outcome.capture, call, *args))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            try:
                await trio.sleep(math.inf)
            finally:
                if not results:
                    port.cancel_read()
                    port.cancel_write()
        try:
            result = results[0].unwrap()
        except OSError as error:
            raise self._port.lost_by(error) from error
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            if isinstance(result, bytes):
                self._first += result
            raise
        return result


__all__ = ["AsyncSerialTransport"]
