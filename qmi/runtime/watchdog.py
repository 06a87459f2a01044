"""Detects a blocked event loop, and logs one warning with the stack of what blocks it.

A thread beside the loop looks a few times a second whether the loop waits, for which it need not wake it. If not, it
asks for a sign of life. What is counted is how often the thread woke without having had an answer, not the time: a
program that was suspended (SIGSTOP, a laptop's lid) wakes with one unanswered question, not with a false alarm.

A loop task that is due at that moment starts late. So the thread looks seldom, less than once in a hundred iterations
of a loop of 500 Hz, and its wake-ups do not keep to the grid of such a loop.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import trio

from qmi.runtime.wakeup import Loop, is_scheduler

_logger = logging.getLogger("qmi.core.context")

LIMIT = 1.0
"""How long the loop may be silent, in seconds."""

_QUESTIONS = 5
_LOOKS = 3.3


class Watchdog:
    """Watches the loop that it is made on, from :meth:`start` to :meth:`stop`.

    Args:
        limit: How long the loop may be silent, in seconds.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._loop = Loop()
        self._ident = threading.get_ident()
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="qmi-watchdog", daemon=True)
        self.users = 0

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more. Does not wait for the thread, which ends at once unless it writes a warning just now."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / _LOOKS):
            if self._loop.waits():
                continue
            if not self._ask():
                return
            silent = 0
            while not self._stopped.wait(self._limit / _QUESTIONS):
                if self._answered.is_set():
                    break
                silent += 1
                if silent == _QUESTIONS:
                    self._warn()

    def _ask(self) -> bool:
        self._answered.clear()
        return self._loop.soon(self._answered.set)

    def _warn(self) -> None:
        frame = sys._current_frames().get(self._ident)
        if frame is not None:
            _logger.warning(
                "The event loop has been blocked for %g s; nothing else in it can run. What blocks belongs into a "
                "plain method (not 'async def') or a thread. It stands here:\n%s",
                self._limit,
                culprit(frame),
            )


def culprit(frame: FrameType) -> str:
    """The stack of user code in a loop's thread: without what trio itself does to get there."""
    stack = traceback.extract_stack(frame)
    own = [index for index, entry in enumerate(stack) if is_scheduler(entry.filename)]
    first = own[-1] + 1 if own and own[-1] + 1 < len(stack) else 0
    return "".join(traceback.format_list(stack[first:])).rstrip()


_CURRENT: trio.lowlevel.RunVar[Watchdog | None] = trio.lowlevel.RunVar("qmi_watchdog", default=None)


@contextmanager
def watched(limit: float = LIMIT) -> Iterator[Watchdog]:
    """Watch the running loop for the length of a block; several users of one loop share one watchdog.

    Args:
        limit: How long the loop may be silent, in seconds; that of the first user counts.
    """
    watchdog = _CURRENT.get()
    if watchdog is None:
        watchdog = Watchdog(limit)
        watchdog.start()
        _CURRENT.set(watchdog)
    watchdog.users += 1
    try:
        yield watchdog
    finally:
        watchdog.users -= 1
        if not watchdog.users:
            watchdog.stop()
            _CURRENT.set(None)
