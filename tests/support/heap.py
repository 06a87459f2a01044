"""Keeps the garbage collector quick: thousands of tests leave much that stays, and a collection looks at all of it."""

from __future__ import annotations

import gc
import time

SLOW = 0.05
"""Seconds of processor time from which on a full collection takes too long: some tests make a hundred of them."""


class Heap:
    """What there is by now is put away when full collections have become slow.

    Attributes:
        is_slow: Whether the last full collection was slow.
    """

    def __init__(self) -> None:
        self.is_slow = False
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        # Called in the thread that collects; nobody else does so at the same time.
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.is_slow = time.thread_time() - self._began > SLOW

    def put_away(self) -> None:
        """Collect, and take what is left away from the collector."""
        gc.collect()
        gc.freeze()
        self.is_slow = False
