"""rpyc: a service over a socket; arrays travel as bytes, which it passes by value."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from benchmarks.systems.base import System, Target


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
        connection = rpyc.connect("127.0.0.1", int(address))
        yield _Remote(connection.root)
        connection.close()


SYSTEM = Rpyc()
