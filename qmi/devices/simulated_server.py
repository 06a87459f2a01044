"""Simulated devices that other programs can use, in any language: over TCP, or on a pseudo-terminal."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import trio

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.simulated import simulated_class
from qmi.devices.simulated import DeviceSocket
from qmi.errors import QMI_InvalidOperationException, QMI_TransportDescriptorException, QMI_UsageException
from qmi.names import HostPort
from qmi.simulation.conversation import Conversation
from qmi.simulation.device import SimulatedDevice
from qmi.simulation.simulator import Simulator

_logger = logging.getLogger("qmi.core.driver")

CHUNK: Final = 65536
PTY: Final = "pty"
_FORMS = 'a simulator is served at "tcp:127.0.0.1:5025", where port 0 is any free one, or at "pty"'


class SimulatorServer:
    """A simulated device that is served; made by :func:`serve_simulator`, and there within its ``with`` block.

    The block may be an ``async with``, too. Each client has a line of its own to the one device, as with a real one.

    Attributes:
        address: The descriptor of the transport to it, such as ``"tcp:127.0.0.1:41234"`` or
            ``"serial:/dev/pts/3:baudrate=9600"``.
        device: The device: ``device.received`` are the commands that it got, ``device.simulator`` is its inside.
    """

    def __init__(self, socket_of_device: DeviceSocket, where: str) -> None:
        self._plug = socket_of_device
        self._place = _parse(where)
        self._thread: threading.Thread | None = None
        self._running = threading.Lock()
        self.address: str = ""

    @property
    def device(self) -> SimulatedDevice:
        """The device."""
        return self._plug.device

    @property
    def port(self) -> int:
        """The TCP port; 0 on a pseudo-terminal."""
        return int(self.address.rpartition(":")[2]) if self.address.startswith("tcp:") else 0

    @property
    def path(self) -> str:
        """The name of the pseudo-terminal's file; empty for TCP."""
        return self.address.split(":")[1] if self.address.startswith("serial:") else ""

    def simulate_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong, from any thread; see ``simulate_fault`` of a simulated instrument."""
        self._plug.set_fault(kind, times, seconds)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the server has stopped.

        Args:
            timeout: For how long at most, in seconds; None for ever.

        Returns:
            Whether it has; False at once if it was not started.
        """
        if self._thread is None:
            return False
        # Not by an event: Ctrl-C that comes while one is just taken leaves it locked, and the thread could not set it.
        # Nor by joining: a thread whose join() was interrupted counts as ended, and stop() would not wait for it.
        ended = self._running.acquire(timeout=-1 if timeout is None else timeout)
        if ended:
            self._running.release()
        return ended

    def start(self) -> None:
        """Begin to serve; a ``with`` block does this.

        Raises:
            QMI_InvalidOperationException: If it was started before.
            OSError: If the address cannot be had.
        """
        if self._thread is not None:
            raise QMI_InvalidOperationException("This server was started before; make a new one")
        _ = self._plug.device  # what is wrong with it is the caller's to know
        station = _Pty(self._plug) if self._place is None else _Tcp(self._plug, self._place)
        self.address = station.address
        self._loop = _Loop(self._plug, station)
        self._running.acquire()
        self._thread = threading.Thread(target=self._serve, name=f"simulator at {self.address}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End: connections are closed. Harmless if it has ended."""
        if self._thread is not None:
            self._loop.stop()
            self._thread.join()

    def _serve(self) -> None:
        try:
            self._loop.run()
        finally:
            self._running.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The thread waits for nobody, so this takes no time.
        self.stop()
        await trio.lowlevel.cancel_shielded_checkpoint()


def serve_simulator(
    driver: type[QMI_Instrument] | type[Simulator],
    where: str = "tcp:127.0.0.1:0",
    *,
    simulate: bool | type[Simulator] = True,
    args: tuple[object, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> SimulatorServer:
    """Serve the simulated device of a driver, for programs in any language and for tests.

    ::

        with serve_simulator(Supply) as server:
            with create_transport(server.address) as transport:
                ...

    Args:
        driver: The class of the driver; or of a simulator alone.
        where: ``"tcp:HOST:PORT"``, where port 0 is any free one, or ``"pty"`` for a pseudo-terminal (not on Windows).
        simulate: The class of the simulator; True is that of the driver.
        args: Arguments for the constructor of the driver, such as its number of channels, without the transport.
        kwargs: Keyword arguments for it.

    Raises:
        QMI_UsageException: If the driver cannot be simulated, or has no transport.
        QMI_TransportDescriptorException: If there can be no such address.
    """
    return SimulatorServer(_plugged(driver, simulate, args, kwargs or {}), where)


def _plugged(driver: type, simulate: object, args: tuple[object, ...], kwargs: dict[str, Any]) -> DeviceSocket:
    if isinstance(driver, type) and issubclass(driver, Simulator):
        return DeviceSocket(lambda: SimulatedDevice(driver, driver=driver.__name__), driver.__name__)
    if not (isinstance(driver, type) and issubclass(driver, QMI_Instrument)):
        raise QMI_UsageException(f"serve_simulator() takes the class of a driver or of a simulator, got {driver!r}")
    # The driver is made, and not opened: it knows how many channels it has, and what its commands end in.
    made: Any = simulated_class(driver, simulate)(None, driver.__name__, *args, **kwargs)
    plug = getattr(made, "__simulated__", None)
    if not isinstance(plug, DeviceSocket):
        raise QMI_UsageException(
            f"{driver.__name__} has no transport, so that its simulator understands no commands and cannot be served"
        )
    return plug


def _parse(where: object) -> HostPort | None:
    """Where to listen; None for a pseudo-terminal."""
    if where == PTY:
        if not hasattr(os, "openpty"):
            raise QMI_TransportDescriptorException("There are no pseudo-terminals on this system; serve over TCP")
        return None
    kind, _, address = str(where).partition(":")
    host, _, port = address.rpartition(":")
    if kind != "tcp" or not host or not port.isdigit() or int(port) > 65535:
        raise QMI_TransportDescriptorException(f"{_FORMS}; got {where!r}")
    return HostPort(host.removeprefix("[").removesuffix("]"), int(port))


class _Client:
    """One end of a line: what a client sent goes to the device, and its answers back.

    Args:
        plug: The device.
        read: Reads what is there; nothing means that the client has gone.
        write: Writes some of it, and says how much.
    """

    def __init__(self, plug: DeviceSocket, read: Callable[[int], bytes], write: Callable[[bytes], int]) -> None:
        self._plug = plug
        self._read, self._write = read, write
        self._unsent = bytearray()
        self.conversation: Conversation = plug.connect()

    def receive(self) -> bool:
        """Hand on what has come; False if the client has gone."""
        try:
            data = self._read(CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        try:
            self._plug.write(self.conversation, data)
        except OSError:  # the cable is unplugged
            return False
        except Exception:  # the code of the simulator; the device goes on
            _logger.exception("The simulator of %s has failed", self._plug.name)
            self._plug.device.simulator.push_error(-300)
        return True

    def send(self) -> bool:
        """Write what is due; whether there is more to write."""
        while data := self._plug.read(self.conversation, CHUNK):
            self._unsent += data
        while self._unsent:
            try:
                del self._unsent[: self._write(bytes(self._unsent[:CHUNK]))]
            except BlockingIOError:
                return True
        return False


class _Tcp:
    """A port that clients connect to."""

    def __init__(self, plug: DeviceSocket, place: HostPort) -> None:
        self._plug = plug
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        self._listener = socket.create_server((place.host, place.port), family=family)
        self._listener.setblocking(False)
        self.address = f"tcp:{HostPort(place.host, self._listener.getsockname()[1])}"
        self._clients: dict[socket.socket, _Client] = {}

    def files(self) -> dict[Any, _Client | None]:
        """What to wait for: the listener, and the connections."""
        return {self._listener: None, **self._clients}

    def accept(self) -> None:
        """Somebody connects."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again
            return
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[connection] = _Client(self._plug, connection.recv, connection.send)
        except OSError:  # the cable is unplugged, or the client has gone
            connection.close()

    def drop(self, file: Any) -> None:
        """A client has gone, or is thrown out."""
        self._clients.pop(file, None)
        file.close()

    def close(self) -> None:
        """End all."""
        for connection in list(self._clients):
            self.drop(connection)
        self._listener.close()


def _open_pty() -> tuple[int, int, str]:
    """The device's end of a pseudo-terminal, that of clients, and what it is called."""
    if sys.platform != "win32":  # for the type checker; where there are none, the server has said so
        import tty

        device, port = os.openpty()
        # Raw, so that nothing is echoed; and open here, so that a client that leaves does not end it.
        tty.setraw(port)
        os.set_blocking(device, False)
        return device, port, os.ttyname(port)
    raise NotImplementedError


class _Pty:
    """A pseudo-terminal, whose other side clients open one after the other."""

    def __init__(self, plug: DeviceSocket) -> None:
        self._plug = plug
        self._device, self._port, name = _open_pty()
        self.address = f"serial:{name}:baudrate=9600"
        self._client: _Client | None = None
        self.accept()

    def files(self) -> dict[Any, _Client | None]:
        """What to wait for."""
        return {self._device: self._client}

    def accept(self) -> None:
        """Plug in the cable, or lose what was sent while that is not possible."""
        try:
            self._client = _Client(
                self._plug, lambda size: os.read(self._device, size), lambda data: os.write(self._device, data)
            )
        except OSError:
            with suppress(BlockingIOError):
                os.read(self._device, CHUNK)

    def drop(self, file: Any) -> None:
        """The cable is unplugged: what is on its way is lost."""
        self._client = None

    def close(self) -> None:
        """End it."""
        os.close(self._device)
        os.close(self._port)


class _Loop:
    """The thread of a server: waits for clients and for answers that are due."""

    def __init__(self, plug: DeviceSocket, station: _Tcp | _Pty) -> None:
        self._plug = plug
        self._station = station
        self._is_stopping = False
        self._wakes, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wakes.setblocking(False)

    def stop(self) -> None:
        """End it, from any thread."""
        self._is_stopping = True
        self.wake()

    def wake(self) -> None:
        """Have it look again, from any thread."""
        with suppress(OSError):  # it will look anyway, or has ended
            self._wakes.send(b"w")

    def run(self) -> None:
        """Serve until somebody stops it."""
        end = self._plug.on_change(self.wake)
        try:
            while not self._is_stopping:
                self._step()
        finally:
            end()
            self._station.close()
            self._woken.close()
            self._wakes.close()

    def _step(self) -> None:
        wanted: dict[Any, int] = {}
        due: list[float] = []
        for file, client in self._station.files().items():
            wanted[file] = selectors.EVENT_READ
            if client is None:
                continue
            try:
                if client.send():
                    # Who does not read what was answered is asked no more.
                    wanted[file] = selectors.EVENT_WRITE
            except OSError:
                self._station.drop(file)
                return  # and look again at what is there now
            if (arrival := client.conversation.next_arrival()) is not None:
                due.append(arrival - self._plug.clock.now())
        self._wait(wanted, max(0.0, min(due)) if due else None)

    def _wait(self, wanted: dict[Any, int], timeout: float | None) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for file, events in wanted.items():
                selector.register(file, events)
            ready = [key.fileobj for key, events in selector.select(timeout) if events & selectors.EVENT_READ]
        if self._woken in ready:
            # What a client sends after a fault was set is not to be taken on a line that is cut: look at those first.
            self._woken.recv(CHUNK)
            return
        for file in ready:
            client = self._station.files().get(file)
            try:
                if client is None:
                    self._station.accept()
                elif not client.receive():
                    self._station.drop(file)
            except OSError:
                self._station.drop(file)


for _public in (SimulatorServer, serve_simulator):
    _public.__module__ = "qmi.testing"
