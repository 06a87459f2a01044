"""What the other side of a link asks for: it goes to objects of this context, and their answers go back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, cast

from qmi.actors.future import PendingCall, QMI_RpcFuture
from qmi.actors.lock_manager import AcquireTurn
from qmi.actors.streams import END, ActorStream
from qmi.errors import QMI_CancelledCallException, QMI_Exception, QMI_RuntimeException
from qmi.messages import Acquire, Call, Failure, Origin, Release, Request, Signal, Value
from qmi.net.io.link import Link
from qmi.runtime.call_context import EXECUTION
from qmi.runtime.doorbell import Idler

_logger = logging.getLogger("qmi.core.messaging")


class Home(Protocol):
    """What links need of the context."""

    name: str

    def request_here(self, message: Request, origin: Origin, link: Link, answer: QMI_RpcFuture[object]) -> None:
        """Hand a message to an object of this context, and let the answer end as that says."""

    def signals_here(self, signals: list[Signal], publisher_context: str) -> None:
        """Hand signals of another context to those who subscribed."""


class Served(QMI_RpcFuture[object]):
    """A request of the other side, with its number there; when it has ended, the answer goes out.

    What it is besides, a call or a request for the lock, is what it is for a caller in this program.
    """

    __slots__ = ()

    is_sent: bool = True
    _serving: Serving
    number: int
    cancelled: bool

    def _serve(self, serving: Serving, number: int) -> None:
        self._serving = serving
        self.number = number
        self.cancelled = False

    def _send(self) -> None:
        # Called once, by whoever ends the request.
        try:
            error = self._error
            self._serving.answer(self, None if error is not None else self._value, error)
        except Exception as error:  # it must not take the thread down that ended the call
            self._serving.link.fault(f"answering a request to {self.what}", error)

    def abandon_call(self) -> None:
        """Tell the object that nobody waits, also if this was cancelled before the object had it."""
        self._give_up()


class ServedCall(Served, PendingCall):
    """A call of a method."""

    __slots__ = ("_serving", "cancelled", "number")

    def __init__(self, serving: Serving, number: int, call: Call, origin: Origin) -> None:
        self._serving = serving
        self.number: int = number
        self.cancelled: bool = False
        PendingCall.__init__(self, call.method, call.args, call.kwargs, call.token, call.chain, origin)
        self._waker = self._send
        self._what = call.object

    @property
    def what(self) -> str:
        """The call, for messages; only the name of the object until that was found."""
        return self._what if self.actor is None else super().what

    def is_held(self) -> bool:
        """Whether the answer would find too much waiting on the link: then the call is not begun yet."""
        return self._serving.link.is_full()

    def idle(self, thread: Idler) -> None:
        """Have it wait at the link for the next request; what it has answered does not live until then."""
        thread.idle = self._serving.link.idle


class ServedAcquire(Served, AcquireTurn):
    """A request for the lock of an object."""

    __slots__ = ("_serving", "cancelled", "number")

    def __init__(self, serving: Serving, number: int, request: Acquire, origin: Origin) -> None:
        self._serve(serving, number)
        AcquireTurn.__init__(self, request, origin)
        self._waker = self._send


class ServedQuestion(Served):
    """What is answered at once."""

    __slots__ = ("_serving", "cancelled", "number")

    def __init__(self, serving: Serving, number: int, message: Request) -> None:
        self._serve(serving, number)
        super().__init__(message.object)
        self._waker = self._send


class Serving:
    """What the other side of one link has asked for and not got yet.

    Args:
        home: The context.
        link: The link.
        origin: Who is at its other end.
    """

    def __init__(self, home: Home, link: Link, origin: Origin) -> None:
        self._home = home
        self.link: Link = link
        self._origin = origin
        # Answers come from any thread, cancellations from the loop. Nothing is called with the mutex.
        self._mutex = threading.Lock()
        self._open: dict[int, Served | _Pump] = {}
        self._ended = False

    @property
    def count(self) -> int:
        """How many requests are open."""
        return len(self._open)

    def request(self, number: int, message: Request) -> None:
        """The other side asks for something."""
        over: bool = self._ended  # looked at again below: the loop may end the link meanwhile
        if over:
            return
        if type(message) is Call:
            answer: Served = ServedCall(self, number, message, self._origin)
        else:
            answer = self._served(number, message)
        self._open[number] = answer
        try:
            self._home.request_here(message, self._origin, self.link, answer)
        except Exception as error:  # goes to the caller, who is not to end this program
            answer.fail(error)
        if self._ended:
            self._take_back(answer, message)

    def _served(self, number: int, message: Request) -> Served:
        if isinstance(message, Acquire):
            return ServedAcquire(self, number, message, self._origin)
        return ServedQuestion(self, number, message)

    def _take_back(self, answer: Served, message: Request) -> None:
        # The loop has ended the link while a thread was handing this on: it may have come too early to give it up, and
        # the locks of the other side were void before this one was granted.
        self.cancel(answer.number)
        answer.abandon_call()
        if isinstance(message, Acquire) and not message.token.custom:
            release = Release(message.object, message.token)
            self._home.request_here(release, self._origin, self.link, QMI_RpcFuture(message.object))

    def answer(self, answer: Served, value: object, error: BaseException | None) -> None:
        """A request has ended, by a value or an error."""
        number = answer.number
        if issubclass(type(value), ActorStream):  # `isinstance` would ask a value of the user what it is
            self._stream(answer, cast("ActorStream", value))
            return
        self._open.pop(number, None)
        if error is not None:
            self.link.send_reply(number, Failure(error))
        else:
            self.link.send_reply(number, Value(value))

    def _stream(self, answer: Served, stream: ActorStream) -> None:
        number = answer.number
        pump = _Pump(self.link, number, stream, self._forget)
        with self._mutex:
            too_late = answer.cancelled or number not in self._open
            self._open[number] = pump
        if too_late:
            pump.stop()
            return
        try:
            self.link.open_stream(number)
        except QMI_RuntimeException:
            if not pump.is_done:  # else the consumer has left in this very moment
                raise

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)

    def cancel(self, number: int) -> None:
        """The other side does not wait for this any more."""
        with self._mutex:
            served = self._open.get(number)
            if isinstance(served, Served):
                served.cancelled = True
        if isinstance(served, _Pump):
            served.stop()
        elif served is not None:
            served.cancel(f"Context {self._origin.context!r} gave up")

    def credit(self, number: int) -> None:
        """A stream may go on."""
        served = self._open.get(number)
        if isinstance(served, _Pump):
            served.go_on()

    def end(self) -> None:
        """The link is gone: nobody waits for anything any more."""
        self._ended = True
        for number in list(self._open):
            try:
                self.cancel(number)
            except Exception:  # the others are to learn of it all the same
                _logger.exception("A request to %s could not be cancelled", self._origin.context)


class RenamedServing(Serving):
    """What is asked for by a context that is known here by another name than it has itself.

    Args:
        home: The context.
        link: The link.
        origin: Who is at its other end, by the name that is known here.
        chain_here: Gives the objects that wait for a call the names that they have here.
    """

    def __init__(
        self,
        home: Home,
        link: Link,
        origin: Origin,
        *,
        chain_here: Callable[[tuple[str, ...]], tuple[str, ...]],
    ) -> None:
        super().__init__(home, link, origin)
        self._chain_here = chain_here

    def request(self, number: int, message: Request) -> None:
        """The other side asks for something; who waits for it is told by names that are known here."""
        if isinstance(message, Call) and message.chain:
            message.chain = self._chain_here(message.chain)
        super().request(number, message)


class _Pump:
    """Sends the items of a stream, one at a time, as far as there is credit."""

    __slots__ = ("_done", "_forget", "_link", "_mutex", "_number", "_pulling", "_source")

    def __init__(self, link: Link, number: int, source: ActorStream, forget: Callable[[int], None]) -> None:
        self._link = link
        self._number = number
        self._source = source
        self._forget = forget
        self._mutex = threading.Lock()
        self._pulling = False
        self._done = False

    @property
    def is_done(self) -> bool:
        """Whether no more items are sent."""
        return self._done

    def go_on(self) -> None:
        with self._mutex:
            if self._pulling or self._done or self._link.credit(self._number) < 1:
                return
            self._pulling = True
        # The item before may have been sent in the turn that made it: what is asked for here is not asked by that turn.
        token = EXECUTION.set(None)
        try:
            future = self._source.next_ahead()
        finally:
            EXECUTION.reset(token)
        future.add_done_callback(lambda: self._pulled(future))

    def _pulled(self, future: QMI_RpcFuture[object]) -> None:
        with self._mutex:
            if self._done:
                return
            self._pulling = False
        error = future.error()
        if error is None and future.result() is not END:
            try:
                self._link.send_item(self._number, future.result())
            except QMI_Exception as refusal:  # an item that cannot be sent ends the stream
                error = refusal
            else:
                self.go_on()
                return
        if self._finish():
            if error is not None:
                self._source.leave()  # it may be the lock that refused the item
                self._link.send_reply(self._number, Failure(error))
            else:
                self._link.end_stream(self._number)

    def stop(self) -> None:
        """The consumer has left."""
        if self._finish():
            self._source.leave()
            self._link.send_reply(self._number, Failure(QMI_CancelledCallException("The consumer has left")))

    def _finish(self) -> bool:
        with self._mutex:
            if self._done:
                return False
            self._done = True
        self._forget(self._number)
        return True
