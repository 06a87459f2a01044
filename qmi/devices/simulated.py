"""Transports to simulated devices in this program: what a cable does, with another clock where time is virtual."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import trio

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.line import IDLE, Line
from qmi.devices.plugged import PLUGGED
from qmi.devices.transport import DeviceTransport
from qmi.errors import QMI_TimeoutException, QMI_TransportLostException
from qmi.simulation.clock import AsyncDeviceClock, DeviceClock
from qmi.simulation.conversation import Conversation
from qmi.simulation.device import SimulatedDevice

_A = TypeVar("_A")
_T = TypeVar("_T")


_logger = logging.getLogger("qmi.core.transport")

_MOST_TOLD = 100
"""Of how many unknown commands the log is told: programs may send anything."""


def unknown_command(command: str) -> str:
    """What is said of a command that a simulated device does not know."""
    return (
        f"the simulated device does not know {command!r}; a class derived from Simulator can answer it, with a method "
        f"that is marked by @Simulator.command({command.partition(' ')[0]!r})"
    )


class DeviceSocket:
    """Where a simulated device is plugged in: the device, its time, and who waits for it.

    Args:
        make: Makes the device.
        name: What it is called in messages.
        clock: The clock of the context; see :class:`.DeviceClock`.

    Attributes:
        name: What it is called in messages.
        clock: The time by which it goes.
        changed: Guards the device, and wakes threads that wait for an answer when a fault is set.
    """

    def __init__(self, make: Callable[[], SimulatedDevice], name: str, clock: object = None) -> None:
        self._make = make
        self._device: SimulatedDevice | None = None
        self.name = name
        self.clock: DeviceClock = DeviceClock(clock)
        self.changed: threading.Condition = threading.Condition()
        self._told: set[str] = set()
        self._wakers: set[Callable[[], object]] = set()

    @property
    def device(self) -> SimulatedDevice:
        """The device, which is made when it is needed first: until then its driver may not know all of it."""
        with self.changed:
            if self._device is None:
                self._device = self._make()
                self._device.begin(self.clock.now())
            return self._device

    def transport(self) -> SimulatedTransport:
        """A transport to the device, for plain drivers."""
        return SimulatedTransport(self)

    def async_transport(self) -> AsyncSimulatedTransport:
        """The same for drivers in the event loop."""
        return AsyncSimulatedTransport(self)

    @contextmanager
    def in_place_of_transports(self) -> Iterator[None]:
        """Have all transports that the block makes by descriptors lead to this device."""
        token = PLUGGED.set(self)
        try:
            yield
        finally:
            PLUGGED.reset(token)

    def set_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong, from any thread; see :func:`.checked_fault`."""
        with self.changed:
            self.device.set_fault(kind, times, seconds, now=self.clock.now())
            self.changed.notify_all()
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def connect(self) -> Conversation:
        """Plug in a cable.

        Raises:
            ConnectionRefusedError: If the device cannot be reached.
        """
        with self.changed:
            if self.device.faults.refuses(self.clock.now()):
                raise ConnectionRefusedError(f"no connection to {self.name}: its simulated cable is unplugged")
            return Conversation(self.device)

    def write(self, conversation: Conversation, data: bytes) -> None:
        """Send bytes to the device.

        Raises:
            QMI_TransportLostException: If the connection is cut.
        """
        with self.changed:
            self._check(conversation)
            conversation.write(data, self.clock.now())
            command = self.device.not_understood
        if command and (header := command.partition(" ")[0]) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(header)
            _logger.warning("%s: %s", self.name, unknown_command(command))

    def explain_silence(self) -> str:
        """Why the device does not answer, if it does not know what it was asked."""
        command = self.device.not_understood
        return f": {unknown_command(command)}" if "?" in command else ""

    def read(self, conversation: Conversation, size: int) -> bytes:
        """Receive bytes that are there; none if there are none yet.

        Raises:
            QMI_TransportLostException: If the connection is cut.
        """
        with self.changed:
            self._check(conversation)
            return conversation.read(size, self.clock.now())

    def read_within(self, conversation: Conversation, size: int, timeout: float | None) -> bytes:
        """The same, and block until there are some; none if the time is over.

        Args:
            conversation: The connection.
            size: How many bytes at most.
            timeout: For how long to wait, in seconds; None for ever.

        Raises:
            QMI_TransportLostException: If the connection is cut.
        """
        end = None if timeout is None else self.clock.now() + timeout
        with self.changed:
            while not (data := self.read(conversation, size)):
                now, due = self.clock.now(), conversation.next_arrival()
                if end is not None and now >= end:
                    return b""
                until = end if due is None or (end is not None and end < due) else due
                if until is None or not self.clock.advance(until - now):
                    # A fault wakes, too.
                    self.changed.wait(None if until is None else until - now)
            return data

    def on_change(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Have a function called, in any thread, when a fault is set; what is returned ends that."""
        with self.changed:
            self._wakers.add(wake)

        def end() -> None:
            with self.changed:
                self._wakers.discard(wake)

        return end

    async def change(self, conversation: Conversation) -> None:
        """Wait, in the event loop, until bytes may have come or the connection is cut."""
        woken = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(woken.set)

        # From here on each fault wakes; one that was set before is seen below.
        end = self.on_change(wake)
        with self.changed:
            due = conversation.next_arrival()
            is_cut = conversation.is_cut
            wait = float("inf") if due is None else max(0.0, due - self.clock.now())
        try:
            with trio.move_on_after(0.0 if is_cut else wait):
                await woken.wait()
        finally:
            end()

    def _check(self, conversation: Conversation) -> None:
        if conversation.is_cut:
            raise QMI_TransportLostException(
                f"The connection to {self.name} is lost: its simulated cable was unplugged"
            )


class _Simulated(Line):
    """What both kinds of transports to a simulated device have in common."""

    _renewal_drops_answers = True
    _socket: DeviceSocket
    _conversation: Conversation | None = None

    def __str__(self) -> str:
        return f"{type(self).__name__}(device={self._socket.name})"

    def _short_name(self) -> str:
        return f"{type(self).__name__}_{self._socket.name}"

    def _connected(self) -> Conversation:
        if self._conversation is None:
            raise QMI_TransportLostException(f"{self} has no connection")
        return self._conversation

    def _write_failed(self, error: BaseException, before: int) -> None:
        if isinstance(error, Exception) and not isinstance(error, QMI_TransportLostException):
            # The code of the simulator has failed: nothing is owed that is not on its way.
            is_owed = self._conversation is not None and self._conversation.next_arrival() is not None
            self._step = before if is_owed else IDLE
        else:
            super()._write_failed(error, before)

    def _timeout_with(
        self, text: str, timeout: float | None, received: bytes | bytearray | memoryview
    ) -> QMI_TimeoutException:
        error = super()._timeout_with(text, timeout, received)
        return QMI_TimeoutException(f"{error}{self._socket.explain_silence()}")


class SimulatedTransport(_Simulated, DeviceTransport):
    """A transport to a simulated device, for plain drivers.

    Args:
        socket: Where the device is plugged in.
    """

    def __init__(self, socket: DeviceSocket) -> None:
        self._socket = socket
        self._clock = socket.clock
        super().__init__()

    def _connect(self) -> None:
        self._conversation = None
        self._conversation = self._socket.connect()

    def _disconnect(self) -> None:
        self._conversation = None

    def _send(self, data: bytes) -> None:
        self._socket.write(self._connected(), data)

    def _receive(self, size: int, timeout: float | None) -> bytes:
        return self._socket.read_within(self._connected(), size, timeout)


class AsyncSimulatedTransport(_Simulated, AsyncTransport):
    """A transport to a simulated device, for drivers in the event loop.

    Args:
        socket: Where the device is plugged in.
    """

    def __init__(self, socket: DeviceSocket) -> None:
        self._socket = socket
        self._clock = AsyncDeviceClock(socket.clock)
        super().__init__()

    async def _connect(self) -> None:
        await trio.lowlevel.checkpoint()
        self._conversation = None
        self._conversation = self._socket.connect()

    def _drop_line(self) -> None:
        self._conversation = None

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._socket.write(self._connected(), data)
        self._sent = len(data)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _receive_now(self, size: int) -> bytes:
        return self._socket.read(self._connected(), size)

    async def _wait_to_receive(self) -> None:
        await self._socket.change(self._connected())

    async def _received(self, receive: Callable[[_A], _T], where: _A, timeout: float | None) -> _T | None:
        if timeout is None or not self._socket.clock.is_virtual:
            return await super()._received(receive, where, timeout)
        # Time that is not that of the event loop: nothing happens in the meantime.
        await trio.lowlevel.checkpoint()
        end = self._socket.clock.now() + timeout
        while not (result := receive(where)) and (now := self._socket.clock.now()) < end:
            due = self._connected().next_arrival()
            if not self._socket.clock.advance((end if due is None else min(due, end)) - now):
                return await super()._received(receive, where, end - now)
        return result or None
