"""A TCP proxy that does to a connection what networks do: delay, stall, split, cut, reset, flip bits."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType

from tests.support.waiting import changed


class Way:
    """One direction of all connections of a proxy. Change the attributes at any time.

    Attributes:
        delay: Seconds that each piece is held back.
        split: Whether each byte is sent on its own.
        cut_after: Number of bytes of a connection after which it is closed in order.
        reset_after: Number of bytes after which it is reset.
        flip: Offsets of bytes of which a bit is turned over.
        passed: Bytes that went through, all connections together.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self.split = False
        self.cut_after: int | None = None
        self.reset_after: int | None = None
        self.flip: set[int] = set()
        self.passed = 0
        self._open = threading.Event()
        self._open.set()

    def stall(self) -> None:
        """Let nothing through; what is sent piles up."""
        self._open.clear()

    def go_on(self) -> None:
        """Let everything through again."""
        self._open.set()

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        """Carry bytes until one side ends."""
        done = 0
        while True:
            self._open.wait()
            data = bytearray(source.recv(1 << 16))
            self._open.wait()
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            for offset in self.flip:
                if done <= offset < done + len(data):
                    data[offset - done] ^= 0x10
            if self.delay:
                time.sleep(self.delay)
            end = min((limit for limit in (self.cut_after, self.reset_after) if limit is not None), default=None)
            over = end is not None and done + len(data) >= end
            data = data[: end - done] if over and end is not None else data
            for piece in [bytes([byte]) for byte in data] if self.split else [bytes(data)]:
                target.sendall(piece)
            done += len(data)
            self.passed += len(data)
            changed()
            if over:
                for sock in (source, target):
                    reset(sock) if self.reset_after is not None else close(sock)
                return


def close(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def reset(sock: socket.socket) -> None:
    """Close a connection by a reset."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
    sock.close()


class ChaosProxy:
    """A proxy before a TCP server on this machine.

    Args:
        port: The port of the server; can be changed later, for connections to come.
        window: How many bytes the proxy's own sockets take in while it carries nothing; None leaves it to the system,
            which takes some MiB, sooner or later.

    Attributes:
        port: Where to connect to.
        there: The way to the server.
        back: The way from the server.
        accepted: Number of connections.
    """

    def __init__(self, port: int, window: int | None = None) -> None:
        self.target = port
        self._window = window
        self.there, self.back = Way(), Way()
        self.accepted = 0
        self._pairs: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._narrow(self._listener)  # whatever it accepts is the same
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> ChaosProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.there.go_on()
        self.back.go_on()
        close(self._listener)
        self._thread.join()
        self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        pairs, self._pairs = self._pairs, []
        for sock in pairs:
            reset(sock)

    def reset_now(self) -> None:
        """Reset every connection, and return when both ends have got it; no way may be stalled."""
        self.reset()
        # The system resets a connection when nobody reads it any more.
        carriers, self._carriers = self._carriers, []
        for thread in carriers:
            thread.join()

    def _narrow(self, sock: socket.socket) -> None:
        if self._window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.accepted += 1
                changed()
                server = socket.socket()
                self._narrow(server)
                try:
                    server.connect(("127.0.0.1", self.target))
                except OSError:
                    server.close()
                    reset(client)
                    continue
                self._pairs += [client, server]
                for way, source, target in ((self.there, client, server), (self.back, server, client)):
                    thread = threading.Thread(target=self._carry, args=(way, source, target), daemon=True)
                    self._carriers.append(thread)
                    thread.start()

    def _carry(self, way: Way, source: socket.socket, target: socket.socket) -> None:
        try:
            way.carry(source, target)
        except OSError:
            reset(source)
            reset(target)
