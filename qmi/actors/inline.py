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

from qmi.actors.actor import Actor
from qmi.actors.interface import Kind, Method, Placement
from qmi.actors.running import begin, execution
from qmi.actors.turns import InlineTurn, as_result
from qmi.actors.user_errors import presentable
from qmi.runtime.call_context import EXECUTION, Execution, current_interrupt
from qmi.runtime.wakeup import TaskWaker, ThreadWaker


def runs_in_thread_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a blocking caller may run this method itself."""
    return actor.placement is Placement.CALLER and not method.kind.is_async and not method.direct


def runs_in_task_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a task in the actor's own loop may run this method itself."""
    return (method.kind.is_async or actor.placement is Placement.LOOP) and not method.direct


def call_in_thread(actor: Actor, turn: InlineTurn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a plain method in the calling thread when it is its turn.

    Ctrl-C may come at any point of it: the turn ends all the same.
    """
    outer = EXECUTION.get()
    if outer is not None and outer.interrupt is not None:
        outer.interrupt.check()  # a task that never waits has to hear of a stop request, too
    try:
        try:
            if not actor.mailbox.enter(turn):
                _wait_in_thread(turn)
            if turn.token is not None or actor.guard.lock.holder is not None:
                _check_lock(actor, turn)
            return _run(actor, turn, outer, args, kwargs)
        finally:
            actor.end_inline(turn)
    except BaseException as caught:
        if not isinstance(caught, Exception):
            EXECUTION.set(outer)
            actor.abandon_inline(turn)
        elif not turn.since:
            actor.leave_inline(turn)
        error = presentable(caught, f"{actor.where}.{turn.what}")
        if error is caught:
            raise
        raise error from caught


def _run(actor: Actor, turn: InlineTurn, outer: Execution | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    EXECUTION.set(execution(actor, turn))
    try:
        begin(actor, turn)
        value = getattr(actor.object, turn.name)(*args, **kwargs)
        return as_result(actor, turn, value) if turn.method.kind.is_stream else value
    except BaseException:
        actor.errors += 1
        raise
    finally:
        EXECUTION.set(outer)


def _check_lock(actor: Actor, turn: InlineTurn) -> None:
    if (refusal := actor.guard.refusal(turn)) is not None:
        raise refusal


def _wait_in_thread(turn: InlineTurn) -> None:
    waiter = ThreadWaker()
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


async def call_in_task(actor: Actor, turn: InlineTurn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a method in the calling task when it is its turn; cancelling the caller cancels the method."""
    try:
        await actor.host.loop.breathe()
        if not actor.mailbox.enter(turn):
            await _wait_in_task(turn)
        if turn.token is not None or actor.guard.lock.holder is not None:
            _check_lock(actor, turn)
        return await _run_in_task(actor, turn, args, kwargs)
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
    waiter = TaskWaker()
    if turn.expect(waiter):
        await waiter.wait()
    if turn.error is not None:
        raise turn.error


async def _run_in_task(actor: Actor, turn: InlineTurn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    token = EXECUTION.set(execution(actor, turn))
    try:
        with trio.CancelScope() as turn.scope:
            if actor.mailbox.closed is not None:  # the object ended between the grant and now
                turn.scope.cancel()
            begin(actor, turn)
            value = getattr(actor.object, turn.name)(*args, **kwargs)
            if turn.method.kind is Kind.ASYNC or inspect.isawaitable(value):
                value = await value
            return as_result(actor, turn, value)
        # The scope swallowed a cancellation that came from the actor's side: it is going.
        raise turn.error or copy.copy(actor.mailbox.closed) or actor.stopped()
    except BaseException:
        actor.errors += 1
        raise
    finally:
        EXECUTION.reset(token)
