"""Run one thing at each step of another: forced interleavings of two threads, one line at a time."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class OtherThread:
    """A thread that does what it is told while the one that tells it stands still."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._jobs.put(None)
        self._thread.join(10)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:
                self._done.put(error)
            else:
                self._done.put(None)

    def do(self, job: Callable[[], object]) -> None:
        """Have it do something that never waits for the caller, and wait until it is done."""
        self._jobs.put(job)
        error = self._done.get(timeout=20)
        if error is not None:
            raise error


def interleave_at(
    number: int,
    first: Callable[[], object],
    second: Callable[[], object],
    where: Callable[[str], bool],
    allowed: Callable[[], bool],
) -> bool:
    """Do the first thing, and the second one just before the n-th line of it that counts.

    Args:
        number: Which line, from 1 on.
        first: Runs in this thread.
        second: Runs in the midst of it; see :meth:`OtherThread.do` for how to have it run in another thread.
        where: Tells for a file name whether its lines count.
        allowed: Tells whether the line counts right now: whether the second thing could run there at all.

    Returns:
        Whether the first thing had so many lines; if not, the second one was not done.
    """
    left = number

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not where(frame.f_code.co_filename):
            return None
        if event == "line" and left > 0 and allowed():
            left -= 1
            if left == 0:
                sys.settrace(None)
                second()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        first()
    finally:
        sys.settrace(before)
    return left == 0
