"""One actor's life: it is made, takes its turns, answers, and goes.

Two lanes lead to the object. Turns (:class:`qmi.actors.future.Turn`) go through the mailbox and run one at a time, each
where it belongs: in the object's own thread, in the event loop, or in the thread of the caller. Everything that only
asks or commands is done at once by whoever asks, under the mailbox's mutex.

*Whose turn it is* is decided by the mailbox, under its mutex. The thread that got a turn granted, because it entered an
empty mailbox or because it ended the turn before, has to :meth:`Actor.dispatch` it: have it run where it belongs.
Nobody else does, so no mutex is needed for that. Two exceptions: a caller that was broken off by Ctrl-C anywhere on the
way has the current turn dispatched again (:meth:`Actor.redispatch`), perhaps for the second time; and a caller that
gives up may take its turn back after the grant (:meth:`Actor.abandon_turn`). Both are safe since a turn is started once
(:meth:`~qmi.actors.future.Turn.try_start`).
"""

from __future__ import annotations

import copy
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from operator import attrgetter
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from qmi.actors.end_turn import EndTurn
from qmi.actors.fair_queue import FairQueue
from qmi.actors.future import PendingCall, QMI_RpcFuture, Turn, check_cycle
from qmi.actors.interface import Interface, Method, Placement, answering_name
from qmi.actors.lock_manager import AcquireTurn, LockManager
from qmi.actors.mailbox import Mailbox
from qmi.actors.polling import Poller
from qmi.actors.safe_states import Reason, SafeState, SafeTurn
from qmi.actors.services import ActorServices, ActorStatistics, OpenStream
from qmi.actors.streams import ActorStream, PullTurn
from qmi.actors.unknown_names import unknown_method
from qmi.actors.user_errors import brief_error, presentable
from qmi.actors.worker import Worker
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.messages import (
    ENTER_BLOCK,
    Acquire,
    Call,
    Describe,
    ForceRelease,
    Origin,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
)
from qmi.names import Address
from qmi.runtime.call_context import CALLER, EXECUTION, Execution, current_chain
from qmi.runtime.forks import end_child

if TYPE_CHECKING:
    from qmi.actors.context_status import ErrorStatus

_logger = logging.getLogger("qmi.core.rpc")

