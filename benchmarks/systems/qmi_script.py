"""The script of a QMI user, which runs with this library and with upstream's: the same lines, another environment."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import qmi
from benchmarks.drivers import Driver
from benchmarks.systems.base import System, Target


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody has at the moment."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def free_port() -> int:
    """A TCP port that nobody has at the moment."""
    return free_ports(1)[0]


class Proxy(Target):
    """An instrument behind its proxy."""

    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy
        self.nonblocking = proxy.rpc_nonblocking

    def call(self) -> None:
        self.proxy.nothing()

    def flight(self, count: int) -> None:
        nothing = self.nonblocking.nothing
        for future in [nothing() for _ in range(count)]:
            future.wait()

    def echo(self, array: Any) -> Any:
        return self.proxy.same(array)


@contextmanager
def context(name: str = "bench", port: int | None = None) -> Iterator[Any]:
    """A running context."""
    settings = {} if port is None else {"host": "127.0.0.1", "tcp_server_port": port}
    qmi.start(name, None, console_loglevel="ERROR", context_cfg={name: settings})
    try:
        yield qmi.context()
    finally:
        qmi.stop()


class QmiScript(System):
    """A blocking script."""

    module = "qmi"
    driver: type[Any] = Driver

    @contextmanager
    def local(self, variant: str) -> Iterator[Target]:
        """An instrument in this program."""
        with context():
            yield Proxy(qmi.make_instrument("driver", self.driver_for(variant)))

    def driver_for(self, variant: str) -> type[Any]:
        """The class of the driver."""
        return self.driver

    def serving(self, variant: str) -> AbstractContextManager[str]:
        """An instrument that others can use."""
        return self._server()

    @contextmanager
    def _server(self) -> Iterator[str]:
        port = free_port()
        with context("server", port):
            qmi.make_instrument("driver", self.driver)
            yield f"127.0.0.1:{port}"

    @contextmanager
    def remote(self, address: str, name: str = "client") -> Iterator[Target]:
        """An instrument of another program; this one has a name, if there are several of it."""
        with context(name):
            qmi.context().connect_to_peer("server", address)
            yield Proxy(qmi.get_instrument("server.driver"))
