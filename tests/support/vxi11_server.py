"""A small VXI-11 device: enough of ONC RPC for one link at a time. It answers in a thread; the test says what."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_CREATE_LINK, _WRITE, _READ, _CLEAR, _DESTROY = 10, 11, 12, 15, 23
_TIMEOUT, _UNSUPPORTED = 15, 8


class Vxi11Device:
    """What the device has been asked, and what it answers.

    Args:
        can_clear: Whether it knows a device clear.
    """

    def __init__(self, can_clear: bool = True) -> None:
        self.can_clear = can_clear
        self.mutex = threading.Lock()
        self.written: list[bytes] = []
        self.output = b""
        self.answers: dict[bytes, bytes] = {}
        self.clears = 0
        self.connections: list[socket.socket] = []
        self.links: list[str] = []

    def answer(self, data: bytes) -> None:
        """Put something into the output queue, now."""
        with self.mutex:
            self.output += data

    def serve(self, server: socket.socket) -> None:
        """Accept connections until the server is closed."""
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError):
            stream = connection.makefile("rb")
            while True:
                record = _record(stream.read)
                xid, _, _, _, _, procedure = struct.unpack_from("!6I", record)
                offset = 24
                for _ in range(2):  # credentials, verifier
                    (length,) = struct.unpack_from("!I", record, offset + 4)
                    offset += 8 + length
                body = self._call(procedure, record[offset:])
                reply = struct.pack("!6I", xid, 1, 0, 0, 0, 0) + body
                connection.sendall(struct.pack("!I", 0x80000000 | len(reply)) + reply)

    def _call(self, procedure: int, args: bytes) -> bytes:
        with self.mutex:
            if procedure == _CREATE_LINK:
                (length,) = struct.unpack_from("!I", args, 12)
                self.links.append(args[16 : 16 + length].decode())
                return struct.pack("!4I", 0, 7, 0, 1 << 20)
            if procedure == _WRITE:
                (length,) = struct.unpack_from("!I", args, 16)
                data = args[20 : 20 + length]
                self.written.append(data)
                self.output += self.answers.get(data, b"")
                return struct.pack("!2I", 0, length)
            if procedure == _READ:
                (count,) = struct.unpack_from("!I", args, 4)
                data, self.output = self.output[:count], self.output[count:]
                if not data:
                    # A real one waits first; that it has nothing is all that matters here.
                    return struct.pack("!3I", _TIMEOUT, 0, 0)
                return struct.pack("!3I", 0, 0 if self.output else 4, len(data)) + data + b"\0" * (-len(data) % 4)
            if procedure == _CLEAR:
                if not self.can_clear:
                    return struct.pack("!I", _UNSUPPORTED)
                self.clears += 1
                self.output = b""
                return struct.pack("!I", 0)
            return struct.pack("!I", 0 if procedure == _DESTROY else _UNSUPPORTED)


def _record(read: Callable[[int], bytes]) -> bytes:
    data = b""
    while True:
        head = read(4)
        if len(head) < 4:
            raise EOFError
        (size,) = struct.unpack("!I", head)
        data += read(size & 0x7FFFFFFF)
        if size & 0x80000000:
            return data


@contextmanager
def vxi11_device(can_clear: bool = True) -> Iterator[tuple[Vxi11Device, int]]:
    """A device and its port."""
    device = Vxi11Device(can_clear)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=device.serve, args=(server,), daemon=True)
        thread.start()
        try:
            yield device, server.getsockname()[1]
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(10)
            for connection in device.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
