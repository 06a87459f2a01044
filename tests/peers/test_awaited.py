from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import trio

from qmi.core.context import Context
from qmi.core.exceptions import (
    QMI_CallCycleException,
    QMI_ContextStoppedException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_RpcTimeoutException,
    QMI_ValueNotSendableException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from tests.support.devices import UserError
from tests.support.links import Lab, object_of, two_contexts
from tests.support.waiting import until


async def test_an_awaited_call_gives_what_the_method_returns_or_raises(contexts: tuple[Context, Context]) -> None:
    here, _ = contexts
    bench: Any = await here.get_instrument("there.bench")
    assert await bench.echo((1, "x")) == (1, "x")
    assert await bench.echo(1, rpc_timeout=10, more=[2]) == (1, {"more": [2]})
    with pytest.raises(UserError) as caught:
        await bench.fail("user")
    assert caught.value.code == 7
    assert "in fail" in str(caught.value.__cause__), "where it was raised there"
    assert here.link_to("there").open_requests == 0


@pytest.mark.parametrize("calls_before", [0, 1])
async def test_a_call_of_a_context_that_has_stopped_says_so(calls_before: int) -> None:
    async with two_contexts() as (here, _):
        bench: Any = await here.get_instrument("there.bench")
        for _ in range(calls_before):
            assert await bench.echo(1) == 1
    with pytest.raises(QMI_ContextStoppedException, match="Context 'here' has stopped"):
        await bench.echo(1)


async def test_answer_is_freed_as_soon_as_nobody_has_it_any_more(contexts: tuple[Context, Context]) -> None:
    here, _ = contexts
    bench: Any = await here.get_instrument("there.bench")
    gc.disable()
    try:
        with pytest.raises(UserError) as caught:
            await bench.fail("user")
        error = weakref.ref(caught.value)
        del caught
        assert error() is None
        value = weakref.ref(await bench.echo(numpy.arange(100_000)))
        assert value() is None
    finally:
        gc.enable()


async def test_a_caller_who_is_cancelled_cancels_the_method_and_leaves_nothing_open(
    contexts: tuple[Context, Context],
) -> None:
    here, there = contexts
    coro: Any = await here.get_instrument("there.async")
    link = here.link_to("there")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(coro.forever)
        await until(object_of(there, "async").entered.is_set)
        nursery.cancel_scope.cancel()
    await until(object_of(there, "async").cancelled.is_set)
    await until(lambda: link.open_requests == 0)
    assert await coro.echo(1) == 1


async def test_a_timeout_says_what_was_called_and_what_the_object_does(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    coro: Any = await here.get_instrument("there.async")
    heard = r"there\.async is busy with forever\(\) for \d\.\d s, called from context 'here'$"
    with pytest.raises(
        QMI_RpcTimeoutException, match=rf"^No answer from there\.async\.forever\(\) within 0\.05 s: {heard}"
    ):
        await coro.forever(rpc_timeout=0.05)
    await until(object_of(there, "async").cancelled.is_set)


async def test_call_that_cannot_be_sent_fails_with_its_place_before_anything_goes_out(
    contexts: tuple[Context, Context],
) -> None:
    here, _ = contexts
    bench: Any = await here.get_instrument("there.bench")
    written = here.link_to("there")._out.volume
    with pytest.raises(QMI_ValueNotSendableException, match=r"args\[0\]\[1\]"):
        await bench.echo([1, threading.Lock()])
    assert here.link_to("there")._out.volume == written


async def test_the_loss_of_the_link_is_told_apart_from_what_never_went_out(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    coro: Any = await here.get_instrument("there.async")
    found: list[BaseException] = []

    async def call() -> None:
        with pytest.raises(QMI_Exception) as caught:
            await coro.forever()
        found.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await until(object_of(there, "async").entered.is_set)
        await here.disconnect_from_peer("there")
    assert [type(error) for error in found] == [QMI_OutcomeUnknownException]
    with pytest.raises(QMI_NotDeliveredException, match=r"There is no connection to context 'there'"):
        await coro.echo(1)


async def test_call_without_a_link_lets_other_tasks_run(contexts: tuple[Context, Context]) -> None:
    here, _ = contexts
    coro: Any = await here.get_instrument("there.async")
    await here.disconnect_from_peer("there")
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(100):
            with pytest.raises(QMI_NotDeliveredException):
                await coro.echo(1)
        nursery.cancel_scope.cancel()
    assert others > 50, "about one turn for each try"


class Plain(QMI_RpcObject):
    """As it was when the proxy was made."""

    @rpc_method
    def values(self) -> Any:
        return [1, 2]


class Changed(QMI_RpcObject):
    """What it has become."""

    @rpc_method
    def values(self) -> Iterator[int]:
        yield 1


async def test_a_method_that_has_become_a_generator_is_an_error_that_says_so(contexts: tuple[Context, Context]) -> None:
    here, there = contexts
    made = await there.make_rpc_object("x", Plain)
    proxy: Any = await here.get_rpc_object("there.x")
    assert await proxy.values() == [1, 2]
    await there.remove_rpc_object(made)
    await there.make_rpc_object("x", Changed)
    with pytest.raises(QMI_Exception, match=r"has become a generator; get a new proxy of the object$"):
        await proxy.values()
    link = here.link_to("there")
    await until(lambda: link.open_requests == 0)
    fresh: Any = await here.get_rpc_object("there.x")
    assert [value async for value in await fresh.values()] == [1]


async def test_the_link_knows_that_a_task_waits_and_is_not_lent_to_a_thread(contexts: tuple[Context, Context]) -> None:
    here, _ = contexts
    coro: Any = await here.get_instrument("there.async")
    link = here.link_to("there")
    link._awaited = float("-inf")
    assert link.is_for_threads
    assert await coro.echo(1) == 1
    assert not link.is_for_threads


class Relay(QMI_RpcObject):
    """Asks another object, which may ask back."""

    @rpc_method
    async def value(self) -> int:
        return 7

    @rpc_method
    async def ask(self, proxy: Any, back: Any) -> Any:
        return await (proxy.rpc_async.value() if back is None else proxy.rpc_async.ask(back, None))


async def test_fault_17_a_cycle_of_awaited_calls_is_refused_by_whom_it_comes_back_to(
    contexts: tuple[Context, Context],
) -> None:
    here, there = contexts
    await there.make_rpc_object("far", Relay)
    await here.make_rpc_object("near", Relay)
    far: Any = await here.get_rpc_object("there.far")
    near: Any = await here.get_rpc_object("here.near")
    assert await near.ask(far.rpc_blocking, None) == 7
    with pytest.raises(QMI_CallCycleException, match=r"here\.near -> there\.far -> here\.near\.value\(\)$"):
        await near.ask(far.rpc_blocking, near.rpc_blocking)
    assert (await near.value(), await far.value()) == (7, 7)


async def test_a_task_of_another_loop_gets_its_answer_too(lab: Lab) -> None:
    assert await lab.bench.rpc_async.echo(5) == 5
    with pytest.raises(UserError):
        await lab.bench.rpc_async.fail("user")
    with pytest.raises(QMI_RpcTimeoutException):
        await lab.coro.rpc_async.forever(rpc_timeout=0.05)
