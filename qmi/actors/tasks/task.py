"""Tasks: procedures that run in the background of a program. What an author derives from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qmi.actors.pubsub.signal import QMI_Signal

if TYPE_CHECKING:
    from qmi.actors.tasks.runner import QMI_TaskRunner

ST_co = TypeVar("ST_co", covariant=True)
SG_co = TypeVar("SG_co", covariant=True)


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
    """

    sig_settings_updated: QMI_Signal = QMI_Signal([object])

    def __init__(self, task_runner: QMI_TaskRunner, name: str) -> None:
        self._task_runner = task_runner
        self._context = task_runner._context
        self._name = name
        self.settings: Any = None
        self.status: Any = None

    def run(self) -> Any:
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
        return self._task_runner._thread.sleep(duration)

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop. Having said so, calls on proxies work again, to clean up with."""
        requested: bool = self._task_runner._thread.stop_requested()
        return requested

    def update_settings(self) -> bool:
        """Take the settings that somebody has set since the last time, if any.

        Returns:
            Whether there were any; then ``self.settings`` has them and ``sig_settings_updated`` is published.
        """
        taken = self._task_runner._take_settings()
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
