"""rpyc: a service over a socket; arrays travel as bytes, which it passes by value."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from benchmarks.systems.base import System, Target

PATIENCE = 5.0


def connect(port: int) -> Any:
    """Connect to a server that may not listen yet: it does not tell when it does."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return rpyc.connect("127.0.0.1", port)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


class _Driver(rpyc.Service):  # type: ignore[misc, unused-ignore]
    def exposed_nothing(self) -> None:
        """Do nothing."""

    def exposed_same(self, data: bytes) -> bytes:
        """Return what came."""
        return data


class _Remote(Target):
    def __init__(self, root: Any) -> None:
        self.nothing = root.nothing
        self.same = root.same
        self.started = rpyc.async_(root.nothing)

    def call(self) -> None:
        self.nothing()

    def flight(self, count: int) -> None:
        for result in [self.started() for _ in range(count)]:
            result.wait()

    def echo(self, array: Any) -> Any:
        return self.same(array.tobytes())


class Rpyc(System):
    """rpyc."""

    @contextmanager
    def serving(self, variant: str) -> Iterator[str]:
        """A server with a thread for each client."""
        server = ThreadedServer(_Driver(), hostname="127.0.0.1", port=0)
        threading.Thread(target=server.start, daemon=True).start()
        yield str(server.port)
        server.close()

    @contextmanager
    def remote(self, address: str) -> Iterator[Target]:
        """A connection to it."""
        connection = connect(int(address))
        yield _Remote(connection.root)
        connection.close()


SYSTEM = Rpyc()
