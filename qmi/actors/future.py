"""One call, from the proxy to the driver and back, is one object: what its caller waits for, and what stands in line.

:class:`QMI_RpcFuture` is the outcome: one value or one error, once, for whoever waits. :class:`Turn` adds a place in an
object's mailbox, and :class:`PendingCall` the method and its arguments. So a call is made by the proxy, put into the
mailbox, run by the object's thread or the event loop, and its outcome is written where the caller looks for it. Stream
items, lock requests and the end of an object are turns of other kinds, each in the module that it concerns. A call that
crosses a link is a subclass with the number of its request, on either side (:mod:`qmi.peers`).

Who touches a call, and when:

- the *caller* makes it, hands it over, waits, and may give up at any moment: by a timeout, a cancellation, Ctrl-C;
- the *runner* (the object's thread, or a task in the loop) starts it, runs the method, and sets the outcome;
- anybody may end it from outside: the end of the object, a lost link, a lock that refuses it.

Two things must therefore happen once, whoever comes first: starting (:meth:`Turn.try_start`) and ending
(:meth:`QMI_RpcFuture.set_result`, :meth:`QMI_RpcFuture.fail`). Each is decided by a bare lock that is acquired and
never released. Nothing else is locked: *waking* is safe by the order of two steps. Whoever ends a call sets ``_done``
and then looks for somebody to wake; whoever waits leaves word how to be woken and then looks at ``_done``. Whichever
order the threads run in, at least one of the two sees the other.
"""

from __future__ import annotations

import logging
import math
import sys
from _thread import LockType, allocate_lock
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar, cast

import trio

from qmi.actors.interface import Method
from qmi.actors.user_errors import text_of
from qmi.errors import (
    QMI_CallCycleException,
    QMI_CancelledCallException,
    QMI_RpcTimeoutException,
    QMI_UsageException,
)
from qmi.messages import SERVICE_NAMES, Args, Kwargs, Origin, Token, call_text
from qmi.names import Address
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.doorbell import Idler
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler
from qmi.runtime.wakeup import (
    AsyncioWaker,
    TaskWaker,
    ThreadWaker,
    in_task,
    on_any_loop,
    refuse_on_loop,
    refuse_outside_loops,
    wait_on,
)

_logger = logging.getLogger("qmi.core.rpc")

S = TypeVar("S")
T = TypeVar("T")


