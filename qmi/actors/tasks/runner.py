"""What runs a task and answers for it: started, stopped, asked, and given settings by anybody, at any time."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import trio
from msgspec import structs

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import (
    Interface,
    Placement,
    answered_by,
    check_signal_name,
    direct_method,
    full_name,
    published,
)
from qmi.actors.pubsub.signal import QMI_Signal, SignalDescription, declared_signals, signal_infos
from qmi.actors.rpc_object import QMI_RpcObject, interface_of, make_object
from qmi.actors.tasks.restart import RestartRule, Restarts
from qmi.actors.tasks.task import QMI_Task, Taken, copied
from qmi.errors import QMI_TaskRunException, QMI_TimeoutException, QMI_UsageException
from qmi.messages import Args, Kwargs
from qmi.records import NamedTuple

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from qmi.actors.context_status import TaskStatus
    from qmi.actors.tasks.executor import Executor, TaskServices

    TR = TypeVar("TR", bound="QMI_TaskRunner", default="QMI_TaskRunner")
else:
    from typing import TypeVar

    TR = TypeVar("TR", bound="QMI_TaskRunner")

_logger = logging.getLogger("qmi.core.task")


class TaskStatistics(NamedTuple):
    """What a task has done.

    Attributes:
        state: "new", "running", "ended", "failed" if an error ended it, or "restarting" if it will be started again.
        end_reason: Why a loop ended by itself, or the error that ended the task; else None.
        restarts: How often it was started again after a failure.
        iterations: Iterations of its loop, since it was last started.
        missed: Periods that its loop has missed since then.
        lateness_median: How late iterations started, in seconds.
        lateness_p99: The same, 99th percentile.
        lateness_worst: The same, worst case.
    """

    state: str
    end_reason: str | None = None
    restarts: int = 0
    iterations: int = 0
    missed: int = 0
    lateness_median: float = 0.0
    lateness_p99: float = 0.0
    lateness_worst: float = 0.0


class TaskFailure(NamedTuple):
    """The last error that ended a task.

    Attributes:
        reason: The error, with its type.
        time: When, in seconds since 1970.
        restarts: How often the task was started again after a failure, up to now.
        retry_in: Seconds until it is started again by itself; None if it is not.
    """

    reason: str
    time: float
    restarts: int = 0
    retry_in: float | None = None

    def __str__(self) -> str:
        return f"{self.reason} ({time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(self.time))} UTC)"


class TaskState(NamedTuple):
    """How a task is.

    Attributes:
        state: "new", "running", "ended", "failed" if an error ended it, or "restarting" if it will be started again.
        reason: The error, or why a loop ended by itself; else None.
    """

    state: str
    reason: str | None = None

    def __str__(self) -> str:
        return self.state if self.reason is None else f"{self.state}: {self.reason}"


class RunnerContext(Protocol):
    """What a runner needs of its context."""

    @property
    def async_context(self) -> TaskServices:
        """The context as trio programs see it."""


class QMI_TaskRunner(QMI_RpcObject):
    """Runs a task and answers for it.

    A subclass may publish methods of its own, which reach the task as ``self.task`` or ``self._thread.task``.
    Everything but such own methods is answered at once; ``join`` makes only its caller wait.

    Args:
        context: The context that the task belongs to.
        name: Name of the task there.
        task_class: Class of the task.
        task_args: Further arguments of its constructor.
        task_kwargs: Further keyword arguments of its constructor.

    Raises:
        QMI_TaskInitException: If the constructor of the task fails; its error is the cause.

    Attributes:
        restart_rule: When and how often a task that failed is started again; None is never.
    """

    _rpc_placement = Placement.CALLER
    _rpc_enter: ClassVar[tuple[str, ...]] = ("start",)
    _rpc_exit: ClassVar[tuple[str, ...]] = ("stop", "join")

    restart_rule: RestartRule | None = None
    """When and how often a task that failed is started again; None is never. A subclass may set it for all its tasks,
    ``make_task(..., restart_rule=...)`` for one. Settings that others have set are given to the new task as well."""

    if TYPE_CHECKING:
        # A proxy has the signals of the task, too; which those are, no type can tell.

        def __getattr__(self, name: str) -> Any: ...

        def __enter__(self) -> Self: ...

        def __exit__(self, *exc_info: object) -> None: ...

    sig_restarted: QMI_Signal = QMI_Signal([int, str])
    """Published when the task is started again: how often by now, and the error that ended it before."""

    def __init__(
        self,
        context: RunnerContext,
        name: str,
        task_class: type[QMI_Task[object, object]],
        task_args: Args = (),
        task_kwargs: Kwargs | None = None,
    ) -> None:
        super().__init__(context, name)
        self._services = context.async_context
        self._task_class = task_class
        self._task_args = tuple(task_args)
        self._task_kwargs = dict(task_kwargs or {})
        self._pending: deque[Taken] = deque(maxlen=1)
        self._taken: Taken | None = None
        self._restarts: Restarts | None = None
        self._restart_count = 0
        self._thread: Executor = _executor_class(task_class)(self._services, name, self._make_task, self._task_failed)
        self._thread.construct()

    def _make_task(self) -> QMI_Task[object, object]:
        if self._taken is not None and not self._pending:
            self._pending.append(self._taken)  # what others have set shall outlive a restart
        return make_object(self._task_class, self, self._name, self._task_args, self._task_kwargs)

    def _task_failed(self, error: BaseException) -> float | None:
        if self.restart_rule is None:
            return None
        if self._restarts is None:
            self._restarts = Restarts(self.restart_rule)
        decision = self._restarts.failed(self._thread.now())
        if decision.delay is None:
            _logger.error("Task %s is not started again: %s", self._name, decision.reason)
            return None
        self._restart_count += 1
        _logger.warning("Task %s is started again in %g s (%d)", self._name, decision.delay, self._restart_count)
        self.sig_restarted.publish(self._restart_count, f"{type(error).__name__}: {error}")
        return decision.delay

    def _forget_restarts(self) -> None:
        # Somebody has looked after the task: the limit counts from here. The task's thread is not begun yet; if it
        # were, the first failure might be counted with those of before, or be forgotten.
        self._restarts = None

    # What the task needs

    @property
    def task_context(self) -> Any:
        """The context, for the task."""
        return self._context

    @property
    def task_executor(self) -> Executor:
        """What carries the task out."""
        return self._thread

    @property
    def task(self) -> Any:
        """The task, for methods of a subclass."""
        return self._thread.task

    @property
    def time_to_stop(self) -> float:
        """How long the task may take to end when its context stops, in seconds, if more than the context grants all."""
        return 0.0

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is."""
        return "task"

    @published
    def get_signals(self) -> list[SignalDescription]:  # type: ignore[override]
        """The signals of the runner and of its task."""
        found = {signal.name: signal for cls in (type(self), self._task_class) for signal in declared_signals(cls)}
        return list(found.values())

    # What proxies call

    @direct_method
    def start(self) -> None:
        """Let the task run. One that has failed is made anew and runs again, with the settings that others have set.

        One that waits to be started again does not wait any longer. Any program that is connected can do that.

        An error of its constructor is then a failure like any other: :meth:`join` raises it.

        Raises:
            QMI_UsageException: If it was started before, and has not failed.
        """
        self._thread.start(self._forget_restarts)

    @direct_method
    def stop(self) -> None:
        """Ask the task to end; :meth:`join` waits until it has."""
        self._thread.request_stop()

    @answered_by("_begin_join")
    def join(self, timeout: float | None = None) -> str | None:
        """Wait until the task has ended.

        Args:
            timeout: How long at most, in seconds.

        Returns:
            Why a loop ended by itself (policy TERMINATE), else None.

        Raises:
            QMI_TaskRunException: If the task ended by an exception, which is the cause.
            QMI_TimeoutException: If it has not ended in time; the message says where it stands.
            QMI_UsageException: If it was never started.
        """
        return self._begin_join(timeout).wait()

    def _begin_join(self, timeout: float | None = None) -> QMI_RpcFuture[str | None]:
        ended = self._thread.ended
        if not self._thread.is_running and not ended.done():
            raise QMI_UsageException(f"Task {self._name!r} was not started, so it will not end")
        joined: QMI_RpcFuture[str | None] = QMI_RpcFuture(f"the end of task {self._name!r}")
        ended.add_done_callback(lambda: self._settle_join(joined, ended.result()))
        if timeout is not None and not ended.done():
            self._services.run(self._expire_join, joined, timeout)
        return joined

    def _settle_join(self, joined: QMI_RpcFuture[str | None], error: BaseException | None) -> None:
        if self._thread.abandoned is not None:
            joined.fail(self._thread.abandoned)
            return
        if error is None:
            joined.set_result(self._end_reason())
            return
        failure = QMI_TaskRunException(f"Task {self._name!r} failed: {_brief(error)}")
        failure.__cause__ = error
        joined.fail(failure)

    async def _expire_join(self, joined: QMI_RpcFuture[str | None], timeout: float) -> None:
        with trio.move_on_after(timeout):
            await joined.ended()
        joined.fail(QMI_TimeoutException(self._not_ended(timeout)))

    def _not_ended(self, timeout: float) -> str:
        asked = "has not ended" if not self._thread.stop_requested() else "was asked to stop but has not ended"
        where = self._thread.where()
        return f"Task {self._name!r} {asked} within {timeout:g} s" + (f"; it is at {where}" if where else "")

    @direct_method
    def is_running(self) -> bool:
        """Whether the task was started and has not ended."""
        return self._thread.is_running

    @direct_method
    def get_state(self) -> TaskState:
        """How the task is, and why if it has failed."""
        ended = self._thread.ended.done()
        error = self._thread.error
        if not ended:
            if self._thread.due is not None and error is not None:
                return TaskState("restarting", _brief(error))
            return TaskState("running" if self._thread.is_running else "new")
        return TaskState("ended", self._end_reason()) if error is None else TaskState("failed", _brief(error))

    @direct_method
    def get_last_failure(self) -> TaskFailure | None:
        """The last error that ended the task, also if it was started again since; None if there was none."""
        failure, due = self._thread.failure, self._thread.due
        if failure is None:
            return None
        error, when = failure
        retry_in = None if due is None else max(due - self._thread.now(), 0.0)
        return TaskFailure(_brief(error), when, self._restart_count, retry_in)

    @direct_method
    def set_settings(self, new_settings: object) -> None:
        """Give the task new settings; it takes them when it next calls ``update_settings``. The last ones count.

        Args:
            new_settings: What the task expects.
        """
        self._pending.append(Taken(copied(new_settings)))

    @direct_method
    def get_settings(self) -> Any:
        """The settings that the task works with, as a copy."""
        return copied(self._thread.task.settings)

    @direct_method
    def get_pending_settings(self) -> Any:
        """The settings that the task has not taken yet, as a copy; None if there are none."""
        for pending in tuple(self._pending):
            return copied(pending.value)
        return None

    @direct_method
    def get_status(self) -> Any:
        """What the task says about itself, as a copy."""
        return copied(self._thread.task.status)

    @direct_method
    def get_task_class_name(self) -> str:
        """The full name of the task's class: ``"module.Class"``."""
        return self.task_class_name

    @property
    def task_class_name(self) -> str:
        """The same, for the program that has the task."""
        return full_name(self._task_class)

    @property
    def task_state(self) -> str:
        """What the task does, for lists: "new", "running" or how it ended, and its last failure."""
        state, reason = QMI_TaskRunner.get_state(self)
        failure = QMI_TaskRunner.get_last_failure(self)
        if failure is None:
            return f"{state}: {reason}" if reason else state
        if state in ("failed", "restarting"):
            return f"{state}: {failure}"
        times = "" if failure.restarts == 1 else f" {failure.restarts} times"
        restarted = f"restarted{times}, " if failure.restarts else ""
        return f"{state}: {restarted}last failure: {failure}"

    @property
    def task_report(self) -> TaskStatus:
        """All that can be said of the task at once, for the program that has it. Nothing of the user's is called."""
        from qmi.actors.context_status import TaskStatus  # only who asks needs it
        from qmi.actors.tasks.loop_task import QMI_LoopTask

        state, reason = QMI_TaskRunner.get_state(self)
        failure = QMI_TaskRunner.get_last_failure(self)
        where = self._thread.where() if self._thread.is_running else ""
        report = TaskStatus(state=state, reason=reason or "", restarts=self._restart_count, where=where)
        if failure is not None:
            retry_in = -1.0 if failure.retry_in is None else failure.retry_in
            report = replace(report, failure=failure.reason, failed=failure.time, retry_in=retry_in)
        task = getattr(self._thread, "task", None)
        if not isinstance(task, QMI_LoopTask):
            return report
        loop, schedule = QMI_LoopTask.loop_statistics(task), QMI_LoopTask.loop_schedule(task)
        return replace(
            report,
            period=schedule.period,
            policy=schedule.policy.name,
            iterations=loop.iterations,
            missed=loop.missed,
            lateness_median=loop.lateness.median,
            lateness_p99=loop.lateness.p99,
            lateness_worst=loop.lateness.worst,
            lateness=schedule.lateness(),
        )

    @direct_method
    def get_statistics(self) -> TaskStatistics:
        """What the task has done, and how punctual its loop was."""
        from qmi.actors.tasks.loop_task import QMI_LoopTask

        state = self.get_state()
        error = self._thread.error
        reason = _brief(error) if error else self._end_reason()  # also of a task that waits to be started again
        statistics = TaskStatistics(state.state, reason, self._restart_count)
        if not isinstance(self.task, QMI_LoopTask):
            return statistics
        loop = self.task.loop_statistics()
        return statistics._replace(
            iterations=loop.iterations,
            missed=loop.missed,
            lateness_median=loop.lateness.median,
            lateness_p99=loop.lateness.p99,
            lateness_worst=loop.lateness.worst,
        )

    def _end_reason(self) -> str | None:
        from qmi.actors.tasks.loop_task import QMI_LoopTask

        return self.task.loop_statistics().end_reason if isinstance(self.task, QMI_LoopTask) else None

    @property
    def new_task_settings(self) -> Sized:
        """Holds the settings that the task has not taken yet."""
        return self._pending

    def take_task_settings(self) -> Taken | None:
        """The settings that were set last, once; a copy, since they are kept for a restart."""
        try:
            self._taken = self._pending.popleft()
        except IndexError:
            return None
        return Taken(copied(self._taken.value))

    def release_rpc_object(self) -> object:
        """Ask the task to stop; gives something to await its end with."""
        self._thread.request_stop()
        return self._thread.ended

    def __rpc_where__(self) -> str:
        return self._thread.where()

    def __rpc_left_behind__(self, why: Exception) -> None:
        where = self._thread.where()
        self._thread.abandon(
            type(why)(f"{why}; task {self._name!r} ignored the request to stop" + (f", at {where}" if where else ""))
        )


