"""Drivers and tasks as users of QMI write them: these run with this library and with upstream's alike."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.meter import memory_now, memory_peak
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy


class Driver(QMI_Instrument):
    """A driver that does next to nothing."""

    sig_tick = QMI_Signal([int])

    @rpc_method
    def nothing(self) -> None:
        """Do nothing."""

    @rpc_method
    def same(self, value: Any) -> Any:
        """Return what came."""
        return value

    @rpc_method
    def burst(self, count: int) -> None:
        """Publish so many signals."""
        for number in range(count):
            self.sig_tick.publish(number)

    @rpc_method
    def process(self) -> int:
        """The process that this runs in."""
        return os.getpid()

    @rpc_method
    def memory_now(self) -> int:
        """Memory in use, in bytes."""
        return memory_now()

    @rpc_method
    def memory_peak(self) -> int:
        """The most since :meth:`memory_now`, in bytes."""
        return memory_peak()


class TimedLoop(QMI_LoopTask):  # type: ignore[type-arg]
    """Notes when its loop begins, and when its iterations start."""

    def __init__(self, task_runner: Any, name: str, times: list[float], period: float, **options: Any) -> None:
        super().__init__(task_runner, name, period, QMI_LoopTaskMissedLoopPolicy.SKIP, **options)
        self.times = times

    def loop_prepare(self) -> None:
        """The grid begins when this ends."""
        self.times.append(time.monotonic())

    def loop_iteration(self) -> None:
        """Look at the clock."""
        self.times.append(time.monotonic())


class IdleLoop(QMI_LoopTask):  # type: ignore[type-arg]
    """Counts its iterations."""

    def __init__(self, task_runner: Any, name: str, counter: list[int], period: float) -> None:
        super().__init__(task_runner, name, period)
        self.counter = counter

    def loop_iteration(self) -> None:
        """Count."""
        self.counter[0] += 1


class CountingLoop(QMI_LoopTask):  # type: ignore[type-arg]
    """Says how many iterations there were."""

    def __init__(self, task_runner: Any, name: str, period: float, policy: QMI_LoopTaskMissedLoopPolicy) -> None:
        super().__init__(task_runner, name, period, policy)
        self.numbers = range(100)
        self.status = 0

    def loop_iteration(self) -> None:
        """Count."""
        self.status += 1


class BusyLoop(CountingLoop):
    """Takes a microsecond or two for an iteration."""

    def loop_iteration(self) -> None:
        """Add up some numbers."""
        sum(self.numbers)
        self.status += 1
