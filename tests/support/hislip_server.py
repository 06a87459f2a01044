"""A small HiSLIP device: what pyvisa-py needs of one, in threads; the test says what it answers."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HEADER = struct.Struct("!2sBBIQ")
_INITIALIZE, _INITIALIZE_RESPONSE = 0, 1
_DATA, _DATA_END = 6, 7
_CLEAR_COMPLETE, _CLEAR_ACKNOWLEDGE = 8, 9
_MAX_SIZE, _MAX_SIZE_RESPONSE = 15, 16
_ASYNC_INITIALIZE, _ASYNC_INITIALIZE_RESPONSE = 17, 18
_ASYNC_CLEAR, _ASYNC_CLEAR_ACKNOWLEDGE = 19, 23


class HislipDevice:
    """What the device was asked, and what it answers."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.answers: dict[bytes, bytes] = {}
        self.clears = 0
        self._unanswered: queue.SimpleQueue[tuple[socket.socket, int]] = queue.SimpleQueue()
        self._connections: list[socket.socket] = []

    def answer(self, data: bytes) -> None:
        """Answer the next message that was not answered, now: later than it should have been."""
        self._answer(*self._unanswered.get(timeout=10), data)

    def _answer(self, connection: socket.socket, number: int, data: bytes) -> None:
        connection.sendall(_HEADER.pack(b"HS", _DATA_END, 0, number, len(data)) + data)

    def serve(self, server: socket.socket) -> None:
        """Accept connections until the server is closed."""
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                self._connections.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _talk(self, connection: socket.socket) -> None:
        message = b""
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            while len(head := stream.read(_HEADER.size)) == _HEADER.size:
                _, kind, _, number, size = _HEADER.unpack(head)
                payload = stream.read(size)
                if kind in (_DATA, _DATA_END):
                    message += payload
                    if kind == _DATA_END:
                        self._asked(connection, number, message)
                        message = b""
                    continue
                reply, parameter, body = self._reply(kind)
                connection.sendall(_HEADER.pack(b"HS", reply, 0, parameter, len(body)) + body)

    def _asked(self, connection: socket.socket, number: int, message: bytes) -> None:
        self.written.append(message)
        if message in self.answers:
            self._answer(connection, number, self.answers[message])
        else:
            self._unanswered.put((connection, number))

    def _reply(self, kind: int) -> tuple[int, int, bytes]:
        if kind == _INITIALIZE:
            return _INITIALIZE_RESPONSE, 0x01000001, b""
        if kind == _ASYNC_INITIALIZE:
            return _ASYNC_INITIALIZE_RESPONSE, 0, b""
        if kind == _MAX_SIZE:
            return _MAX_SIZE_RESPONSE, 0, struct.pack("!Q", 1 << 20)
        if kind == _ASYNC_CLEAR:
            self.clears += 1
            return _ASYNC_CLEAR_ACKNOWLEDGE, 0, b""
        assert kind == _CLEAR_COMPLETE
        return _CLEAR_ACKNOWLEDGE, 0, b""


@contextmanager
def hislip_device() -> Iterator[tuple[HislipDevice, int]]:
    """A device and its port."""
    device = HislipDevice()
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
            device.close()
