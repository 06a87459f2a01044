"""A removed object is freed, whatever was made of it and whoever has called it; proxies may live on."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import qmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_MessageDeliveryException, QMI_TaskStopException
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from qmi.core.task import QMI_LoopTask, QMI_Task, QMI_TaskRunner
from tests.support.lab import two_contexts
from tests.support.waiting import wait_until

BORN: list[weakref.ref[Any]] = []


class Mortal(QMI_RpcObject):
    _rpc_properties = ("LEVEL",)
    LEVEL = 1
    sig = QMI_Signal([int])

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        BORN.append(weakref.ref(self))

    @rpc_method
    def plain(self) -> int:
        self.sig.publish(1)
        return 1

    @rpc_method
    async def awaited(self) -> int:
        await trio.lowlevel.checkpoint()
        return 1

    @rpc_method
    def items(self) -> Iterator[int]:
        yield from range(100)

    @rpc_method
    async def async_items(self) -> AsyncIterator[int]:
        for item in range(100):
            yield item

    @rpc_method
    def fail(self) -> None:
        raise ValueError("as usual")


def use_blocking(proxy: Any) -> list[Any]:
    kept: list[Any] = [proxy.plain(), proxy.plain(rpc_timeout=10), proxy.awaited(), proxy.LEVEL]
    stream = proxy.items()
    next(stream)
    try:
        proxy.fail()
    except ValueError as error:
        kept.append(str(error))
    return [*kept, stream]


def use_nonblocking(proxy: Any) -> list[Any]:
    futures = [proxy.rpc_nonblocking.plain(), proxy.rpc_nonblocking.awaited(), proxy.rpc_nonblocking.items()]
    return [*futures, *[future.wait(10) for future in futures]]


def use_signals(proxy: Any) -> list[Any]:
    receiver = QMI_SignalReceiver()
    proxy.sig.subscribe(receiver)
    proxy.plain()
    return [receiver, proxy.sig, proxy.plain]


def use_lock(proxy: Any) -> list[Any]:
    with qmi.locked(proxy, timeout=10.0):
        proxy.plain()
    assert proxy.lock()
    return []


USES: list[Callable[[Any], list[Any]]] = [use_blocking, use_nonblocking, use_signals, use_lock]


def assert_freed(count: int) -> None:
    # What a thread still holds on its way out is gone a moment later; nothing announces that.
    wait_until(lambda: gc.collect() >= 0 and [ref() for ref in BORN[-count:]] == [None] * count)


@pytest.mark.parametrize("placement", list(Placement))
@pytest.mark.parametrize("use", USES)
def test_removed_object_is_freed_though_proxies_live_on(lab: QMI_Context, use: Any, placement: Placement) -> None:
    x: Any = lab.make_rpc_object("x", type("Mortal", (Mortal,), {"_rpc_placement": placement}))
    kept = use(x)
    lab.remove_rpc_object(x)
    assert_freed(1)
    for call in (x.plain, x.get_name, x.rpc_nonblocking.plain().wait, lambda: x.LEVEL, x.lock):
        with pytest.raises(QMI_MessageDeliveryException, match=r"lab\.x was removed from its context"):
            call()
    assert kept is not None


@pytest.mark.parametrize("use", USES)
def test_removed_object_is_freed_though_proxies_of_other_programs_live_on(use: Any) -> None:
    with two_contexts() as (server, client):
        here = server.make_rpc_object("x", Mortal)
        x = client.get_rpc_object("server.x")
        kept = use(x)
        server.remove_rpc_object(here)
        assert_freed(1)
        with pytest.raises(QMI_MessageDeliveryException):
            x.plain()
        assert kept is not None


async def test_removed_object_of_a_trio_program_is_freed(trio_lab: Context) -> None:
    for placement in Placement:
        x: Any = await trio_lab.make_rpc_object("x", type("Mortal", (Mortal,), {"_rpc_placement": placement}))
        assert await x.plain() == await x.awaited() == await x.LEVEL == 1
        stream = await x.async_items()
        async for _ in stream:
            break
        await trio_lab.remove_rpc_object(x)
        await trio.testing.wait_all_tasks_blocked()
        assert_freed(1)
        del stream


class MortalTask(QMI_Task[Any, Any]):
    def __init__(self, runner: Any, name: str) -> None:
        super().__init__(runner, name)
        BORN.append(weakref.ref(self))
        BORN.append(weakref.ref(runner))

    def run(self) -> None:
        with suppress(QMI_TaskStopException):  # whose traceback the log would keep
            self.sleep(60)


class MortalAsyncTask(MortalTask):
    async def run(self) -> None:  # type: ignore[override]
        await trio.sleep_forever()


class MortalLoopTask(QMI_LoopTask[Any, Any]):
    def __init__(self, runner: Any, name: str) -> None:
        super().__init__(runner, name, 60.0)
        BORN.append(weakref.ref(self))
        BORN.append(weakref.ref(runner))


@pytest.mark.parametrize("cls", [MortalTask, MortalAsyncTask, MortalLoopTask])
@pytest.mark.parametrize("started", [False, True])
def test_removed_task_is_freed(lab: QMI_Context, cls: Any, started: bool) -> None:
    task: Any = lab.make_task("task", cls, task_runner=QMI_TaskRunner)
    if started:
        task.start()
        task.stop()
        task.join()
    assert task.get_statistics()
    lab.remove_rpc_object(task)
    assert_freed(2)
    with pytest.raises(QMI_MessageDeliveryException, match="was removed"):
        task.is_running()


def test_objects_are_freed_with_their_context() -> None:
    context = QMI_Context("gone")
    with context:
        x: Any = context.make_rpc_object("x", Mortal)
        x.plain()
        task: Any = context.make_task("task", MortalTask)
        task.start()
    assert_freed(3)
    del context


@pytest.mark.parametrize("placement", list(Placement))
def test_removed_object_whose_release_fails_is_freed(
    lab: QMI_Context, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Mortal):
        _rpc_placement = placement

        def release_rpc_object(self) -> None:
            raise ValueError("it is stuck")

    # A log record keeps the traceback, and who runs the tests keeps the records.
    monkeypatch.setattr(logging.getLogger("qmi.core.rpc"), "disabled", True)
    x: Any = lab.make_rpc_object("x", Stuck)
    x.plain()
    lab.remove_rpc_object(x)
    assert_freed(1)
