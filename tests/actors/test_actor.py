from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

import qmi
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_CallCycleException,
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_ObjectRemovedException,
    QMI_RpcTimeoutException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.messages import Call, Describe, QueryStatistics
from tests.support.actors import actor_of, check_idle
from tests.support.cancel_steps import cancel_at_each_step
from tests.support.drivers import Async, Gate, Inline, Mixed, Plain, SyncLoop
from tests.support.waiting import until, wait_until

KINDS = [Plain, Inline, Mixed]


@pytest.mark.parametrize("cls", [*KINDS, Async, SyncLoop])
def test_calls_are_answered(lab: QMI_Context, cls: type[Any]) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    assert x.add(1) == 3
    assert x.add(1, b=5) == 6
    assert x.add(1, 1, rpc_timeout=10) == 2
    future = x.rpc_nonblocking.add(3)
    assert (future.wait(10), future.wait(10)) == (5, 5)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        x.add()
    assert x.add(1) == 3


def test_plain_methods_run_in_the_thread_of_the_constructor(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    assert all(x.own_thread() for _ in range(3))
    assert x.rpc_nonblocking.own_thread().wait(10)
    mixed = lab.make_instrument("y", Mixed)
    assert mixed.own_thread()
    assert mixed.add_async(1) == 2  # type: ignore[comparison-overlap]
    assert mixed.own_thread()


def test_plain_methods_of_a_loop_object_run_in_the_loop(lab: QMI_Context) -> None:
    x = lab.make_rpc_object("x", SyncLoop)
    assert x.double(4) == 8
    assert not actor_of(lab, "x").statistics().thread


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class UnprintableExit(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def local_error() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


FAULTS: list[tuple[BaseException, type[BaseException], str]] = [
    (ValueError("plain"), ValueError, "plain"),
    (local_error(), Exception, "local"),
    (Exception("x" * 1_000_000), Exception, "xxx"),
    (KeyboardInterrupt("ctrl"), QMI_RuntimeException, r"lab\.x\.fail\(\) raised KeyboardInterrupt: ctrl"),
    (SystemExit(3), QMI_RuntimeException, r"lab\.x\.fail\(\) raised SystemExit: 3"),
    (GeneratorExit(), QMI_RuntimeException, r"lab\.x\.fail\(\) raised GeneratorExit"),
    (StopIteration(1), (RuntimeError if False else StopIteration), "1"),
    (UnprintableExit(), QMI_RuntimeException, r"raised UnprintableExit: \(its text cannot be shown: RuntimeError\)"),
    (ExceptionGroup("several", [ValueError("one")]), ExceptionGroup, "several"),
]


@pytest.mark.parametrize("cls", [Plain, Inline, Async])
@pytest.mark.parametrize(("error", "expected", "text"), FAULTS, ids=[type(fault[0]).__name__ for fault in FAULTS])
def test_fault_12_a_driver_may_raise_anything(
    lab: QMI_Context, cls: type[Any], error: BaseException, expected: type[BaseException], text: str
) -> None:
    x: Any = lab.make_rpc_object("x", cls)
    if cls is Async and isinstance(error, StopIteration):
        expected, text = RuntimeError, "coroutine raised StopIteration"
    if cls is Inline and isinstance(error, KeyboardInterrupt):
        expected, text = KeyboardInterrupt, "ctrl"  # in the main thread it is Ctrl-C
    with pytest.raises(expected, match=text):
        x.fail(error)
    with pytest.raises(QMI_RuntimeException if expected is KeyboardInterrupt else expected):
        x.fail(error, rpc_timeout=10)
    future = x.rpc_nonblocking.fail(error)
    with pytest.raises(QMI_RuntimeException if expected is KeyboardInterrupt else expected):
        future.wait(10)
    assert x.add(1) == 3
    statistics = actor_of(lab, "x").statistics()
    assert (statistics.calls, statistics.errors) == (4, 3)


def test_fault_12_an_unprintable_exception_gets_through(lab: QMI_Context) -> None:
    for name, cls in (("x", Plain), ("y", Inline)):
        x = lab.make_instrument(name, cls)
        with pytest.raises(Unprintable):
            x.fail(Unprintable())
        assert x.add(1) == 3


def test_fault_12_a_keyboard_interrupt_of_a_driver_does_not_reach_a_thread_that_called(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Inline)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            x.fail(KeyboardInterrupt("ctrl"))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert isinstance(caught[0], QMI_RuntimeException)
    assert isinstance(caught[0].__cause__, KeyboardInterrupt)
    assert x.add(1) == 3


def test_fault_13_sixty_stuck_drivers_do_not_slow_another_one(lab: QMI_Context, gate: Gate) -> None:
    stuck = [lab.make_instrument(f"stuck{index}", Plain, gate) for index in range(60)]
    futures = [proxy.rpc_nonblocking.block() for proxy in stuck]
    x = lab.make_instrument("x", Plain)
    for proxy in stuck:
        wait_until(lambda name=proxy.address: actor_of(lab, name.split(".")[1]).statistics().busy_with is not None)  # type: ignore[misc]
    for _ in range(20):
        assert x.add(1, rpc_timeout=5) == 3
    with pytest.raises(
        QMI_RpcTimeoutException,
        match=r"No answer from lab\.stuck7\.add\(\) within 0\.01 s: lab\.stuck7 is busy with block\(\) for \d+\.\d s, "
        r"called from context 'lab', now at .*drivers\.py:\d+ in pass_through",
    ):
        stuck[7].add(1, rpc_timeout=0.01)
    gate.open.set()
    assert {future.wait(10) for future in futures} == {"passed"}


@pytest.mark.parametrize("cls", KINDS)
def test_fault_17_a_cycle_of_calls_is_refused_with_a_drawing(lab: QMI_Context, cls: type[Any]) -> None:
    a, b, c = (lab.make_instrument(name, cls) for name in "abc")
    with pytest.raises(QMI_CallCycleException, match=r"wait for each other for ever: lab\.a -> lab\.a\.add\(\)$"):
        a.call_other(a, "add", 1)
    with pytest.raises(QMI_CallCycleException, match=r": lab\.a -> lab\.b -> lab\.a\.add\(\)$"):
        a.call_other(b, "call_other", a, "add", 1)
    with pytest.raises(QMI_CallCycleException, match=r": lab\.b -> lab\.c -> lab\.b\.add\(\)$"):
        a.call_other(b, "call_other", c, "call_other", b, "add", 1)
    assert [proxy.add(1) for proxy in (a, b, c)] == [3, 3, 3]


@pytest.mark.parametrize("cls", KINDS)
def test_fault_17_a_diamond_is_no_cycle(lab: QMI_Context, cls: type[Any]) -> None:
    a, b, c = (lab.make_instrument(name, cls) for name in "abc")
    assert a.call_other(b, "call_other", c, "add", 1) == 3
    assert a.call_other(c, "add", 1) == 3
    assert b.call_other(c, "add", 1) == 3


async def test_fault_17_cycles_of_async_objects_are_refused(trio_lab: Context) -> None:
    a: Any = await trio_lab.make_rpc_object("a", Async)
    b: Any = await trio_lab.make_rpc_object("b", Async)
    with pytest.raises(QMI_CallCycleException, match=r": lab\.a -> lab\.a\.add\(\)$"):
        await a.call_other(a, "add", 1)
    with pytest.raises(QMI_CallCycleException, match=r": lab\.a -> lab\.b -> lab\.a\.add\(\)$"):
        await a.call_other(b, "call_other", a, "add", 1)
    assert await a.call_other(b, "add", 1) == 3


class Maker(QMI_RpcObject):
    """Makes an object whose constructor calls its maker."""

    @rpc_method
    def make(self, own_proxy: Any) -> None:
        self._context.make_rpc_object("child", Child, own_proxy)

    @rpc_method
    def get(self) -> int:
        return 1


class Child(QMI_RpcObject):
    def __init__(self, context: Any, name: str, maker: Any) -> None:
        super().__init__(context, name)
        maker.get()


def test_fault_17_a_constructor_belongs_to_the_cycle(lab: QMI_Context) -> None:
    maker = lab.make_rpc_object("maker", Maker)
    with pytest.raises(QMI_CallCycleException, match=r": lab\.maker -> lab\.child -> lab\.maker\.get\(\)$"):
        maker.make(maker)
    assert maker.get() == 1
    assert lab.list_rpc_objects() == [("lab.maker", "tests.actors.test_actor.Maker")]


def test_methods_that_are_not_there(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    actor = actor_of(lab, "x")

    def call(name: str) -> None:
        actor.handle(Call("x", name), lab.async_context.origin).wait(10)

    with pytest.raises(
        QMI_UnknownRpcException, match=r"Plain lab\.x has no published method 'ad'\. Did you mean 'add'\?"
    ):
        call("ad")
    with pytest.raises(QMI_UnknownRpcException, match=r"has no published method '__init__'$"):
        call("__init__")
    with pytest.raises(QMI_UnknownRpcException, match="'unpublished'; the class has it, but without @rpc_method"):
        call("unpublished")
    for view in (x, x.rpc_nonblocking, x.rpc_async):
        with pytest.raises(QMI_UnknownRpcException, match=r"no published method 'ad'\. Did you mean 'add'\?"):
            view.ad(1)
        assert not hasattr(view, "unpublished")
    assert actor.calls == 0


def test_other_questions_are_answered_at_once(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    waiting = x.rpc_nonblocking.add(1)
    actor, origin = actor_of(lab, "x"), lab.async_context.origin
    statistics = actor.handle(QueryStatistics("x"), origin).wait(0)
    assert statistics.busy_for >= 0
    assert statistics._replace(busy_for=0.0) == (1, 0, 1, "block()", 0.0, "lab", True)
    assert actor.handle(Describe("x"), origin).wait(0) is actor.interface
    assert repr(actor) == "<actor lab.x>"
    gate.open.set()
    assert running.wait(10) == "passed"
    assert waiting.wait(10) == 3
    assert actor.statistics() == (2, 0, 0, None, 0.0, None, True)
    assert actor.explain_busy() == ""


def test_a_call_that_is_given_up_in_line_never_runs(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    dropped, kept = x.rpc_nonblocking.count(), x.rpc_nonblocking.count()
    assert dropped.cancel()
    assert running.cancel(), "a plain method runs on, its result is dropped"
    gate.open.set()
    assert kept.wait(10) == 1
    with pytest.raises(QMI_CancelledCallException):
        running.wait()


@pytest.mark.parametrize("method", ["forever", "nursery_forever"])
def test_a_call_that_is_given_up_is_cancelled_in_the_loop(lab: QMI_Context, method: str) -> None:
    x: Any = lab.make_rpc_object("x", Async)
    actor = actor_of(lab, "x")
    for _ in range(3):
        future = getattr(x.rpc_nonblocking, method)()
        wait_until(lambda: bool(actor.object.reached.is_set()))
        future.cancel()
        assert x.add(1, rpc_timeout=10) == 3
    with pytest.raises(QMI_RpcTimeoutException, match=r"lab\.x is busy with \w+\(\) for"):
        getattr(x, method)(rpc_timeout=0.01)
    assert x.add(1, rpc_timeout=10) == 3
    check_idle(actor)


@pytest.mark.parametrize("cls", [Plain, Inline, Mixed, Async, SyncLoop])
async def test_cancelling_a_call_at_each_step_leaves_nothing_behind(cls: type[Any], trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", cls)
    actor = actor_of(trio_lab, "x")

    async def alone() -> None:
        assert await x.add(1) == 3
        assert await x.add(1, rpc_timeout=10) == 3

    async def in_a_crowd() -> None:
        others = [x.rpc_nonblocking.count() for _ in range(3)]
        try:
            assert await x.count() >= 1
        finally:
            others[0].cancel()

    async def check() -> None:
        await until(lambda: actor.mailbox.current is None)
        check_idle(actor)
        assert await x.add(1) == 3
        assert await x.count() >= 1

    for scenario in (alone, in_a_crowd):
        assert await cancel_at_each_step(scenario, check) >= 2


async def test_cancelling_make_and_remove_at_each_step_leaves_nothing_behind() -> None:
    for cls in (Plain, Inline, Async):
        async with qmi.open_context("lab", None, init_logging=False) as lab:

            async def scenario() -> None:
                proxy = await lab.make_rpc_object("x", cls)  # noqa: B023
                await lab.remove_rpc_object(proxy)

            async def check() -> None:
                with trio.CancelScope(shield=True):
                    await until(lambda: lab.registry.get("x") is None)
                    proxy = await lab.make_rpc_object("x", cls)  # noqa: B023
                    await lab.remove_rpc_object(proxy)

            assert await cancel_at_each_step(scenario, check) >= 2


async def test_an_async_method_is_cancelled_when_its_object_goes(trio_lab: Context) -> None:
    for method in ("forever", "nursery_forever"):
        for direct in (True, False):
            x: Any = await trio_lab.make_rpc_object("x", Async)
            thing = actor_of(trio_lab, "x").object

            async def call() -> None:
                view = x if direct else x.rpc_nonblocking  # noqa: B023
                with pytest.raises(QMI_ObjectRemovedException, match=r"^lab\.x was removed from its context$"):
                    await getattr(view, method)()  # noqa: B023

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await thing.reached.wait()
                await trio_lab.remove_rpc_object(x)
            assert thing.released


async def test_an_outer_cancellation_gets_through_a_driver_with_a_nursery(trio_lab: Context) -> None:
    x: Any = await trio_lab.make_rpc_object("x", Async)
    with trio.move_on_after(0.01) as scope:
        await x.nursery_forever()
    assert scope.cancelled_caught
    with pytest.raises(QMI_RpcTimeoutException, match=r"lab\.x\.forever\(\) within 0\.01 s"):
        await x.forever(rpc_timeout=0.01)
    assert await x.add(1) == 3


class Coroutines(QMI_RpcObject):
    """Plain methods that leave something to be awaited."""

    @rpc_method
    def later(self, value: int) -> Any:
        async def rest() -> int:
            await trio.lowlevel.checkpoint()
            if value < 0:
                raise ValueError(value)
            return value + 1

        return rest()


def test_a_plain_method_may_leave_a_coroutine(lab: QMI_Context) -> None:
    x = lab.make_rpc_object("x", Coroutines)
    assert x.later(1) == 2
    with pytest.raises(ValueError, match="-1"):
        x.later(-1)
    check_idle(actor_of(lab, "x"))


def test_calls_after_the_end_say_what_went(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    lab.remove_rpc_object(x)
    for call in (x.add, lambda a: x.add(a, rpc_timeout=1), lambda a: x.rpc_nonblocking.add(a).wait(1)):
        with pytest.raises(QMI_ObjectRemovedException, match=r"^lab\.x was removed from its context$"):
            call(1)
    with pytest.raises(QMI_ObjectRemovedException):
        x.is_locked()
    actor_less = QMI_Context("other")
    actor_less.start()
    y = actor_less.make_instrument("y", Plain)
    actor_less.stop()
    with pytest.raises(QMI_ContextStoppedException, match="Context 'other' has stopped"):
        y.add(1)
    with pytest.raises(QMI_ContextStoppedException):
        y.lock()


def test_an_actor_takes_no_call_when_it_is_gone(lab: QMI_Context) -> None:
    for name, cls in (("x", Plain), ("y", Async)):
        proxy: Any = lab.make_rpc_object(name, cls)
        actor = actor_of(lab, name)
        lab.remove_rpc_object(proxy)
        future = actor.handle(Call(name, "add", (1,)), lab.async_context.origin)
        with pytest.raises(QMI_ObjectRemovedException):
            future.wait(10)


def test_the_loop_that_ended_answers_who_still_asks() -> None:
    context = QMI_Context("late")
    context.start()
    context.make_rpc_object("x", Async)
    actor = actor_of(context, "x")
    context.stop()
    actor.mailbox.closed = actor.mailbox.current = None  # as if the call had slipped in just before
    with pytest.raises(QMI_ContextStoppedException):
        actor.handle(Call("x", "add", (1,)), context.async_context.origin).wait(10)
