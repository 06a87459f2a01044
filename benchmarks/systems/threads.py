"""The floor in one process: two threads that hand over locks, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.systems.base import System, Target


class _Pair(Target):
    def __init__(self) -> None:
        self.there = threading.Lock()
        self.back = threading.Lock()
        self.there.acquire()
        self.back.acquire()
        self.over = False

    def serve(self) -> None:
        while True:
            self.there.acquire()
            if self.over:
                return
            self.back.release()

    def call(self) -> None:
        self.there.release()
        self.back.acquire()


class Threads(System):
    """Two threads."""

    @contextmanager
    def local(self, variant: str) -> Iterator[Target]:
        """A thread that answers."""
        pair = _Pair()
        thread = threading.Thread(target=pair.serve)
        thread.start()
        yield pair
        pair.over = True
        pair.there.release()
        thread.join()


SYSTEM = Threads()
