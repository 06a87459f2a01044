"""Devices on the network: TCP and UDP."""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from typing import ClassVar

from qmi.devices.connecting import SILENT, cannot_connect
from qmi.devices.descriptors import is_valid_host
from qmi.devices.exchange import Owed
from qmi.devices.line import LATE
from qmi.devices.transport import DeviceTransport
from qmi.errors import QMI_TimeoutException, QMI_TransportDescriptorException, QMI_TransportLostException
from qmi.names import HostPort

_NO_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
# Elsewhere than on Windows, a time that is over for the connection itself has an exception of its own.
_TIME_IS_OVER = (BlockingIOError, TimeoutError) if sys.platform == "win32" else (BlockingIOError,)

RESPONDER_PORT = 35999
"""Where contexts answer questions about themselves; no device may be there."""


def check_host(host: object) -> None:
    """Refuse what can be no host of a device.

    Raises:
        QMI_TransportDescriptorException: If it is no name and no address.
    """
    if not isinstance(host, str) or not is_valid_host(host):
        raise QMI_TransportDescriptorException(f"Invalid host name {host!r}: expected a name or an IP address")


def check_port(port: object) -> None:
    """Refuse what can be no port number of a device.

    Raises:
        QMI_TransportDescriptorException: If it is no number from 1 to 65535.
    """
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise QMI_TransportDescriptorException(f"Invalid port number {port!r}: expected an integer of 1 to 65535")


def check_udp_port(port: object) -> None:
    """The same for UDP, where one port number is taken.

    Raises:
        QMI_TransportDescriptorException: If it is no such number.
    """
    check_port(port)
    if port == RESPONDER_PORT:
        raise QMI_TransportDescriptorException(
            f"UDP port number {port} not allowed: contexts answer questions about themselves there"
        )


class QMI_SocketTransport(DeviceTransport):
    """What transports over sockets have in common.

    Args:
        host: Name or address of the device.
        port: Its port number.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host or port.
    """

    MIN_PACKET_SIZE: int = 0
    MAX_PACKET_SIZE: int = 65536
    WRITE_TIMEOUT: ClassVar[float] = 60.0
    """For how long a device may take no byte of what is written, in seconds."""

    def __init__(self, host: str, port: int) -> None:
        self._validate_host(host)
        self._validate_port(port)
        self._host = host
        self._address = ("127.0.0.1" if host == "localhost" else host, port)
        self._socket: socket.socket | None = None
        self._applied: float | None = None
        super().__init__()

    @staticmethod
    def _validate_host(host: str) -> None:
        check_host(host)

    @staticmethod
    def _validate_port(port: int) -> None:
        check_port(port)

    def __str__(self) -> str:
        return f"{type(self).__name__}(remote={HostPort(*self._address)})"

    def _short_name(self) -> str:
        return f"{type(self).__name__}_{self._address[0]}_{self._address[1]}"

    @property
    def _safe_socket(self) -> socket.socket:
        if self._socket is None:
            raise QMI_TransportLostException(f"{self} has no connection")
        return self._socket

    def _connect(self) -> None:
        self._socket = None

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost_by(self, error: OSError) -> QMI_TransportLostException:
        return QMI_TransportLostException(f"The connection {self} is lost: {error.strerror or error}")


