"""Waits of threads that Ctrl-C reaches, and that it leaves in order; without trio, for commands that start quickly.

``threading.Event`` and ``queue.Queue`` are written in Python. Where Ctrl-C comes while the main thread is in one of
them, it may leave their lock locked, between the lock's ``acquire()`` and the ``with`` that would release it: then
whoever sets the event next, or waits for it, hangs. ``queue.SimpleQueue`` is written in C, and does each step whole or
not at all.

A wait without an end has another fault in the main thread: a signal that comes after Python's last look and before the
thread sleeps does not wake it. So the main thread looks again once in a while.
"""

from __future__ import annotations

import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

GLANCE = 0.25
"""How often, in seconds, the main thread looks for Ctrl-C while it waits."""


def take(queue: SimpleQueue[T], timeout: float | None = None) -> T:
    """Take the next item of a queue, and wait for it.

    Args:
        queue: The queue.
        timeout: For how long to wait, in seconds; None is without limit.

    Raises:
        Empty: If none has come by then.
    """
    if threading.current_thread() is not threading.main_thread():
        return queue.get(timeout=timeout)
    end = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        try:
            return queue.get(timeout=min(GLANCE, max(left, 0.0)))
        except Empty:
            if left <= GLANCE:
                raise


class Flag:
    """What threads wait for until it is set, once and for all; any thread may set it, also where Ctrl-C comes."""

    __slots__ = ("_bell", "_is_set")

    def __init__(self) -> None:
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._is_set = False

    def set(self) -> None:
        """Set it. Waits for nothing; doing it twice is no harm."""
        self._is_set = True  # before the bell: whoever hears that looks here
        self._bell.put(None)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if that takes longer than the timeout in seconds."""
        if self._is_set:
            return True
        try:
            take(self._bell, timeout)
        except Empty:
            return self._is_set
        self._bell.put(None)  # for whoever waits, too
        return True