class QMI_RpcFuture(Generic[T]):
    """The result of a call that may not have ended yet.

    It can be waited for more than once, from any thread (:meth:`wait`) and from any task of trio or asyncio
    (``await future``).

    Args:
        what: The call, for messages: ``"lab.nsg.get_sample()"``.
        explain: Says what the callee is doing, for the message of a timeout.
        shared: Whether others than the one that makes it may wait for it.

    Attributes:
        on_cancel: Called if the caller gives up, to tell the callee.
        callee: The object in whose line the call stands, if it stands in one.
    """

    __slots__ = (
        *("_callbacks", "_done", "_error", "_explain", "_once", "_traceback", "_value", "_waker", "_what"),
        *("callee", "on_cancel"),
    )

    _value: T
    _traceback: TracebackType | None

    def __init__(
        self, what: str = "the call", explain: Callable[[], str] | None = None, *, shared: bool = True
    ) -> None:
        self._what = what
        self._explain = explain
        self.callee: Address | None = None
        self.on_cancel: Callable[[], object] | None = None
        self._once = allocate_lock()
        self._done = False
        self._error: BaseException | None = None
        # Who is told of the end first: the one that made the call, where nobody else waits for it.
        self._waker: Callable[[], object] | None = None
        # What else is to be called at the end; None as long as only the one that made the call has it.
        self._callbacks: list[Callable[[], object]] | None = [] if shared else None

    def __repr__(self) -> str:
        state = "pending" if not self._done else "done" if self._error is None else f"failed: {_name_of(self._error)}"
        return f"<rpc future of {self.what}: {state}>"

    @property
    def what(self) -> str:
        """The call, for messages."""
        return self._what

    def done(self) -> bool:
        """Whether the call has ended; then waiting for it does not block."""
        return self._done

    def result(self) -> T:
        """The value, or the error raised, of a call that has ended."""
        if self._error is not None:
            try:
                raise self._error.with_traceback(self._traceback)
            finally:
                del self  # the traceback of an error refers to this frame, and the future to the error
        return self._value

    def error(self) -> BaseException | None:
        """The error of a call that has ended, or None if it has a value."""
        return self._error

    # Waiting in a thread

    def wait(self, timeout: float | None = None) -> T:
        """Wait for the result and return it.

        Giving up does not end the call: it can be waited for again.

        Args:
            timeout: How long to wait at most, in seconds; None waits for ever.

        Raises:
            QMI_RpcTimeoutException: If there is no result in time.
            QMI_CallCycleException: If the call can only run when the code that would wait for it here has ended.
            QMI_UsageException: If the timeout will not do.
            QMI_BlockingOnLoopException: On the event loop, where ``await`` is the way to wait.
            BaseException: Whatever the call itself raised.
        """
        if not self._done:
            self._wait_in_thread(self._check_wait(timeout), EXECUTION.get())
        try:
            return self.result()
        finally:
            del self  # as in result()

    def _check_wait(self, timeout: object) -> float | None:
        if on_any_loop():
            refuse_on_loop(f"Waiting for {self.what}", "await future")
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        limit = check_timeout(timeout)
        if limit != 0:  # somebody who only looks does not wait
            self._check_cycle()
        return limit

    def _check_cycle(self) -> None:
        execution = EXECUTION.get()
        if execution is not None and execution.chain and self.callee is not None:
            check_cycle(execution.chain, str(self.callee), self.what)

    def _wait_in_thread(self, timeout: float | None, execution: Execution | None, left: float | None = None) -> None:
        """Wait until the call has ended: the one place in which a thread waits for a call.

        Args:
            timeout: How long to wait at most, in seconds.
            execution: What the calling code belongs to; its interrupt ends the wait.
            left: How much of the timeout is left, if less.

        Raises:
            QMI_RpcTimeoutException: If it took too long.
            BaseException: What the interrupt raises.
        """
        interrupt = None if execution is None else execution.interrupt
        if left is None:
            left = timeout
        if self._callbacks is None and interrupt is None:
            # The usual call of a script: one thread waits, for one lock, and nothing else needs to be told.
            lock = allocate_lock()
            lock.acquire()
            self._waker = lock.release
            if not self._done:
                wait_on(lock, left)
        else:
            waker = ThreadWaker()
            self._add_waker(waker.wake)
            try:
                if interrupt is not None:
                    interrupt.enter(waker)
                waker.wait(left)
            finally:
                self._remove_waker(waker.wake)
                if interrupt is not None:
                    interrupt.leave(waker)
            if not self._done and interrupt is not None:
                interrupt.check()
        if not self._done:
            raise timed_out(self.what, timeout, self.explain(patience_for(timeout)))

    def wait_or_cancel(
        self,
        timeout: float | None,
        execution: Execution | None,
        submit: Callable[[Any], QMI_RpcFuture[T]] | None = None,
    ) -> T:
        """Wait on behalf of a caller who has no other use for this call: leaving the wait gives it up.

        The caller has checked that it may wait here (:meth:`wait`).

        Args:
            timeout: How long to wait at most, in seconds.
            execution: What the calling code belongs to.
            submit: Hands the call over, and returns what to wait for. It is called here so that whatever breaks it off
                gives the call up as well.
        """
        if submit is not None:
            try:
                self = submit(self)
            except BaseException:
                self.cancel()
                raise
        try:
            if not self._done:
                if INTERRUPTS.pending:  # Ctrl-C came while it was handed over
                    INTERRUPTS.look()
                self._wait_in_thread(timeout, execution)
        except BaseException:
            self.leave_wait(execution)
        if self._error is None:
            return self._value
        try:
            raise self._error.with_traceback(self._traceback)
        finally:
            del self  # as in result()

    def leave_wait(self, execution: Execution | None) -> None:
        """Give the call up, since an exception leaves its wait; raises it again, but for a Ctrl-C that came too late.

        The call may have ended in this very moment, or another thread may be about to say so. What was done must not be
        lost then, let alone stay done with nobody to undo it: Ctrl-C is raised a moment later, and the caller goes on.

        Args:
            execution: What the calling code belongs to.
        """
        if self.cancel() or not isinstance(sys.exception(), KeyboardInterrupt):
            raise
        if not self._done:
            self._wait_in_thread(None, execution)
        if self._error is not None or not INTERRUPTS.postpone():
            raise

    # Waiting in a task

    async def ended(self) -> None:
        """Wait until the call has ended, however it ends: the one place in which a task waits for a call."""
        if self._done:
            await trio.lowlevel.checkpoint()
            return
        self._begin_await()
        waker = TaskWaker()
        self._add_waker(waker.wake)
        try:
            await waker.wait()
        finally:
            self._remove_waker(waker.wake)

    async def ended_in_asyncio(self) -> None:
        """The same for a task of asyncio, whose loop runs in another thread than that of the context."""
        waker = AsyncioWaker()
        self._add_waker(waker.wake)  # wakes at once if the call has ended: others run then, too
        try:
            await waker.wait()
        finally:
            self._remove_waker(waker.wake)

    def _begin_await(self) -> None:
        """A task is about to wait for this call; for links."""

    def __await__(self) -> Generator[object, None, T]:
        return self._await().__await__()

    async def _await(self) -> T:
        in_trio = in_task()
        if not in_trio:
            refuse_outside_loops(f"The future of {self.what}", "future.wait")
        if not self._done:
            self._check_cycle()
        await (self.ended() if in_trio else self.ended_in_asyncio())
        return self.result()

    # What is to be done at the end

    def _add_waker(self, wake: Callable[[], object]) -> None:
        if self._callbacks is not None:
            self.add_done_callback(wake)
            return
        self._waker = wake
        if self._done:  # see the head of this file: whoever ended it may have looked before
            wake()

    def _remove_waker(self, wake: Callable[[], object]) -> None:
        # Most often it was called already. Looking first keeps an error that means nothing out of users' tracebacks:
        # Ctrl-C in the midst of handling one would leave it there as the context of whatever is raised later.
        callbacks = self._callbacks
        if callbacks is not None and wake in callbacks:
            with suppress(ValueError):  # it is being called right now
                callbacks.remove(wake)

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Have a function called when the call ends, in the thread that ends it, or now if it has ended."""
        if self._callbacks is None:  # still the caller's alone: no other thread adds any
            self._callbacks = []
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        # Each callback is popped by exactly one thread, so it runs once whoever comes first.
        callbacks = self._callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:
                return
            try:
                callback()
            except Exception:  # it must not take the thread down that ended the call, nor keep others from waking
                _logger.exception("What was to be called at the end of %s failed", self.what)

    # Ending it

    def set_result(self, value: T) -> bool:
        """Give the call its value; False if it has ended already."""
        if not self._once.acquire(False):
            return False
        self._value = value
        self._done = True
        waker, self._waker = self._waker, None
        if waker is not None:
            waker()
        if self._callbacks:
            self._run_callbacks()
        return True

    def fail(self, error: BaseException) -> bool:
        """Let the call end by an error; False if it has ended already."""
        if not self._once.acquire(False):
            return False
        self._error = error
        self._traceback = error.__traceback__
        self._done = True
        waker, self._waker = self._waker, None
        if waker is not None:
            waker()
        if self._callbacks:
            self._run_callbacks()
        return True

    def follow(self, other: QMI_RpcFuture[S], convert: Callable[[S], T] | None = None) -> None:
        """End as another call does, with its value or what becomes of it; giving up gives that one up."""

        def end() -> None:
            if (error := other.error()) is not None:
                self.fail(error)
            else:
                value = other.result()
                self.set_result(cast("T", value) if convert is None else convert(value))

        self.on_cancel = other.cancel
        other.add_done_callback(end)

    # Giving up

    def cancel(self, why: str = "The caller gave up") -> bool:
        """Give up: the callee is told, and waiting raises from now on.

        Returns:
            False if the call had ended before.
        """
        if not self.fail(QMI_CancelledCallException(f"{why}: {self.what}")):
            return False
        self._give_up()
        return True

    def settle(self) -> None:
        """After :meth:`cancel` was too late: wait a moment until the thread that ends the call has written how.

        That takes it microseconds, unless the system lets others run; then it is not waited for any longer.
        """
        if not self._done:
            waker = ThreadWaker()
            self._add_waker(waker.wake)
            waker.wait(_MOMENT)

    def _give_up(self) -> None:
        if self.on_cancel is not None:
            self.on_cancel()

    def request_cancel(self) -> None:
        """Ask the callee to give up, and go on waiting for how the call ends."""
        if not self._done:
            self._give_up()

    def abandon(self, error: BaseException) -> None:
        """This is a forked child, to which no answer comes: waiting raises, and nobody else is told."""
        if self._once.acquire(False):
            self._waker = None
            self._callbacks = []
            self._error = error
            self._traceback = None
            self._done = True

    # For the message of a timeout

    def explain(self, patience: float = 0.0) -> str:
        """What the callee is doing, or an empty text.

        Args:
            patience: How long it may take to find out, in seconds, where somebody else has to be asked.
        """
        return "" if self._explain is None else self._explain()

    async def explain_async(self, patience: float) -> str:
        """The same for a task."""
        return self.explain()


class Turn(QMI_RpcFuture[Any]):
    """Something that needs the object for itself for a while, and what its caller waits for.

    Args:
        what: What it is, for messages.
        origin: The context it came from.

    Attributes:
        origin: The context it came from.
        since: When it began, as monotonic time; 0 before.
        scope: Cancels it while it runs in the event loop.
        given_up: Whether nobody waits for it any more.
        starting: Acquired by whoever takes it on (:meth:`try_start`), and never released.
        is_inline: Whether its caller runs it.
        is_sent: Whether its result goes to another program.
        passes_lock: Whether it may come whoever holds the lock.
    """

    __slots__ = ("given_up", "origin", "refusal", "scope", "since", "starting")

    is_inline: bool = False
    is_sent: bool = False
    passes_lock: bool = False
    refusal: BaseException
    """Why the lock refused it; set under the mailbox's mutex, and only if it did."""

    def __init__(self, what: str, origin: Origin) -> None:
        super().__init__(what)
        self.origin: Origin = origin
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self.starting: LockType = allocate_lock()

    @property
    def text(self) -> str:
        """What it does, for people: ``"get_sample()"``."""
        raise AssertionError

    def try_start(self) -> bool:
        """Take it on; True for exactly one of those who try."""
        return self.starting.acquire(False)

    def is_held(self) -> bool:
        """Whether it must not come yet, since its answer would find no room on its way; only if it is sent."""
        return False

    def describe(self, now: float) -> str:
        """What it does, how long already and for whom."""
        return f"{self.text} for {max(now - self.since, 0.0):.1f} s, called from context {self.origin.context!r}"


