"""The time of the event loop as a clock, for a context whose loop runs in virtual time: trio's waits move it on."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn, Self

import trio

from qmi.errors import QMI_UsageException

__all__ = ["LoopClock"]


class LoopClock:
    """``trio.current_time()``. Implements :class:`qmi.actors.clock.monotonic.Clock`, for what lives in the loop."""

    def now(self) -> float:
        """Seconds of the loop's clock. On the loop only."""
        return trio.current_time()

    def thread_waiter(self, *, name: str = "", precise: bool = False) -> NoReturn:
        """Refuse: a thread cannot wait for the time of the loop.

        Raises:
            QMI_UsageException: Always.
        """
        raise QMI_UsageException(
            f"{name or 'This'} waits in a thread, which the time of the event loop does not wait for"
        )

    def loop_waiter(self, *, name: str = "", precise: bool = False) -> LoopTimer:
        """A waiter for one trio task; ``precise`` has no meaning here."""
        return LoopTimer()


class LoopTimer:
    """Waits as ``trio.sleep_until`` does."""

    async def sleep_until(self, t: float) -> None:
        """Wait until this time. Always a checkpoint."""
        await trio.sleep_until(t)

    def close(self) -> None:
        """There is nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
