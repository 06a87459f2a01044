"""The caller's end of a call: one value or one error, once, for any number of waiting threads and tasks."""

from __future__ import annotations

import _thread
import logging
import math
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

import trio

from qmi.actors.user_errors import text_of
from qmi.errors import (
    QMI_CallCycleException,
    QMI_CancelledCallException,
    QMI_RpcTimeoutException,
    QMI_UsageException,
)
from qmi.names import Address
from qmi.runtime.call_context import EXECUTION, current_chain
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler
from qmi.runtime.wakeup import TaskWaker, ThreadWaker, in_task, on_any_loop, refuse_on_loop, refuse_outside_trio

_logger = logging.getLogger("qmi.core.rpc")

T = TypeVar("T")


class QMI_RpcFuture(Generic[T]):
    """The result of a call that may not have ended yet.

    It can be waited for more than once, from any thread (:meth:`wait`) and from any trio task (``await future``).

    Args:
        what: The call, for messages: ``"lab.nsg.get_sample()"``.
        explain: Says what the callee is doing, for the message of a timeout.

    Attributes:
        what: As above.
        on_cancel: Called if the caller gives up, to tell the callee.
        callee: The object in whose line the call stands, if it stands in one.
    """

    __slots__ = (
        "_callbacks",
        "_done",
        "_error",
        "_explain",
        "_once",
        "_traceback",
        "_value",
        "callee",
        "on_cancel",
        "what",
    )

    def __init__(
        self,
        what: str = "the call",
        explain: Callable[[], str] | None = None,
    ) -> None:
        self.what: str = what
        self.on_cancel: Callable[[], object] | None = None
        self._explain = explain
        self.callee: Address | None = None
        self._once = _thread.allocate_lock()
        self._callbacks: list[Callable[[], object]] = []
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None

    def __repr__(self) -> str:
        state = "pending" if not self._done else "done" if self._error is None else f"failed: {_name_of(self._error)}"
        return f"<rpc future of {self.what}: {state}>"

    def done(self) -> bool:
        """Whether the call has ended; then waiting for it does not block."""
        return self._done

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
            if on_any_loop():
                refuse_on_loop(f"Waiting for {self.what}", "await future")
            if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
                INTERRUPTS.look()
            limit = check_timeout(timeout)
            if limit != 0:  # somebody who only looks does not wait
                self._check_cycle()
            self._block(limit)
        try:
            return self.result()
        finally:
            del self  # the traceback of an error refers to this frame, and the future to the error

    def _check_cycle(self) -> None:
        chain = current_chain()
        if chain and self.callee is not None and (callee := str(self.callee)) in chain:
            raise call_cycle(chain, callee, self.what)

    def _block(self, timeout: float | None) -> None:
        execution = EXECUTION.get()
        # Not in the code of an object: what is done for others must not seem to be done by it.
        left = self._assist(timeout, reading=execution is None)
        if self._done:
            return
        waiter = ThreadWaker()
        interrupt = None if execution is None else execution.interrupt
        self.add_done_callback(waiter.wake)
        try:
            if interrupt is not None:
                interrupt.enter(waiter)
            waiter.wait(left)
        finally:
            if not self._done:
                self._forget_callback(waiter.wake)
            if interrupt is not None:
                interrupt.leave(waiter)
        if not self._done:
            if interrupt is not None:
                interrupt.check()
            raise QMI_RpcTimeoutException(no_answer(self.what, timeout, self.explain(patience_for(timeout))))

    def _assist(self, timeout: float | None, *, reading: bool) -> float | None:
        """Do what a thread that waits can do to have the answer sooner.

        Args:
            timeout: For how long at most, in seconds.
            reading: Whether it may do what is there to do for others, too.

        Returns:
            How much of the timeout is left.
        """
        return timeout

    def _assist_loop(self) -> None:
        """The same for a task, which must not wait meanwhile."""

    def spin(self, busy: Callable[[], bool]) -> None:
        """Called by a thread that has answered and has nothing left to do; ``busy`` is whether that has changed."""

    def explain(self, patience: float = 0.0) -> str:
        """What the callee is doing, or an empty text.

        Args:
            patience: How long it may take to find out, in seconds, where somebody else has to be asked.
        """
        return "" if self._explain is None else self._explain()

    async def explain_async(self, patience: float) -> str:
        """The same for a task."""
        return self.explain()

    async def ended(self) -> None:
        """Wait until the call has ended, however it ends."""
        if self._done:
            await trio.lowlevel.checkpoint()
            return
        self._assist_loop()
        waiter = TaskWaker()
        wake = waiter.wake
        self.add_done_callback(wake)
        try:
            await waiter.wait()
        finally:
            self._forget_callback(wake)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> T:
        if not in_task():
            refuse_outside_trio(f"The future of {self.what}", "future.wait")
        if not self._done:
            self._check_cycle()
        await self.ended()
        return self.result()

    def result(self) -> T:
        """The value, or the error raised, of a call that has ended."""
        if self._error is not None:
            try:
                raise self._error.with_traceback(self._traceback)
            finally:
                del self
        return self._value  # type: ignore[return-value]

    def error(self) -> BaseException | None:
        """The error of a call that has ended, or None if it has a value."""
        return self._error

    def pass_on(self, other: QMI_RpcFuture[Any], convert: Callable[[T], Any] = lambda value: value) -> None:
        """Let another call end as this one did."""
        if self._error is not None:
            other.fail(self._error)
        else:
            other.set_result(convert(self._value))  # type: ignore[arg-type]

    def follow(self, other: QMI_RpcFuture[Any], convert: Callable[[Any], Any] = lambda value: value) -> None:
        """End as another call does; giving up gives that one up."""
        self.on_cancel = other.cancel
        other.add_done_callback(lambda: other.pass_on(self, convert))

    def cancel(self, why: str = "The caller gave up") -> bool:
        """Give up: the callee is told, and waiting raises from now on.

        Returns:
            False if the call had ended before.
        """
        if not self.fail(QMI_CancelledCallException(f"{why}: {self.what}")):
            return False
        self._give_up()
        return True

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
            self._callbacks = []
            self._error = error
            self._traceback = None
            self._done = True

    def set_result(self, value: T) -> bool:
        """Give the call its value; False if it has ended already."""
        if not self._once.acquire(False):
            return False
        self._value = value
        self._finish()
        return True

    def fail(self, error: BaseException) -> bool:
        """Let the call end by an error; False if it has ended already."""
        if not self._once.acquire(False):
            return False
        self._error = error
        self._traceback = error.__traceback__
        self._finish()
        return True

    def _finish(self) -> None:
        self._done = True
        if self._callbacks:
            self._run_callbacks()

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Have a function called when the call ends, in the thread that ends it, or now if it has ended."""
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def _forget_callback(self, callback: Callable[[], object]) -> None:
        # Most often it was called already. Looking first keeps an error that means nothing out of users' tracebacks:
        # Ctrl-C in the midst of handling one would leave it there as the context of whatever is raised later.
        if callback in self._callbacks:
            with suppress(ValueError):  # it is being called right now
                self._callbacks.remove(callback)

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


_MOST_PATIENCE = 0.3
_LEAST_PATIENCE = 0.1


def patience_for(timeout: float | None) -> float:
    """How long a wait that took too long may take longer to learn what the callee does, in seconds.

    Somebody who only looks, with a timeout of 0, does not wait for that either.
    """
    return min(_MOST_PATIENCE, max(_LEAST_PATIENCE, timeout)) if timeout else 0.0


def call_cycle(chain: tuple[str, ...], callee: str, what: str) -> QMI_CallCycleException:
    """The error for a call that would wait for itself.

    Args:
        chain: The objects that wait for the caller, outermost first.
        callee: The one of them that was called.
        what: The call.
    """
    cycle = " -> ".join((*chain[chain.index(callee) :], what))
    return QMI_CallCycleException(f"These objects would wait for each other for ever: {cycle}")


def no_answer(what: str, timeout: float | None, busy: str) -> str:
    """The message for a wait that took too long.

    Args:
        what: The call.
        timeout: How long it was waited for, in seconds.
        busy: What the callee is doing, if that is known.
    """
    limit = "" if timeout is None else f" within {timeout:g} s"
    return f"No answer from {what}{limit}" + (f": {busy}" if busy else "")


def _name_of(error: BaseException) -> str:
    from qmi.config.validators import printable  # which `from qmi import *` does without

    text = printable(text_of(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def check_timeout(timeout: Any) -> float | None:
    """A timeout that somebody typed.

    Raises:
        QMI_UsageException: If it is neither None nor a number of seconds from 0 on.
    """
    if timeout is None:
        return None
    try:
        seconds = math.nan if isinstance(timeout, bool | str | bytes) else float(timeout)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not seconds >= 0:
        raise QMI_UsageException(f"A timeout is a number of seconds from 0 on, or None; got {timeout!r}")
    return seconds


QMI_RpcFuture.__module__ = "qmi.core.rpc"


def call_blocking(future: QMI_RpcFuture[T], timeout: float | None) -> T:
    """Wait for a call on behalf of a caller who has no other use for the future: leaving the wait gives it up."""
    try:
        return future.wait(timeout)
    except KeyboardInterrupt:
        if future.cancel():
            raise
        # It ended in this very moment, or another thread is about to say so: what was done must not be lost, let alone
        # stay done with nobody to undo it.
        if not future.done():
            future._block(None)
        if future.error() is None and INTERRUPTS.postpone():
            return future.result()
        raise
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # as in wait()


async def call_async(future: QMI_RpcFuture[T], timeout: float | None = None) -> T:
    """The same for a trio task: being cancelled gives the call up."""
    try:
        if timeout is None:
            return await future
        with trio.move_on_after(timeout):
            return await future
        busy = await future.explain_async(patience_for(timeout))
        raise QMI_RpcTimeoutException(no_answer(future.what, timeout, busy))
    except BaseException:
        future.cancel()
        raise
