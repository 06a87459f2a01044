"""Tasks that do the same thing again and again, on time."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from qmi.actors.pubsub.signal import QMI_Signal
from qmi.actors.tasks.schedule import LoopStatistics, Notice, QMI_LoopTaskMissedLoopPolicy, Schedule
from qmi.actors.tasks.task import QMI_Task, TaskExecutor, TaskRunner, copied
from qmi.errors import QMI_TaskStopException

_logger = logging.getLogger("qmi.core.task")

_HOOKS = (
    "loop_prepare",
    "process_new_settings",
    "loop_iteration",
    "update_status",
    "publish_signals",
    "loop_finalize",
)

ST_co = TypeVar("ST_co", covariant=True)
SG_co = TypeVar("SG_co", covariant=True)


class QMI_LoopTask(QMI_Task[ST_co, SG_co]):
    """A task whose :meth:`loop_iteration` runs once in every period.

    Each hook may be plain or ``async def``. If any of them is ``async``, the whole task runs in the event loop, and its
    plain hooks must not block. Whatever fails, :meth:`loop_finalize` runs once.

    Args:
        task_runner: What runs the task.
        name: Name of the task in its context.
        loop_period: The period, in seconds.
        policy: What happens when an iteration is overdue: IMMEDIATE starts it at once, SKIP drops all periods that are
            overdue, TERMINATE ends the loop.
        precise: Start within microseconds of the right time. That costs a part of a processor and holds up other
            Python threads: the last stretch of each wait, up to a millisecond, is spent in a busy loop.
    """

    sig_status_updated: QMI_Signal = QMI_Signal([object])

    def __init__(
        self,
        task_runner: TaskRunner,
        name: str,
        loop_period: float = 1.0,
        policy: QMI_LoopTaskMissedLoopPolicy = QMI_LoopTaskMissedLoopPolicy.IMMEDIATE,
        *,
        precise: bool = False,
    ) -> None:
        super().__init__(task_runner, name)
        self._schedule = Schedule(loop_period, policy)
        self._loop_period = loop_period
        self._policy = policy
        self._precise = precise
        # For tasks that keep the next status here until update_status() takes it.
        self._status_fifo: deque[Any] = deque(maxlen=1)

    # What an author writes

    def loop_prepare(self) -> object:
        """Called once before the first iteration."""

    def process_new_settings(self) -> object:
        """Called before an iteration if somebody has set new settings."""

    def loop_iteration(self) -> object:
        """Called once in every period."""

    def update_status(self) -> object:
        """Called after each iteration; returns whether ``self.status`` changed, so that others are told."""
        return False

    def publish_signals(self) -> object:
        """Called after each iteration."""

    def loop_finalize(self) -> object:
        """Called once at the end, whatever ended the loop.

        A request to stop does not reach it: calls on proxies and ``sleep`` work here as ever. If it does not return,
        the task is left behind when its context stops, after that context's ``stop_grace``.
        """

    # What runs it

    def loop_statistics(self) -> LoopStatistics:
        """How many iterations there were, and how punctual."""
        return self._schedule.statistics()

    def loop_schedule(self) -> Schedule:
        """When iterations are due."""
        return self._schedule

    def run(self) -> None:
        """Run the loop in a thread."""
        errors: list[BaseException] = []
        executor = self._executor
        try:
            self._loop(executor)
        except QMI_TaskStopException:
            pass  # that is how a loop ends
        except BaseException as error:  # told by join()
            errors.append(error)
        try:
            with executor.shielded_finalize():
                self.loop_finalize()
        except BaseException as error:  # told by join()
            errors.append(error)
        self._finish(errors)

    def _loop(self, executor: TaskExecutor) -> None:
        # A loop without time to wait spends all of it here: no lock is taken, the clock is read once an iteration.
        self.loop_prepare()
        timer, schedule = executor.timer, self._schedule
        now, reach, starts_at_once = executor.clock.now, timer.reach, schedule.starts_at_once
        new_settings, asks = self._new_settings, self._does("update_settings")
        updates, publishes = self._does("update_status"), self._does("publish_signals")
        waits = timer.counts_waits
        moment = now()
        schedule.begin(moment)
        while True:  # and not "while (start := ...)": CPython 3.11 specializes no loop that ends with its condition
            if (start := reach(schedule.next_start, moment)) is None:
                return
            schedule.started(start)
            while True:
                if (new_settings or asks) and self.update_settings():
                    self.process_new_settings()
                self.loop_iteration()
                if updates and self.update_status():
                    self.sig_status_updated.publish(copied(self.status))
                if publishes:
                    self.publish_signals()
                moment = now()
                if waits or timer.interrupted or not starts_at_once(moment):
                    break
            if (notice := schedule.finished(moment)) is not None and self._tell(notice):
                return

    def _does(self, method: str) -> bool:
        """Whether a method is another one than that of this class."""
        return getattr(getattr(self, method), "__func__", None) is not _HERE[method]

    async def run_async(self) -> None:
        """Run the loop in the event loop."""
        errors: list[BaseException] = []
        executor = self._executor
        cancelled: BaseException | None = None
        try:
            await self._loop_async(executor)
        except QMI_TaskStopException:
            pass  # that is how a loop ends
        except BaseException as error:  # told by join(), but for the cancellation
            cancelled, failed = split_cancelled(error)
            errors.extend([] if failed is None else [failed])
        try:
            with executor.shielded_finalize():
                await _call(self.loop_finalize)
        except BaseException as error:  # told by join()
            errors.append(error)
        self._finish(errors)
        if cancelled is not None:
            raise cancelled

    async def _loop_async(self, executor: TaskExecutor) -> None:
        await _call(self.loop_prepare)
        now, schedule = executor.clock.now, self._schedule
        schedule.begin(now())
        while True:
            await executor.sleep_until(schedule.next_start)
            schedule.started(now())
            if self.update_settings():
                await _call(self.process_new_settings)
            await _call(self.loop_iteration)
            if await _call(self.update_status):
                self.sig_status_updated.publish(copied(self.status))
            await _call(self.publish_signals)
            if (notice := schedule.finished(now())) is not None and self._tell(notice):
                return

    def _tell(self, notice: Notice) -> bool:
        """Log a notice; whether it ends the loop."""
        if notice.report is not None:
            _logger.warning("Task %s: %s", self._name, notice.report)
        if notice.end_reason is not None:
            _logger.warning("Task %s ends: %s", self._name, notice.end_reason)
        return notice.end_reason is not None

    def _finish(self, errors: list[BaseException]) -> None:
        if (report := self._schedule.last_report()) is not None:
            _logger.warning("Task %s: %s", self._name, report)
        try:
            if len(errors) == 1:
                raise errors[0]
            if errors:
                raise BaseExceptionGroup(f"Task {self._name} failed more than once", errors)
        finally:
            errors.clear()


QMI_LoopTask.__module__ = "qmi.core.task"

_HERE = {name: getattr(QMI_LoopTask, name) for name in ("update_settings", "update_status", "publish_signals")}
# As they are now: by the time that a loop begins, somebody may have put others in their place.


async def _call(hook: Callable[[], object]) -> object:
    value = hook()
    return await value if inspect.isawaitable(value) else value


def is_precise(task: QMI_Task[object, object]) -> bool:
    """Whether a task is a loop whose author wants it punctual to the microsecond."""
    return isinstance(task, QMI_LoopTask) and task._precise


def is_async_task(cls: type[QMI_Task[object, object]]) -> bool:
    """Whether tasks of a class run in the event loop."""
    if inspect.iscoroutinefunction(cls.run):
        return True
    is_loop = issubclass(cls, QMI_LoopTask) and cls.run is QMI_LoopTask.run
    return is_loop and any(inspect.iscoroutinefunction(getattr(cls, hook)) for hook in _HOOKS)


def split_cancelled(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Part what cancels a task from what failed in it; nurseries raise both together."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)
