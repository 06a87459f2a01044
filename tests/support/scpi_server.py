"""A device that answers questions on a TCP port, in a thread, for drivers that ask from threads of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress


class ScpiServer:
    """What the device was asked.

    Args:
        answers: What it answers to which question.
    """

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self._answers = answers
        self._connections: list[socket.socket] = []
        self._is_connected = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()
            self._is_connected.set()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as lines:
            for line in lines:
                command = line.decode("ascii").strip()
                self.asked.append(command)
                if command in self._answers:
                    connection.sendall(self._answers[command].encode("ascii") + b"\n")

    def cut(self) -> None:
        """Cut the connection, and wait until the device has noticed."""
        assert self._is_connected.wait(10)
        self._connections[-1].shutdown(socket.SHUT_RDWR)
        self._threads[-1].join(10)

    def close(self) -> None:
        """End all."""
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


@contextmanager
def scpi_server(answers: Mapping[str, str]) -> Iterator[ScpiServer]:
    """Such a device."""
    server = ScpiServer(answers)
    try:
        yield server
    finally:
        server.close()
