"""The life of a task, wherever it is carried out: made, started, asked to stop, ended, perhaps started again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from qmi.actors.clock.monotonic import Clock, ThreadTimer
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.tasks.task import QMI_Task
from qmi.actors.worker import Worker
from qmi.errors import (
    QMI_TaskInitException,
    QMI_TaskStopException,
    QMI_UsageException,
)
from qmi.runtime.call_context import Facade

_logger = logging.getLogger("qmi.core.task")

R = TypeVar("R")

Make = Callable[[], QMI_Task[object, object]]
Failed = Callable[[BaseException], float | None]


class TaskServices(Protocol):
    """What is needed of the context."""

    @property
    def clock(self) -> Clock:
        """The clock that tasks go by."""

    @property
    def facade(self) -> Facade:
        """The context as blocking code sees it."""

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread."""

    def run(self, function: Callable[..., Coroutine[object, object, R]], *args: object) -> QMI_RpcFuture[R]:
        """Run an async function in the context's nursery; giving up cancels it."""


class Executor:
    """What both kinds share.

    Args:
        services: The context.
        name: Name of the task.
        make: Makes the task, and makes it anew if it is restarted.
        failed: Told of each failure; says after how many seconds to start again, or None.

    Attributes:
        task: The task.
        ended: Settled when the task has ended, however that was, with the error that it ended by or None.
        error: What it ended by, None if by nothing bad.
        abandoned: Why nobody waits for its end any more, None if it can be waited for.
        failure: The last error that ended it, and when in seconds since 1970; None if there was none.
        due: When it is started again, by the clock of tasks, while it waits for that; else None. Set and reset by what
            carries the task out, with the mutex: then :meth:`start` can say that it need not wait any longer.
    """

    def __init__(self, services: TaskServices, name: str, make: Make, failed: Failed) -> None:
        self._services = services
        self._name = name
        self._make = make
        self._failed = failed
        self._requested = False
        self._started = False
        self._mutex = threading.Lock()
        self.task: QMI_Task[object, object]  # once it is made
        self.ended: QMI_RpcFuture[BaseException | None] = QMI_RpcFuture(f"the end of task {name!r}")
        self.error: BaseException | None = None
        self.abandoned: Exception | None = None
        self.failure: tuple[BaseException, float] | None = None
        self.due: float | None = None
        self._at_once = False

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._started and not self.ended.done()

    @property
    def clock(self) -> Clock:
        """The clock that the task goes by."""
        return self._services.clock

    def now(self) -> float:
        """The time that the task goes by, in seconds of a clock that does not jump."""
        return self._services.clock.now()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by an error; then it can be started again."""
        return self.ended.done() and self.error is not None and self.abandoned is None

    def start(self, anew: Callable[[], object] = lambda: None) -> None:
        """Let the task run. One that has failed is made anew, where it will run; one that waits for that, at once.

        Args:
            anew: Called, with the mutex, if it had failed, before it can fail again. Must not raise.

        Raises:
            QMI_UsageException: If it was started, or stopped, before, and has not failed.
        """
        with self._mutex:  # of several who start it again, one does
            waits = self.due is not None and not self._requested
            if waits:
                self.due = None
                self._at_once = True
                anew()
            again = not waits and self.has_failed
            if self._started and not again and not waits:
                over = ", and has ended; only one that has failed can be started again" if self.ended.done() else ""
                raise QMI_UsageException(f"Task {self._name!r} was started already{over}")
            if self._requested and not again and not waits:
                raise QMI_UsageException(f"Task {self._name!r} was stopped before it was started")
            self._started = True
            if again:
                # From here on whoever joins or stops the task means the new one.
                self._requested = False
                self.error = None
                self.ended = QMI_RpcFuture(f"the end of task {self._name!r}")
                self._renew()
                anew()
        if waits:
            self._stop_waiting()
        elif again:
            self._begin_again()
        else:
            self._begin()

    def request_stop(self) -> None:
        """Ask the task to end."""
        with self._mutex:
            first = not self._requested
            self._requested = True
            started = self._started
        if not started:
            self.discard()
            self.ended.set_result(None)
        elif first:
            self._interrupt()

    def abandon(self, why: Exception) -> None:
        """The task does not heed the request to end: whoever waits for that gets this error instead."""
        self.abandoned = why
        self.ended.set_result(None)

    def _after(self, error: BaseException | None) -> float | None:
        # The task has ended: after how long it is started again, or None.
        self._describe_end(error)
        if error is None or self._requested or isinstance(error, QMI_TaskStopException):
            return None
        return self._failed(error)

    def _make_again(self) -> BaseException | None:
        try:
            self.task = self._make()
        except BaseException as error:  # the same as a failure of run()
            return init_error(self._name, error)
        self.error = None
        return None

    def _begin_pause(self, delay: float) -> float:
        """The task waits until it is started again; returns until when."""
        with self._mutex:
            self.due = due = self.now() + delay
            self._at_once = False
            return due

    def _end_pause(self) -> bool:
        """The wait is over, for whatever reason; returns whether somebody wants the task to be started at once."""
        with self._mutex:
            self.due = None
            at_once, self._at_once = self._at_once and not self._requested, False
            return at_once

    def _describe_end(self, error: BaseException | None) -> None:
        if error is None:
            _logger.info("Task %s has ended", self._name)
        elif isinstance(error, QMI_TaskStopException):
            _logger.warning("Task %s was stopped where it waited", self._name, exc_info=error)
        else:
            self.error = error
            self.failure = error, time.time()
            _logger.error("Task %s failed", self._name, exc_info=error)

    # What the kinds differ in

    def construct(self) -> None:
        """Make the task where it will run; blocks. Raises QMI_TaskInitException from its error."""
        raise AssertionError

    def _begin(self) -> None:
        raise AssertionError

    def _renew(self) -> None:
        """Forget what belonged to the task that failed. Called with the mutex."""
        raise AssertionError

    def _begin_again(self) -> None:
        raise AssertionError

    def _interrupt(self) -> None:
        raise AssertionError

    def _stop_waiting(self) -> None:
        """Somebody wants the task to be started again at once."""
        raise AssertionError

    def discard(self) -> None:
        """The task will never run."""
        raise AssertionError

    def sleep(self, duration: float) -> object:
        """Wait on behalf of the task; in the loop, something to await."""
        raise AssertionError

    @property
    def timer(self) -> ThreadTimer:
        """What a task in a thread waits in while it runs; interrupted by a request to stop."""
        raise AssertionError

    async def sleep_until(self, moment: float) -> None:
        """Wait on behalf of a task in the loop."""
        raise AssertionError

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop."""
        return self._requested

    def shielded_finalize(self) -> AbstractContextManager[object]:
        """The block that winds the task up; a request to stop does not reach it."""
        raise AssertionError

    def where(self) -> str:
        """Where the task stands now: ``file:line in function``."""
        raise AssertionError


def init_error(name: str, error: BaseException) -> QMI_TaskInitException:
    """The error for a task whose constructor failed."""
    failure = QMI_TaskInitException(f"The constructor of task {name!r} failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
