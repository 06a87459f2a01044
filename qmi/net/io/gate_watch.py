"""Looks after gates that stay shut between one read and the next, and opens them in time.

Whoever reads a link for itself shuts its gate (:mod:`.read_gate`), and opens it when it leaves. Where the same thread
comes back at once, some thousand times a second, it need do neither: the gate stays shut. Nobody else reads meanwhile,
so a thread of the context looks every other millisecond whether it still comes, and opens the gate if it does not. It
ends when no link is read so often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import trio

EVERY = 0.002
"""So many seconds a gate stays shut for somebody who does not come."""


class Gated(Protocol):
    """What has a gate that may stay shut."""

    is_watched: bool

    def look_after(self) -> bool:
        """Open the gate if nobody has read for itself since this was called last.

        Returns:
            Whether to call this again.
        """

    def forgo(self) -> None:
        """Open it, since nobody looks after it any more."""


class GateWatch:
    """Looks after the gates of a context.

    Args:
        failed: Called with an exception that nobody foresaw.
    """

    def __init__(self, failed: Callable[[Exception], object]) -> None:
        self._failed = failed
        self._mutex = threading.Lock()
        self._watched: set[Gated] = set()
        self._runs = False

    def watch(self, gated: Gated) -> None:
        """Look after a gate for as long as it is used often. From any thread; not if the system has no thread left."""
        with self._mutex:
            if not self._runs:
                try:
                    trio.lowlevel.start_thread_soon(self._run, lambda _: None, "qmi-gates")
                except (RuntimeError, MemoryError):
                    return
                self._runs = True
            self._watched.add(gated)
            gated.is_watched = True

    def _run(self) -> None:
        try:
            time.sleep(EVERY)
            while self._look():
                time.sleep(EVERY)
        except Exception as error:  # there is no memory, say: nobody looks after them any more
            self._failed(error)
            with self._mutex:
                self._runs = False
                watched, self._watched = self._watched, set()
            for gated in watched:
                gated.is_watched = False
                gated.forgo()

    def _look(self) -> bool:
        with self._mutex:
            if not self._watched:
                self._runs = False
                return False
            watched = list(self._watched)
        for gated in watched:
            try:
                stays = gated.look_after()
            except Exception as error:  # others are to be opened all the same
                self._failed(error)
                stays = False
            if not stays:
                with self._mutex:
                    self._watched.discard(gated)
                    gated.is_watched = False
        return True