_OPENING = frozenset({"open", "__enter__", ENTER_BLOCK})
"""Calls that open an instrument."""
_UNCHANGING: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Results of these types stay what they are, whatever the object does next."""


def _is_held(turn: Turn) -> bool:
    return turn.is_sent and not turn.given_up and turn.is_held()


_new_line: Final = partial(FairQueue[Turn], attrgetter("origin"), _is_held)


class Actor:
    """One object of a context, with its mailbox, its lock and, if it needs one, its thread.

    Attributes:
        address: Where it lives.
        interface: What it offers.
        placement: Where its plain methods run.
        object: The object itself; None until it is made.
        poller: What asks it for its readings; None if there are none to be polled.
        safe: Its safe state; None if it has none.
        own_calls: How many of ``calls`` nobody has asked for: polls and the like.
        errors: How many of ``calls`` ended by an exception.
        last_error: The last of these; as text, since an exception keeps all that its frames refer to alive.
    """

    __slots__ = (
        "address",
        "alone",
        "calls",
        "errors",
        "host",
        "interface",
        "last_error",
        "lock_manager",
        "mailbox",
        "object",
        "own_calls",
        "placement",
        "poller",
        "safe",
        "streams",
        "where",
        "worker",
    )

    def __init__(self, host: ActorServices, address: Address, interface: Interface, placement: Placement) -> None:
        self.address: Address = address
        self.interface: Interface = interface
        self.placement: Placement = placement
        self.object: Any = None
        self.alone: Execution | None = None  # what code of a turn belongs to that nothing else waits for
        self.mailbox: Mailbox[Turn] = Mailbox(_new_line)
        self.host: ActorServices = host
        self.lock_manager: LockManager = LockManager(self)
        self.worker: Worker | None = None
        self.streams: set[OpenStream] | None = None
        self.poller: Poller | None = None
        self.safe: SafeState | None = None
        self.own_calls: int = 0
        self.calls: int = 0
        self.errors: int = 0
        self.last_error: ErrorStatus | None = None
        self.where: str = str(address)

    def __repr__(self) -> str:
        return f"<actor {self.where}>"

    # Birth

    def construct(self, make: Callable[[], object]) -> QMI_RpcFuture[Actor]:
        """Make the object where its plain methods will run. The future gives the actor, or the constructor's error."""
        future: QMI_RpcFuture[Actor] = QMI_RpcFuture(f"the constructor of {self.where}")
        job = partial(self._construct, make, future, current_chain())
        if self.placement is Placement.LOOP:
            if not self.host.loop.now_or_soon(job):
                future.fail(self.stopped())
        elif self.placement is Placement.CALLER and not self.host.loop.is_here():
            job()
        else:
            self.thread(lambda error: future.fail(self._no_thread(error))).give(job)
        return future

    def _construct(self, make: Callable[[], object], future: QMI_RpcFuture[Actor], makers: tuple[str, ...]) -> None:
        token = EXECUTION.set(Execution(self.host.facade, (*makers, self.where)))
        try:
            self.object = make()
        except BaseException as error:  # whatever it is, it belongs to whoever wants the object
            EXECUTION.reset(token)
            self.finish_thread()
            future.fail(presentable(error, f"The constructor of {self.where}"))
            return
        EXECUTION.reset(token)  # whoever is told now does not do so in the name of the object
        if self.placement is Placement.CALLER:
            self._give_thread_back()
        if not future.set_result(self):
            self.discard()

    def discard(self) -> None:
        """Nobody wants the object any more, and nobody knows it: release it."""
        if self.poller is not None:
            self.poller.stop()
        last = EndTurn(self.where, self.host.origin)

        def done() -> None:
            if (failure := last.error()) is not None:
                _logger.error("%s could not be released", self.where, exc_info=failure)
            self.finish_thread()

        last.add_done_callback(done)
        self._dispatch_end(last)

    # Its thread

    def thread(self, lost: Callable[[Exception | None], object] | None = None) -> Worker:
        """The object's thread, which is started when it is first needed.

        Args:
            lost: Called if it cannot start, with the reason, or is left behind, with None.
        """
        with self.mailbox.mutex:  # the thread of a caller and the loop may need it in the same moment; one makes it
            worker = self.worker
            if worker is not None:
                return worker
            self.worker = worker = Worker(self.where, lost or self._without_thread)
        self.host.start_worker(worker)
        return worker

    def _give_thread_back(self) -> None:
        # Callers run the methods: the object may never need another thread than the one in which it was made.
        with self.mailbox.mutex:
            worker, self.worker = self.worker, None
        if worker is not None:
            worker.finish()

    def _without_thread(self, error: Exception | None) -> None:
        if error is None:
            return
        self.worker = None
        turn = self.mailbox.current
        if turn is not None and not turn.is_inline and not isinstance(turn, AcquireTurn) and turn.try_start():
            turn.fail(self._no_thread(error))
            self.dispatch(self.mailbox.leave(turn))

    def _no_thread(self, error: Exception | None) -> Exception:
        if error is None:
            return self.stopped()
        fault = QMI_RuntimeException(f"There is no thread for {self.where}: {error}")
        fault.__cause__ = error
        return fault

    def finish_thread(self) -> None:
        """Let the object's thread end, if it has one."""
        if self.worker is not None:
            self.worker.finish()

    # Calls

    def method(self, name: str) -> Method:
        """The published method of this name.

        Raises:
            QMI_UnknownRpcException: If there is none; the message has the nearest name that there is.
        """
        method = self.interface.methods.get(name) or self.interface.services.get(name)
        if method is None:
            raise QMI_UnknownRpcException(unknown_method(self.interface, self.where, name, self.has_unpublished(name)))
        return method

    def has_unpublished(self, name: str) -> bool:
        """Whether the class has a public method of this name that is not published."""
        return not name.startswith("_") and callable(getattr(type(self.object), name, None))

    def handle(self, message: Request, origin: Origin) -> QMI_RpcFuture[Any]:
        """Take a message of any kind. Never blocks; every error comes with the future.

        Args:
            message: The message.
            origin: Where it came from.
        """
        if isinstance(message, Call):
            token, chain = message.token, message.chain
            call = PendingCall(message.method, message.args, message.kwargs, token, chain, origin, shared=True)
            return self.submit(call)
        try:
            if isinstance(message, Acquire):
                return self.lock_manager.acquire(AcquireTurn(message, origin))
            future: QMI_RpcFuture[Any] = QMI_RpcFuture(f"{type(message).__name__} at {self.where}")
            future.set_result(self._answer_at_once(message, origin))
        except Exception:
            raise
        except BaseException:
            self.redispatch()
            raise
        return future

    def _answer_at_once(self, message: Request, origin: Origin) -> object:
        match message:
            case Release():
                return self.lock_manager.release(message, origin)
            case ForceRelease():
                self.lock_manager.force_release(origin)
                return None
            case QueryLock():
                return self.lock_manager.info()
            case QueryStatistics():
                return self.statistics()
            case Describe():
                return self.interface
        raise AssertionError(message)

    def submit(self, call: PendingCall) -> QMI_RpcFuture[object]:
        """Put a call in line. Never blocks; every error comes with the future.

        Returns:
            The call; or what a method has returned that is answered at once.
        """
        try:
            call.actor = self
            method = self.interface.methods.get(call.name) or self.method(call.name)
            if method.direct:
                return self._call_at_once(call)
            call.callee = self.address
            call.method = method
            if call.chain:
                check_cycle(call.chain, self.where, call.what)
            if call.is_sent and call.is_held():
                self._park(call)
            elif self.mailbox.enter(call):
                self.dispatch(call)
        except Exception as error:  # goes to the caller
            call.fail(error)
        except BaseException:
            self.redispatch()
            raise
        return call

    def _call_at_once(self, call: PendingCall) -> QMI_RpcFuture[object]:
        target = self.object
        if target is None:  # it has been released since the caller found it
            raise self._gone()
        name = answering_name(type(target), call.name)
        token = CALLER.set(call.origin)
        try:
            value = getattr(target, name)(*call.args, **call.kwargs)
        finally:
            CALLER.reset(token)
        if isinstance(value, QMI_RpcFuture):
            return value
        call.set_result(value)
        return call

    def enter(self, turn: Turn) -> None:
        """Put a turn in line, and see to it if it is its turn already."""
        try:
            mine = self.mailbox.enter(turn)
        except Exception as error:  # the object is gone
            turn.fail(error)
            return
        if mine:
            self.dispatch(turn)

    def _park(self, call: PendingCall) -> None:
        self.mailbox.park(call)
        if not _is_held(call):  # there was room again before it stood in line, so that nobody would have looked
            self.resume()

    def resume(self) -> None:
        """See to turns that were held, if they are not any more."""
        self.dispatch(self.mailbox.resume())

    def abandon_turn(self, turn: Turn) -> None:
        """Nobody waits for this turn any more: it leaves the line, or is cancelled if it runs in the loop."""
        # Called by any thread, while another one may grant the turn, start it, or end it. A turn that has not come into
        # line yet, or has ended, is found nowhere. One that is started in the loop looks at `given_up` after it has set
        # `scope`, and this looks at `scope` after it has set `given_up`: one of the two cancels it.
        turn.given_up = True
        if self.mailbox.withdraw(turn):
            return
        if turn.scope is not None:
            self.host.loop.now_or_soon(turn.scope.cancel)
        elif turn is self.mailbox.current and turn.try_start():
            # It was granted but nobody has started it: pass it on. Whoever comes later fails to start it.
            self.dispatch(self.mailbox.leave(turn))

    def redispatch(self) -> None:
        """See to the current turn again: Ctrl-C may have come between a turn's grant and whoever had to see to it.

        Only for a caller that was broken off by what is no Exception. Another thread may be seeing to the same turn at
        the same time, so that everything that :meth:`dispatch` does to a turn may be done twice: a call is started
        only once, whoever runs a call itself asks the lock itself, and an acquisition is decided only once.
        """
        turn = self.mailbox.current
        refusal: BaseException | None = getattr(turn, "refusal", None)
        if turn is not None and refusal is not None:  # broken off before its caller was told
            turn.fail(refusal)
            turn = self.mailbox.leave(turn)
        self.dispatch(turn)

    def dispatch(self, turn: Turn | None) -> None:
        """See to it that the current turn, and all that can be done at once after it, is done."""
        while turn is not None:
            if isinstance(turn, PendingCall):
                if turn.is_inline:
                    turn.set_result(None)  # its caller waits for nothing but its turn
                    return
                # One that was given up is sent as well: whether it runs is decided by who starts it.
                is_free = turn.given_up or (turn.token is None and self.lock_manager.lock.holder is None)
                refusal = None if is_free else self.refusal(turn)
                if refusal is None:
                    if not (turn.method.kind.is_async or self.placement is Placement.LOOP):
                        (self.worker or self.thread()).give(partial(self._run_in_thread, turn))
                        return
                    if self.spawn(turn, self._run_in_loop, turn):
                        return
                    turn.fail(self.stopped())
                elif not self._refuse(turn, refusal):
                    return
            elif isinstance(turn, AcquireTurn):
                turn = self.lock_manager.take_turn(turn)
                continue
            elif isinstance(turn, EndTurn):
                self._dispatch_end(turn)
                return
            turn = self.mailbox.leave(turn)

    def refusal(self, call: PendingCall) -> BaseException | None:
        """Why the lock does not let a call through, None if it does.

        Every call that runs has asked here; :meth:`dispatch` looks by itself whether the object is unlocked.
        """
        if call.token is None and self.lock_manager.lock.holder is None:
            return None
        return self.lock_manager.refusal(call)

    def _refuse(self, call: PendingCall, refusal: BaseException) -> bool:
        # The lock may have changed since somebody else let the same turn through: who starts it decides.
        with self.mailbox.mutex:
            if not call.try_start():
                return False
            call.refusal = refusal
        call.fail(refusal)
        return True

    def spawn(self, turn: Turn, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Run a turn in the event loop; False if that has ended. The turn fails if the context takes no more."""

        def on_loop() -> None:
            if not self.host.spawn(function, *args):
                turn.fail(self.stopped())
                for arg in args:
                    if inspect.iscoroutine(arg):
                        arg.close()

        return self.host.loop.now_or_soon(on_loop)

    # Running a call

    def execution(self, call: PendingCall) -> Execution:
        """What the code of a call belongs to."""
        if call.chain:
            return Execution(self.host.facade, (*call.chain, self.where))
        if self.alone is None:
            self.alone = Execution(self.host.facade, (self.where,))
        return self.alone

    def _run_in_thread(self, call: PendingCall) -> None:
        """Run a call in the object's thread. Never raises."""
        if not call.starting.acquire(False):  # as try_start()
            return
        value: object = None
        error: BaseException | None = None
        if not call.given_up:
            call.since = time.monotonic()
            self.calls += 1
            token = EXECUTION.set((not call.chain and self.alone) or self.execution(call))
            try:
                value = call.invoke(self.object)
            except BaseException as caught:  # goes to the caller; the thread lives on
                error = caught
            EXECUTION.reset(token)
            if type(value) is CoroutineType and not isinstance(call, PullTurn):
                if self.spawn(call, self._run_in_loop, call, value):
                    return
                value.close()
                error = self.stopped()
        following = self._end_call(call, value, error)
        if following is not None:
            self.dispatch(following)
        elif call.is_sent and self.worker is not None:
            call.idle(self.worker)

    async def _run_in_loop(self, call: PendingCall, started: Coroutine[object, object, object] | None = None) -> None:
        """Run a call in the event loop, or what a plain method has left to be awaited there."""
        if started is None and not call.try_start():
            return
        value: object = None
        error: BaseException | None = self.stopped()
        try:
            with trio.CancelScope() as call.scope:
                # Whoever gives the call up, or ends the object, sets these before looking for a scope to cancel.
                if call.given_up or self.mailbox.closed is not None:
                    call.scope.cancel()
                await trio.lowlevel.checkpoint_if_cancelled()
                EXECUTION.set(self.execution(call))
                if started is None:
                    call.since = time.monotonic()
                    self.calls += 1
                    value = call.invoke(self.object)
                else:
                    value = started
                # An item that a plain generator has made is not awaited, whatever it is.
                if (call.method.kind.is_async or not isinstance(call, PullTurn)) and inspect.isawaitable(value):
                    value = await value
                error = None
            if call.scope.cancelled_caught:
                # The object may have ended before there was a scope to cancel: then nobody has told the caller yet.
                gone = None if call.given_up else copy.copy(self.mailbox.closed)
                error = gone or QMI_CancelledCallException(f"{call.what} was cancelled")
        except trio.Cancelled:
            raise
        except BaseException as caught:  # goes to the caller; the loop lives on
            error = caught
        finally:
            if started is not None:
                started.close()  # does nothing unless it was cancelled before it began
            self.dispatch(self._end_call(call, value, error))

    def _end_call(self, call: PendingCall, value: object, error: BaseException | None) -> Turn | None:
        """Answer, and end the turn; returns the next one."""
        if error is not None:  # within the turn, so that whoever comes next is told of an opening that has failed
            self.note_error(call, error)
        # The turn is left first: a caller that is woken by the answer and calls again at once finds the object idle.
        # The next turn is dispatched by this thread, when the answer is out.
        if error is None and type(value) not in _UNCHANGING:
            if call.method.kind.is_stream and not isinstance(call, PullTurn):
                value = self.open_stream(call, value)
            if call.is_sent:
                # The next turn may fill the same buffer again, and another thread may run it as soon as this one has
                # ended.
                if not call.set_result(value):
                    self._drop(value)
                return self.mailbox.leave(call)
        following = self.mailbox.leave(call)
        if error is None:
            if not call.set_result(value):
                self._drop(value)
            return following
        if self.object is None:  # it has been released; a call that came in all the same found nothing to run on
            error = self._gone()
        call.fail(error if isinstance(error, Exception) else presentable(error, call.what))
        return following

    def note_error(self, call: PendingCall, error: BaseException) -> None:
        """Count a call that has failed, and keep what is to be said of it."""
        self.errors += 1
        if type(error) is trio.Cancelled or isinstance(error, QMI_CancelledCallException):  # its caller has given it up
            return
        from qmi.actors.context_status import ErrorStatus  # most programs start and end without an error

        now, context, brief = time.time(), call.origin.context, brief_error(error)
        self.last_error = ErrorStatus(what=call.text, error=brief, time=now, context=context)
        if call.name in _OPENING and (told := getattr(self.object, "__rpc_opening_failed__", None)) is not None:
            told(brief, now)

    @staticmethod
    def _drop(value: object) -> None:
        # Nobody waits for this result any more.
        if issubclass(type(value), ActorStream):  # `isinstance` would ask a value of the user what it is
            cast("ActorStream", value).drop()

    def open_stream(self, call: PendingCall, generator: object) -> ActorStream:
        """What the caller gets for a generator."""
        stream = ActorStream(self, call, generator)
        with self.mailbox.mutex:
            if self.streams is None:
                self.streams = set()
            self.streams.add(stream)
        return stream

    def forget_stream(self, stream: OpenStream) -> None:
        """A stream has ended."""
        with self.mailbox.mutex:
            if self.streams is not None:
                self.streams.discard(stream)

    # The safe state

    def make_safe(self, reason: Reason) -> SafeTurn | None:
        """Bring the object into its safe state before anything else is done with it; None if it has none."""
        if self.safe is None:
            return None
        turn = self.safe.turn(reason)
        with self.mailbox.mutex:
            gone = self.mailbox.closed
            mine = gone is None and self.mailbox.enter_locked(turn, first=True)
        if gone is not None:
            turn.fail(copy.copy(gone))
        elif mine:
            self.dispatch(turn)
        return turn

    def lock_lost(self, origin: Origin) -> Turn | None:
        """The turn that is due since the program is gone that held the lock; None if there is none."""
        return None if self.safe is None else self.safe.lock_lost(origin.context)

    # The end

    async def end(self, error: Exception, deadline: float, why: Reason | None = None) -> bool:
        """End: everybody who waits is answered, the running turn may end, then the object is released.

        On the loop only.

        Args:
            error: What those who wait get.
            deadline: When to leave a turn behind that does not end, as time of the loop.
            why: Why the object is brought into its safe state before it is released; None leaves its state as it is.

        Returns:
            False if something was left behind.
        """
        last = EndTurn(self.where, self.host.origin, why)
        if self.poller is not None:
            self.poller.stop()
        waiting = self.mailbox.close(error)
        with self.mailbox.mutex:
            waiting.extend(self.lock_manager.clear_waiters())
            current = self.mailbox.current
            idle = self.mailbox.enter_locked(last)
        for turn in waiting:
            turn.fail(copy.copy(error))
        if idle:
            self.dispatch(last)
        elif current is not None and current.scope is not None:
            current.fail(copy.copy(error))
            current.scope.cancel()
        try:
            with trio.move_on_at(deadline):
                await last.ended()
        finally:  # also if the context goes meanwhile
            if not last.done():
                last.try_start()
                self._leave_behind(error, last)
            else:
                # Proxies that have called it may live on, and know the actor; the driver and what it holds must not.
                self.object = None
            self.finish_thread()
        if (failure := last.error()) is not None:
            _logger.error("%s could not be released", self.where, exc_info=failure)
            last.forget_error()
        return last.done()

    def _leave_behind(self, error: Exception, last: EndTurn) -> None:
        if self.safe is not None and last.why is not None:
            _logger.error(
                "%s is not brought into its safe state, although %s: it does not end", self.where, last.why.text
            )
        turn = self.mailbox.current
        if turn is None or isinstance(turn, EndTurn):
            where = (
                self.worker.where() if self.worker is not None else self.object.__rpc_where__() or "(in the event loop)"
            )
            _logger.error("%s does not end and is left behind: release_rpc_object() is at %s", self.where, where)
            self.object.__rpc_left_behind__(error)
        else:
            _logger.error("%s does not end and is left behind: %s", self.where, self.explain_busy() or turn.text)
            turn.fail(copy.copy(error))

    def _dispatch_end(self, turn: EndTurn) -> None:
        # The last turn has come: release the object where its methods ran.
        if self.worker is not None:
            self.worker.give(partial(self._end_in_thread, turn))
        else:
            self.spawn(turn, self._end_in_loop, turn)

    def _end_in_thread(self, turn: EndTurn) -> None:
        if not turn.try_start():
            return
        turn.since = time.monotonic()
        token = EXECUTION.set(Execution(self.host.facade, (self.where,)))
        faults: list[BaseException] = []
        for stream in list(self.streams or ()):
            if not stream.is_async:
                try:
                    stream.close()
                except BaseException as error:  # goes into the log; the object is released all the same
                    faults.append(error)
        safe = self._enter_safe_state(turn)
        EXECUTION.reset(token)
        if safe is None:
            self._release_in_thread(turn, faults)
        elif not self.spawn(turn, self._await_safe_state, turn, safe, faults):
            safe.close()  # type: ignore[attr-defined]
            self._release_in_thread(turn, faults)

    def _enter_safe_state(self, turn: EndTurn) -> Awaitable[None] | None:
        if self.safe is None or turn.why is None:
            return None
        why, turn.why = turn.why, None
        return self.safe.enter(self.object, why)

    async def _await_safe_state(self, turn: EndTurn, safe: Awaitable[None], faults: list[BaseException]) -> None:
        # A driver with a thread whose safe_state() is awaited: in between, nothing else runs in that thread.
        EXECUTION.set(Execution(self.host.facade, (self.where,)))
        try:
            await safe
        finally:
            assert self.worker is not None, "it is there until the end"
            self.worker.give(partial(self._release_in_thread, turn, faults))

    def _release_in_thread(self, turn: EndTurn, faults: list[BaseException]) -> None:
        token = EXECUTION.set(Execution(self.host.facade, (self.where,)))
        rest = self._release(faults)
        EXECUTION.reset(token)
        if inspect.isawaitable(rest) or self.streams:
            if self.spawn(turn, self._finish_in_loop, turn, rest, faults):
                return
            if inspect.iscoroutine(rest):
                rest.close()
        turn.end(faults)

    def _release(self, faults: list[BaseException]) -> object:
        try:
            return self.object.release_rpc_object()
        except BaseException as error:  # as above
            faults.append(error)
            return None

    async def _end_in_loop(self, turn: EndTurn) -> None:
        if not turn.try_start():
            return
        turn.since = time.monotonic()
        EXECUTION.set(Execution(self.host.facade, (self.where,)))
        faults: list[BaseException] = []
        await self._close_streams(faults)
        try:
            if (safe := self._enter_safe_state(turn)) is not None:
                await safe
        except trio.Cancelled:
            turn.fail(self.stopped())
            raise
        await self._finish_in_loop(turn, self._release(faults), faults)

    async def _finish_in_loop(self, turn: EndTurn, rest: object, faults: list[BaseException]) -> None:
        EXECUTION.set(Execution(self.host.facade, (self.where,)))
        try:
            await self._close_streams(faults)
            if inspect.isawaitable(rest):
                await rest
        except trio.Cancelled:
            turn.fail(self.stopped())
            raise
        except BaseException as error:  # as above
            faults.append(error)
        turn.end(faults)

    async def _close_streams(self, faults: list[BaseException]) -> None:
        for stream in list(self.streams or ()):
            try:
                await stream.finish()
            except trio.Cancelled:
                raise
            except BaseException as error:  # as above
                faults.append(error)

    def abandon(self, why: Callable[[], Exception]) -> None:
        """This is a forked child, in which the object has no thread and no loop: all that waits for it fails.

        Nothing is told to anybody: who waits for an answer does so in the parent, where it will come.
        """
        before, self.mailbox = self.mailbox, _InheritedMailbox(self.where, why())
        for turn in before.everybody():
            if not turn.is_inline:  # that one runs here, if it runs at all
                turn.abandon(why())

    # Questions

    def statistics(self) -> ActorStatistics:
        """What the object has done and is doing."""
        turn = self.mailbox.current
        busy = turn if turn is not None and turn.since else None
        return ActorStatistics(
            calls=self.calls,
            errors=self.errors,
            queue_length=len(self.mailbox),
            busy_with=None if busy is None else busy.text,
            busy_for=0.0 if busy is None else time.monotonic() - busy.since,
            busy_for_context=None if busy is None else busy.origin.context,
            thread=self.worker is not None,
        )

    def explain_busy(self) -> str:
        """What keeps the object from answering, or an empty string."""
        turn = self.mailbox.current
        if turn is None or not turn.since:
            return ""
        where = self.worker.where() if self.worker is not None else ""
        return f"{self.where} is busy with {turn.describe(time.monotonic())}" + (f", now at {where}" if where else "")

    def stopped(self) -> Exception:
        """The error for those whose call comes to nothing because the context is going."""
        return QMI_ContextStoppedException(f"Context {self.address.context!r} has stopped, and {self.where} with it")

    def _gone(self) -> BaseException:
        return copy.copy(self.mailbox.closed) or self.stopped()


class _InheritedMailbox(Mailbox[Turn]):
    """The mailbox of an object in a forked child: it takes no turns, and none ends here."""

    __slots__ = ("_where",)

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self._where = where
        self.closed = error

    def leave(self, turn: Turn) -> Turn | None:
        """The thread that forked is back from the object's method; what follows is the parent's to do."""
        if not turn.is_inline:  # which comes back into the code of the caller, as from any fork
            end_child(f"{self._where}.{turn.text}")
        return None
