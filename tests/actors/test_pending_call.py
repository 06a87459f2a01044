from __future__ import annotations

import gc
import threading
import traceback
import weakref
from functools import partial
from typing import Any

import pytest
import trio

from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ContextStoppedException,
    QMI_ObjectRemovedException,
    QMI_RpcTimeoutException,
    QMI_TaskStopException,
    QMI_UsageException,
)
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.wakeup import Interrupt
from tests.support.actors import actor_of, check_idle, handle_of
from tests.support.drivers import Gate, Plain
from tests.support.tasks import in_thread
from tests.support.waiting import wait_until


class Leaves(QMI_RpcObject):
    """Leaves something to be awaited."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.cancelled = threading.Event()

    @rpc_method
    def forever(self) -> Any:
        async def rest() -> None:
            try:
                await trio.sleep_forever()
            finally:
                self.cancelled.set()

        return rest()


def test_arguments_go_there_and_the_result_comes_back(lab: QMI_Context) -> None:
    x = lab.make_instrument("x", Plain)
    assert x.add(1, scale=2.0) == 6
    assert x.add(1, 3, rpc_timeout=10) == 4
    assert x.own_thread()
    assert actor_of(lab, "x").statistics()[:3] == (3, 0, 0)
    with pytest.raises(QMI_UsageException, match="A timeout is"):
        x.add(1, rpc_timeout=-1)


def test_an_error_comes_back_with_where_it_was_raised_and_keeps_nothing_alive(lab: QMI_Context) -> None:
    class Argument:
        """Something to be told of when it goes."""

    x: Any = lab.make_instrument("x", Plain)
    argument = Argument()
    gone = weakref.ref(argument)
    error = ValueError(argument)
    with pytest.raises(ValueError) as caught:
        x.fail(error)
    assert caught.value is error
    assert "in fail" in "".join(traceback.format_exception(error))
    assert actor_of(lab, "x").statistics()[:2] == (1, 1)
    del caught, error, argument
    gc.collect()
    assert gone() is None
    assert x.add(1) == 3


def test_a_result_is_not_kept(lab: QMI_Context) -> None:
    x: Any = lab.make_instrument("x", Plain)
    array = x.call_other(dict, "fromkeys", "ab")
    assert array == {"a": None, "b": None}
    result = x.call_other(threading, "Event")
    gone = weakref.ref(result)
    x.add(1)  # by now the object's thread is done with the call before
    del result
    assert gone() is None


def test_call_that_times_out_names_what_the_object_does_and_leaves_the_mailbox(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    actor = actor_of(lab, "x")
    running = x.rpc_nonblocking.block()
    gate.reached.wait(10)
    for timeout in (0, 0.01):
        with pytest.raises(QMI_RpcTimeoutException) as caught:
            x.count(rpc_timeout=timeout)
        text = f"No answer from lab.x.count() within {timeout:g} s: lab.x is busy with block() for "
        assert str(caught.value).startswith(text)
    assert len(actor.mailbox) == 0
    gate.open.set()
    assert running.wait(10) == "passed"
    assert x.count() == 1
    check_idle(actor)


def test_call_that_nobody_waits_for_ends_and_its_result_is_dropped(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    with pytest.raises(QMI_RpcTimeoutException, match="busy with block"):
        x.block(rpc_timeout=0.01)
    with pytest.raises(QMI_RpcTimeoutException):
        x.count(rpc_timeout=0.01)
    gate.open.set()
    assert x.count(rpc_timeout=10) == 1
    check_idle(actor_of(lab, "x"))


def test_a_stop_request_ends_the_wait_in_line_and_during_the_call(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    actor = actor_of(lab, "x")

    def call(method: Any, interrupt: Interrupt) -> Any:
        EXECUTION.set(Execution(lab, (), interrupt))
        return method()

    interrupts = [Interrupt(), Interrupt()]
    running = in_thread(partial(call, x.block, interrupts[0]))
    gate.reached.wait(10)
    waiting = in_thread(partial(call, x.count, interrupts[1]))
    wait_until(lambda: len(actor.mailbox) == 1)
    for future, interrupt in ((waiting, interrupts[1]), (running, interrupts[0])):
        interrupt.request(QMI_TaskStopException)
        with pytest.raises(QMI_TaskStopException):
            future.wait(10)
        assert interrupt._waiters == []
    assert len(actor.mailbox) == 0
    gate.open.set()
    never = Interrupt()
    assert in_thread(partial(call, x.count, never)).wait(10) == 1
    assert never._waiters == []
    check_idle(actor)


def test_removing_the_object_answers_who_waits_in_line(lab: QMI_Context, gate: Gate) -> None:
    x = lab.make_instrument("x", Plain, gate)
    actor = actor_of(lab, "x")
    running = in_thread(x.block)
    gate.reached.wait(10)
    waiting = in_thread(x.count)
    wait_until(lambda: len(actor.mailbox) == 1)
    lab.remove_rpc_object(x)
    for future in (waiting, running):  # the one that runs is left behind after a while
        with pytest.raises(QMI_ObjectRemovedException):
            future.wait(10)


def test_a_method_that_leaves_something_to_be_awaited_is_cancelled_there(lab: QMI_Context) -> None:
    x: Any = lab.make_rpc_object("x", Leaves)
    actor = actor_of(lab, "x")
    with pytest.raises(QMI_RpcTimeoutException, match=r"busy with forever\(\)"):
        x.forever(rpc_timeout=0.01)
    assert actor.object.cancelled.wait(10)
    wait_until(lambda: actor.mailbox.current is None)
    check_idle(actor)
    waiting = in_thread(x.forever)
    wait_until(lambda: actor.mailbox.current is not None and actor.mailbox.current.scope is not None)
    lab.remove_rpc_object(x)
    with pytest.raises(QMI_ObjectRemovedException):
        waiting.wait(10)


def test_call_that_is_left_to_an_ended_loop_fails() -> None:
    context = QMI_Context("late")
    context.start()
    x: Any = context.make_rpc_object("x", Leaves)
    actor = actor_of(context, "x")
    worker, driver = actor.worker, actor.object
    context.stop()
    # As if the call had slipped in just before, and the thread and the driver were still there.
    actor.object = driver
    actor.mailbox.closed = actor.mailbox.current = None
    handle_of(x)._actor = actor
    waiting = in_thread(x.forever)
    wait_until(lambda: worker.is_wanted())
    worker._jobs.get()()
    with pytest.raises(QMI_ContextStoppedException):
        waiting.wait(10)