class Callee(Protocol):
    """What a call needs of the actor that it is for."""

    where: str
    address: Address

    def abandon_turn(self, turn: Turn) -> None:
        """Nobody waits for this turn any more."""

    def explain_busy(self) -> str:
        """What keeps the object from answering, or an empty string."""


NO_ARGUMENTS: Kwargs = {}


class PendingCall(Turn):
    """A call of a method, from the moment that a proxy makes it until its outcome is known.

    A call that comes in by a link is a subclass, with the number of its request: it sets ``is_sent``, says in
    :meth:`is_held` whether the link has room for the answer, and gives ``_waker`` what sends the outcome: that is
    called once, when the call has ended, by whoever ended it. A call that goes out on a link never stands in a mailbox
    here; it is a :class:`QMI_RpcFuture` with the number of its request, which overrides :meth:`_wait_in_thread` where
    the thread has something better to do than to sleep, and :meth:`_give_up` to tell the other side.

    Args:
        name: Name of the method.
        args: Its arguments.
        kwargs: Its keyword arguments.
        token: The caller's lock token.
        chain: The objects that wait for it, outermost first.
        origin: The context it came from.
        shared: Whether others than the one that makes it may wait for it.

    Attributes:
        method: The method, as the object has it; set when the call stands in line.
        actor: The object's actor, from when it was handed to it.
    """

    __slots__ = ("actor", "args", "chain", "kwargs", "method", "name", "token")

    method: Method

    def __init__(
        self,
        name: str,
        args: Args,
        kwargs: Kwargs,
        token: Token | None,
        chain: tuple[str, ...],
        origin: Origin,
        *,
        shared: bool = False,
    ) -> None:
        # This is made for each call: all that the classes above have is written here, and nothing is made that is not
        # needed.
        self.name: str = name
        self.args: Args = args
        self.kwargs: Kwargs = kwargs
        self.token: Token | None = token
        self.chain: tuple[str, ...] = chain
        self.origin: Origin = origin
        self.actor: Callee | None = None
        self.callee: Address | None = None
        self.on_cancel: Callable[[], object] | None = None
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self.starting: LockType = allocate_lock()
        self._once = allocate_lock()
        self._done = False
        self._error = None
        self._waker = None
        self._callbacks = [] if shared else None

    @property
    def text(self) -> str:
        """What it does, for people."""
        return call_text(self.name, self.args)

    @property
    def what(self) -> str:
        """The call, for messages."""
        return self.text if self.actor is None else f"{self.actor.where}.{self.text}"

    def invoke(self, target: object) -> object:
        """Call the method of the object."""
        if self._callbacks is None:
            return getattr(target, self.name)(*self.args, **self.kwargs)
        try:
            return getattr(target, self.name)(*self.args, **self.kwargs)
        finally:
            # Who keeps its outcome does not keep its arguments. The name of a property stays, for messages.
            self.args = self.args[:1] if self.name in SERVICE_NAMES else ()
            self.kwargs = NO_ARGUMENTS

    def idle(self, thread: Idler) -> None:
        """Called by the thread that answered it and has nothing left to do."""

    def explain(self, patience: float = 0.0) -> str:
        """What the object is doing."""
        return "" if self.actor is None or self._done else self.actor.explain_busy()

    def _give_up(self) -> None:
        if self.on_cancel is not None:  # another call does the work
            self.on_cancel()
        elif self.actor is not None:
            self.actor.abandon_turn(self)


