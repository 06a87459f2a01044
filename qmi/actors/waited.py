"""Calls that a thread waits for while the object's thread runs them: the usual call of a script.

Nobody else waits for such a call, and nothing else is to be done at its end. So it needs no future: the turn itself
carries the arguments there and the outcome back. Turns, locks, statistics and errors are those of any other call.
"""

from __future__ import annotations

from typing import Any, Final

from qmi.actors.actor import Actor
from qmi.actors.future import no_answer
from qmi.actors.interface import Kind, Method, Placement
from qmi.actors.turns import WaitedTurn
from qmi.errors import QMI_RpcTimeoutException
from qmi.runtime.wakeup import Interrupt, wait_on

_PLAIN: Final = Kind.PLAIN  # looking it up in the enumeration would take longer than the rest
_THREAD: Final = Placement.THREAD


def runs_in_thread_of_object(actor: Actor, method: Method) -> bool:
    """Whether this method runs in the object's thread, when it is its turn, and has its result when it returns."""
    return actor.placement is _THREAD and method.kind is _PLAIN and not method.direct


def call_and_wait(actor: Actor, turn: WaitedTurn, timeout: float | None, interrupt: Interrupt | None) -> Any:
    """Have the object's thread run a method when it is its turn, and wait for the result.

    Args:
        actor: The object's actor.
        turn: The call.
        timeout: How long to wait at most, in seconds.
        interrupt: What else ends the wait.
    """
    if turn.chain:
        actor.check_cycle(turn.name, turn.chain)
    try:
        actor.enter(turn)
        if interrupt is None:
            wait_on(turn.lock, timeout)
        else:
            _wait_or_be_interrupted(turn, timeout, interrupt)
        if not turn.ended:
            raise QMI_RpcTimeoutException(no_answer(f"{actor.where}.{turn.what}", timeout, actor.explain_busy()))
    except BaseException as caught:  # the end of the time, a request to stop, or Ctrl-C; not the method's own error
        actor.abandon_turn(turn)
        if not isinstance(caught, Exception):
            actor.redispatch()
        raise
    if turn.error is None:
        return turn.value
    try:
        raise turn.error
    finally:
        del turn  # the traceback would keep it, and it the error


def _wait_or_be_interrupted(turn: WaitedTurn, timeout: float | None, interrupt: Interrupt) -> None:
    interrupt.enter(turn)
    try:
        wait_on(turn.lock, timeout)
    finally:
        interrupt.leave(turn)
    if not turn.ended:
        interrupt.check()
