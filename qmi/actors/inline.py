"""Fast path, must equal :meth:`qmi.actors.actor.Actor.submit`: calls that the caller runs, without a thread switch.

A blocking caller may run the plain methods of an object that opted in (``Placement.CALLER``), a trio task the
``async`` methods of an object in its own loop. Turns, locks, statistics and errors are those of any other call; only
the thread or task that runs the method differs. ``tests/actors/test_same_on_all_ways.py`` compares both.

The caller enters the mailbox like everybody else. What it waits for is not the outcome, which it makes itself, but its
turn: whoever dispatches an :class:`InlineCall` gives it the "result" None (:meth:`~qmi.actors.actor.Actor.dispatch`),
and the end of the object fails it. Then the caller asks the lock, runs the method, and ends the turn. Nobody else
starts it, so it needs none of the locks that decide who starts and who ends a call: granting a turn twice does no harm,
and a caller that finds an error beside the grant takes the error.
"""

from __future__ import annotations

import copy
import inspect
import time
from contextlib import suppress

import trio

from qmi.actors.actor import Actor
from qmi.actors.future import Callee, PendingCall, timed_out
from qmi.actors.interface import Kind, Method, Placement
from qmi.actors.user_errors import presentable
from qmi.messages import Args, Kwargs, Origin, Token
from qmi.runtime.call_context import EXECUTION, Execution


class InlineCall(PendingCall):
    """A call that its caller runs, when it is its turn.

    Args:
        actor: The object's actor.
        method: The method, as the object has it.
        args: Its arguments.
        kwargs: Its keyword arguments.
        token: The caller's lock token.
        chain: The objects that wait for it, outermost first.
        origin: The context it came from.
    """

    __slots__ = ()

    is_inline = True

    def __init__(
        self,
        actor: Actor,
        method: Method,
        args: Args,
        kwargs: Kwargs,
        token: Token | None,
        chain: tuple[str, ...],
        origin: Origin,
    ) -> None:
        # This is made for each call of the quickest kind: nothing is made that is not needed.
        self.name: str = method.name
        self.method: Method = method
        self.args: Args = args
        self.kwargs: Kwargs = kwargs
        self.token: Token | None = token
        self.chain: tuple[str, ...] = chain
        self.origin: Origin = origin
        self.actor: Callee | None = actor
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self._done = False
        self._error = None
        self._waker = None
        self._callbacks = None

    def set_result(self, value: object) -> bool:
        """The turn has come. May be called more than once."""
        self._done = True
        if self._waker is not None:
            with suppress(RuntimeError):  # a bare lock that was released before
                self._waker()
        return True

    def fail(self, error: BaseException) -> bool:
        """The turn will never come, or the object ends while the method runs."""
        self._error = error
        return self.set_result(None)

    def wait_for_turn(self, execution: Execution | None) -> None:
        """Wait in the calling thread.

        Raises:
            BaseException: If the turn will never come, or what the interrupt raises.
        """
        if not self._done:
            self._wait_in_thread(None, execution)
        if self._error is not None:
            raise self._error

    async def await_turn(self) -> None:
        """The same for a task."""
        await self.ended()
        if self._error is not None:
            raise self._error


def runs_in_thread_of_caller(method: Method) -> bool:
    """Whether a blocking caller may run this method itself, of an object that has opted in."""
    return not method.kind.is_async and not method.direct


def runs_in_task_of_caller(actor: Actor, method: Method) -> bool:
    """Whether a task in the actor's own loop may run this method itself."""
    return (method.kind.is_async or actor.placement is Placement.LOOP) and not method.direct


def call_in_thread(actor: Actor, call: InlineCall) -> object:
    """Run a plain method in the calling thread when it is its turn.

    Ctrl-C may come at any point of it: the turn ends all the same.
    """
    outer = EXECUTION.get()
    if outer is not None and outer.interrupt is not None:
        outer.interrupt.check()  # a task that never waits has to hear of a stop request, too
    try:
        try:
            if not actor.mailbox.enter(call):
                call.wait_for_turn(outer)
            if (refusal := actor.refusal(call)) is not None:
                raise refusal
            return _run(actor, call, outer)
        finally:
            actor.dispatch(actor.mailbox.leave(call))
    except BaseException as caught:
        if not isinstance(caught, Exception):
            EXECUTION.set(outer)
            _abandon(actor, call)
        elif not call.since:
            _leave(actor, call)
        error = caught if isinstance(caught, Exception) else presentable(caught, call.what)
        if error is caught:
            raise
        raise error from caught


def _leave(actor: Actor, call: InlineCall) -> None:
    # The caller gave up before its turn, which may come in this very moment.
    call.given_up = True
    actor.mailbox.withdraw(call)
    actor.dispatch(actor.mailbox.leave(call))


def _abandon(actor: Actor, call: InlineCall) -> None:
    # The caller was interrupted anywhere, also after the turn was left and before the next one was dispatched.
    call.given_up = True
    actor.mailbox.withdraw(call)
    actor.mailbox.leave(call)
    actor.redispatch()


def _run(actor: Actor, call: InlineCall, outer: Execution | None) -> object:
    EXECUTION.set((not call.chain and actor.alone) or actor.execution(call))
    try:
        call.since = time.monotonic()
        actor.calls += 1
        value = getattr(actor.object, call.name)(*call.args, **call.kwargs)
        return actor.open_stream(call, value) if call.method.kind.is_stream else value
    except BaseException as error:
        actor.note_error(call, error)
        raise
    finally:
        EXECUTION.set(outer)


async def call_in_task(actor: Actor, call: InlineCall) -> object:
    """Run a method in the calling task when it is its turn; cancelling the caller cancels the method."""
    try:
        await actor.host.loop.breathe()
        if not actor.mailbox.enter(call):
            await call.await_turn()
        if (refusal := actor.refusal(call)) is not None:
            raise refusal
        return await _run_in_task(actor, call)
    except BaseException as caught:
        call.given_up = True
        actor.mailbox.withdraw(call)
        if isinstance(caught, trio.Cancelled | BaseExceptionGroup):
            raise
        error = caught if isinstance(caught, Exception) else presentable(caught, call.what)
        if error is caught:
            raise
        raise error from caught
    finally:
        actor.dispatch(actor.mailbox.leave(call))


async def call_in_task_within(timeout: float, actor: Actor, call: InlineCall) -> object:
    """The same, for so many seconds.

    Raises:
        QMI_RpcTimeoutException: If it takes longer.
    """
    with trio.move_on_after(timeout):
        return await call_in_task(actor, call)
    raise timed_out(call.what, timeout, actor.explain_busy())


async def _run_in_task(actor: Actor, call: InlineCall) -> object:
    token = EXECUTION.set((not call.chain and actor.alone) or actor.execution(call))
    try:
        with trio.CancelScope() as call.scope:
            if actor.mailbox.closed is not None:  # the object ended between the grant and now
                call.scope.cancel()
            call.since = time.monotonic()
            actor.calls += 1
            value = getattr(actor.object, call.name)(*call.args, **call.kwargs)
            if call.method.kind is Kind.ASYNC or inspect.isawaitable(value):
                value = await value
            return actor.open_stream(call, value) if call.method.kind.is_stream else value
        # The scope swallowed a cancellation that came from the actor's side: it is going.
        raise call.error() or copy.copy(actor.mailbox.closed) or actor.stopped()
    except BaseException as error:
        actor.note_error(call, error)
        raise
    finally:
        EXECUTION.reset(token)