QMI_RpcFuture.__module__ = "qmi.core.rpc"


def call_blocking(future: QMI_RpcFuture[T], timeout: float | None) -> T:
    """Wait for a call on behalf of a caller who has no other use for the future: leaving the wait gives it up."""
    limit, execution = timeout, EXECUTION.get()
    try:
        if not future.done():
            try:
                limit = future._check_wait(timeout)
            except BaseException:
                future.leave_wait(execution)
        return future.wait_or_cancel(limit, execution)
    finally:
        del future  # as in result()


async def call_async(future: QMI_RpcFuture[T], timeout: float | None = None) -> T:
    """The same for a task of trio or asyncio: being cancelled gives the call up."""
    try:
        if timeout is None:
            return await future
        if not in_task():
            return await _within_in_asyncio(future, timeout)
        with trio.move_on_after(timeout):
            return await future
        raise timed_out(future.what, timeout, await future.explain_async(patience_for(timeout)))
    except BaseException:
        future.cancel()
        raise


async def _within_in_asyncio(future: QMI_RpcFuture[T], timeout: float) -> T:
    import asyncio

    with suppress(TimeoutError):  # of this scope alone: what the call raises is not raised in it
        async with asyncio.timeout(timeout):
            await future.ended_in_asyncio()
    if not future.done():
        # Another program may have to be asked, in which case a thread waits for it.
        why = await asyncio.to_thread(future.explain, patience_for(timeout))
        raise timed_out(future.what, timeout, why)
    return future.result()


