"""A task in a thread of its own: made there, run there, interrupted in its waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qmi.actors.clock.monotonic import ThreadTimer
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.tasks.executor import Executor, Failed, Make, TaskServices, init_error
from qmi.actors.tasks.loop_task import is_precise
from qmi.actors.tasks.task import QMI_Task
from qmi.actors.worker import Worker
from qmi.errors import QMI_RuntimeException, QMI_TaskStopException, QMI_WrongThreadException
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.wakeup import Interrupt


class ThreadExecutor(Executor):
    """A task in a thread of its own."""

    def __init__(self, services: TaskServices, name: str, make: Make, failed: Failed) -> None:
        super().__init__(services, name, make, failed)
        self._worker = Worker(f"{services.facade.name}.{name}", self._without_thread)
        self._made: QMI_RpcFuture[None] = QMI_RpcFuture(f"the constructor of task {name!r}")
        self._interrupts = Interrupt()
        self._waiter: ThreadTimer | None = None
        self._winding_up = False

    def construct(self) -> None:
        """Make the task in its thread."""
        self._worker.give(self._construct)
        self._services.start_worker(self._worker)
        try:
            self._made.wait()
        except BaseException:
            self._worker.finish()
            raise

    def _without_thread(self, error: Exception | None) -> None:
        reason = QMI_RuntimeException("the context has stopped") if error is None else error
        self._made.fail(init_error(self._name, reason))

    def _construct(self) -> None:
        EXECUTION.set(Execution(self._services.facade, (), self._interrupts))
        try:
            self.task: QMI_Task[object, object] = self._make()
        except BaseException as error:  # belongs to whoever wants the task
            self._made.fail(init_error(self._name, error))
        else:
            self._made.set_result(None)

    def _begin(self) -> None:
        precise = is_precise(self.task)
        self._waiter = self._services.clock.thread_waiter(name=self._name, precise=precise)
        if self._requested:
            self._interrupt()
        self._worker.give(self._run)

    def _renew(self) -> None:
        # The thread went with the task that failed.
        ended = self.ended

        def without_thread(error: Exception | None) -> None:
            reason = QMI_RuntimeException("the context has stopped") if error is None else error
            self.error = init_error(self._name, reason)
            ended.set_result(self.error)

        self._worker = Worker(f"{self._services.facade.name}.{self._name}", without_thread)
        self._interrupts = Interrupt()
        self._waiter = None

    def _begin_again(self) -> None:
        self._worker.give(self._make_and_run)
        self._services.start_worker(self._worker)

    def _make_and_run(self) -> None:
        EXECUTION.set(Execution(self._services.facade, (), self._interrupts))
        failure = self._make_again()
        precise = failure is None and is_precise(self.task)
        waiter = self._services.clock.thread_waiter(name=self._name, precise=precise)
        with self._mutex:  # a request to stop finds the waiter, or is found here
            self._waiter = waiter
            requested = self._requested
        if requested:
            self._interrupt()
        self._run(failure)

    def _run(self, failure: BaseException | None = None) -> None:
        assert self._waiter is not None
        worker, ended = self._worker, self.ended  # once it has ended, somebody may start it again
        with self._waiter:
            error = failure or self._run_once()
            while (delay := self._after(error)) is not None and self._pause(delay):
                error = self._make_again() or self._run_once()
        ended.set_result(self.error)
        worker.finish()

    def _pause(self, delay: float) -> bool:
        """Wait until the task is started again; False if it is asked to stop meanwhile."""
        assert self._waiter is not None
        over = self._waiter.wait_until(self._begin_pause(delay))
        if not self._end_pause():
            return over
        with self._mutex:
            # A request to stop that came before this is seen here; one that comes later interrupts what follows.
            if not self._requested:
                self._waiter.clear()
                return True
        return False

    def _stop_waiting(self) -> None:
        with self._mutex:
            if self._at_once and self._waiter is not None:  # else the wait was over by itself
                self._waiter.interrupt()

    def _run_once(self) -> BaseException | None:
        try:
            self.task.run()
        except BaseException as error:  # told by join()
            return error
        return None

    def _interrupt(self) -> None:
        with self._mutex:
            if self._winding_up:
                return
            self._interrupts.request(self._stop_error)
            if self._waiter is not None:
                self._waiter.interrupt()

    @contextmanager
    def shielded_finalize(self) -> Iterator[None]:
        """Nothing interrupts the task's waits in here: neither a request that it has heard nor one to come."""
        assert self._waiter is not None
        with self._mutex:
            self._winding_up = True
            self._interrupts.clear()
            self._waiter.clear()
        try:
            yield
        finally:
            with self._mutex:
                self._winding_up = False
                if self._requested:
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

    @property
    def timer(self) -> ThreadTimer:
        """What the task waits in while it runs; interrupted by a request to stop."""
        assert self._waiter is not None
        return self._waiter

    def sleep(self, duration: float) -> None:
        """Wait on behalf of the task."""
        if not self._worker.is_current() or self._waiter is None:
            raise QMI_WrongThreadException(f"sleep() of task {self._name!r} is for the task itself, while it runs")
        if not self._waiter.wait_until(self.now() + duration):
            raise self._stop_error()

    def where(self) -> str:
        """Where the task stands now."""
        return self._worker.where()
