"""Pyro5: remote objects over sockets; bytes with its "marshal" serializer, since the default one sends them as text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import Pyro5.api

from benchmarks.systems.base import System, Target


@Pyro5.api.expose
class Driver:
    """A driver."""

    def nothing(self) -> None:
        """Do nothing."""

    def same(self, data: bytes) -> bytes:
        """Return what came."""
        return data


class _Remote(Target):
    def __init__(self, proxy: Any, bulk: Any) -> None:
        self.proxy = proxy
        self.bulk = bulk

    def call(self) -> None:
        self.proxy.nothing()

    def echo(self, array: Any) -> Any:
        return self.bulk.same(array.tobytes())


class Pyro(System):
    """Pyro5."""

    @contextmanager
    def serving(self, variant: str) -> Iterator[str]:
        """A daemon with one object."""
        daemon = Pyro5.api.Daemon(host="127.0.0.1")
        uri = daemon.register(Driver())
        threading.Thread(target=daemon.requestLoop, daemon=True).start()
        yield str(uri)
        daemon.shutdown()

    @contextmanager
    def remote(self, address: str) -> Iterator[Target]:
        """Its proxies."""
        with Pyro5.api.Proxy(address) as proxy, Pyro5.api.Proxy(address) as bulk:
            bulk._pyroSerializer = "marshal"
            yield _Remote(proxy, bulk)


SYSTEM = Pyro()
