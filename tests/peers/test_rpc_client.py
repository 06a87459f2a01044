from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.core.context import Context
from qmi.core.exceptions import (
    QMI_CancelledCallException,
    QMI_Exception,
    QMI_RemoteException,
    QMI_RpcTimeoutException,
    QMI_RuntimeException,
    QMI_UnknownNameException,
    QMI_UnknownRpcException,
    QMI_ValueNotSendableException,
)
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.messages import Call, Origin
from qmi.peers.rpc_client import RemoteCall
from qmi.peers.rpc_server import ServedCall
from tests.support.devices import Bench, Mode, Reading, Settings, UserError
from tests.support.lab import address
from tests.support.links import Lab, object_of
from tests.support.waiting import until, wait_until


def test_a_remote_instrument_behaves_like_a_local_one(lab: Lab) -> None:
    lab.there.make_instrument("nsg", NoisySineGenerator)
    nsg = lab.here.get_instrument("there.nsg")
    nsg.set_amplitude(0)
    nsg.set_noise(0)
    assert nsg.get_sample() == 0
    assert nsg.get_amplitude() == 0
    with nsg:
        assert nsg.is_open()
    assert dir(nsg) == dir(lab.there.get_instrument("nsg"))
    assert nsg.get_sample.__doc__ == NoisySineGenerator.get_sample.__doc__


@pytest.mark.parametrize("shared", [True, False])
def test_remote_call_begins_with_all_that_a_future_has(shared: bool) -> None:
    def state(future: QMI_RpcFuture[Any]) -> dict[str, object]:
        found = {name: getattr(future, name, "missing") for name in QMI_RpcFuture.__slots__ if name != "_what"}
        return found | {"_once": type(found["_once"])}

    link: Any = None
    assert state(RemoteCall(link, "x", shared=shared)) == state(QMI_RpcFuture("x", shared=shared))
    served = ServedCall(link, 1, Call("x", "y"), Origin("there", "1"))
    assert state(served) == state(QMI_RpcFuture("x", shared=False)) | {"_waker": served._send, "_explain": "missing"}


def test_caller_that_reads_waits_for_an_end_that_has_just_begun() -> None:
    """Whoever ends a call takes its lock first; the value is there a moment later."""

    def finish() -> None:
        wait_until(lambda: call._waker is not None)
        call._value, call._done = 5, True
        assert call._waker is not None
        call._waker()

    class Link:
        def drive_io(self, done: Callable[[], object], timeout: float | None, **_: bool) -> None:
            assert not done()
            call._once.acquire()
            assert done()
            finishing.start()

    link: Any = Link()
    call = RemoteCall(link, "x", shared=False)
    finishing = threading.Thread(target=finish)
    assert call.wait_or_cancel(None, None) == 5
    finishing.join()


VALUES = [
    None, 3, -(1 << 70), 2.5, "text", b"bytes", (1, (2, [3])), {1: "a", (1, 2): "b"}, {1, 2}, frozenset("ab"), 1j,
    Mode.FAST, Reading(1.5, "V"), Settings(Mode.SLOW, {"x": Reading(0.0, "A")}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[type(value).__name__ for value in VALUES])
def test_values_come_back_equal_and_of_the_same_type(lab: Lab, value: Any) -> None:
    back = lab.bench.echo(value)
    assert back == value
    assert type(back) is type(value)


def test_keyword_arguments_travel_too(lab: Lab) -> None:
    assert lab.bench.echo(1, b=2) == (1, {"b": 2})
    with pytest.raises(TypeError, match="unexpected keyword"):
        lab.bench.note(nothing=1)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "c16"])
def test_large_arrays_come_back_with_layout_and_byte_order(lab: Lab, dtype: str) -> None:
    array = np.arange(600_000).reshape(600, 1000).astype(dtype)
    for one in (array, array.T, array[::3, 1:]):
        back = lab.bench.echo(one)
        assert back.dtype == one.dtype
        assert np.array_equal(back, one)
        assert back.flags.writeable


