"""What fails on the network side of a context: counted by cause, and told in the log within limits.

This is the boundary around each link, listener, responder and dial. An exception that nobody foresaw ends that one
thing: whoever catches it calls :meth:`Failures.fault`, which writes one line and never raises itself, also when there
is no memory left. ``trio.Cancelled``, ``KeyboardInterrupt`` and ``SystemExit`` are no ``Exception``, and pass.

A line that an outsider can cause goes through :meth:`Failures.report`, which writes one a second and counts the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from qmi.net.io.log_limit import LineLimit
from qmi.net.protocol.bounds import describe_error

_logger = logging.getLogger("qmi.core.messaging")

_FAULT_BURST = 20
"""Faults of this program with their tracebacks: so many at once, then one a second."""


class _Kept:
    """The limit of one kind of line, and what the last line that was kept back would have said."""

    __slots__ = ("last", "level", "limit")

    def __init__(self, burst: int) -> None:
        self.limit = LineLimit(burst=burst)
        self.level: int = logging.WARNING
        self.last: str = ""


class Failures:
    """Counts and tells what fails. Safe for threads.

    Args:
        clock: The time in seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._kept: dict[str, _Kept] = {}
        self.on_kept: Callable[[], object] = lambda: None
        """Called when a line was kept back and nobody was told of it yet; from any thread."""

    def counts(self) -> dict[str, int]:
        """How often something has failed, by cause."""
        with self._mutex:
            return dict(self._counts)

    def count(self, cause: str) -> None:
        """Count a failure that is told elsewhere, or not at all."""
        with self._mutex:
            self._counts[cause] += 1

    def report(self, cause: str, level: int, message: str, *args: object, burst: int = 1) -> None:
        """Write a line that an outsider can cause, unless there were too many of that cause within the last second.

        Args:
            cause: Which lines share a limit.
            level: As in :mod:`logging`.
            message: The line, with places for the arguments.
            args: The arguments.
            burst: How many of them may be written at once.
        """
        self._write(cause, level, burst, None, message, *args)

    def fault(self, cause: str, what: str, error: BaseException) -> None:
        """Count and tell an exception that nobody foresaw. Never raises.

        Args:
            cause: What it has ended: "link", "listener", ...
            what: The line, up to the exception.
            error: The exception; its traceback goes to the log.
        """
        try:
            self.count(f"{cause}: fault of this program")
            text = describe_error(error)
            self._write(f"fault of a {cause}", logging.ERROR, _FAULT_BURST, error, "%s: %s", what, text)
        except Exception:  # no memory left for the line; the program lives on
            pass

    def _write(
        self, cause: str, level: int, burst: int, error: BaseException | None, message: str, *args: object
    ) -> None:
        with self._mutex:
            kept = self._kept.get(cause)
            if kept is None:
                kept = self._kept[cause] = _Kept(burst)
            before = kept.limit.admit(self._clock())
            if before is None:
                kept.level, kept.last = level, message % args
                first = kept.limit.held == 1
        if before is None:
            if first:
                self.on_kept()
            return
        if before:
            message += " (and %d more like it since the last such line)"
            args = (*args, before)
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        _logger.log(level, message, *args, exc_info=error)

    def tell_kept(self, *, now: bool = False) -> bool:
        """Tell how many lines were kept back, where it is time to.

        Args:
            now: Whether it is time everywhere, since nothing more will come.

        Returns:
            Whether some are left that must be told later.
        """
        left = False
        for kept in list(self._kept.values()):
            with self._mutex:
                count = kept.limit.take_held() if now else kept.limit.flush(self._clock())
                left = left or bool(kept.limit.held)
                level, last = kept.level, kept.last
            if count:
                _logger.log(level, "%s (the last of %d such lines that were not written)", last, count)
        return left

    async def contain(self, cause: str, what: str, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task whose failure is its own: what nobody foresaw ends it with one line."""
        try:
            await function(*args)
        except* Exception as group:
            self.fault(cause, what, group)