class QMI_TcpTransport(QMI_SocketTransport):
    """A device that is reached over TCP.

    Args:
        host: Name or address of the device.
        port: Its port number.
        connect_timeout: How long opening may take, in seconds; None for as long as the system lets it.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host or port.
    """

    DEFAULT_CONNECT_TIMEOUT: ClassVar[float] = 10
    _renewal_drops_answers = True

    def __init__(self, host: str, port: int, connect_timeout: float | None = DEFAULT_CONNECT_TIMEOUT) -> None:
        super().__init__(host, port)
        self._connect_timeout = connect_timeout

    def _connect(self) -> None:
        try:
            connection = socket.create_connection((self._host, self._address[1]), self._connect_timeout)
        except TimeoutError as error:
            raise QMI_TimeoutException(
                f"Timeout: no connection to {HostPort(*self._address)} within {self._connect_timeout} s: {SILENT}"
            ) from error
        except OSError as error:
            error.add_note(f"The connection {self} could not be made")
            raise cannot_connect(error, HostPort(*self._address)) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(None)
        _set_time_limit(connection, socket.SO_SNDTIMEO, self.WRITE_TIMEOUT)
        self._applied = None
        self._socket = connection

    def _flags(self, connection: socket.socket, timeout: float | None) -> int:
        """Prepare to wait for that long; return the flags to receive with."""
        if timeout == self._applied:
            return 0
        if timeout is not None and timeout <= 0 and _NO_WAIT:
            return _NO_WAIT
        # A system call, so only where it changes something.
        _set_time_limit(connection, socket.SO_RCVTIMEO, timeout)
        self._applied = timeout
        return 0

    def _send(self, data: bytes) -> None:
        # The socket blocks, and the system ends its waits: that saves the call of poll() before each send and receive.
        connection = self._socket or self._safe_socket
        try:
            sent = connection.send(data)
            if sent < len(data):
                self._send_rest(connection, memoryview(data)[sent:])
        except _TIME_IS_OVER as error:
            raise QMI_TimeoutException(f"{self} took no byte for {self.WRITE_TIMEOUT:g} s") from error
        except OSError as error:
            raise self._lost_by(error) from error

    def _send_rest(self, connection: socket.socket, rest: memoryview) -> None:
        while rest:
            rest = rest[connection.send(rest) :]

    def _receive(self, size: int, timeout: float | None) -> bytes:
        connection = self._socket or self._safe_socket
        try:
            if timeout == self._applied:
                data = connection.recv(size)
            else:
                data = connection.recv(size, self._flags(connection, timeout))
        except _TIME_IS_OVER:
            return b""
        except OSError as error:
            raise self._lost_by(error) from error
        return data or self._ended()

    def _receive_into(self, view: memoryview, timeout: float | None) -> int:
        connection = self._socket or self._safe_socket
        try:
            count = connection.recv_into(view, 0, self._flags(connection, timeout))
        except _TIME_IS_OVER:
            return 0
        except OSError as error:
            raise self._lost_by(error) from error
        return count or len(self._ended())

    def _ended(self) -> bytes:
        raise QMI_TransportLostException(f"Reached end of input from {self}: the device has closed the connection")


def _set_time_limit(connection: socket.socket, option: int, seconds: float | None) -> None:
    """Limit how long the system waits in a call; None for ever."""
    if sys.platform == "win32":
        limit: int | bytes = 0 if seconds is None else max(1, int(seconds * 1000))
    else:
        whole, rest = divmod(0.0 if seconds is None else max(1e-6, seconds), 1)
        limit = struct.pack("ll", int(whole), int(rest * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, option, limit)


class QMI_UdpTransport(QMI_SocketTransport):
    """A device that is reached over UDP: what it sends is read as one stream of bytes.

    It sends from, and listens on, the same port number as that of the device, unless another one is given. Datagrams
    of other hosts are dropped.

    Args:
        host: Name or address of the device.
        port: Its port number.
        local_port: Port number on this side; 0 for any.

    Raises:
        QMI_TransportDescriptorException: If there can be no such host or port.
    """

    MIN_PACKET_SIZE: int = 4096
    MAX_PACKET_SIZE: int = 65535

    def __init__(self, host: str, port: int, local_port: int | None = None) -> None:
        super().__init__(host, port)
        if local_port is not None and (not isinstance(local_port, int) or not 0 <= local_port <= 65535):
            raise QMI_TransportDescriptorException(
                f"Invalid local_port {local_port!r}: expected an integer of 0 to 65535"
            )
        self._local_port = port if local_port is None else local_port
        self._peer: tuple[object, ...] = ()

    @staticmethod
    def _validate_port(port: int) -> None:
        check_udp_port(port)

    def _connect(self) -> None:
        try:
            found = socket.getaddrinfo(self._address[0], self._address[1], type=socket.SOCK_DGRAM)
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
        # A datagram goes out whole or not at all; what interrupts a program may come behind it.
        self._step = before if isinstance(error, Exception) else LATE
        self._owed = self._owed if isinstance(error, Exception) else Owed(b"", 1)

    def _send(self, data: bytes) -> None:
        self._safe_socket.sendto(data, self._peer)

    def _receive(self, size: int, timeout: float | None) -> bytes:
        opened = self._safe_socket
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                data, sender = opened.recvfrom(self.MAX_PACKET_SIZE)
            except BlockingIOError:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return b""
                select.select([opened], [], [], remaining)
                continue
            # An empty datagram says nothing, and a read that returns nothing would be one whose time is over.
            if data and sender[0] == self._peer[0]:
                return data


def local_host(peer: str) -> str:
    """Where to listen for a device: on the loopback interface alone if it is there."""
    if peer.startswith("127."):
        return "127.0.0.1"
    if peer == "::1":
        return peer
    return "::" if ":" in peer else ""


__all__ = ["QMI_SocketTransport", "QMI_TcpTransport", "QMI_UdpTransport"]
