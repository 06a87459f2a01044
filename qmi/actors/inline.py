"""Calls that the caller runs itself: the short way to an object that needs no thread switch.

A blocking caller may run the plain methods of an object that opted in (``Placement.CALLER``), a trio task the
``async`` methods of an object in its own loop. Turns, locks, statistics and errors are those of any other call; only
the thread or task that runs the method differs.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import trio

from qmi.actors.execution import EXECUTION, Execution, current_interrupt
from qmi.actors.faults import presentable
from qmi.actors.interface import Method, Placement
from qmi.actors.runner import Actor
from qmi.actors.running import as_result, begin, execution
from qmi.actors.turns import InlineTurn
from qmi.bridge import TaskWaiter, ThreadWaiter
from qmi.messages import Call, Origin


def runs_in_thread_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a blocking caller may run this method itself."""
    return actor.placement is Placement.CALLER and not method.kind.is_async and not method.direct


def runs_in_task_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a task in the actor's own loop may run this method itself."""
    return (method.kind.is_async or actor.placement is Placement.LOOP) and not method.direct


def call_in_thread(actor: Actor, call: Call, method: Method, origin: Origin) -> Any:
    """Run a plain method in the calling thread when it is its turn.

    Ctrl-C may come at any point of it: the turn ends all the same.
    """
    interrupt = current_interrupt()
    if interrupt is not None:
        interrupt.check()  # a task that never waits has to hear of a stop request, too
    turn = InlineTurn(call, method, origin)
    outer = EXECUTION.get()
    try:
        try:
            if actor.mailbox.enter(turn):
                _check_lock(actor, turn)
            else:
                _wait_in_thread(turn)
            return _run(actor, turn, outer)
        finally:
            actor.end_inline(turn)
    except BaseException as caught:
        if not (turn.since and isinstance(caught, Exception)):
            EXECUTION.set(outer)
            actor.abandon_inline(turn)
        error = presentable(caught, f"{actor.where}.{turn.what}")
        if error is caught:
            raise
        raise error from caught


def _run(actor: Actor, turn: InlineTurn, outer: Execution | None) -> Any:
    call = turn.call
    EXECUTION.set(execution(actor, turn))
    try:
        begin(actor, turn)
        return as_result(actor, turn, getattr(actor.object, call.method)(*call.args, **call.kwargs))
    except BaseException:
        actor.errors += 1
        raise
    finally:
        EXECUTION.set(outer)


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
            await _wait_in_task(turn)
        return await _run_in_task(actor, turn)
    except BaseException as caught:
        turn.given_up = True
        actor.mailbox.withdraw(turn)
        if isinstance(caught, trio.Cancelled | BaseExceptionGroup):
            raise
        error = presentable(caught, f"{actor.where}.{turn.what}")
        if error is caught:
            raise
        raise error from caught
    finally:
        actor.end_inline(turn)


async def _wait_in_task(turn: InlineTurn) -> None:
    waiter = TaskWaiter()
    if turn.expect(waiter):
        await waiter.wait()
    if turn.error is not None:
        raise turn.error


async def _run_in_task(actor: Actor, turn: InlineTurn) -> Any:
    call = turn.call
    token = EXECUTION.set(execution(actor, turn))
    try:
        with trio.CancelScope() as turn.scope:
            if actor.mailbox.closed is not None:  # the object ended between the grant and now
                turn.scope.cancel()
            begin(actor, turn)
            value = getattr(actor.object, call.method)(*call.args, **call.kwargs)
            return as_result(actor, turn, await value if inspect.isawaitable(value) else value)
        # The scope swallowed a cancellation that came from the actor's side: it is going.
        raise turn.error or copy.copy(actor.mailbox.closed) or actor.stopped()
    except BaseException:
        actor.errors += 1
        raise
    finally:
        EXECUTION.reset(token)
