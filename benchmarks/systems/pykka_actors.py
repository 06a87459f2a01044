"""pykka: actors with a thread each, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pykka

from benchmarks.systems.base import System, Target


class _Driver(pykka.ThreadingActor):  # type: ignore[misc, unused-ignore]
    def nothing(self) -> None:
        """Do nothing."""


class _Actor(Target):
    def __init__(self, proxy: Any) -> None:
        self.proxy = proxy

    def call(self) -> None:
        self.proxy.nothing().get()

    def flight(self, count: int) -> None:
        for future in [self.proxy.nothing() for _ in range(count)]:
            future.get()


class Pykka(System):
    """pykka."""

    @contextmanager
    def local(self, variant: str) -> Iterator[Target]:
        """An actor with a thread."""
        ref = _Driver.start()
        yield _Actor(ref.proxy())
        ref.stop()


SYSTEM = Pykka()