for _public in (TaskFailure, TaskState, TaskStatistics, QMI_TaskRunner):
    _public.__module__ = "qmi.core.task"


def _brief(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_brief(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _executor_class(task_class: type[QMI_Task[object, object]]) -> type[Executor]:
    # A program without tasks needs none of these.
    from qmi.actors.tasks.loop_executor import LoopExecutor
    from qmi.actors.tasks.loop_task import is_async_task
    from qmi.actors.tasks.thread_executor import ThreadExecutor

    return LoopExecutor if is_async_task(task_class) else ThreadExecutor


def make_runner(
    cls: type[QMI_TaskRunner], restart_rule: RestartRule | None, context: RunnerContext, name: str, *args: object
) -> QMI_TaskRunner:
    """Make a runner, with its task; if its own constructor fails after that, the task goes with it."""
    runner = cls.__new__(cls)
    if restart_rule is not None:
        runner.restart_rule = restart_rule
    try:
        runner.__init__(context, name, *args)  # type: ignore[misc]
    except BaseException:
        if hasattr(runner, "_thread"):
            runner._thread.request_stop()
        raise
    return runner


def task_interface(runner: type[QMI_TaskRunner], task: type[QMI_Task[object, object]]) -> Interface:
    """What a proxy of a task offers: the methods of its runner, and the signals of both."""
    base = interface_of(runner)
    signals = {signal.name: signal for signal in (*base.signals, *signal_infos(task))}
    for name in signals:
        check_signal_name(task, name)
    return structs.replace(base, signals=tuple(signals.values()), views={})
