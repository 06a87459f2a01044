from __future__ import annotations

import logging
import math
import threading
from typing import Any

import pytest
import trio

from qmi.actors.future import QMI_RpcFuture, call_async, call_blocking, check_timeout
from qmi.core.context import QMI_Context
from qmi.errors import (
    QMI_BlockingOnLoopException,
    QMI_CancelledCallException,
    QMI_RpcTimeoutException,
    QMI_TaskStopException,
    QMI_UsageException,
)
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.wakeup import Interrupt


def test_a_value_can_be_had_more_than_once() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture("lab.nsg.get()")
    assert not future.done()
    assert repr(future) == "<rpc future of lab.nsg.get(): pending>"
    assert future.set_result(5)
    assert not future.set_result(6)
    assert not future.fail(ValueError())
    assert not future.cancel()
    assert (future.done(), future.error(), future.wait(), future.wait(0), future.result()) == (True, None, 5, 5, 5)
    assert repr(future) == "<rpc future of lab.nsg.get(): done>"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("bad"), "failed: ValueError: bad"),
        (ValueError(), "failed: ValueError"),
        (Unprintable(), "failed: Unprintable: (its text cannot be shown: RuntimeError)"),
    ],
)
def test_an_error_is_raised_for_everybody_who_waits(error: Exception, shown: str) -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    assert future.fail(error)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            future.wait()
        assert caught.value is error
        assert len(caught.traceback) == 3, "tracebacks must not pile up"
    assert shown in repr(future)


def test_future_wakes_all_threads_that_wait_for_it() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(future.wait(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    future.set_result(3)
    for thread in threads:
        thread.join()
    assert got == [3] * 8


def test_a_wait_that_takes_too_long_says_what_the_callee_does_and_can_be_repeated() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture("lab.nsg.get()", explain=lambda: "lab.nsg is busy")
    with pytest.raises(QMI_RpcTimeoutException, match=r"^No answer from lab.nsg.get\(\) within 0 s: lab.nsg is busy$"):
        future.wait(0)
    with pytest.raises(TimeoutError, match=r"within 0.001 s"):
        future.wait(0.001)
    future.set_result(1)
    assert future.wait(0) == 1


async def test_waits_that_are_given_up_leave_nothing_behind() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    for _ in range(3):
        with trio.move_on_after(0):
            await future
        with pytest.raises(QMI_RpcTimeoutException):
            await trio.to_thread.run_sync(future.wait, 0)
    assert future._callbacks == []


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, "1", b"1", True, [], 10**400, 1j])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with pytest.raises(QMI_UsageException, match="A timeout is a number of seconds from 0 on, or None; got"):
        check_timeout(timeout)
    with pytest.raises(QMI_UsageException):
        QMI_RpcFuture[int]().wait(timeout)


def test_timeouts_become_floats() -> None:
    assert [check_timeout(value) for value in (None, 0, 2, 0.5, math.inf)] == [None, 0.0, 2.0, 0.5, math.inf]
    numpy = pytest.importorskip("numpy")
    assert check_timeout(numpy.float32(0.5)) == 0.5
    assert check_timeout(numpy.int64(2)) == 2.0


def test_future_that_is_cancelled_notifies_the_callee_once() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture("lab.nsg.get()")
    told: list[int] = []
    future.on_cancel = lambda: told.append(1)
    assert future.cancel("Nobody cares")
    assert not future.cancel()
    assert told == [1]
    with pytest.raises(QMI_CancelledCallException, match=r"^Nobody cares: lab.nsg.get\(\)$"):
        future.wait()
    assert QMI_RpcFuture[int]().cancel()


def test_future_calls_each_callback_once_and_survives_its_errors(caplog: pytest.LogCaptureFixture) -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture("the call")
    called: list[int] = []
    future.add_done_callback(lambda: called.append(1))
    future.add_done_callback(lambda: 1 / 0)
    future.add_done_callback(lambda: called.append(2))
    with caplog.at_level(logging.ERROR):
        future.set_result(0)
    future.add_done_callback(lambda: called.append(3))
    assert called == [1, 2, 3]
    assert "What was to be called at the end of the call failed" in caplog.text


def test_future_follows_another_one() -> None:
    good, bad = QMI_RpcFuture[int](), QMI_RpcFuture[int]()
    good.set_result(2)
    bad.fail(ValueError("no"))
    one, two = QMI_RpcFuture[int](), QMI_RpcFuture[int]()
    one.follow(good, lambda value: 10 * value)
    two.follow(bad)
    assert one.wait() == 20
    assert isinstance(two.error(), ValueError)


async def test_waiting_on_the_loop_is_refused_unless_there_is_nothing_to_wait_for() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture("lab.nsg.get()")
    with pytest.raises(QMI_BlockingOnLoopException, match=r"Waiting for lab.nsg.get\(\) would block.*'await future'"):
        future.wait()
    future.set_result(1)
    assert future.wait() == 1
    assert await future == 1
    assert await call_async(future, 1.0) == 1


async def test_tasks_wait_for_what_a_thread_settles() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    got: list[int] = []

    async def wait() -> None:
        got.append(await future)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.to_thread.run_sync(future.set_result, 4)
    assert got == [4, 4]


async def test_leaving_a_call_gives_it_up() -> None:
    timed_out, cancelled = QMI_RpcFuture[int]("one"), QMI_RpcFuture[int]("two")
    with pytest.raises(QMI_RpcTimeoutException, match=r"No answer from one within 0\.001 s"):
        await call_async(timed_out, 0.001)
    with trio.move_on_after(0):
        await call_async(cancelled)
    assert isinstance(timed_out.error(), QMI_CancelledCallException)
    assert isinstance(cancelled.error(), QMI_CancelledCallException)


def test_leaving_a_blocking_call_gives_it_up() -> None:
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    with pytest.raises(QMI_RpcTimeoutException):
        call_blocking(future, 0.001)
    assert isinstance(future.error(), QMI_CancelledCallException)


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_interrupted_thread_waits_no_more(when: str) -> None:
    interrupt = Interrupt()
    future: QMI_RpcFuture[int] = QMI_RpcFuture()
    token = EXECUTION.set(Execution(QMI_Context("lab", None), (), interrupt))
    try:
        if when == "before":
            interrupt.request(QMI_TaskStopException)
        else:
            timer = threading.Timer(0.01, interrupt.request, (QMI_TaskStopException,))
            timer.start()
        with pytest.raises(QMI_TaskStopException):
            future.wait()
        assert future._callbacks == []
        interrupt.clear()
        with pytest.raises(QMI_RpcTimeoutException):
            future.wait(0)
        future.set_result(1)
        interrupt.request(QMI_TaskStopException)
        assert future.wait() == 1, "what is there already needs no wait"
    finally:
        EXECUTION.reset(token)
