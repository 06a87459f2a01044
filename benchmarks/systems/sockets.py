"""The floor between processes: a plain socket, a length, the bytes.

Its buffers are made once and used again, which no library can do whose user keeps the arrays; the variant ``fresh``
makes a new array for each message, as a library must.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.systems.base import System, Target

_SIZE = struct.Struct("!Q")


def receive_into(sock: socket.socket, buffer: memoryview) -> bool:
    """Fill a buffer; False if the other side has ended."""
    while buffer:
        size = sock.recv_into(buffer)
        if not size:
            return False
        buffer = buffer[size:]
    return True


class _Line:
    def __init__(self, sock: socket.socket, fresh: bool) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.fresh = fresh
        self.buffer: Any = bytearray(0)
        self.header = memoryview(bytearray(_SIZE.size))

    def send(self, data: memoryview) -> None:
        header = _SIZE.pack(len(data))
        if len(data) < 4096:
            self.sock.sendall(header + bytes(data))
        else:
            self.sock.sendall(header)
            self.sock.sendall(data)

    def receive(self) -> memoryview | None:
        if not receive_into(self.sock, self.header):
            return None
        (size,) = _SIZE.unpack(self.header)
        if self.fresh:
            import numpy

            self.buffer = numpy.empty(size, numpy.uint8)
        elif len(self.buffer) != size:
            self.buffer = bytearray(size)
        view = memoryview(self.buffer)
        receive_into(self.sock, view)
        return view


class _Echo(Target):
    def __init__(self, line: _Line) -> None:
        self.line = line
        self.short = memoryview(b"x")

    def call(self) -> None:
        self.line.send(self.short)
        self.line.receive()

    def echo(self, array: Any) -> Any:
        self.line.send(memoryview(array).cast("B"))
        return self.line.receive()


@contextmanager
def echoing(echo: Callable[[socket.socket], None]) -> Iterator[int]:
    """Have a thread for each client that echoes; gives its port."""

    def serve_one(sock: socket.socket) -> None:
        with sock:
            echo(sock)

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # the listener was closed: that is the end
                return
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


class Sockets(System):
    """A socket echo."""

    @contextmanager
    def serving(self, variant: str) -> Iterator[str]:
        """A thread that sends each message back; the variant ``scpi`` answers questions."""
        if variant == "scpi":
            from benchmarks.scpi_device import answer

            with echoing(answer) as port:
                yield str(port)
            return

        def echo(sock: socket.socket) -> None:
            line = _Line(sock, variant == "fresh")
            while (data := line.receive()) is not None:
                line.send(data)

        with echoing(echo) as port:
            yield f"{port}:{variant}"

    @contextmanager
    def remote(self, address: str) -> Iterator[Target]:
        """The other end."""
        port, _, variant = address.partition(":")
        with socket.create_connection(("127.0.0.1", int(port))) as sock:
            yield _Echo(_Line(sock, variant == "fresh"))


SYSTEM = Sockets()