def test_listing_has_the_objects_of_peers(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.here.make_rpc_object("own", Bench)
    assert sorted(name for name, _ in lab.here.list_rpc_objects()) == ["here.own", "there.async", "there.bench"]
    lab.here.show_instruments()
    assert "there.bench tests.support.devices.Bench" in " ".join(capsys.readouterr().out.split())
    lab.here.show_contexts()
    assert "there yes" in " ".join(
        word for line in capsys.readouterr().out.splitlines() for word in line.split()[::2] if "there" in line
    )
    proxy = lab.here.make_peer_context_proxy("there")
    assert proxy.get_version() == lab.here.get_version()
    assert proxy.get_rpc_object_descriptor("bench").category == "instrument"


def test_unknown_objects_and_methods_are_named(lab: Lab) -> None:
    with pytest.raises(QMI_UnknownNameException, match=r"'there' has no object named 'bnch'. Did you mean 'bench'"):
        lab.here.get_instrument("there.bnch")
    with pytest.raises(QMI_UnknownRpcException, match="Did you mean 'echo'"):
        lab.bench.ecco()
    # A peer is not to be trusted to ask only for what is published.
    link = lab.link(lab.here, "there")
    from qmi.peers.rpc_client import ask

    with pytest.raises(QMI_UnknownRpcException, match="no published method '__init__'"):
        ask(link, "x", Call("bench", "__init__", (None, "x"))).wait(5)
    with pytest.raises(TypeError, match="positional argument"):
        ask(link, "x", Call("$context", "get_pid", (1, 2))).wait(5)
    assert lab.bench.echo(1) == 1


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("value", ValueError, "bad value"),
        ("user", UserError, "broken"),
        ("local", QMI_RemoteException, "Local: only here"),
        ("unprintable", QMI_Exception, "Unprintable"),
        ("huge", RuntimeError, "left out"),
        ("interrupt", QMI_RuntimeException, "raised KeyboardInterrupt"),
        ("exit", QMI_RuntimeException, "raised SystemExit: 3"),
        ("group", ExceptionGroup, "several"),
    ],
)
def test_fault_12_exception_of_a_driver_is_an_error_of_that_call_alone(
    lab: Lab, kind: str, expected: type[Exception], text: str
) -> None:
    with pytest.raises(Exception) as caught:
        lab.bench.fail(kind)
    if kind != "unprintable":
        assert isinstance(caught.value, expected)
        assert text in str(caught.value)
    assert "in fail" in str(caught.value.__cause__)
    assert lab.bench.echo("next") == "next"


def test_a_user_exception_keeps_its_type_and_attributes(lab: Lab) -> None:
    with pytest.raises(UserError) as caught:
        lab.bench.fail("user")
    assert caught.value.code == 7
    assert caught.value.args == (7, "broken")


def test_the_error_of_a_call_is_freed_as_soon_as_nobody_has_it_any_more(lab: Lab) -> None:
    gc.disable()
    try:
        for wait in (lab.bench.fail, lambda kind: lab.bench.rpc_nonblocking.fail(kind).wait(10)):
            with pytest.raises(UserError) as caught:
                wait("user")
            freed = weakref.ref(caught.value)
            del caught
            wait_until(partial(lambda reference: reference() is None, freed))
    finally:
        gc.enable()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "lock": (lambda: {"a": [threading.Lock()]}, r"args\[0\]\['a'\]\[0\]: threading.Lock cannot be sent"),
    "deep list": (lambda: nested(10_000), "nested deeper than 64"),
    "surrogate": (lambda: ["\ud800"], "surrogate"),
    "generator": (lambda: (i for i in range(3)), "generator"),
    "too large": (lambda: "x" * (17 << 20), "too large to be sent.*limit"),
    "object array": (lambda: np.array([object()]), "dtype"),
}


@pytest.mark.parametrize("name", BAD)
def test_fault_10_call_that_cannot_be_sent_fails_at_once_with_its_place(lab: Lab, name: str) -> None:
    make, pattern = BAD[name]
    with pytest.raises(QMI_ValueNotSendableException, match=pattern):
        lab.bench.echo(make())
    assert lab.bench.echo("next") == "next"


