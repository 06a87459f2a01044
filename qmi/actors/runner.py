"""One actor's life: it is made, takes its turns, answers, and goes.

Two lanes lead to the object. Turns (:mod:`qmi.actors.turns`) go through the mailbox and run one at a time, each where
it belongs: in the object's own thread, in the event loop, or in the thread of the caller. Everything that only asks or
commands is done at once by whoever asks, under the mailbox's mutex.
"""

from __future__ import annotations

import difflib
import inspect
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import trio

from qmi.actors.ending import dispatch_end
from qmi.actors.execution import EXECUTION, Execution, current_chain
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.guard import Guard
from qmi.actors.host import ActorStatistics, Host
from qmi.actors.interface import Interface, Method, Placement, answering_name
from qmi.actors.mailbox import Mailbox
from qmi.actors.streams import ActorStream
from qmi.actors.turns import AcquireTurn, CallTurn, EndTurn, InlineTurn, PullTurn, Turn
from qmi.actors.worker import Worker
from qmi.bridge import Interrupt
from qmi.errors import (
    QMI_CallCycleException,
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
)
from qmi.messages import (
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
        "calls",
        "errors",
        "guard",
        "host",
        "interface",
        "interrupt",
        "mailbox",
        "object",
        "placement",
        "streams",
        "where",
        "worker",
    )

    def __init__(self, host: Host, address: Address, interface: Interface, placement: Placement) -> None:
        self.address = address
        self.interface = interface
        self.placement = placement
        self.object: Any = None
        self.interrupt: Interrupt | None = None
        self.mailbox: Mailbox[Turn] = Mailbox()
        self.host = host
        self.guard = Guard(self)
        self.worker: Worker | None = None
        self.streams: set[ActorStream] | None = None
        self.calls = 0
        self.errors = 0
        self.where = str(address)

    def __repr__(self) -> str:
        return f"<actor {self.where}>"

    # Birth

    def construct(self, make: Callable[[], Any]) -> QMI_RpcFuture[Actor]:
        """Make the object where its plain methods will run. The future gives the actor, or the constructor's error."""
        future: QMI_RpcFuture[Actor] = QMI_RpcFuture(f"the constructor of {self.where}")
        job = partial(self._construct, make, future)
        if self.placement is Placement.LOOP:
            if not self.host.loop.now_or_soon(job):
                future.fail(self.stopped())
        elif self.placement is Placement.CALLER and not self.host.loop.is_here():
            job()
        else:
            self._thread().give(job)
        return future

    def _construct(self, make: Callable[[], Any], future: QMI_RpcFuture[Actor]) -> None:
        token = EXECUTION.set(Execution(self.host.face, (self.where,)))
        try:
            self.object = make()
        except BaseException as error:  # whatever it is, it belongs to whoever wants the object
            self.finish_thread()
            future.fail(presentable(error, f"The constructor of {self.where}"))
        else:
            if not future.settle(self):  # nobody wants it any more
                self.object.release_rpc_object()
                self.finish_thread()
        finally:
            EXECUTION.reset(token)

    def _thread(self) -> Worker:
        with self.mailbox.mutex:
            worker = self.worker
            if worker is not None:
                return worker
            self.worker = worker = Worker(self.where)
        self.host.start_worker(worker)
        return worker

    # Calls

    def method(self, name: str) -> Method:
        """The published method of this name.

        Raises:
            QMI_UnknownRpcException: If there is none; the message has the nearest name that there is.
        """
        method = self.interface.methods.get(name)
        if method is None:
            raise QMI_UnknownRpcException(self._unknown(name))
        return method

    def _unknown(self, name: str) -> str:
        text = f"{self.interface.short_name} {self.where} has no published method {name!r}"
        if not name.startswith("_") and callable(getattr(type(self.object), name, None)):
            text += "; the class has it, but without @rpc_method"
        near = difflib.get_close_matches(name, self.interface.methods, n=1)
        return f"{text}. Did you mean {near[0]!r}?" if near else text

    def handle(self, message: Request, origin: Origin) -> QMI_RpcFuture[Any]:
        """Take a message of any kind. Never blocks; every error comes with the future."""
        if isinstance(message, Call):
            return self.submit(message, origin)
        if isinstance(message, Acquire):
            return self.guard.acquire(message, origin)
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(f"{type(message).__name__} at {self.where}")
        if isinstance(message, Release):
            future.settle(self.guard.release(message, origin))
        elif isinstance(message, ForceRelease):
            self.guard.force_release()
            future.settle(None)
        elif isinstance(message, QueryLock):
            future.settle(self.guard.info())
        elif isinstance(message, QueryStatistics):
            future.settle(self.statistics())
        elif isinstance(message, Describe):
            future.settle(self.interface)
        else:
            raise AssertionError(message)
        return future

    def submit(self, call: Call, origin: Origin) -> QMI_RpcFuture[Any]:
        """Put a call in line. Never blocks; every error comes with the future."""
        what = f"{self.where}.{call.method}()"
        try:
            method = self.method(call.method)
            if method.direct:
                return self._direct(call, what)
            self.check_cycle(call)
        except Exception as error:  # goes to the caller
            return failed_future(what, error)
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(what, explain=self.explain_busy)
        turn = CallTurn(call, method, origin, future)
        future.on_cancel = partial(self.give_up, turn)
        self.enter(turn)
        return future

    def _direct(self, call: Call, what: str) -> QMI_RpcFuture[Any]:
        name = answering_name(type(self.object), call.method)
        value = getattr(self.object, name)(*call.args, **call.kwargs)
        if isinstance(value, QMI_RpcFuture):
            return value
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(what)
        future.settle(value)
        return future

    def check_cycle(self, call: Call) -> None:
        """Refuse a call that would wait for itself.

        Raises:
            QMI_CallCycleException: If this object waits for the caller; the message prints the cycle.
        """
        if call.chain and self.where in call.chain:
            start = call.chain.index(self.where)
            cycle = " -> ".join((*call.chain[start:], f"{self.where}.{call.method}()"))
            raise QMI_CallCycleException(f"These objects would wait for each other for ever: {cycle}")

    def pull(self, stream: ActorStream, closing: bool = False) -> QMI_RpcFuture[Any]:
        """Ask for the next item of a stream, or for its end."""
        what = f"{self.where}.{stream.what}"
        if self.where in current_chain() and not closing:
            return failed_future(what, QMI_CallCycleException(f"{self.where} would wait for itself: {what}"))
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(what, explain=self.explain_busy)
        turn = PullTurn(stream, future, closing)
        future.on_cancel = partial(self.give_up, turn)
        self.enter(turn)
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

    def give_up(self, turn: Turn) -> None:
        """Nobody waits for this turn any more: it leaves the line, or is cancelled if it runs in the loop."""
        turn.given_up = True
        if self.mailbox.withdraw(turn):
            return
        if turn.scope is not None:
            self.host.loop.now_or_soon(turn.scope.cancel)
        elif turn is self.mailbox.current and turn.claim():
            # It was granted but nobody has taken it on: pass it on. Whoever comes later fails to claim it.
            self.dispatch(self.mailbox.leave())

    def dispatch(self, turn: Turn | None) -> None:
        """See to it that the current turn, and all that can be done at once after it, is done."""
        while turn is not None:
            if isinstance(turn, AcquireTurn):
                self.guard.take_turn(turn)
            elif isinstance(turn, EndTurn):
                dispatch_end(self, turn)
                return
            elif turn.given_up:
                pass
            elif not isinstance(turn, CallTurn | InlineTurn | PullTurn):
                raise AssertionError(turn)
            elif (refusal := self.guard.refusal(turn)) is not None:
                turn.fail(refusal)
            elif isinstance(turn, InlineTurn):
                turn.grant()
                return
            elif self._send(turn):
                return
            else:
                turn.fail(self.stopped())
            turn = self.mailbox.leave()

    def _send(self, turn: Turn) -> bool:
        assert isinstance(turn, CallTurn | PullTurn)
        is_async = turn.method.kind.is_async if isinstance(turn, CallTurn) else turn.stream.is_async
        if is_async or self.placement is Placement.LOOP:
            return self.spawn(turn, self._run_async, turn)
        self._thread().give(partial(self._run_plain, turn))
        return True

    def spawn(self, turn: Turn, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> bool:
        """Run a turn in the event loop; False if that has ended. The turn fails if the context takes no more."""

        def on_loop() -> None:
            if not self.host.spawn(function, *args):
                turn.fail(self.stopped())

        return self.host.loop.now_or_soon(on_loop)

    # Running

    def begin(self, turn: Turn) -> None:
        """A turn starts to run."""
        turn.since = time.monotonic()
        self.calls += 1

    def execution(self, turn: CallTurn | InlineTurn | PullTurn) -> Execution:
        """What code of this turn belongs to."""
        chain = turn.stream.chain if isinstance(turn, PullTurn) else turn.call.chain
        return Execution(self.host.face, (*chain, self.where), self.interrupt)

    def _run_plain(self, turn: CallTurn | PullTurn) -> None:
        if not turn.claim():
            return
        value: Any = None
        error: BaseException | None = None
        if not turn.given_up:
            self.begin(turn)
            token = EXECUTION.set(self.execution(turn))
            try:
                value = self._invoke(turn)
            except BaseException as caught:  # goes to the caller; the thread lives on
                error = caught
            EXECUTION.reset(token)
            if inspect.iscoroutine(value):
                self.spawn(turn, self._run_async, turn, value)
                return
        following = self.mailbox.leave()
        self._answer(turn, value, error)
        self.dispatch(following)

    def _invoke(self, turn: CallTurn | PullTurn) -> Any:
        if isinstance(turn, PullTurn):
            return turn.stream.close() if turn.closing else turn.stream.advance()
        call = turn.call
        return getattr(self.object, call.method)(*call.args, **call.kwargs)

    async def _run_async(self, turn: CallTurn | PullTurn, started: Coroutine[Any, Any, Any] | None = None) -> None:
        if started is None and not turn.claim():
            return
        value: Any = None
        error: BaseException | None = self.stopped()
        try:
            with trio.CancelScope() as turn.scope:
                if turn.given_up:
                    turn.scope.cancel()
                if started is None:
                    self.begin(turn)
                EXECUTION.set(self.execution(turn))
                try:
                    value = self._invoke(turn) if started is None else started
                    if inspect.isawaitable(value):
                        value = await value
                    error = None
                except trio.Cancelled:
                    raise
                except BaseException as caught:  # goes to the caller; the loop lives on
                    error = caught
            if turn.scope.cancelled_caught:
                error = QMI_CancelledCallException(f"{self.where}.{turn.what} was cancelled")
        finally:
            following = self.mailbox.leave()
            self._answer(turn, value, error)
            self.dispatch(following)

    def _answer(self, turn: CallTurn | PullTurn, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self.errors += 1
            turn.fail(presentable(error, f"{self.where}.{turn.what}"))
        elif isinstance(turn, CallTurn):
            turn.future.settle(self.as_result(turn, value))
        else:
            turn.future.settle(value)

    def as_result(self, turn: CallTurn | InlineTurn, value: Any) -> Any:
        """What the caller gets for what the method returned: a generator becomes a stream."""
        if not turn.method.kind.is_stream:
            return value
        stream = ActorStream(
            self, value, turn.what, turn.origin, turn.token, turn.call.chain, turn.method.kind.is_async
        )
        with self.mailbox.mutex:
            if self.streams is None:
                self.streams = set()
            self.streams.add(stream)
        return stream

    def forget_stream(self, stream: ActorStream) -> None:
        """A stream has ended."""
        with self.mailbox.mutex:
            if self.streams is not None:
                self.streams.discard(stream)

    def end_inline(self, error: BaseException | None) -> None:
        """The caller has run an inline turn."""
        if error is not None:
            self.errors += 1
        self.dispatch(self.mailbox.leave())

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


def presentable(error: BaseException, where: str) -> BaseException:
    """The error as the caller gets it."""
    # SystemExit, KeyboardInterrupt and their like must not end the program of a caller, who did not raise them.
    if isinstance(error, Exception):
        return error
    wrapped = QMI_RuntimeException(f"{where} raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


def failed_future(what: str, error: BaseException) -> QMI_RpcFuture[Any]:
    """A call that has failed already."""
    future: QMI_RpcFuture[Any] = QMI_RpcFuture(what)
    future.fail(error)
    return future
