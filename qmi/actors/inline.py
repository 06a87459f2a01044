"""Calls that the caller runs itself: the short way to an object that needs no thread switch.

A blocking caller may run the plain methods of an object that opted in (``Placement.CALLER``), a trio task the
``async`` methods of an object in its own loop. Turns, locks, statistics and errors are those of any other call; only
the thread or task that runs the method differs.
"""

from __future__ import annotations

import inspect
from typing import Any

import trio

from qmi.actors.execution import EXECUTION, current_interrupt
from qmi.actors.interface import Method, Placement
from qmi.actors.runner import Actor
from qmi.actors.turns import InlineTurn
from qmi.bridge import TaskWaiter, ThreadWaiter
from qmi.errors import QMI_CancelledCallException, QMI_RuntimeException
from qmi.messages import Call, Origin


def runs_in_thread_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a blocking caller may run this method itself."""
    return actor.placement is Placement.CALLER and not method.kind.is_async and not method.direct


def runs_in_task_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a task in the actor's own loop may run this method itself."""
    return (method.kind.is_async or actor.placement is Placement.LOOP) and not method.direct


def call_in_thread(actor: Actor, call: Call, method: Method, origin: Origin) -> Any:
    """Run a plain method in the calling thread when it is its turn."""
    interrupt = current_interrupt()
    if interrupt is not None:
        interrupt.check()  # a task that never waits has to hear of a stop request, too
    turn = InlineTurn(call, method, origin)
    try:
        if actor.mailbox.enter(turn):
            _check_lock(actor, turn)
        else:
            _wait_in_thread(turn)
        if not turn.claim():
            raise AssertionError("an inline turn is claimed by its caller only")
    except BaseException:
        actor.give_up(turn)
        raise
    error: BaseException | None = None
    token = EXECUTION.set(actor.execution(turn))
    try:
        actor.begin(turn)
        return actor.as_result(turn, getattr(actor.object, call.method)(*call.args, **call.kwargs))
    except (SystemExit, GeneratorExit) as caught:
        error = caught
        raise QMI_RuntimeException(f"{actor.address}.{turn.what} raised {type(caught).__name__}: {caught}") from caught
    except BaseException as caught:
        error = caught
        raise
    finally:
        EXECUTION.reset(token)
        actor.end_inline(error)
        del error


def _check_lock(actor: Actor, turn: InlineTurn) -> None:
    if (refusal := actor.guard.refusal(turn)) is not None:
        raise refusal


def _wait_in_thread(turn: InlineTurn) -> None:
    waiter = ThreadWaiter()
    interrupt = current_interrupt()
    if interrupt is not None:
        interrupt.enter(waiter)
    try:
        if turn.expect(waiter):
            waiter.wait()
    finally:
        if interrupt is not None:
            interrupt.leave(waiter)
    if not turn.granted and interrupt is not None:
        interrupt.check()
    if turn.error is not None:
        raise turn.error


async def call_in_task(actor: Actor, call: Call, method: Method, origin: Origin) -> Any:
    """Run a method in the calling task when it is its turn; cancelling the caller cancels the method."""
    turn = InlineTurn(call, method, origin)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
        if actor.mailbox.enter(turn):
            _check_lock(actor, turn)
        else:
            waiter = TaskWaiter()
            if turn.expect(waiter):
                await waiter.wait()
            if turn.error is not None:
                raise turn.error
        if not turn.claim():
            raise AssertionError("an inline turn is claimed by its caller only")
    except BaseException:
        actor.give_up(turn)
        raise
    error: BaseException | None = None
    token = EXECUTION.set(actor.execution(turn))
    try:
        with trio.CancelScope() as turn.scope:
            actor.begin(turn)
            value = getattr(actor.object, call.method)(*call.args, **call.kwargs)
            return actor.as_result(turn, await value if inspect.isawaitable(value) else value)
        # The scope swallowed a cancellation that came from the actor's side: it is going.
        raise turn.error or QMI_CancelledCallException(f"{actor.address}.{turn.what} was cancelled")
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as caught:
        error = caught
        raise QMI_RuntimeException(f"{actor.address}.{turn.what} raised {type(caught).__name__}: {caught}") from caught
    except BaseException as caught:
        error = caught
        raise
    finally:
        EXECUTION.reset(token)
        actor.end_inline(error)
        del error
