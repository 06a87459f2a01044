"""Both ends of a line to a device, in one thread: the test is the device."""

from __future__ import annotations

import os
import pty
import select
import socket
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from qmi.core.transport import DeviceTransport, QMI_SerialTransport, QMI_TcpTransport, QMI_UdpTransport


class Line(NamedTuple):
    """A transport that is open, and the device at its other end."""

    transport: DeviceTransport
    send: Callable[[bytes], Any]
    receive: Callable[[], bytes]
    cut: Callable[[], Any]


@contextmanager
def tcp_line() -> Iterator[Line]:
    """A device that listens on a port, and goes on listening: a new connection finds it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        connections: list[socket.socket] = []

        def newest() -> socket.socket:
            # A connection that was made anew is the one that counts.
            while select.select([server], [], [], 0 if connections else 10)[0]:
                connections.append(server.accept()[0])
                connections[-1].settimeout(10)
            return connections[-1]

        def cut() -> None:
            newest().shutdown(socket.SHUT_RDWR)

        with QMI_TcpTransport("127.0.0.1", server.getsockname()[1]) as transport:
            newest()
            try:
                yield Line(transport, lambda data: newest().sendall(data), lambda: newest().recv(65536), cut)
            finally:
                for connection in connections:
                    connection.close()


@contextmanager
def udp_line() -> Iterator[Line]:
    """A device at a UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(10)
        with QMI_UdpTransport("127.0.0.1", device.getsockname()[1], local_port=0) as transport:
            address = transport._safe_socket.getsockname()
            yield Line(transport, lambda data: device.sendto(data, address), lambda: device.recv(65536), device.close)


@contextmanager
def serial_line() -> Iterator[Line]:
    """A device at a pseudo-terminal."""
    device, port = pty.openpty()
    tty.setraw(port)
    is_open = [True]

    def cut() -> None:
        if is_open.pop():
            os.close(device)
            os.close(port)
        is_open.append(False)

    with QMI_SerialTransport(os.ttyname(port), 115200) as transport:
        try:
            yield Line(transport, lambda data: os.write(device, data), lambda: os.read(device, 65536), cut)
        finally:
            cut()


LINES: dict[str, Callable[[], Any]] = {"tcp": tcp_line, "udp": udp_line, "serial": serial_line}
