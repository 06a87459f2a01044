"""How an object comes to be: made where its plain methods will run, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qmi.actors.ending import dispatch_end
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Placement
from qmi.actors.turns import EndTurn
from qmi.actors.user_errors import presentable
from qmi.errors import QMI_RuntimeException
from qmi.runtime.call_context import EXECUTION, Execution, current_chain

if TYPE_CHECKING:
    from qmi.actors.actor import Actor

_logger = logging.getLogger("qmi.core.rpc")


def construct(actor: Actor, make: Callable[[], Any]) -> QMI_RpcFuture[Actor]:
    """Make the object of an actor. The future gives the actor, or the constructor's error."""
    future: QMI_RpcFuture[Actor] = QMI_RpcFuture(f"the constructor of {actor.where}")
    job = partial(_construct, actor, make, future, current_chain())
    if actor.placement is Placement.LOOP:
        if not actor.host.loop.now_or_soon(job):
            future.fail(actor.stopped())
    elif actor.placement is Placement.CALLER and not actor.host.loop.is_here():
        job()
    else:
        actor.thread(partial(_without_thread, actor, future)).give(job)
    return future


def _without_thread(actor: Actor, future: QMI_RpcFuture[Actor], error: Exception | None) -> None:
    if error is None:
        future.fail(actor.stopped())
        return
    fault = QMI_RuntimeException(f"There is no thread for {actor.where}: {error}")
    fault.__cause__ = error
    future.fail(fault)


def _construct(actor: Actor, make: Callable[[], Any], future: QMI_RpcFuture[Actor], makers: tuple[str, ...]) -> None:
    token = EXECUTION.set(Execution(actor.host.facade, (*makers, actor.where)))
    try:
        actor.object = make()
    except BaseException as error:  # whatever it is, it belongs to whoever wants the object
        actor.finish_thread()
        future.fail(presentable(error, f"The constructor of {actor.where}"))
    else:
        if actor.placement is Placement.CALLER:
            actor.give_thread_back()
        if not future.set_result(actor):
            _discard(actor)
    finally:
        EXECUTION.reset(token)


def _discard(actor: Actor) -> None:
    """Release an object that nobody wants any more."""
    released: QMI_RpcFuture[None] = QMI_RpcFuture(f"the release of {actor.where}")

    def done() -> None:
        if (failure := released.error()) is not None:
            _logger.error("%s could not be released", actor.where, exc_info=failure)
        actor.finish_thread()

    released.add_done_callback(done)
    dispatch_end(actor, EndTurn(actor.host.origin, released))
