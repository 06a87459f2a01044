"""What a request of this context becomes on a link; calls may block, be awaited, or come with a future."""

from __future__ import annotations

import threading
import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from qmi.actors.future import QMI_RpcFuture, patience_for, timed_out
from qmi.actors.streams import END
from qmi.config.validators import printable
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_RpcTimeoutException,
    QMI_RuntimeException,
    QMI_UsageException,
)
from qmi.messages import SERVICE_NAMES, Call, Failure, Reply, Request, Token, Value, call_text
from qmi.names import CONTEXT_OBJECT_NAME, Address
from qmi.net.io.capacity import NoRoomException
from qmi.net.protocol.bounds import Bound
from qmi.peers.answer_types import ANSWERS, find_fault
from qmi.runtime.call_context import Execution, current_interrupt
from qmi.runtime.sigint import PROGRAM_HANDLERS
from qmi.runtime.wakeup import TaskWaker, ThreadWaker, on_any_loop

if TYPE_CHECKING:
    from qmi.net.codec import Encoded
    from qmi.net.io.link import Link

_WINDOW = 8
"""Items of a stream that may be on their way at once."""
_LONGEST_TEXT = 2000
"""Characters of what the other side says that its object is busy with."""


class RemoteCall(QMI_RpcFuture[Any]):
    """A request on its way to another context: what its caller waits for, with the number that it has on the link.

    The answer is written into it by whoever reads the link: the event loop, another thread in a rush, or the caller
    itself while it waits (:meth:`_wait_in_thread`). Its loss is written by the loop, perhaps at the same time;
    the first one counts, as with any call.

    Args:
        link: The link that it goes out on.
        what: The request, for messages; or the object that it is for.
        call: The call, if it is one of an object.
        shared: Whether others than the one that makes it may wait for it.

    Attributes:
        number: The number of the request, set by the link before anything is sent; 0 before.
    """

    __slots__ = ("_address", "_left_to_loop", "_link", "_method", "_shown_args", "_stream", "number")

    def __init__(self, link: Link, what: str | Address, call: Call | None = None, *, shared: bool = True) -> None:
        # This is made for each call: what QMI_RpcFuture has is written here.
        self._explain = None
        self.callee: Address | None = None
        self.on_cancel: Callable[[], object] | None = None
        self._once = allocate_lock()
        self._done = False
        self._error = None
        self._waker = None
        self._callbacks = [] if shared else None
        self._link = link
        # What it is called in messages is written when there is one.
        self._address = what
        self._method = "" if call is None else call.method
        self._shown_args = () if call is None or call.method not in SERVICE_NAMES else call.args[:1]
        self._left_to_loop = False
        self._stream: _RemoteStream | None = None
        self.number: int = 0

    @property
    def what(self) -> str:
        """The request, for messages."""
        return f"{self._address}.{call_text(self._method, self._shown_args)}" if self._method else str(self._address)

    def explain(self, patience: float = 0.0) -> str:
        """What the object over there is busy with, if it says so in time; else when the other side was last heard."""
        question = self._ask_what_it_does(patience)
        if question is None:
            return self._link.explain_silence()
        try:
            question.wait(patience)
        except (QMI_RpcTimeoutException, QMI_Exception):  # its reason is of no interest: the call's own one is
            question.cancel()
        return busy_or_silent(self._link, question, patience)

    async def explain_async(self, patience: float) -> str:
        """The same for a task."""
        question = self._ask_what_it_does(patience)
        if question is None:
            return self._link.explain_silence()
        try:
            with trio.move_on_after(patience):
                await question.ended()
        finally:
            question.cancel()
        return busy_or_silent(self._link, question, patience)

    def _ask_what_it_does(self, patience: float) -> QMI_RpcFuture[object] | None:
        if self.callee is None or not patience or not self._link.is_up:
            return None
        return ask_what_it_does(self._link, self.callee.object)

    def _wait_in_thread(self, timeout: float | None, execution: Execution | None, left: float | None = None) -> None:
        # A thread that waits reads the link for itself, if nobody else does. Not in the code of an object: what is done
        # for others must not seem to be done by it.
        began = 0.0 if timeout is None else time.monotonic()
        # One that nobody else may wait for was sent a moment ago, by this thread unless a handler may break in.
        asked = self._callbacks is None and not self._left_to_loop
        # Ending begins with this lock (:mod:`qmi.actors.future`), which is asked in less time than a function.
        self._link.drive_io(self._once.locked, timeout, reads=execution is None, asked=asked)
        if not self._done:
            left = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
            super()._wait_in_thread(timeout, execution, left)

    def _begin_await(self) -> None:
        self._link.await_here()

    def _give_up(self) -> None:
        if self.number:
            self._link.cancel_request(self.number)
        elif self._left_to_loop:
            self._left_to_loop = False
            self._link.loop.soon(self._give_up)  # it has been sent by then

    def leave_to_loop(self, message: Request, *, soon: bool) -> None:
        """Have the loop send the request, for a thread in which an exception may come anywhere.

        Args:
            message: The request.
            soon: Whether the caller goes on meanwhile, so that it may change what it has given.
        """
        try:
            encoded = self._link.encode_request(message) if soon else None
        except QMI_Exception as error:  # not sendable: the caller's
            self.fail(error)
            return
        self._left_to_loop = True
        if not self._link.loop.soon(self._send, message, encoded):
            self.fail(QMI_NotDeliveredException(f"{self.what} was not delivered: the event loop has ended"))

    def _send(self, message: Request, encoded: Encoded | None) -> None:
        if self.done():
            return  # the caller has given up
        try:
            self._link.send_request(message, self, encoded=encoded)
        except Exception as error:  # goes to the caller
            self.fail(error)

    # What the link calls (Sink)

    def orphan(self) -> None:
        """This is a forked child, to which no answer comes."""
        self.abandon(
            QMI_UsageException(
                f"This process was forked while {self.what} was under way; the answer goes to its parent"
            )
        )
        if self._stream is not None:
            self._stream.orphan()

    def reply(self, reply: Reply) -> None:
        """The answer, or the error that ended the request or its stream."""
        if self._stream is not None:
            error = reply.error if isinstance(reply, Failure) else QMI_Exception("the stream ended unexpectedly")
            self._stream.put(_Fault(error))
        elif isinstance(reply, Value):
            self.set_result(reply.value)
        else:
            self.fail(reply.error)

    def stream_opened(self) -> None:
        """The answer is a stream."""
        self._stream = _RemoteStream(self._link, self.number, self.what)
        if self.set_result(self._stream):
            self._link.send_credit(self.number, _WINDOW)
        else:
            self._link.cancel_request(self.number)

    def item(self, value: object) -> None:
        """The next item of the stream."""
        if self._stream is not None:
            self._stream.put(value)

    def stream_ended(self) -> None:
        """The stream has no more items."""
        if self._stream is not None:
            self._stream.put(END)


