"""Tasks: procedures that run in the background of a program. What an author derives from."""

from __future__ import annotations

import copy
from collections.abc import Sized
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from qmi.actors.clock.monotonic import Clock, ThreadTimer
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.records import NamedTuple

ST_co = TypeVar("ST_co", covariant=True)
SG_co = TypeVar("SG_co", covariant=True)


class Taken(NamedTuple):
    """Settings that a task takes; they may be None."""

    value: object


class TaskExecutor(Protocol):
    """What a task needs of what carries it out: its thread, or the event loop."""

    @property
    def clock(self) -> Clock:
        """The clock that the task goes by."""

    @property
    def timer(self) -> ThreadTimer:
        """What a task in a thread waits in while it runs; interrupted by a request to stop."""

    def sleep(self, duration: float) -> object:
        """Wait on behalf of the task; in the loop, something to await."""

    async def sleep_until(self, moment: float) -> None:
        """Wait on behalf of a task in the loop."""

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop."""

    def shielded_finalize(self) -> AbstractContextManager[object]:
        """The block that winds the task up; a request to stop does not reach it."""


class TaskRunner(Protocol):
    """What a task needs of its runner."""

    @property
    def task_context(self) -> Any:
        """The context, as the author of a task sees it."""

    @property
    def task_executor(self) -> TaskExecutor:
        """What carries the task out."""

    @property
    def new_task_settings(self) -> Sized:
        """Holds the settings that the task has not taken yet, the same as long as the runner lives."""

    def take_task_settings(self) -> Taken | None:
        """The settings that were set last, once; None if there are none."""


class QMI_Task(Generic[ST_co, SG_co]):
    """A procedure that runs in the background. A subclass writes :meth:`run`.

    A plain ``run`` has a thread of its own, the same one that made the task; ``async def run`` runs in the event loop.
    A request to stop reaches a task wherever it waits: in :meth:`sleep`, in a call on a proxy, in a signal receiver.
    There :class:`~qmi.core.exceptions.QMI_TaskStopException` is raised. A proxy or a receiver raises it once and then
    works again, to clean up with; :meth:`sleep` raises it from then on. An ``async`` task is cancelled.

    What it publishes as settings and status are copies.

    Args:
        task_runner: What runs the task.
        name: Name of the task in its context.

    Attributes:
        settings: The settings that the task works with; :meth:`update_settings` replaces them.
        status: What others get from the runner's ``get_status()``.
        default_runner: The class of its runner where ``make_task()`` is given none; None is the usual one.
    """

    default_runner: ClassVar[type[object] | None] = None

    sig_settings_updated: QMI_Signal = QMI_Signal([object])

    def __init__(self, task_runner: TaskRunner, name: str) -> None:
        self._task_runner = task_runner
        self._executor = task_runner.task_executor
        self._context = task_runner.task_context
        self._new_settings = task_runner.new_task_settings
        self._name = name
        self.settings: Any = None
        self.status: Any = None

    def run(self) -> object:
        """What the task does. It ends when this returns or raises."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def sleep(self, duration: float) -> Any:
        """Wait, but no longer than until the task is asked to stop. In an ``async`` task: ``await self.sleep(...)``.

        Args:
            duration: How long, in seconds.

        Raises:
            QMI_TaskStopException: If the task is asked to stop, before or meanwhile.
            QMI_WrongThreadException: If anybody but the task itself calls this.
        """
        return self._executor.sleep(duration)

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop. Having said so, calls on proxies work again, to clean up with."""
        return self._executor.stop_requested()

    def update_settings(self) -> bool:
        """Take the settings that somebody has set since the last time, if any.

        Returns:
            Whether there were any; then ``self.settings`` has them and ``sig_settings_updated`` is published.
        """
        if not self._new_settings:
            return False
        taken = self._task_runner.take_task_settings()
        if taken is None:
            return False
        self.settings = taken.value
        self.sig_settings_updated.publish(copied(self.settings))
        return True


QMI_Task.__module__ = "qmi.core.task"


def copied(value: object) -> Any:
    """A copy for somebody else: the task goes on working with its own."""
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - the user's class cannot be copied: then it is shared
        return value
