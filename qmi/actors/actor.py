"""One actor's life: it is made, takes its turns, answers, and goes.

Two lanes lead to the object. Turns (:mod:`qmi.actors.turns`) go through the mailbox and run one at a time, each where
it belongs: in the object's own thread, in the event loop, or in the thread of the caller. Everything that only asks or
commands is done at once by whoever asks, under the mailbox's mutex.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Coroutine
from functools import partial
from operator import attrgetter
from typing import Any, Final

from qmi.actors.ending import dispatch_end
from qmi.actors.fair_queue import Line
from qmi.actors.future import QMI_RpcFuture, call_cycle
from qmi.actors.interface import Interface, Method, Placement, answering_name, unknown_method
from qmi.actors.lock_manager import LockManager
from qmi.actors.mailbox import Mailbox
from qmi.actors.making import construct
from qmi.actors.running import run_async, run_plain
from qmi.actors.services import ActorServices, ActorStatistics
from qmi.actors.streams import ActorStream
from qmi.actors.turns import AcquireTurn, CallFuture, CallTurn, EndTurn, InlineTurn, PullTurn, Turn, WaitedTurn
from qmi.actors.worker import Worker
from qmi.errors import (
    QMI_CallCycleException,
    QMI_ContextStoppedException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.messages import (
    SERVICE_NAMES,
    Acquire,
    Call,
    Describe,
    ForceRelease,
    Origin,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
    Token,
    call_text,
)
from qmi.names import Address
from qmi.runtime.call_context import CALLER, Execution, current_chain
from qmi.runtime.forks import end_child


def _is_held(turn: Turn) -> bool:
    # For all other turns the attribute is false; looking there takes longer than all the rest.
    return isinstance(turn, CallTurn) and turn.future.is_sent and turn.is_held


_new_line: Final = partial(Line[Turn], attrgetter("origin"), _is_held)
_CALLS: Final = (CallTurn, PullTurn, WaitedTurn)


class Actor:
    """One object of a context, with its mailbox, its lock and, if it needs one, its thread.

    Attributes:
        address: Where it lives.
        interface: What it offers.
        placement: Where its plain methods run.
        object: The object itself; None until it is made.
    """

    __slots__ = (
        "address",
        "alone",
        "calls",
        "errors",
        "guard",
        "host",
        "interface",
        "mailbox",
        "object",
        "placement",
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
        self.guard: LockManager = LockManager(self)
        self.worker: Worker | None = None
        self.streams: set[ActorStream] | None = None
        self.calls: int = 0
        self.errors: int = 0
        self.where: str = str(address)

    def __repr__(self) -> str:
        return f"<actor {self.where}>"

    # Birth

    def construct(self, make: Callable[[], Any]) -> QMI_RpcFuture[Actor]:
        """Make the object where its plain methods will run. The future gives the actor, or the constructor's error."""
        return construct(self, make)

    def thread(self, lost: Callable[[Exception | None], object] | None = None) -> Worker:
        """The object's thread, which is started when it is first needed.

        Args:
            lost: Called if it cannot start, with the reason, or is left behind, with None.
        """
        with self.mailbox.mutex:
            worker = self.worker
            if worker is not None:
                return worker
            self.worker = worker = Worker(self.where, lost or self._without_thread)
        self.host.start_worker(worker)
        return worker

    def give_thread_back(self) -> None:
        """Let the thread go in which the object was made, since callers run its methods; it may never need another."""
        with self.mailbox.mutex:
            worker, self.worker = self.worker, None
        if worker is not None:
            worker.finish()

    def _without_thread(self, error: Exception | None) -> None:
        if error is None:
            return
        self.worker = None
        turn = self.mailbox.current
        if turn is not None and not isinstance(turn, AcquireTurn | InlineTurn) and turn.try_start():
            turn.fail(QMI_RuntimeException(f"There is no thread for {self.where}: {error}"))
            self.dispatch(self.mailbox.leave(turn))

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

    def handle(self, message: Request, origin: Origin, answer: CallFuture | None = None) -> QMI_RpcFuture[Any]:
        """Take a message of any kind. Never blocks; every error comes with the future.

        Args:
            message: The message.
            origin: Where it came from.
            answer: The future to use for a call, as far as possible.
        """
        try:
            return self._handle(message, origin, answer)
        except BaseException as caught:
            if not isinstance(caught, Exception):
                self.redispatch()
            raise

    def _handle(self, message: Request, origin: Origin, answer: CallFuture | None) -> QMI_RpcFuture[Any]:
        if isinstance(message, Call):
            return self.submit(message, origin, answer)
        if isinstance(message, Acquire):
            return self.guard.acquire(message, origin, answer)
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(f"{type(message).__name__} at {self.where}")
        if isinstance(message, Release):
            future.set_result(self.guard.release(message, origin))
        elif isinstance(message, ForceRelease):
            self.guard.force_release(origin)
            future.set_result(None)
        elif isinstance(message, QueryLock):
            future.set_result(self.guard.info())
        elif isinstance(message, QueryStatistics):
            future.set_result(self.statistics())
        elif isinstance(message, Describe):
            future.set_result(self.interface)
        else:
            raise AssertionError(message)
        return future

    def submit(self, call: Call, origin: Origin, answer: CallFuture | None = None) -> QMI_RpcFuture[Any]:
        """Put a call in line. Never blocks; every error comes with the future."""
        what = f"{self.where}.{call.method}()" if call.method not in SERVICE_NAMES else f"{self.where}.{call.what}"
        try:
            method = self.method(call.method)
            if method.direct:
                return self._direct(call, what, origin)
            self.check_cycle(call.method, call.chain)
        except Exception as error:  # goes to the caller
            return failed_future(what, error)
        if answer is None:
            answer = CallFuture(what)
        else:
            answer.what = what
        turn = CallTurn(self, call, method, origin, answer)
        if answer.is_sent and answer.is_held():
            self._park(turn)
        else:
            self.enter(turn)
        return answer

    def _direct(self, call: Call, what: str, origin: Origin) -> QMI_RpcFuture[Any]:
        target = self.object
        if target is None:  # it has been released since the caller found it
            raise copy.copy(self.mailbox.closed) or self.stopped()
        name = answering_name(type(target), call.method)
        token = CALLER.set(origin)
        try:
            value = getattr(target, name)(*call.args, **call.kwargs)
        finally:
            CALLER.reset(token)
        if isinstance(value, QMI_RpcFuture):
            return value
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(what)
        future.set_result(value)
        return future

    def check_cycle(self, method: str, chain: tuple[str, ...]) -> None:
        """Refuse a call that would wait for itself.

        Raises:
            QMI_CallCycleException: If this object waits for the caller; the message prints the cycle.
        """
        if chain and self.where in chain:
            raise call_cycle(chain, self.where, f"{self.where}.{call_text(method)}")

    def pull(
        self, stream: ActorStream, token: Token | None, *, ahead: bool = False, closing: bool = False
    ) -> QMI_RpcFuture[Any]:
        """Ask for the next item of a stream, or for its end; see :class:`PullTurn`."""
        what = f"{self.where}.{stream.what}"
        if self.where in current_chain() and not closing:
            return failed_future(what, QMI_CallCycleException(f"{self.where} would wait for itself: {what}"))
        future = CallFuture(what)
        self.enter(PullTurn(self, stream, future, token, ahead=ahead, closing=closing))
        return future

    def enter(self, turn: Turn) -> None:
        """Put a turn in line, and see to it if it is its turn already."""
        try:
            mine = self.mailbox.enter(turn)
        except Exception as error:  # the object is gone
            turn.fail(error)
            return
        if mine:
            self.dispatch(turn)

    def _park(self, turn: CallTurn) -> None:
        try:
            self.mailbox.park(turn)
        except Exception as error:  # the object is gone
            turn.fail(error)
            return
        if not turn.is_held:  # there was room again before it stood in line, so that nobody would have looked
            self.resume()

    def resume(self) -> None:
        """See to turns that were held, if they are not any more."""
        self.dispatch(self.mailbox.resume())

    def abandon_turn(self, turn: Turn) -> None:
        """Nobody waits for this turn any more: it leaves the line, or is cancelled if it runs in the loop."""
        turn.given_up = True
        if self.mailbox.withdraw(turn):
            return
        if turn.scope is not None:
            self.host.loop.now_or_soon(turn.scope.cancel)
        elif turn is self.mailbox.current and turn.try_start():
            # It was granted but nobody has taken it on: pass it on. Whoever comes later fails to claim it.
            self.dispatch(self.mailbox.leave(turn))

    def redispatch(self) -> None:
        """See to the current turn again: Ctrl-C may have come between a turn's grant and whoever had to see to it.

        Only for a caller that was broken off by what is no Exception. Another thread may be seeing to the same turn at
        the same time, so that everything that :meth:`dispatch` does to a turn may be done twice: a call can be claimed
        only once, whoever runs a call itself asks the lock itself, and an acquisition is decided only once.
        """
        turn = self.mailbox.current
        refusal = getattr(turn, "refusal", None)
        if turn is not None and refusal is not None:  # broken off before its caller was told
            turn.fail(refusal)
            turn = self.mailbox.leave(turn)
        self.dispatch(turn)

    def dispatch(self, turn: Turn | None) -> None:
        """See to it that the current turn, and all that can be done at once after it, is done."""
        while turn is not None:
            if isinstance(turn, _CALLS):
                # One that was given up is sent as well: whether it runs is decided by who claims it.
                asks = (turn.token is not None or self.guard.is_locked) and not turn.given_up
                refusal = self.guard.refusal(turn) if asks else None
                if refusal is None:
                    if self._send(turn):
                        return
                    turn.fail(self.stopped())
                elif not self._refuse(turn, refusal):
                    return
            elif isinstance(turn, InlineTurn):
                turn.grant()
                return
            elif isinstance(turn, AcquireTurn):
                turn = self.guard.take_turn(turn)
                continue
            elif isinstance(turn, EndTurn):
                dispatch_end(self, turn)
                return
            turn = self.mailbox.leave(turn)

    def _refuse(self, turn: CallTurn | PullTurn | WaitedTurn, refusal: BaseException) -> bool:
        # The lock may have changed since somebody else let the same turn through: who claims it decides.
        with self.mailbox.mutex:
            if not turn.try_start():
                return False
            turn.refusal = refusal
        turn.fail(refusal)
        return True

    def _send(self, turn: CallTurn | PullTurn | WaitedTurn) -> bool:
        if not isinstance(turn, WaitedTurn):  # which is for threads only
            is_async = turn.stream.is_async if isinstance(turn, PullTurn) else turn.method.kind.is_async
            if is_async or self.placement is Placement.LOOP:
                return self.spawn(turn, run_async, self, turn)
        (self.worker or self.thread()).give(partial(run_plain, self, turn))
        return True

    def spawn(self, turn: Turn, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> bool:
        """Run a turn in the event loop; False if that has ended. The turn fails if the context takes no more."""

        def on_loop() -> None:
            if not self.host.spawn(function, *args):
                turn.fail(self.stopped())
                for arg in args:
                    if inspect.iscoroutine(arg):
                        arg.close()

        return self.host.loop.now_or_soon(on_loop)

    def end_inline(self, turn: InlineTurn) -> None:
        """The caller is done with an inline turn, however far it got. May be called again."""
        self.dispatch(self.mailbox.leave(turn))

    def leave_inline(self, turn: InlineTurn) -> None:
        """The same for a caller that gave up before its turn, which may come in this very moment."""
        turn.given_up = True
        self.mailbox.withdraw(turn)
        self.end_inline(turn)

    def abandon_inline(self, turn: InlineTurn) -> None:
        """The same for a caller that was interrupted anywhere, also in the middle of :meth:`end_inline`."""
        turn.given_up = True
        self.mailbox.withdraw(turn)
        self.mailbox.leave(turn)
        self.redispatch()

    def abandon(self, why: Callable[[], Exception]) -> None:
        """This is a forked child, in which the object has no thread and no loop: all that waits for it fails.

        Nothing is told to anybody: who waits for an answer does so in the parent, where it will come.
        """
        before, self.mailbox = self.mailbox, _InheritedMailbox(self.where, why())
        for turn in before.everybody():
            future = getattr(turn, "future", None)
            if isinstance(future, QMI_RpcFuture):
                future.abandon(why())

    # Streams

    def remember_stream(self, stream: ActorStream) -> None:
        """A stream was given to a caller."""
        with self.mailbox.mutex:
            if self.streams is None:
                self.streams = set()
            self.streams.add(stream)

    def forget_stream(self, stream: ActorStream) -> None:
        """A stream has ended."""
        with self.mailbox.mutex:
            if self.streams is not None:
                self.streams.discard(stream)

    # Questions

    def statistics(self) -> ActorStatistics:
        """What the object has done and is doing."""
        turn = self.mailbox.current
        busy = turn if turn is not None and turn.since else None
        return ActorStatistics(
            calls=self.calls,
            errors=self.errors,
            queue_length=len(self.mailbox),
            busy_with=None if busy is None else busy.what,
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

    def stopped(self) -> BaseException:
        """The error for those whose call comes to nothing because the context is going."""
        return QMI_ContextStoppedException(f"Context {self.address.context!r} has stopped, and {self.where} with it")

    def finish_thread(self) -> None:
        """Let the object's thread end, if it has one."""
        if self.worker is not None:
            self.worker.finish()


class _InheritedMailbox(Mailbox[Turn]):
    """The mailbox of an object in a forked child: it takes no turns, and none ends here."""

    __slots__ = ("_where",)

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self._where = where
        self.closed = error

    def leave(self, turn: Turn) -> Turn | None:
        """The thread that forked is back from the object's method; what follows is the parent's to do."""
        if not isinstance(turn, InlineTurn):  # which comes back into the code of the caller, as from any fork
            end_child(f"{self._where}.{turn.what}")
        return None


def failed_future(what: str, error: BaseException) -> QMI_RpcFuture[Any]:
    """A call that has failed already."""
    future: QMI_RpcFuture[Any] = QMI_RpcFuture(what)
    future.fail(error)
    return future