class _CheckedCall(RemoteCall):
    """A request whose answer is of a known type: all but calls of methods."""

    __slots__ = ("_bound",)

    def __init__(self, link: Link, what: str | Address, bound: Bound) -> None:
        super().__init__(link, what)
        self._bound = bound

    def reply(self, reply: Reply) -> None:
        """The answer, which becomes an error if it is of another type."""
        if isinstance(reply, Value):
            fault = find_fault(self._bound, reply.value, self.what, self._link.title)
            if fault is not None:
                reply = Failure(fault)
        super().reply(reply)

    def stream_opened(self) -> None:
        """The answer is a stream, which no such request has."""
        self._link.cancel_request(self.number)
        self.fail(QMI_RuntimeException(f"{self._link.title} answered {self.what} with a stream; none was expected"))


class AwaitedCall(RemoteCall):
    """A call of a plain method that a task awaits: the usual call of a trio program."""

    __slots__ = ()

    async def send_and_wait(self, call: Call) -> None:
        """Send it as soon as there is room for it, and wait until it has ended, however it ends."""
        encoded = None
        while not self.number:
            try:
                self._link.send_request(call, self, soon=True, encoded=encoded)
            except NoRoomException as refusal:
                encoded = refusal.encoded
                await self._link.room.wait_in_task()
        # As ended(), which knows less of a call: nobody else waits for it.
        self._begin_await()
        waker = TaskWaker(self._link.loop)
        self._waker = waker.wake
        if self._done:  # whoever ended it may have looked before
            waker.wake()
        await waker.wait()

    def stream_opened(self) -> None:
        """The answer is a stream, which nobody asked for: the method is not what it was when the proxy was made."""
        self._link.cancel_request(self.number)
        self.fail(QMI_Exception("The method has become a generator; get a new proxy of the object"))


