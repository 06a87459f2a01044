"""Tasks for tests, and a context for them that goes by a virtual clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from qmi.actors.clock.monotonic import Clock, MonotonicClock
from qmi.actors.clock.virtual import VirtualClock
from qmi.actors.future import QMI_RpcFuture
from qmi.core.context import QMI_Context
from qmi.core.task import QMI_LoopTask, QMI_Task
from tests.support.lab import config
from tests.support.waiting import changed


@contextmanager
def open_lab(clock: Clock | None = None, *, name: str = "lab", grace: float = 5.0) -> Iterator[QMI_Context]:
    """A blocking context whose tasks go by this clock."""
    context = QMI_Context(name, config(name, context={"stop_grace": grace}))
    context.async_context.clock = clock or MonotonicClock()
    with context:
        yield context


class Bench(NamedTuple):
    """A context on a virtual clock."""

    context: QMI_Context
    clock: VirtualClock


@contextmanager
def open_bench() -> Iterator[Bench]:
    clock = VirtualClock()
    with open_lab(clock) as context:
        yield Bench(context, clock)


def runner_of(context: QMI_Context, name: str = "task") -> Any:
    """The runner itself, not a proxy."""
    actor = context.async_context.registry.get(name)
    assert actor is not None
    return actor.object


def task_of(context: QMI_Context, name: str = "task") -> Any:
    """The task itself."""
    return runner_of(context, name).task


def iterations(context: QMI_Context, name: str = "task") -> int:
    """How many iterations a loop task has begun."""
    return int(runner_of(context, name).get_statistics().iterations)


class Does(QMI_Task[Any, Any]):
    """Does what the test says, in a thread."""

    def __init__(self, runner: Any, name: str, what: Callable[[Any], Any]) -> None:
        super().__init__(runner, name)
        self.what = what
        self.entered = threading.Event()
        self.heard: list[Any] = []

    def run(self) -> None:
        self.entered.set()
        self.what(self)


class DoesAsync(Does):
    """Does what the test says, in the loop."""

    async def run(self) -> None:  # type: ignore[override]
        self.entered.set()
        await self.what(self)


class PlainLoop(QMI_LoopTask[Any, Any]):
    """Notes when it is called; each iteration takes as long as the test says, in virtual time."""

    def __init__(self, runner: Any, name: str, work: Sequence[float] = (), **options: Any) -> None:
        super().__init__(runner, name, **options)
        self.clock: Any = self._context.async_context.clock
        self.work = list(work)
        self.starts: list[float] = []
        self.hooks: list[str] = []
        self.fails: dict[str, BaseException] = {}

    def enter(self, hook: str) -> None:
        if len(self.hooks) < 100:
            self.hooks.append(hook)
        changed()
        if hook in self.fails:
            raise self.fails[hook]

    def loop_prepare(self) -> Any:
        self.enter("prepare")

    def process_new_settings(self) -> Any:
        self.enter("settings")

    def loop_iteration(self) -> Any:
        self.enter("iteration")
        self.starts.append(round(self.clock.now(), 9))
        if self.work:
            self.clock.advance(self.work.pop(0))

    def update_status(self) -> Any:
        self.status = {"count": len(self.starts)}
        return True

    def publish_signals(self) -> Any:
        self.enter("publish")

    def loop_finalize(self) -> Any:
        self.enter("finalize")


class AsyncLoop(PlainLoop):
    """The same in the event loop."""

    async def loop_prepare(self) -> None:
        PlainLoop.loop_prepare(self)

    async def process_new_settings(self) -> None:
        PlainLoop.process_new_settings(self)

    async def loop_iteration(self) -> None:
        PlainLoop.loop_iteration(self)

    async def update_status(self) -> bool:
        return bool(PlainLoop.update_status(self))

    async def publish_signals(self) -> None:
        PlainLoop.publish_signals(self)

    async def loop_finalize(self) -> None:
        PlainLoop.loop_finalize(self)


def in_thread(function: Callable[[], Any]) -> QMI_RpcFuture[Any]:
    """Run a function in a thread of its own; the future gives what came of it."""
    future: QMI_RpcFuture[Any] = QMI_RpcFuture("what a thread of the test does")

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.fail(error)

    threading.Thread(target=work, daemon=True).start()
    return future
