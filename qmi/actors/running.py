"""How a turn runs, in the object's thread or in the event loop, and what its caller gets."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import trio

from qmi.actors.turns import CallTurn, InlineTurn, PullTurn, Turn, WaitedTurn
from qmi.actors.user_errors import presentable
from qmi.errors import QMI_CancelledCallException
from qmi.runtime.call_context import EXECUTION, Execution

if TYPE_CHECKING:
    from qmi.actors.actor import Actor


_UNCHANGING = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Results of these types stay what they are, whatever the object does next."""


def begin(actor: Actor, turn: Turn) -> None:
    """A turn starts to run."""
    turn.since = time.monotonic()
    actor.calls += 1


def execution(actor: Actor, turn: CallTurn | InlineTurn | PullTurn | WaitedTurn) -> Execution:
    """What code of this turn belongs to."""
    chain = turn.chain
    if chain:
        return Execution(actor.host.facade, (*chain, actor.where))
    if actor.alone is None:
        actor.alone = Execution(actor.host.facade, (actor.where,))
    return actor.alone


def run_plain(actor: Actor, turn: CallTurn | PullTurn | WaitedTurn) -> None:
    """Run a turn in the object's thread. Never raises."""
    if not turn.try_start():
        return
    value: Any = None
    error: BaseException | None = None
    if not turn.given_up:
        turn.since = time.monotonic()
        actor.calls += 1
        token = EXECUTION.set(execution(actor, turn))
        try:
            value = turn.invoke(actor.object)
        except BaseException as caught:  # goes to the caller; the thread lives on
            error = caught
        EXECUTION.reset(token)
        if type(value) is CoroutineType and not isinstance(turn, PullTurn):
            if actor.spawn(turn, run_async, actor, turn, value):
                return
            value.close()
            error = actor.stopped()
    following = _end(actor, turn, value, error)
    if following is not None:
        actor.dispatch(following)
    elif actor.worker is not None:
        turn.spin(actor.worker.is_wanted)


async def run_async(
    actor: Actor, turn: CallTurn | PullTurn | WaitedTurn, started: Coroutine[Any, Any, Any] | None = None
) -> None:
    """Run a turn in the event loop, or what a plain method has left to be awaited there."""
    if started is None and not turn.try_start():
        return
    value: Any = None
    error: BaseException | None = actor.stopped()
    try:
        with trio.CancelScope() as turn.scope:
            # Whoever gives the turn up, or ends the object, sets these before looking for a scope to cancel.
            if turn.given_up or actor.mailbox.closed is not None:
                turn.scope.cancel()
            await trio.lowlevel.checkpoint_if_cancelled()
            EXECUTION.set(execution(actor, turn))
            if started is None:
                begin(actor, turn)
                value = turn.invoke(actor.object)
            else:
                value = started
            if _is_to_be_awaited(turn, value):
                value = await value
            error = None
        if turn.scope.cancelled_caught:
            # The object may have ended before there was a scope to cancel: then nobody has told the caller yet.
            gone = None if turn.given_up else copy.copy(actor.mailbox.closed)
            error = gone or QMI_CancelledCallException(f"{actor.where}.{turn.what} was cancelled")
    except trio.Cancelled:
        raise
    except BaseException as caught:  # goes to the caller; the loop lives on
        error = caught
    finally:
        if started is not None:
            started.close()  # does nothing unless it was cancelled before it began
        actor.dispatch(_end(actor, turn, value, error))


def _end(actor: Actor, turn: CallTurn | PullTurn | WaitedTurn, value: Any, error: BaseException | None) -> Turn | None:
    """Answer, and end the turn; returns the next one."""
    if error is None and type(value) not in _UNCHANGING and turn.is_sent:
        # The next turn may fill the same buffer again, and another thread may run it as soon as this one has ended.
        turn.set_result(value)
        return actor.mailbox.leave(turn)
    following = actor.mailbox.leave(turn)
    if error is None:
        turn.set_result(value)
    else:
        _refuse(actor, turn, error)
    return following


def _is_to_be_awaited(turn: CallTurn | PullTurn | WaitedTurn, value: Any) -> bool:
    if isinstance(turn, PullTurn):
        return bool(turn.stream.is_async)
    return inspect.isawaitable(value)


def _refuse(actor: Actor, turn: CallTurn | PullTurn | WaitedTurn, error: BaseException) -> None:
    actor.errors += 1
    if actor.object is None:  # it has been released; a call that came in all the same found nothing to run on
        error = copy.copy(actor.mailbox.closed) or actor.stopped()
    turn.fail(presentable(error, f"{actor.where}.{turn.what}"))
