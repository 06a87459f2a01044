from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from qmi.actors.streams import END, RpcStream
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_CallCycleException,
    QMI_ContextStoppedException,
    QMI_ObjectLockedException,
    QMI_ObjectRemovedException,
)
from qmi.core.rpc import Placement, QMI_RpcObject, rpc_method
from tests.support.actors import actor_of, check_idle
from tests.support.cancel_steps import cancel_at_each_step
from tests.support.drivers import Async, Gate, Inline, Plain, SyncLoop
from tests.support.waiting import until, wait_until


class Source(QMI_RpcObject):
    """Generators that tell what becomes of them."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.closed: list[str] = []

    @rpc_method
    def fail_at(self, count: int, error: BaseException) -> Iterator[int]:
        yield from range(count)
        raise error

    @rpc_method
    def watched(self) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            self.closed.append("plain")

    @rpc_method
    async def watched_async(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            self.closed.append("async")

    @rpc_method
    async def fail_async(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("async")

    @rpc_method
    def bad_end(self) -> Iterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("bad end")

    @rpc_method
    async def bad_end_async(self) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            raise ValueError("bad async end")

    @rpc_method
    def own_items(self, proxy: Any) -> int:
        return sum(proxy.watched())

    @rpc_method
    def calling_back(self, proxy: Any) -> Iterator[int]:
        yield proxy.nothing()

    @rpc_method
    def nothing(self) -> int:
        return 0

    def release_rpc_object(self) -> None:
        self.closed.append("released")


class InlineSource(Source):
    _rpc_placement = Placement.CALLER


class LoopSource(Source):
    _rpc_placement = Placement.LOOP


SOURCES = [Source, InlineSource, LoopSource]


@pytest.mark.parametrize("cls", [Plain, Inline, Async, SyncLoop])
def test_items_come_in_order_and_end(lab: QMI_Context, cls: type[Any]) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    assert list(x.numbers(5)) == [0, 1, 2, 3, 4]
    assert list(x.numbers(0)) == []
    assert list(x.numbers(3, rpc_timeout=10)) == [0, 1, 2]
    stream = x.rpc_nonblocking.numbers(2).wait(10)
    assert repr(stream) == "<rpc stream of numbers()>"
    assert list(stream) == [0, 1]
    assert next(stream, "over") == "over"
    assert not actor_of(lab, "x").streams
    assert repr(END) == "END"


def test_others_use_the_object_between_two_items(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    seen = []
    for number in x.numbers(3):
        seen.append((number, x.add(number, 0)))
    assert seen == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("cls", SOURCES)
def test_an_error_ends_the_stream(lab: QMI_Context, cls: type[Source]) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    stream = x.fail_at(2, ValueError("boom"))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="boom"):
        next(stream)
    assert list(stream) == []
    with pytest.raises(ValueError, match="async"):
        list(x.fail_async())
    wait_until(lambda: actor_of(lab, "x").mailbox.current is None)
    assert not actor_of(lab, "x").streams
    assert x.nothing() == 0


@pytest.mark.parametrize("cls", SOURCES)
@pytest.mark.parametrize("method", ["watched", "watched_async"])
@pytest.mark.parametrize("how", ["close", "with", "forget"])
def test_a_consumer_that_leaves_ends_the_generator(lab: QMI_Context, cls: type[Source], method: str, how: str) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    actor = actor_of(lab, "x")
    stream = getattr(x, method)()
    assert next(stream) == 1
    if how == "close":
        stream.close()
        stream.close()
        assert next(stream, None) is None
    elif how == "with":
        with stream as same:
            assert same is stream
            assert next(stream) == 1
    del stream
    gc.collect()
    wait_until(lambda: not actor.streams and actor.mailbox.current is None)
    assert actor.object.closed == ["async" if "async" in method else "plain"]


@pytest.mark.parametrize("cls", SOURCES)
def test_removing_an_object_ends_its_streams_and_releases_it(
    lab: QMI_Context, cls: type[Source], caplog: pytest.LogCaptureFixture
) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    thing = actor_of(lab, "x").object
    streams = [x.watched(), x.watched_async(), x.bad_end(), x.bad_end_async()]
    for stream in streams:
        assert next(stream) == 1
    lab.remove_rpc_object(x)
    assert sorted(thing.closed) == ["async", "plain", "released"]
    assert "lab.x could not be released" in caplog.text
    assert "ValueError: bad end" in caplog.text
    assert "ValueError: bad async end" in caplog.text
    for stream in streams:
        with pytest.raises(QMI_ObjectRemovedException):
            next(stream)
        assert next(stream, None) is None


def test_a_stream_that_nobody_waits_for_any_more_is_dropped(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    future = x.rpc_nonblocking.numbers(3)
    assert future.cancel()
    gate.open.set()
    assert running.wait(10)
    assert x.add(1) == 3
    assert not actor_of(lab, "x").streams


def test_a_stream_that_comes_too_late_is_dropped(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    actor = actor_of(lab, "x")
    future = x.rpc_nonblocking.numbers(3)
    stream = future.wait(10)
    assert len(actor.streams) == 1
    del future, stream
    gc.collect()
    wait_until(lambda: not actor.streams)


def test_the_lock_holds_for_each_item_but_not_for_leaving(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    other = lab.get_instrument("x")
    stream = x.numbers(10)
    assert next(stream) == 0
    other.lock()
    with pytest.raises(QMI_ObjectLockedException):
        next(stream)
    wait_until(lambda: not actor_of(lab, "x").streams)


def test_an_object_cannot_wait_for_its_own_items(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Source)
    with pytest.raises(QMI_CallCycleException, match=r"lab\.x"):
        x.own_items(x)
    with pytest.raises(QMI_CallCycleException, match=r"lab\.x"):
        list(x.calling_back(x))
    wait_until(lambda: actor_of(lab, "x").mailbox.current is None)
    check_idle(actor_of(lab, "x"))


def test_streams_outlive_their_context_without_harm() -> None:
    context = QMI_Context("brief")
    context.start()
    x: Any = context.make_rpc_object("x", Source)
    stream = x.watched()
    assert next(stream) == 1
    context.stop()
    with pytest.raises(QMI_ContextStoppedException):
        next(stream)
    del stream
    gc.collect()


@pytest.mark.parametrize("cls", [Plain, Async])
async def test_streams_of_a_trio_program(cls: type[Any], trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", cls)
    assert [item async for item in await x.numbers(3)] == [0, 1, 2]
    async with await x.numbers(3) as stream:
        assert await anext(stream) == 0
        with pytest.raises(QMI_BlockingOnLoopException):
            next(stream)
    assert [item async for item in stream] == []
    other: RpcStream = await x.rpc_nonblocking.numbers(3)
    assert await anext(other) == 0
    await other.aclose()
    await until(lambda: not actor_of(trio_lab, "x").streams)


@pytest.mark.parametrize("cls", [Source, LoopSource])
@pytest.mark.parametrize("method", ["watched", "watched_async"])
async def test_cancelling_a_stream_at_each_step_ends_the_generator(
    cls: type[Source], method: str, trio_lab: Context
) -> None:
    x: Any = await trio_lab.make_rpc_object("x", cls)
    actor = actor_of(trio_lab, "x")

    async def scenario() -> None:
        async with await getattr(x, method)() as stream:
            for _ in range(3):
                assert await anext(stream) == 1

    async def check() -> None:
        gc.collect(1)  # what the scenario has left is young
        if actor.streams:
            gc.collect()
        await until(lambda: not actor.streams and actor.mailbox.current is None)
        check_idle(actor)
        assert await x.nothing() == 0

    assert await cancel_at_each_step(scenario, check) >= 3


async def test_an_async_stream_is_cancelled_when_its_object_goes(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Source)
    thing = actor_of(trio_lab, "x").object
    stream = await x.watched_async()
    assert await anext(stream) == 1
    with trio.fail_after(5):
        await trio_lab.remove_rpc_object(x)
    assert thing.closed == ["released", "async"]
