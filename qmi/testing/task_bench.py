"""Tasks, plain and ``async``, on a virtual clock: hours of a loop in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qmi.actors.clock.virtual import VirtualClock
from qmi.config.schema import CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UsageException
from qmi.core.task import QMI_TaskRunner


class TaskBench:
    """A context whose tasks go by a virtual clock; made by :func:`open_task_bench`.

    Time stands still but in :meth:`run`, so a test can look at everything in between at its leisure.

    Attributes:
        context: A blocking context, for ``make_task``, ``make_instrument`` and all the rest.
        clock: The clock.
    """

    def __init__(self, context: QMI_Context, clock: VirtualClock) -> None:
        self.context = context
        self.clock = clock

    def now(self) -> float:
        """The virtual time, in seconds; 0 at first."""
        return self.clock.now()

    def run(self, seconds: float) -> None:
        """Let time pass until all that is due within these seconds is done, and every task waits again.

        Raises:
            QMI_TimeoutException: If a task neither waits nor ends for ten real seconds; names it.
        """
        self.clock.run(seconds)

    def work(self, seconds: float) -> None:
        """To be called in a task, or in what a stand-in does: take that long, so that periods can be missed."""
        self.clock.advance(seconds)

    def task(self, name: str) -> Any:
        """The task itself, where ``context.get_task(name)`` is a proxy of its runner.

        Raises:
            QMI_UsageException: If there is no such task.
        """
        actor = self.context.async_context.registry.get(name)
        if actor is None or not isinstance(actor.object, QMI_TaskRunner):
            raise QMI_UsageException(f"There is no task {name!r} on this bench")
        return actor.object.task


@contextmanager
def open_task_bench(name: str = "test", *, config: CfgQmi | None = None) -> Iterator[TaskBench]:
    """A context in which tasks, plain and ``async``, go by a virtual clock.

    Each run goes the same way: one task works at a time, and calls on instruments take no virtual time::

        >>> from qmi.core.task import QMI_LoopTask
        >>> from qmi.testing import open_task_bench
        >>> class Heater(QMI_LoopTask):
        ...     def loop_iteration(self):
        ...         self.status = (self.status or 0) + 1
        >>> with open_task_bench() as bench:
        ...     heater = bench.context.make_task("heater", Heater, loop_period=0.1)
        ...     heater.start()
        ...     bench.run(3600.0)
        ...     heater.get_status()
        36001

    Args:
        name: What the context is called.
        config: Its configuration; None reads none.
    """
    clock = VirtualClock()
    context = QMI_Context(name, CfgQmi() if config is None else config)
    context.async_context.clock = clock
    with context:
        yield TaskBench(context, clock)
