"""Devices on the network, for drivers in the event loop."""

from __future__ import annotations

import socket

import trio

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.connecting import SILENT, cannot_connect
from qmi.devices.exchange import Owed
from qmi.devices.line import LATE
from qmi.devices.sockets import (
    QMI_TcpTransport,
    QMI_UdpTransport,
    check_host,
    check_port,
    check_udp_port,
    local_host,
)
from qmi.errors import QMI_TimeoutException, QMI_TransportLostException
from qmi.names import HostPort


class _AsyncSocketTransport(AsyncTransport):
    """A socket that does not block, which the event loop waits for."""

    def __init__(self, host: str, port: int) -> None:
        check_host(host)
        check_port(port)
        self._host = host
        self._address = ("127.0.0.1" if host == "localhost" else host, port)
        self._socket: socket.socket | None = None
        super().__init__()

    def __str__(self) -> str:
        return f"{type(self).__name__}(remote={HostPort(*self._address)})"

    def _short_name(self) -> str:
        return f"{type(self).__name__}_{self._address[0]}_{self._address[1]}"

    @property
    def _safe_socket(self) -> socket.socket:
        if self._socket is None:
            raise QMI_TransportLostException(f"{self} has no connection")
        return self._socket

    def _drop_line(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            trio.lowlevel.notify_closing(opened)
            opened.close()

    def _lost_by(self, error: OSError) -> QMI_TransportLostException:
        return QMI_TransportLostException(f"The connection {self} is lost: {error.strerror or error}")

    async def _wait_to_receive(self) -> None:
        await trio.lowlevel.wait_readable(self._safe_socket)


class AsyncTcpTransport(_AsyncSocketTransport):
    """A device that is reached over TCP.

    Args:
        host: Name or address of the device.
        port: Its port number.
        connect_timeout: How long opening may take, in seconds; None for as long as the system lets it.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host or port.
    """

    _renewal_drops_answers = True

    def __init__(
        self, host: str, port: int, connect_timeout: float | None = QMI_TcpTransport.DEFAULT_CONNECT_TIMEOUT
    ) -> None:
        super().__init__(host, port)
        self._connect_timeout = connect_timeout

    async def _connect(self) -> None:
        limit = float("inf") if self._connect_timeout is None else self._connect_timeout
        with trio.move_on_after(limit) as scope:
            try:
                stream = await trio.open_tcp_stream(self._host, self._address[1])
            except OSError as error:
                raise cannot_connect(error, HostPort(*self._address)) from error
        if scope.cancelled_caught:
            raise QMI_TimeoutException(
                f"Timeout: no connection to {HostPort(*self._address)} within {self._connect_timeout} s: {SILENT}"
            )
        # The stream has no call that takes what is there and no more, which a timeout of 0 asks for.
        connection = socket.socket(fileno=stream.socket.detach())
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = connection

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        connection = self._safe_socket
        try:
            while self._sent < len(data):
                try:
                    self._sent += connection.send(memoryview(data)[self._sent :] if self._sent else data)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(connection)
        except OSError as error:
            raise self._lost_by(error) from error

    def _receive_now(self, size: int) -> bytes:
        try:
            data = self._safe_socket.recv(size)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost_by(error) from error
        return data or self._ended()

    def _receive_into_now(self, view: memoryview) -> int:
        try:
            count = self._safe_socket.recv_into(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost_by(error) from error
        return count or len(self._ended())

    def _ended(self) -> bytes:
        raise QMI_TransportLostException(f"Reached end of input from {self}: the device has closed the connection")


class AsyncUdpTransport(_AsyncSocketTransport):
    """A device that is reached over UDP; see :class:`QMI_UdpTransport`.

    Args:
        host: Name or address of the device.
        port: Its port number.
        local_port: Port number on this side; 0 for any, None for the same one.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host or port.
    """

    def __init__(self, host: str, port: int, local_port: int | None = None) -> None:
        check_udp_port(port)
        super().__init__(host, port)
        self._local_port = port if local_port is None else local_port
        self._peer: tuple[object, ...] = ()

    async def _connect(self) -> None:
        try:
            found = await trio.socket.getaddrinfo(self._address[0], self._address[1], type=socket.SOCK_DGRAM)
        except OSError as error:
            raise cannot_connect(error, HostPort(*self._address)) from error
        family, _, _, _, peer = found[0]
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.bind((local_host(str(peer[0])), self._local_port))
            opened.setblocking(False)
        except OSError as error:
            opened.close()
            error.add_note(f"Port {self._local_port} on this side could not be taken for {self}")
            raise
        self._peer = peer
        self._socket = opened

    def _write_failed(self, error: BaseException, before: int) -> None:
        # A datagram goes out whole or not at all, and not at all if this was cancelled.
        is_out = not isinstance(error, Exception | trio.Cancelled)
        self._step = LATE if is_out else before
        self._owed = Owed(b"", 1) if is_out else self._owed

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                self._safe_socket.sendto(data, self._peer)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._safe_socket)
            else:
                return

    def _receive_now(self, size: int) -> bytes:
        while True:
            try:
                data, sender = self._safe_socket.recvfrom(QMI_UdpTransport.MAX_PACKET_SIZE)
            except BlockingIOError:
                return b""
            if data and sender[0] == self._peer[0]:
                return data


__all__ = ["AsyncTcpTransport", "AsyncUdpTransport"]