async def ask_and_await(
    link_to: Callable[[str], Link], address: Address, call: Call, timeout: float | None = None
) -> object:
    """Call a plain method of an object of another context, and await its result; being cancelled cancels the call.

    Args:
        link_to: Finds the link to a context; called here, so that its error is a checkpoint, too.
        address: The object.
        call: The call.
        timeout: How long to wait at most, in seconds; None waits for ever.

    Raises:
        QMI_RpcTimeoutException: If there is no answer in time.
        QMI_ValueNotSendableException: If an argument cannot be sent.
        QMI_NotDeliveredException: If there is no link, or too much waits on it.
        BaseException: Whatever the method raised; or QMI_OutcomeUnknownException if the link is lost.
    """
    try:
        link = link_to(address.context)
        awaited = AwaitedCall(link, address, call, shared=False)
        awaited.callee = address
        try:
            if timeout is None:
                await awaited.send_and_wait(call)
            else:
                with trio.move_on_after(timeout):
                    await awaited.send_and_wait(call)
                if not awaited.number:
                    raise QMI_NotDeliveredException(
                        f"{awaited.what} was not sent within {timeout:g} s, since {link.explain_full()}; "
                        "it was not carried out, repeating it is safe"
                    )
                if not awaited.done():
                    # Asked before the call is given up, which may end what it is busy with.
                    raise timed_out(awaited.what, timeout, await awaited.explain_async(patience_for(timeout)))
        except BaseException:
            awaited.cancel()
            raise
    except QMI_Exception:  # it did not go out; who tries in a loop must let others run all the same
        await trio.lowlevel.checkpoint()
        raise
    try:
        return awaited.result()
    finally:
        del awaited  # the traceback of an error refers to this frame, and the call to the error


def ask_what_it_does(link: Link, name: str) -> QMI_RpcFuture[object]:
    """Ask the context at the other end what one of its objects is busy with. Answered at once, past the line."""
    question = Call(CONTEXT_OBJECT_NAME, "explain_busy", (name,))
    return ask(link, f"what {name} is busy with", question)


def busy_or_silent(link: Link, question: QMI_RpcFuture[object], patience: float) -> str:
    """What the other side said that its object is busy with; else what this side knows of the link."""
    if question.done() and question.error() is None and isinstance(text := question.result(), str):
        if text:
            return printable(text[:_LONGEST_TEXT])
        return link.explain_silence()
    if not link.is_up or (question.done() and not isinstance(question.error(), QMI_CancelledCallException)):
        return link.explain_silence()  # it is gone, or too old to know the question
    return f"{link.explain_silence()}, and did not say within {patience:g} s what the object is busy with"


