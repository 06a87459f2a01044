"""How an actor ends: everybody who waits is answered, the running turn may end, then the object is released."""

from __future__ import annotations

import copy
import inspect
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.turns import EndTurn
from qmi.runtime.call_context import EXECUTION, Execution

if TYPE_CHECKING:
    from qmi.actors.actor import Actor

_logger = logging.getLogger("qmi.core.rpc")


async def end_actor(actor: Actor, error: Exception, deadline: float) -> bool:
    """Let an actor end. On its loop only.

    Args:
        actor: The actor.
        error: What those who wait get.
        deadline: When to leave a turn behind that does not end, as time of the loop.

    Returns:
        False if something was left behind.
    """
    future: QMI_RpcFuture[None] = QMI_RpcFuture(f"the release of {actor.where}")
    last = EndTurn(actor.host.origin, future)
    waiting = actor.mailbox.close(error)
    with actor.mailbox.mutex:
        waiting.extend(actor.guard.clear_waiters())
        current = actor.mailbox.current
        idle = actor.mailbox.enter_locked(last)
    for turn in waiting:
        turn.fail(copy.copy(error))
    if idle:
        actor.dispatch(last)
    elif current is not None and current.scope is not None:
        current.fail(copy.copy(error))
        current.scope.cancel()
    try:
        with trio.move_on_at(deadline):
            await future.ended()
    finally:  # also if the context goes meanwhile
        if not future.done():
            last.try_start()
            _leave_behind(actor, error)
        else:
            # Proxies that have called it may live on, and know the actor; the driver and what it holds must not.
            actor.object = None
        actor.finish_thread()
    if (failure := future.error()) is not None:
        _logger.error("%s could not be released", actor.where, exc_info=failure)
        # The frames of its traceback hold the driver, and the actor keeps its last turn.
        last.future = QMI_RpcFuture(future.what)
    return future.done()


def _leave_behind(actor: Actor, error: Exception) -> None:
    turn = actor.mailbox.current
    if turn is None or isinstance(turn, EndTurn):
        where = actor.worker.where() if actor.worker is not None else actor.object._where_now() or "(in the event loop)"
        _logger.error("%s does not end and is left behind: release_rpc_object() is at %s", actor.where, where)
        actor.object._left_behind(error)
    else:
        _logger.error("%s does not end and is left behind: %s", actor.where, actor.explain_busy() or turn.what)
        turn.fail(copy.copy(error))


def dispatch_end(actor: Actor, turn: EndTurn) -> None:
    """The last turn has come: release the object where its methods ran."""
    if actor.worker is not None:
        actor.worker.give(partial(_end_in_thread, actor, turn))
    else:
        actor.spawn(turn, _end_in_loop, actor, turn)


def _end_in_thread(actor: Actor, turn: EndTurn) -> None:
    if not turn.try_start():
        return
    turn.since = time.monotonic()
    token = EXECUTION.set(Execution(actor.host.facade, (actor.where,)))
    faults: list[BaseException] = []
    for stream in list(actor.streams or ()):
        if not stream.is_async:
            try:
                stream.close()
            except BaseException as error:  # goes into the log; the object is released all the same
                faults.append(error)
    rest = _release(actor, faults)
    EXECUTION.reset(token)
    if inspect.isawaitable(rest) or actor.streams:
        if actor.spawn(turn, _finish_in_loop, actor, turn, rest, faults):
            return
        if inspect.iscoroutine(rest):
            rest.close()
    _settle(turn, faults)


def _release(actor: Actor, faults: list[BaseException]) -> Any:
    try:
        return actor.object.release_rpc_object()
    except BaseException as error:  # as above
        faults.append(error)
        return None


def _settle(turn: EndTurn, faults: list[BaseException]) -> None:
    if not faults:
        turn.future.set_result(None)
    elif len(faults) == 1:
        turn.future.fail(faults[0])
    else:
        turn.future.fail(BaseExceptionGroup("several things went wrong", faults))


async def _end_in_loop(actor: Actor, turn: EndTurn) -> None:
    if not turn.try_start():
        return
    turn.since = time.monotonic()
    EXECUTION.set(Execution(actor.host.facade, (actor.where,)))
    faults: list[BaseException] = []
    await _close_streams(actor, faults)
    await _finish_in_loop(actor, turn, _release(actor, faults), faults)


async def _finish_in_loop(actor: Actor, turn: EndTurn, rest: Any, faults: list[BaseException]) -> None:
    EXECUTION.set(Execution(actor.host.facade, (actor.where,)))
    try:
        await _close_streams(actor, faults)
        if inspect.isawaitable(rest):
            await rest
    except trio.Cancelled:
        turn.fail(actor.stopped())
        raise
    except BaseException as error:  # as above
        faults.append(error)
    _settle(turn, faults)


async def _close_streams(actor: Actor, faults: list[BaseException]) -> None:
    for stream in list(actor.streams or ()):
        try:
            await stream.finish()
        except trio.Cancelled:
            raise
        except BaseException as error:  # as above
            faults.append(error)
