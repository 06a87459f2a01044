"""A task in the event loop: made there, run there, cancelled to end it."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager
from pathlib import Path
from types import CoroutineType

import trio

from qmi.actors.clock.monotonic import LoopTimer
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.tasks.executor import Executor, Failed, Make, TaskServices, init_error
from qmi.actors.tasks.loop_task import QMI_LoopTask, is_precise, split_cancelled
from qmi.actors.tasks.task import QMI_Task
from qmi.actors.user_code import is_drivers
from qmi.errors import QMI_ContextStoppedException
from qmi.runtime.call_context import EXECUTION, Execution


class LoopExecutor(Executor):
    """A task in the event loop."""

    def __init__(self, services: TaskServices, name: str, make: Make, failed: Failed) -> None:
        super().__init__(services, name, make, failed)
        self._waiter: LoopTimer | None = None
        self._running: QMI_RpcFuture[None] | None = None
        self._coroutine: object = None
        self._last_scope: trio.CancelScope | None = None
        self._wait_scope = trio.CancelScope()

    def construct(self) -> None:
        """Make the task on the loop."""
        try:
            self._services.run(self._construct).wait()
        except QMI_ContextStoppedException:
            raise
        except BaseException as error:
            raise init_error(self._name, error) from error

    async def _construct(self) -> None:
        EXECUTION.set(Execution(self._services.facade))
        self.task: QMI_Task[object, object] = self._make()

    def _begin(self) -> None:
        precise = is_precise(self.task)
        self._waiter = self._services.clock.loop_waiter(name=self._name, precise=precise)
        self._running = self._services.run(self._run)
        self._running.add_done_callback(self._over)
        if self._requested:
            self._interrupt()

    def _renew(self) -> None:
        self._waiter = self._last_scope = self._running = None

    def _begin_again(self) -> None:
        self._running = self._services.run(self._make_and_run)
        self._running.add_done_callback(self._over)
        if self._requested:
            self._interrupt()

    async def _make_and_run(self) -> None:
        EXECUTION.set(Execution(self._services.facade))
        failure = self._make_again()
        precise = is_precise(self.task)
        self._waiter = self._services.clock.loop_waiter(name=self._name, precise=precise)
        await self._run(failure)

    def _over(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
        self.ended.set_result(self.error)

    async def _run(self, failure: BaseException | None = None) -> None:
        EXECUTION.set(Execution(self._services.facade))
        try:
            error = failure or await self._run_once()
            while (delay := self._after(error)) is not None:
                await self._pause(delay)
                error = self._make_again() or await self._run_once()
        except trio.Cancelled:
            self._describe_end(None)
            raise

    async def _pause(self, delay: float) -> None:
        """Wait until the task is started again."""
        with trio.CancelScope() as self._wait_scope:
            await self.sleep_until(self._begin_pause(delay))
        self._end_pause()

    def _stop_waiting(self) -> None:
        self._services.run(self._cancel_wait)

    async def _cancel_wait(self) -> None:
        if self._at_once:  # else the wait was over by itself
            self._wait_scope.cancel()

    async def _run_once(self) -> BaseException | None:
        task = self.task
        if isinstance(task, QMI_LoopTask) and type(task).run is QMI_LoopTask.run:
            running: object = task.run_async()
        else:
            running = task.run()
        assert inspect.isawaitable(running)
        self._coroutine = running
        try:
            await running
        except BaseException as error:  # told by join(), but for the cancellation
            failed = split_cancelled(error)[1]
            if failed is None:
                raise
            return failed
        finally:
            self._coroutine = None
        return None

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.request_cancel()

    def shielded_finalize(self) -> AbstractContextManager[object]:
        """Nothing cancels the task from here on, but that it is abandoned."""
        self._last_scope = trio.CancelScope(shield=True)
        return self._last_scope

    def abandon(self, why: Exception) -> None:
        """Cancel what the task does although it was asked to end."""
        super().abandon(why)
        if self._last_scope is not None:
            self._last_scope.cancel()

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
        place = ""
        step = self._coroutine
        while isinstance(step, CoroutineType) and (frame := step.cr_frame) is not None:
            file = Path(frame.f_code.co_filename)
            if is_drivers(str(file)):
                place = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
            step = step.cr_await
        return place
