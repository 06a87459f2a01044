"""How a turn runs, in the object's thread or in the event loop, and what its caller gets."""

from __future__ import annotations

import inspect
import time
from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import trio

from qmi.actors.execution import EXECUTION, Execution
from qmi.actors.faults import presentable
from qmi.actors.streams import ActorStream
from qmi.actors.turns import CallTurn, InlineTurn, PullTurn, Turn, WaitedTurn
from qmi.errors import QMI_CancelledCallException

if TYPE_CHECKING:
    from qmi.actors.runner import Actor


def begin(actor: Actor, turn: Turn) -> None:
    """A turn starts to run."""
    turn.since = time.monotonic()
    actor.calls += 1


def execution(actor: Actor, turn: CallTurn | InlineTurn | PullTurn | WaitedTurn) -> Execution:
    """What code of this turn belongs to."""
    chain = turn.chain
    if chain:
        return Execution(actor.host.face, (*chain, actor.where))
    if actor.alone is None:
        actor.alone = Execution(actor.host.face, (actor.where,))
    return actor.alone


def run_plain(actor: Actor, turn: CallTurn | PullTurn) -> None:
    """Run a turn in the object's thread. Never raises."""
    if not turn.claim():
        return
    value: Any = None
    error: BaseException | None = None
    if not turn.given_up:
        begin(actor, turn)
        token = EXECUTION.set(execution(actor, turn))
        try:
            value = _invoke(actor, turn)
        except BaseException as caught:  # goes to the caller; the thread lives on
            error = caught
        EXECUTION.reset(token)
        if isinstance(turn, CallTurn) and inspect.iscoroutine(value):
            if actor.spawn(turn, run_async, actor, turn, value):
                return
            value.close()
            error = actor.stopped()
    following = actor.mailbox.leave(turn)
    answer(actor, turn, value, error)
    actor.dispatch(following)
    if following is None and actor.worker is not None:
        turn.future.linger(actor.worker.is_wanted)


def run_waited(actor: Actor, turn: WaitedTurn) -> None:
    """The same for a call whose caller waits for nothing but its end."""
    if not turn.claim():
        return
    if turn.given_up:
        actor.dispatch(actor.mailbox.leave(turn))
        return
    value: Any = None
    error: BaseException | None = None
    turn.since = time.monotonic()
    actor.calls += 1
    token = EXECUTION.set(execution(actor, turn))
    try:
        value = getattr(actor.object, turn.name)(*turn.args, **turn.kwargs)
    except BaseException as caught:  # goes to the caller; the thread lives on
        error = caught
    if type(value) is CoroutineType:
        if actor.spawn(turn, run_async, actor, turn, value):
            EXECUTION.reset(token)
            return
        value.close()
        error = actor.stopped()
    following = actor.mailbox.leave(turn)
    if error is None:
        turn.settle(value)
    else:
        answer(actor, turn, None, error)
    # What comes now costs the caller nothing, who is just being woken.
    EXECUTION.reset(token)
    if following is not None:
        actor.dispatch(following)


def _invoke(actor: Actor, turn: CallTurn | PullTurn) -> Any:
    if isinstance(turn, PullTurn):
        return turn.stream.close() if turn.closing else turn.stream.advance()
    call = turn.call
    return getattr(actor.object, call.method)(*call.args, **call.kwargs)


async def run_async(
    actor: Actor, turn: CallTurn | PullTurn | WaitedTurn, started: Coroutine[Any, Any, Any] | None = None
) -> None:
    """Run a turn in the event loop, or what a plain method has left to be awaited there."""
    if started is None and not turn.claim():
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
                assert not isinstance(turn, WaitedTurn)  # only what its method left to be awaited runs here
                begin(actor, turn)
                value = _invoke(actor, turn)
            else:
                value = started
            if _is_to_be_awaited(turn, value):
                value = await value
            error = None
        if turn.scope.cancelled_caught:
            error = QMI_CancelledCallException(f"{actor.where}.{turn.what} was cancelled")
    except trio.Cancelled:
        raise
    except BaseException as caught:  # goes to the caller; the loop lives on
        error = caught
    finally:
        if started is not None:
            started.close()  # does nothing unless it was cancelled before it began
        following = actor.mailbox.leave(turn)
        answer(actor, turn, value, error)
        actor.dispatch(following)


def _is_to_be_awaited(turn: CallTurn | PullTurn | WaitedTurn, value: Any) -> bool:
    if isinstance(turn, PullTurn):
        return bool(turn.stream.is_async)
    return inspect.isawaitable(value)


def answer(actor: Actor, turn: CallTurn | PullTurn | WaitedTurn, value: Any, error: BaseException | None) -> None:
    """Tell the caller how the turn ended."""
    if error is not None:
        actor.errors += 1
        turn.fail(presentable(error, f"{actor.where}.{turn.what}"))
        return
    if isinstance(turn, WaitedTurn):
        turn.settle(value)
        return
    turn.future.turn = None
    if isinstance(turn, PullTurn):
        turn.future.settle(value)
    else:
        result = as_result(actor, turn, value)
        if not turn.future.settle(result) and isinstance(result, ActorStream):
            result.drop()


def as_result(actor: Actor, turn: CallTurn | InlineTurn, value: Any) -> Any:
    """What the caller gets for what the method returned: a generator becomes a stream."""
    kind = turn.method.kind
    if not kind.is_stream:
        return value
    stream = ActorStream(actor, value, turn.name, turn.origin, turn.token, turn.chain, kind.is_async)
    actor.remember_stream(stream)
    return stream
