"""What the other sides hear while the event loop is blocked: that this program lives.

A loop that user code blocks cannot answer, and after a while every peer would take this program for dead. A thread
beside the loop notices that it does not answer, and gives a sign of life on each link in its place. It stops together
with the process: a program that is suspended gives none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.messaging")


class Pulse(Protocol):
    """Something that can send a heartbeat."""

    def beat(self) -> None:
        """Give it. Called from another thread than the loop's."""


class Keepalive:
    """Watches a loop and beats in its place while it is blocked.

    Args:
        loop: The loop.
        pulses: Returns the links that send heartbeats; called in the thread.
        period: How long the loop may be silent, and how often to beat then, in seconds.
    """

    def __init__(self, loop: Loop, pulses: Callable[[], Iterable[Pulse]], *, period: float) -> None:
        self._loop = loop
        self._pulses = pulses
        self._period = period
        self._answered = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="qmi-lifesigns", daemon=True)

    def start(self) -> None:
        """Begin; does nothing after the first time. If there is no thread left, the next time may have one."""
        if self._thread.ident is None:
            self._answered.set()
            try:
                self._thread.start()
            except (RuntimeError, MemoryError) as error:
                _logger.warning(
                    "There is no thread to keep links alive with while the event loop is blocked: %s", error
                )

    def stop(self) -> None:
        """End; does not wait for the thread."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._period):
            if self._loop.waits():
                self._answered.set()
                continue
            if not self._answered.is_set():
                for pulse in self._pulses():
                    try:
                        pulse.beat()
                    except Exception:  # one link's trouble; the others want to be kept alive, too
                        _logger.exception("No sign of life could be given")
                continue
            self._answered.clear()
            if not self._loop.soon(self._answered.set):
                return
