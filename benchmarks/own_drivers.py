"""Drivers and tasks that only this library can run."""

from __future__ import annotations

import time

from benchmarks.drivers import IdleLoop, TimedLoop
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import Placement, rpc_method


class CallerDriver(QMI_Instrument):
    """May run in the thread that calls."""

    _rpc_placement = Placement.CALLER

    @rpc_method
    def nothing(self) -> None:
        """Do nothing."""


class LargeDriver(QMI_Instrument):
    """Publishes bytes."""

    sig_large = QMI_Signal([bytes])


class AsyncDriver(QMI_Instrument):
    """Runs in the event loop and has no thread."""

    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        """Open."""
        self._is_open = True

    @rpc_method
    async def close(self) -> None:  # type: ignore[override]
        """Close."""
        self._is_open = False

    @rpc_method
    async def is_open(self) -> bool:  # type: ignore[override]
        """Whether it is open."""
        return self._is_open

    @rpc_method
    async def nothing(self) -> None:
        """Do nothing."""


class AsyncTimedLoop(TimedLoop):
    """The same in the event loop."""

    async def loop_iteration(self) -> None:  # type: ignore[override]
        """Look at the clock."""
        self.times.append(time.monotonic())


class AsyncIdleLoop(IdleLoop):
    """The same in the event loop."""

    async def loop_iteration(self) -> None:  # type: ignore[override]
        """Count."""
        self.counter[0] += 1