class _Fault:
    """What ended a stream."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _RemoteStream:
    """The consumer's end of a stream that comes over a link: a few items ahead, no more."""

    __slots__ = ("_ended", "_items", "_link", "_mutex", "_number", "_taken", "_wanted", "what")

    def __init__(self, link: Link, number: int, what: str) -> None:
        self.what = what
        self._link = link
        self._number = number
        self._mutex = threading.Lock()
        self._items: deque[object] = deque()
        self._wanted: deque[QMI_RpcFuture[object]] = deque()
        self._ended: object = None
        self._taken = 0

    def put(self, item: object) -> None:
        """Something came: an item, the end, or what ended it."""
        with self._mutex:
            if item is END or isinstance(item, _Fault):
                self._ended = item
                wanted, self._wanted = list(self._wanted), deque()
            elif self._wanted:
                wanted = [self._wanted.popleft()]
            else:
                self._items.append(item)
                return
        for future in wanted:
            self._give(future, item)

    def orphan(self) -> None:
        """This is a forked child, to which no item comes."""
        fault = QMI_UsageException(f"This process was forked while {self.what} was read; its items go to its parent")
        self._mutex = threading.Lock()  # another thread may have held it
        self._ended = _Fault(fault)
        wanted, self._wanted = self._wanted, deque()
        for future in wanted:
            future.abandon(fault)

    def next(self, token: Token | None) -> QMI_RpcFuture[object]:
        """Ask for the next item; END after the last. The other side asks for it ahead, with its own token."""
        future: QMI_RpcFuture[object] = QMI_RpcFuture(self.what)
        with self._mutex:
            if self._items:
                item = self._items.popleft()
            elif self._ended is not None:
                item = self._ended
            else:
                self._wanted.append(future)
                return future
        self._give(future, item)
        return future

    def _give(self, future: QMI_RpcFuture[object], item: object) -> None:
        if isinstance(item, _Fault):
            future.fail(item.error)
            return
        if item is not END:
            with self._mutex:
                self._taken += 1
                taken = self._taken if 2 * self._taken >= _WINDOW else 0
                self._taken -= taken
            if taken:
                self._link.send_credit(self._number, taken)
        future.set_result(item)

    def leave(self) -> QMI_RpcFuture[object]:
        """The consumer wants no more."""
        with self._mutex:
            over = self._ended is not None
            self._ended = self._ended or END
            self._items.clear()
            wanted, self._wanted = self._wanted, deque()
        if not over:
            self._link.cancel_request(self._number)
        for future in wanted:
            future.set_result(END)
        done: QMI_RpcFuture[object] = QMI_RpcFuture(self.what)
        done.set_result(None)
        return done

    def abandon(self) -> None:
        """The consumer was forgotten. Called by the garbage collector, anywhere: must not take a lock."""
        self._link.loop.soon(self.leave)


def ask(
    link: Link,
    what: str | Address,
    message: Request,
    *,
    soon: bool = False,
    patience: float | None = 0.0,
    shared: bool = True,
) -> QMI_RpcFuture[Any]:
    """Send a request on a link, at once or soon. Every error comes with the future.

    Args:
        link: The link.
        what: The request, for messages; or the object that it is for.
        message: The request.
        soon: Whether it may wait for others that go out together with it.
        patience: For how many seconds the calling thread may wait if too much waits on the link already; None: as long
            as the other side takes any of it. On an event loop, nothing waits here.
        shared: Whether others than the caller may wait for the answer.
    """
    if type(message) is Call:
        call = RemoteCall(link, what, message if isinstance(what, Address) else None, shared=shared)
    else:
        bound = ANSWERS.get(type(message))
        call = RemoteCall(link, what) if bound is None else _CheckedCall(link, what, bound)
    if PROGRAM_HANDLERS.may_break_in():
        call.leave_to_loop(message, soon=soon)
        return call
    try:
        try:
            link.send_request(message, call, soon=soon)
        except NoRoomException as refusal:
            if patience == 0 or on_any_loop():
                raise
            _send_when_there_is_room(link, call, message, refusal, patience)
    except QMI_Exception as error:  # not sendable, or not delivered: the caller's
        call.fail(error)
    except BaseException:  # Ctrl-C: nobody will wait for the answer
        call.request_cancel()
        raise
    return call


def _send_when_there_is_room(
    link: Link, call: RemoteCall, message: Request, refusal: NoRoomException, patience: float | None
) -> None:
    # A link on which the other side takes nothing ends by itself.
    deadline = None if patience is None else time.monotonic() + patience
    interrupt = current_interrupt()
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise refusal
        waiter = ThreadWaker()
        if interrupt is not None:
            interrupt.enter(waiter)
        try:
            link.room.wait(waiter, left)
        finally:
            if interrupt is not None:
                interrupt.leave(waiter)
        if interrupt is not None:
            interrupt.check()
        try:
            link.send_request(message, call, encoded=refusal.encoded)
        except NoRoomException as again:  # others were quicker
            refusal = again
        else:
            return
