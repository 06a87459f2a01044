"""Both ends of a line to a device, in one thread: the test is the device."""

from __future__ import annotations

import os
import pty
import select
import socket
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from qmi.core.transport import create_async_transport, create_transport


class Line(NamedTuple):
    """A transport that is open, and the device at its other end."""

    transport: Any
    send: Callable[[bytes], Any]
    receive: Callable[[], bytes]
    cut: Callable[[], Any]


class End(NamedTuple):
    """A device, and how it is reached."""

    descriptor: str
    send: Callable[[bytes], Any]
    receive: Callable[[], bytes]
    cut: Callable[[], Any]
    use: Callable[[Any], Any]
    """Tells the device of the transport that is open."""


@contextmanager
def tcp_end() -> Iterator[End]:
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

        try:
            yield End(
                f"tcp:127.0.0.1:{server.getsockname()[1]}",
                lambda data: newest().sendall(data),
                lambda: newest().recv(65536),
                lambda: newest().shutdown(socket.SHUT_RDWR),
                lambda transport: newest(),
            )
        finally:
            for connection in connections:
                connection.close()


@contextmanager
def udp_end() -> Iterator[End]:
    """A device at a UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(10)
        address: list[Any] = []
        yield End(
            f"udp:127.0.0.1:{device.getsockname()[1]}:local_port=0",
            lambda data: device.sendto(data, address[-1]),
            lambda: device.recv(65536),
            device.close,
            lambda transport: address.append(transport._safe_socket.getsockname()),
        )


@contextmanager
def serial_end() -> Iterator[End]:
    """A device at a pseudo-terminal."""
    device, port = pty.openpty()
    tty.setraw(port)
    is_open = [True]
    transports: list[Any] = []

    def send(data: bytes) -> None:
        os.write(device, data)
        # The kernel hands it over when it has time to; a test goes on when it is there.
        transport = transports[-1]
        port = getattr(transport, "_port", transport)._serial
        if data and port.is_open:
            assert select.select([port.fileno()], [], [], 10)[0]

    def cut() -> None:
        if is_open.pop():
            os.close(device)
            os.close(port)
        is_open.append(False)

    try:
        yield End(
            f"serial:{os.ttyname(port)}:baudrate=115200",
            send,
            lambda: os.read(device, 65536),
            cut,
            transports.append,
        )
    finally:
        cut()


ENDS: dict[str, Callable[[], Any]] = {"tcp": tcp_end, "udp": udp_end, "serial": serial_end}


@contextmanager
def line_to(kind: str) -> Iterator[Line]:
    """A device, and a blocking transport to it."""
    with ENDS[kind]() as end, create_transport(end.descriptor) as transport:
        end.use(transport)
        yield Line(transport, end.send, end.receive, end.cut)


@asynccontextmanager
async def async_line_to(kind: str) -> AsyncIterator[Line]:
    """A device, and a transport of the event loop to it."""
    with ENDS[kind]() as end:
        async with create_async_transport(end.descriptor) as transport:
            end.use(transport)
            yield Line(transport, end.send, end.receive, end.cut)


def tcp_line() -> Any:
    """A device on TCP, and a blocking transport to it."""
    return line_to("tcp")


def serial_line() -> Any:
    """A device at a pseudo-terminal, and a blocking transport to it."""
    return line_to("serial")
