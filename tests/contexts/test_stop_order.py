"""However a context of a trio program ends: the block, then tasks, then other objects, and links last."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import qmi
from qmi.contexts.async_context import Context
from qmi.contexts.loop_thread import RUNNING
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask, QMI_Task
from tests.support.lab import config


class Source(QMI_Instrument):
    """What must be switched off before anything else goes."""

    heard: list[str]

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.heard = []

    @rpc_method
    def off(self, who: str) -> None:
        """Switch it off."""
        self.heard.append(who)

    @rpc_method
    def get_heard(self) -> list[str]:
        """Who has switched it off, in this order."""
        return self.heard


class Local(QMI_Instrument):
    """Switches the source off when it is released."""

    @rpc_method
    def use(self, source: Any) -> None:
        """Take the source."""
        self._source = source

    def release_rpc_object(self) -> None:
        """Switch it off."""
        self._source.off("instrument")
        super().release_rpc_object()


class Pressing(Local):
    """Somebody presses Ctrl-C while it is released."""

    def release_rpc_object(self) -> None:
        """Press it."""
        os.kill(os.getpid(), signal.SIGINT)
        super().release_rpc_object()


class AsyncLoop(QMI_LoopTask[Any, Any]):
    """Switches it off in the event loop."""

    def __init__(self, task_runner: Any, name: str, source: Any, began: Any) -> None:
        super().__init__(task_runner, name, loop_period=0.001)
        self._source = source
        self._began = began

    async def loop_iteration(self) -> None:
        """Nothing."""
        self._began.set()

    async def loop_finalize(self) -> None:
        """Switch it off."""
        await self._source.rpc_async.off("task")


class PlainLoop(AsyncLoop):
    """Switches it off in a thread."""

    token: trio.lowlevel.TrioToken

    def loop_iteration(self) -> None:  # type: ignore[override]
        """Nothing."""
        trio.from_thread.run_sync(self._began.set, trio_token=self.token)

    def loop_finalize(self) -> None:  # type: ignore[override]
        """Switch it off."""
        self._source.off("task")


class PlainTask(QMI_Task[Any, Any]):
    """The same without a loop."""

    def __init__(self, task_runner: Any, name: str, source: Any, began: Any) -> None:
        super().__init__(task_runner, name)
        self._source = source
        self._began = began

    def run(self) -> None:
        """Wait, and switch it off."""
        trio.from_thread.run_sync(self._began.set, trio_token=PlainLoop.token)
        try:
            while not self.stop_requested():
                self.sleep(10.0)
        finally:
            self._source.off("task")


class Stop(Exception):
    """Ends a block."""


def cancel(scope: trio.CancelScope) -> None:
    scope.cancel()


def raise_error(scope: trio.CancelScope) -> None:
    raise Stop


def press_ctrl_c(scope: trio.CancelScope) -> None:
    signal.raise_signal(signal.SIGINT)


def return_normally(scope: trio.CancelScope) -> None: ...


@asynccontextmanager
async def source() -> AsyncIterator[tuple[Context, str]]:
    async with Context("there", config("there")).running() as there:
        await there.make_instrument("source", Source)
        yield there, f"127.0.0.1:{there.connections.port}"


ENDS: dict[str, Callable[[trio.CancelScope], None]] = {
    "the block returns": return_normally,
    "a scope around it is cancelled": cancel,
    "an error": raise_error,
    "Ctrl-C": press_ctrl_c,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("task", [AsyncLoop, PlainLoop, PlainTask])
async def test_fault_54_end_of_a_trio_context_keeps_links_until_all_else_is_done(
    task: type[Any], end: Callable[[trio.CancelScope], None]
) -> None:
    async def use(where: str, scope: trio.CancelScope) -> None:
        async with qmi.open_context("here", config=config("here"), init_logging=False) as here:
            await here.connect_to_peer("there", where)
            remote = await here.get_instrument("there.source")
            local = await here.make_instrument("local", Local)
            await local.use(remote.rpc_blocking)
            PlainLoop.token = trio.lowlevel.current_trio_token()
            began = trio.Event()
            runner = await here.make_task("task", task, remote.rpc_blocking, began)
            await runner.start()
            await began.wait()
            try:
                end(scope)
                if end is not return_normally:
                    await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await remote.off("block")

    async def main() -> list[str]:
        async with source() as (there, where):
            with trio.CancelScope() as scope:
                try:
                    await use(where, scope)
                except (Stop, KeyboardInterrupt):
                    assert end in (raise_error, press_ctrl_c)
            assert scope.cancelled_caught is (end is cancel)
            heard: list[str] = await (await there.get_instrument("source")).get_heard()
            return heard

    assert await main() == ["block", "task", "instrument"]


async def test_scope_that_was_cancelled_before_leaves_no_context_behind() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with qmi.open_context("here", config=config("here"), init_logging=False):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with qmi.open_context("here", config=config("here"), init_logging=False) as here:
        assert await here.list_rpc_objects() == []


async def fail_beside(use: Any, where: str, began: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, where, began)
        await began.wait()
        raise Stop


async def test_sibling_that_fails_cancels_the_block_but_not_what_it_uses() -> None:
    heard: list[Any] = []

    async def use(where: str, began: trio.Event) -> None:
        async with qmi.open_context("here", config=config("here"), init_logging=False) as here:
            await here.connect_to_peer("there", where)
            remote = await here.get_instrument("there.source")
            began.set()
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(5, shield=True):
                    await remote.off("block")
                    heard.extend(await remote.get_heard())

    async with source() as (_, where):
        began = trio.Event()
        with pytest.raises(ExceptionGroup):
            await fail_beside(use, where, began)
    assert heard == ["block"]


def test_ctrl_c_while_a_trio_context_stops_is_raised_when_all_is_released() -> None:
    heard: list[str] = []

    async def main() -> None:
        async with source() as (there, where), trio.open_nursery():
            try:
                async with qmi.open_context("here", config=config("here"), init_logging=False) as here:
                    await here.connect_to_peer("there", where)
                    remote = await here.get_instrument("there.source")
                    for name, cls in (("first", Local), ("second", Pressing)):
                        await (await here.make_instrument(name, cls)).use(remote.rpc_blocking)
            finally:
                with trio.CancelScope(shield=True):
                    heard.extend(await (await there.get_instrument("source")).get_heard())

    with pytest.raises(BaseException) as raised:
        trio.run(main)  # Ctrl-C is for the main task, which is pytest-trio's own otherwise
    caught = raised.value
    while isinstance(caught, BaseExceptionGroup):
        (caught,) = caught.exceptions
    assert isinstance(caught, KeyboardInterrupt)
    assert heard == ["instrument", "instrument"]


async def test_context_whose_block_was_cancelled_does_not_count_as_running() -> None:
    with trio.CancelScope() as scope:
        async with qmi.open_context("lab", None, init_logging=False) as context:
            scope.cancel()
            await trio.sleep_forever()
    assert context not in RUNNING
