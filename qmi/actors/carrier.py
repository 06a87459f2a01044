"""Where a task lives, in a thread of its own or in the event loop: made and run there, asked to stop from anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import trio

from qmi.actors.clock import Clock, LoopWaiter, ThreadWaiter
from qmi.actors.execution import EXECUTION, Execution
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.loop_task import QMI_LoopTask
from qmi.actors.task import QMI_Task
from qmi.actors.worker import Worker
from qmi.bridge import Interrupt
from qmi.errors import (
    QMI_ContextStoppedException,
    QMI_RuntimeException,
    QMI_TaskInitException,
    QMI_TaskStopException,
    QMI_UsageException,
    QMI_WrongThreadException,
)

_logger = logging.getLogger("qmi.core.task")

Make = Callable[[], QMI_Task[Any, Any]]
Failed = Callable[[BaseException], float | None]


class Host(Protocol):
    """What is needed of the context."""

    clock: Clock
    face: Any

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread."""

    def run(self, function: Callable[..., Any], *args: Any) -> QMI_RpcFuture[Any]:
        """Run an async function in the context's nursery; giving up cancels it."""


class Carrier:
    """What both kinds share.

    Args:
        host: The context.
        name: Name of the task.
        make: Makes the task, and makes it anew if it is restarted.
        failed: Told of each failure; says after how many seconds to start again, or None.

    Attributes:
        task: The task.
        ended: Settled when the task has ended, however that was.
        error: What it ended by, None if by nothing bad.
    """

    def __init__(self, host: Host, name: str, make: Make, failed: Failed) -> None:
        self._host = host
        self._name = name
        self._make = make
        self._failed = failed
        self._requested = False
        self._started = False
        self._mutex = threading.Lock()
        self.task: Any = None
        self.ended: QMI_RpcFuture[None] = QMI_RpcFuture(f"the end of task {name!r}")
        self.error: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._started and not self.ended.done()

    def now(self) -> float:
        """The time that the task goes by, in seconds of a clock that does not jump."""
        return self._host.clock.now()

    def start(self) -> None:
        """Let the task run.

        Raises:
            QMI_UsageException: If it was started, or stopped, before.
        """
        with self._mutex:
            if self._started:
                raise QMI_UsageException(f"Task {self._name!r} was started already")
            if self._requested:
                raise QMI_UsageException(f"Task {self._name!r} was stopped before it was started")
            self._started = True
        self._begin()

    def request_stop(self) -> None:
        """Ask the task to end."""
        with self._mutex:
            first = not self._requested
            self._requested = True
            started = self._started
        if not started:
            self.discard()
            self.ended.settle(None)
        elif first:
            self._interrupt()

    def _describe_end(self, error: BaseException | None) -> None:
        if error is None:
            _logger.info("Task %s has ended", self._name)
        elif isinstance(error, QMI_TaskStopException):
            _logger.warning("Task %s was stopped where it waited", self._name, exc_info=error)
        else:
            self.error = error
            _logger.error("Task %s failed", self._name, exc_info=error)

    def _delay_after(self, error: BaseException | None) -> float | None:
        if error is None or self._requested or isinstance(error, QMI_TaskStopException):
            return None
        return self._failed(error)

    # What the kinds differ in

    def construct(self) -> None:
        """Make the task where it will run; blocks. Raises QMI_TaskInitException from its error."""
        raise AssertionError

    def _begin(self) -> None:
        raise AssertionError

    def _interrupt(self) -> None:
        raise AssertionError

    def discard(self) -> None:
        """The task will never run."""
        raise AssertionError

    def sleep(self, duration: float) -> Any:
        """Wait on behalf of the task."""
        raise AssertionError

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop."""
        return self._requested

    def where(self) -> str:
        """Where the task stands now: ``file:line in function``."""
        raise AssertionError


def init_error(name: str, error: BaseException) -> QMI_TaskInitException:
    """The error for a task whose constructor failed."""
    failure = QMI_TaskInitException(f"The constructor of task {name!r} failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


class ThreadCarrier(Carrier):
    """A task in a thread of its own."""

    def __init__(self, host: Host, name: str, make: Make, failed: Failed) -> None:
        super().__init__(host, name, make, failed)
        self._worker = Worker(f"{host.face.name}.{name}", self._without_thread)
        self._made: QMI_RpcFuture[None] = QMI_RpcFuture(f"the constructor of task {name!r}")
        self._interrupts = Interrupt()
        self._waiter: ThreadWaiter | None = None

    def construct(self) -> None:
        """Make the task in its thread."""
        self._worker.give(self._construct)
        self._host.start_worker(self._worker)
        self._made.wait()

    def _without_thread(self, error: Exception | None) -> None:
        reason = QMI_RuntimeException("the context has stopped") if error is None else error
        self._made.fail(init_error(self._name, reason))

    def _construct(self) -> None:
        EXECUTION.set(Execution(self._host.face, (), self._interrupts))
        try:
            self.task = self._make()
        except BaseException as error:  # belongs to whoever wants the task
            self._worker.finish()
            self._made.fail(init_error(self._name, error))
        else:
            self._made.settle(None)

    def _begin(self) -> None:
        precise = isinstance(self.task, QMI_LoopTask) and self.task._precise
        self._waiter = self._host.clock.thread_waiter(name=self._name, precise=precise)
        if self._requested:
            self._interrupt()
        self._worker.give(self._run)

    def _run(self) -> None:
        assert self._waiter is not None
        with self._waiter:
            while True:
                error = self._run_once()
                self._describe_end(error)
                delay = self._delay_after(error)
                if delay is None or not self._waiter.wait_until(self.now() + delay):
                    break
                try:
                    self.task = self._make()
                except BaseException as failure:  # the same as a failure of run()
                    self._describe_end(init_error(self._name, failure))
                    break
                self.error = None
        self.ended.settle(None)
        self._worker.finish()

    def _run_once(self) -> BaseException | None:
        try:
            self.task.run()
        except BaseException as error:  # told by join()
            return error
        return None

    def _interrupt(self) -> None:
        self._interrupts.request(self._stop_error)
        if self._waiter is not None:
            self._waiter.interrupt()

    def _stop_error(self) -> BaseException:
        # Raised once: from then on the task knows, and can clean up with calls on proxies.
        self._interrupts.clear()
        return QMI_TaskStopException(f"Task {self._name!r} was asked to stop")

    def discard(self) -> None:
        """The task will never run."""
        self._worker.finish()

    def stop_requested(self) -> bool:
        """Whether the task is asked to stop."""
        if self._requested and self._worker.is_current():
            self._interrupts.clear()
        return self._requested

    def wait_until(self, moment: float) -> bool:
        """Wait on behalf of the task; False if it is asked to stop."""
        assert self._waiter is not None
        return self._waiter.wait_until(moment)

    def sleep(self, duration: float) -> None:
        """Wait on behalf of the task."""
        if not self._worker.is_current() or self._waiter is None:
            raise QMI_WrongThreadException(f"sleep() of task {self._name!r} is for the task itself, while it runs")
        if not self._waiter.wait_until(self.now() + duration):
            raise self._stop_error()

    def where(self) -> str:
        """Where the task stands now."""
        return self._worker.where()


class LoopCarrier(Carrier):
    """A task in the event loop."""

    def __init__(self, host: Host, name: str, make: Make, failed: Failed) -> None:
        super().__init__(host, name, make, failed)
        self._waiter: LoopWaiter | None = None
        self._running: QMI_RpcFuture[None] | None = None
        self._coroutine: Any = None

    def construct(self) -> None:
        """Make the task on the loop."""
        try:
            self._host.run(self._construct).wait()
        except QMI_ContextStoppedException:
            raise
        except BaseException as error:
            raise init_error(self._name, error) from error

    async def _construct(self) -> None:
        EXECUTION.set(Execution(self._host.face))
        self.task = self._make()

    def _begin(self) -> None:
        precise = isinstance(self.task, QMI_LoopTask) and self.task._precise
        self._waiter = self._host.clock.loop_waiter(name=self._name, precise=precise)
        self._running = self._host.run(self._run)
        self._running.add_done_callback(self._over)
        if self._requested:
            self._interrupt()

    def _over(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
        self.ended.settle(None)

    async def _run(self) -> None:
        EXECUTION.set(Execution(self._host.face))
        while True:
            error = await self._run_once()
            self._describe_end(error)
            delay = self._delay_after(error)
            if delay is None:
                return
            await self.sleep_until(self.now() + delay)
            try:
                self.task = self._make()
            except Exception as failure:  # the same as a failure of run()
                self._describe_end(init_error(self._name, failure))
                return
            self.error = None

    async def _run_once(self) -> BaseException | None:
        is_loop = isinstance(self.task, QMI_LoopTask) and type(self.task).run is QMI_LoopTask.run
        self._coroutine = self.task.run_async() if is_loop else self.task.run()
        try:
            await self._coroutine
        except trio.Cancelled:
            raise
        except BaseException as error:  # told by join()
            return error
        return None

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.request_cancel()

    def discard(self) -> None:
        """The task will never run."""

    async def sleep_until(self, moment: float) -> None:
        """Wait on behalf of the task."""
        assert self._waiter is not None
        await self._waiter.sleep_until(moment)

    async def sleep(self, duration: float) -> None:
        """Wait on behalf of the task."""
        await self.sleep_until(self.now() + duration)

    def where(self) -> str:
        """Where the task stands now."""
        frame = getattr(self._coroutine, "cr_frame", None)
        inner = self._coroutine
        while getattr(inner, "cr_await", None) is not None:
            inner = inner.cr_await
            if getattr(inner, "cr_frame", None) is None or "/trio/" in inner.cr_frame.f_code.co_filename:
                break
            frame = inner.cr_frame
        return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