def test_fault_10_a_result_that_cannot_be_sent_is_an_error_to_the_caller(lab: Lab) -> None:
    lab.actual().calls = [threading.Lock()]
    with pytest.raises(QMI_ValueNotSendableException, match=r"result\[0\]: threading.Lock cannot be sent"):
        lab.bench.notes()
    assert lab.bench.echo("next") == "next"


def test_futures_of_remote_calls_give_results_and_errors(lab: Lab) -> None:
    futures = [lab.bench.rpc_nonblocking.note(number) for number in range(100)]
    assert [future.wait(10) for future in futures] == list(range(1, 101))
    assert lab.bench.notes() == list(range(100))
    with pytest.raises(UserError):
        lab.bench.rpc_nonblocking.fail("user").wait(10)


def test_a_timeout_says_what_the_object_does_and_frees_the_request(lab: Lab) -> None:
    with pytest.raises(
        QMI_RpcTimeoutException, match=r"there.bench.block\(\) within 0.05 s: there.bench is busy with block\(\)"
    ):
        lab.bench.block(rpc_timeout=0.05)
    lab.actual().gate.set()
    assert lab.bench.echo(1, rpc_timeout=10) == 1


def test_cancelling_reaches_an_async_method(lab: Lab) -> None:
    with pytest.raises(QMI_RpcTimeoutException):
        lab.coro.forever(rpc_timeout=0.2)
    assert lab.actual("async").cancelled.wait(10)
    lab.actual("async").cancelled.clear()
    lab.actual("async").entered.clear()
    future = lab.coro.rpc_nonblocking.forever()
    assert lab.actual("async").entered.wait(10)
    assert future.cancel()
    assert lab.actual("async").cancelled.wait(10)
    with pytest.raises(QMI_CancelledCallException):
        future.wait()


def test_a_call_that_waits_in_line_is_withdrawn_by_a_timeout(lab: Lab) -> None:
    running = lab.bench.rpc_nonblocking.block()
    assert lab.actual().entered.wait(10)
    with pytest.raises(QMI_RpcTimeoutException):
        lab.bench.note("never", rpc_timeout=0.05)
    wait_until(lambda: not len(lab.there.async_context.registry.get("bench").mailbox))  # type: ignore[union-attr]
    lab.actual().gate.set()
    assert running.wait(10) == "done"
    assert lab.bench.notes() == ["block ended"]


# Streams


def test_a_stream_is_consumed_item_by_item_and_kept_back(lab: Lab) -> None:
    stream = lab.bench.count(1000)
    assert next(stream) == 0
    wait_until(lambda: lab.actual().produced >= 8)
    assert lab.bench.echo(1) == 1  # between two items others have their turn
    assert lab.actual().produced < 20
    assert list(stream) == list(range(1, 1000))
    assert lab.actual().closed.is_set()


def test_leaving_a_stream_early_closes_the_generator(lab: Lab) -> None:
    for item in lab.bench.count(10**9):
        if item == 20:
            break
    gc.collect()
    assert lab.actual().closed.wait(10)
    assert lab.actual().produced < 50


def test_consumers_of_streams_do_not_disturb_each_other(lab: Lab) -> None:
    first, second = lab.bench.count(300), lab.coro.count(300)
    assert [item for pair in zip(first, second, strict=True) for item in pair] == [n for n in range(300) for _ in "ab"]


def test_an_error_in_a_stream_comes_after_its_items(lab: Lab) -> None:
    stream = lab.bench.bad_stream()
    assert next(stream) == 1
    with pytest.raises(UserError):
        next(stream)
    assert list(stream) == []


def test_an_item_that_cannot_be_sent_ends_the_stream(lab: Lab) -> None:
    stream = lab.bench.bad_stream("unsendable")
    assert next(stream) == 1
    with pytest.raises(QMI_ValueNotSendableException, match="item"):
        next(stream)
    assert lab.actual().closed.wait(10)


def test_a_stream_given_up_before_it_opened_is_closed(lab: Lab) -> None:
    running = lab.bench.rpc_nonblocking.block()
    assert lab.actual().entered.wait(10)
    future = lab.bench.rpc_nonblocking.count(5)
    assert future.cancel()
    lab.actual().gate.set()
    running.wait(10)
    wait_until(lab.nothing_is_open)