def failed_future(what: str, error: BaseException) -> QMI_RpcFuture[Any]:
    """A call that has failed already."""
    future: QMI_RpcFuture[Any] = QMI_RpcFuture(what)
    future.fail(error)
    return future


_MOMENT = 0.01
_MOST_PATIENCE = 0.3
_LEAST_PATIENCE = 0.1


def patience_for(timeout: float | None) -> float:
    """How long a wait that took too long may take longer to learn what the callee does, in seconds.

    Somebody who only looks, with a timeout of 0, does not wait for that either.
    """
    return min(_MOST_PATIENCE, max(_LEAST_PATIENCE, timeout)) if timeout else 0.0


def check_cycle(chain: tuple[str, ...], callee: str, what: str) -> None:
    """Refuse a call that would wait for itself.

    Args:
        chain: The objects that wait for the caller, outermost first.
        callee: The one that is called.
        what: The call.

    Raises:
        QMI_CallCycleException: If the callee waits for the caller; the message prints the cycle.
    """
    if callee in chain:
        cycle = " -> ".join((*chain[chain.index(callee) :], what))
        raise QMI_CallCycleException(f"These objects would wait for each other for ever: {cycle}")


def timed_out(what: str, timeout: float | None, busy: str) -> QMI_RpcTimeoutException:
    """The error for a wait that took too long.

    Args:
        what: The call.
        timeout: How long it was waited for, in seconds.
        busy: What the callee is doing, if that is known.
    """
    limit = "" if timeout is None else f" within {timeout:g} s"
    return QMI_RpcTimeoutException(f"No answer from {what}{limit}" + (f": {busy}" if busy else ""))


def _name_of(error: BaseException) -> str:
    from qmi.config.validators import printable  # which `from qmi import *` does without

    text = printable(text_of(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def check_timeout(timeout: object) -> float | None:
    """A timeout that somebody typed.

    Raises:
        QMI_UsageException: If it is neither None nor a number of seconds from 0 on.
    """
    if timeout is None:
        return None
    try:
        seconds = math.nan if isinstance(timeout, bool | str | bytes) else float(timeout)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not seconds >= 0:
        raise QMI_UsageException(f"A timeout is a number of seconds from 0 on, or None; got {timeout!r}")
    return seconds
