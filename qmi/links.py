"""The links of a context: where links and actors meet.

What a link asks for is handed to actors, and their answers go back on it; what proxies ask of other contexts goes out
on links, and the answers settle their futures. How links come and go is in :mod:`qmi.connections`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from qmi.actors.execution import EXECUTION
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import make_proxy, proxy_parts
from qmi.actors.streams import END, ActorStream
from qmi.actors.turns import CallFuture
from qmi.errors import QMI_CancelledCallException, QMI_Exception
from qmi.messages import Acquire, Failure, Origin, Release, Reply, Request, Signal, Value
from qmi.names import Address
from qmi.net.link import Link

_logger = logging.getLogger("qmi.core.messaging")

_WINDOW = 8
"""Items of a stream that may be on their way at once."""


class Home(Protocol):
    """What links need of the context."""

    name: str

    def request_here(self, message: Request, origin: Origin, link: Link, answer: CallFuture) -> None:
        """Hand a message to an object of this context, and let the answer end as that says."""

    def signal_here(self, signal: Signal, publisher_context: str) -> None:
        """Hand a signal of another context to those who subscribed."""


# Proxies and interfaces in arguments and results


class References:
    """How proxies travel: as the address and interface of their object.

    Args:
        router: Makes proxies work at this end.
    """

    def __init__(self, router: Any) -> None:
        self._router = router

    def lower(self, value: object) -> Any:
        """Plain values for a proxy or an interface, None for anything else."""
        if isinstance(value, Interface):
            return ["interface", interface_to_plain(value)]
        parts = proxy_parts(value)
        if parts is None:
            return None
        address, interface = parts
        return ["proxy", [*address], interface_to_plain(interface)]

    def restore(self, plain: Any) -> Any:
        """The proxy or interface that the plain values stand for.

        Raises:
            ValueError: If they make no sense.
        """
        if type(plain) is list and len(plain) == 2 and plain[0] == "interface":
            return interface_from_plain(plain[1])
        if type(plain) is list and len(plain) == 3 and plain[0] == "proxy" and _is_address(plain[1]):
            return make_proxy(self._router, Address(*plain[1]), interface_from_plain(plain[2]))
        raise ValueError("neither a proxy nor an interface")


def _is_address(plain: Any) -> bool:
    return type(plain) is list and len(plain) == 2 and all(type(part) is str for part in plain)


# Asking: requests of this context at another one


class RemoteCall(QMI_RpcFuture[Any]):
    """A request on its way to another context, and what becomes of it.

    Args:
        link: The link that it goes out on.
        what: The request, for messages.
    """

    __slots__ = ("_link", "_stream", "number")

    def __init__(self, link: Link, what: str) -> None:
        super().__init__(what)
        self._link = link
        self._stream: _RemoteStream | None = None
        self.number: int = 0

    def explain(self) -> str:
        """When the other side was last heard from."""
        return f"{self._link.title} was heard from {self._link.silence:.1f} s ago"

    def _assist(self, timeout: float | None, *, reading: bool) -> float | None:
        began = time.monotonic()
        self._link.assist(self.done, timeout, reading=reading)
        return None if timeout is None else max(0.0, timeout - (time.monotonic() - began))

    def _assist_loop(self) -> None:
        self._link.await_here()

    def _give_up(self) -> None:
        if self.number:
            self._link.cancel_request(self.number)

    # What the link calls (Sink)

    def reply(self, reply: Reply) -> None:
        """The answer, or the error that ended the request or its stream."""
        if self._stream is not None:
            error = reply.error if isinstance(reply, Failure) else QMI_Exception("the stream ended unexpectedly")
            self._stream.put(_Fault(error))
        elif isinstance(reply, Value):
            self.settle(reply.value)
        else:
            self.fail(reply.error)

    def stream_opened(self) -> None:
        """The answer is a stream."""
        self._stream = _RemoteStream(self._link, self.number, self.what)
        if self.settle(self._stream):
            self._link.send_credit(self.number, _WINDOW)
        else:
            self._link.cancel_request(self.number)

    def item(self, value: Any) -> None:
        """The next item of the stream."""
        if self._stream is not None:
            self._stream.put(value)

    def stream_ended(self) -> None:
        """The stream has no more items."""
        if self._stream is not None:
            self._stream.put(END)


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
        self._items: deque[Any] = deque()
        self._wanted: deque[QMI_RpcFuture[Any]] = deque()
        self._ended: Any = None
        self._taken = 0

    def put(self, item: Any) -> None:
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

    def next(self) -> QMI_RpcFuture[Any]:
        """Ask for the next item; END after the last."""
        future: QMI_RpcFuture[Any] = QMI_RpcFuture(self.what)
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

    def _give(self, future: QMI_RpcFuture[Any], item: Any) -> None:
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
        future.settle(item)

    def leave(self) -> QMI_RpcFuture[Any]:
        """The consumer wants no more."""
        with self._mutex:
            over = self._ended is not None
            self._ended = self._ended or END
            self._items.clear()
            wanted, self._wanted = self._wanted, deque()
        if not over:
            self._link.cancel_request(self._number)
        for future in wanted:
            future.settle(END)
        done: QMI_RpcFuture[Any] = QMI_RpcFuture(self.what)
        done.settle(None)
        return done

    def abandon(self) -> None:
        """The consumer was forgotten. Called by the garbage collector, anywhere: must not take a lock."""
        self._link.loop.soon(self.leave)


def ask(link: Link, what: str, message: Request, *, soon: bool = False) -> QMI_RpcFuture[Any]:
    """Send a request on a link, at once or soon. Never blocks; every error comes with the future."""
    call = RemoteCall(link, what)
    try:
        link.send_request(message, call, soon=soon)
    except QMI_Exception as error:  # not sendable, or not delivered: the caller's
        call.fail(error)
    except BaseException:  # Ctrl-C: nobody will wait for the answer
        call.request_cancel()
        raise
    return call


# Serving: requests of another context at this one


class _Answer(CallFuture):
    """A request of the other side; when it ends, the answer goes out."""

    __slots__ = ("_serving", "cancelled", "number")

    def __init__(self, serving: Serving, number: int, what: str) -> None:
        super().__init__(what)
        self._serving = serving
        self.number: int = number
        self.cancelled: bool = False

    def _finish(self) -> None:
        super()._finish()
        try:
            self._serving.answer(self)
        except Exception:  # it must not take the thread down that ended the call
            _logger.exception("The answer to %s could not be sent", self.what)

    def give_up(self) -> None:
        """Tell the object that nobody waits, also if this was cancelled before the object had it."""
        self._give_up()

    def linger(self, busy: Callable[[], bool]) -> None:
        """Look whether the next request is there."""
        self._serving.link.linger(busy)


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
        self._open: dict[int, _Answer | _Pump] = {}
        self._ended = False

    @property
    def count(self) -> int:
        """How many requests are open."""
        return len(self._open)

    def request(self, number: int, message: Request) -> None:
        """The other side asks for something."""
        if self._ended:
            return
        self._open[number] = answer = _Answer(self, number, message.object)
        try:
            self._home.request_here(message, self._origin, self.link, answer)
        except Exception as error:  # goes to the caller, who is not to end this program
            answer.fail(error)
        if self._is_over():
            self._take_back(answer, message)

    def _is_over(self) -> bool:
        return self._ended

    def _take_back(self, answer: _Answer, message: Request) -> None:
        # The loop has ended the link while a thread was handing this on: it may have come too early to give it up, and
        # the locks of the other side were void before this one was granted.
        self.cancel(answer.number)
        answer.give_up()
        if isinstance(message, Acquire) and not message.token.custom:
            release = Release(message.object, message.token)
            self._home.request_here(release, self._origin, self.link, CallFuture(message.object))

    def answer(self, answer: _Answer) -> None:
        """A request has ended."""
        number = answer.number
        error = answer.error()
        value = None if error is not None else answer.result()
        if isinstance(value, ActorStream):
            self._stream(answer, value)
            return
        self._forget(number)
        if error is not None:
            self.link.send_failure(number, error)
        else:
            self.link.send_value(number, value)

    def _stream(self, answer: _Answer, stream: ActorStream) -> None:
        number = answer.number
        pump = _Pump(self.link, number, stream, self._forget)
        with self._mutex:
            too_late = answer.cancelled or number not in self._open
            self._open[number] = pump
        if too_late:
            pump.stop()
        else:
            self.link.open_stream(number)

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)

    def cancel(self, number: int) -> None:
        """The other side does not wait for this any more."""
        with self._mutex:
            served = self._open.get(number)
            if isinstance(served, _Answer):
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
            self.cancel(number)


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

    def go_on(self) -> None:
        with self._mutex:
            if self._pulling or self._done or self._link.credit(self._number) < 1:
                return
            self._pulling = True
        # The item before may have been sent in the turn that made it: what is asked for here is not asked by that turn.
        token = EXECUTION.set(None)
        try:
            future = self._source.next()
        finally:
            EXECUTION.reset(token)
        future.add_done_callback(lambda: self._pulled(future))

    def _pulled(self, future: QMI_RpcFuture[Any]) -> None:
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
                self._link.send_failure(self._number, error)
            else:
                self._link.end_stream(self._number)

    def stop(self) -> None:
        """The consumer has left."""
        if self._finish():
            self._source.leave()
            self._link.send_failure(self._number, QMI_CancelledCallException("The consumer has left"))

    def _finish(self) -> bool:
        with self._mutex:
            if self._done:
                return False
            self._done = True
        self._forget(self._number)
        return True