def test_the_loss_of_the_link_ends_a_stream_with_an_error(lab: Lab) -> None:
    stream = lab.bench.count(10**9)
    assert next(stream) == 0
    lab.here.disconnect_from_peer("there")
    with pytest.raises(QMI_Exception, match="disconnected"):
        list(stream)
    assert lab.actual().closed.wait(10)
    lab.here.connect_to_peer("there", address(lab.there))


async def test_trio_programs_use_streams_arrays_locks_and_cancellation_across_a_link(
    contexts: tuple[Context, Context],
) -> None:
    here, there = contexts
    bench: Any = await here.get_instrument("there.bench")
    coro: Any = await here.get_instrument("there.async")
    assert await bench.echo((1, 2)) == (1, 2)
    assert [item async for item in await bench.count(30)] == list(range(30))
    async with await coro.count(10**9) as stream:
        assert await stream.__anext__() == 0
    actual = object_of(there, "async")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(coro.forever)
        await until(actual.entered.is_set)
        nursery.cancel_scope.cancel()
    await until(lambda: actual.cancelled.is_set() and actual.closed.is_set())
    async with bench.locked():
        assert await bench.is_locked()
    assert not await bench.is_locked()
    with pytest.raises(QMI_RpcTimeoutException, match=r"there\.async is busy with forever"):
        await coro.forever(rpc_timeout=0.05)
    with pytest.raises(UserError):
        await bench.fail("user")


# Locks


def test_a_lock_of_a_remote_proxy_keeps_others_out(lab: Lab) -> None:
    local = lab.there.get_instrument("bench")
    assert lab.bench.lock()
    with pytest.raises(QMI_RuntimeException, match=r"locked by another proxy.*held by context 'here'"):
        local.echo(1)
    assert not local.lock()
    assert lab.bench.echo(1) == 1
    assert lab.bench.unlock()
    assert local.lock()
    assert not lab.bench.lock(timeout=0.05)
    future: QMI_RpcFuture[bool] = QMI_RpcFuture()
    threading.Thread(target=lambda: future.set_result(lab.bench.lock(timeout=10))).start()
    assert local.unlock()
    assert future.wait(10) is True
    assert lab.bench.is_locked()
    assert lab.bench.unlock()


def test_a_lock_with_a_text_can_be_undone_from_another_context_by_name(lab: Lab) -> None:
    assert lab.bench.lock(lock_token="my_token")
    local = lab.there.get_instrument("bench")
    assert not local.unlock(lock_token="my_token")
    assert not local.unlock(lock_token="other", context_name="here")
    assert local.unlock(lock_token="my_token", context_name="here")
    assert not lab.bench.is_locked()


def test_force_unlock_works_across_a_link(lab: Lab) -> None:
    assert lab.there.get_instrument("bench").lock()
    lab.bench.force_unlock()
    assert not lab.bench.is_locked()


# Cycles


def test_fault_17_a_cycle_across_contexts_is_refused_with_its_members(lab: Lab) -> None:
    mine = lab.here.make_instrument("mine", Bench)
    lab.there.connect_to_peer("here", address(lab.here), ignore_duplicate=True)
    with pytest.raises(QMI_RuntimeException, match=r"here.mine -> there.bench -> here.mine.echo\(\)"):
        mine.call_other("there.bench", "call_other", "here.mine", "echo", 1)
    third = lab.there.make_instrument("third", Bench)
    with pytest.raises(QMI_RuntimeException, match=r"here.mine -> there.bench -> there.third -> here.mine.echo\(\)"):
        mine.call_other("there.bench", "call_other", "there.third", "call_other", "here.mine", "echo", 1)
    # A diamond is no cycle, and all of them can still be used.
    assert mine.call_other("there.bench", "call_other", "there.third", "echo", 4) == 4
    assert mine.call_other("there.third", "echo", 5) == 5
    assert (mine.echo(1), lab.bench.echo(2), third.echo(3)) == (1, 2, 3)
