"""The links of a context: where links and actors meet.

What a link asks for is handed to actors, and their answers go back on it; what proxies ask of other contexts goes out
on links, and the answers settle their futures. How links come and go is in :mod:`qmi.connections`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from qmi.actors.execution import EXECUTION
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import make_proxy, proxy_parts
from qmi.actors.runner import failed_future
from qmi.actors.streams import END, ActorStream
from qmi.errors import QMI_CancelledCallException, QMI_Exception
from qmi.messages import Failure, Origin, Reply, Request, Signal, Value
from qmi.names import Address
from qmi.net.link import Link

_logger = logging.getLogger("qmi.core.messaging")

_WINDOW = 8
"""Items of a stream that may be on their way at once."""


class Home(Protocol):
    """What links need of the context."""

    name: str

    def request_here(self, message: Request, origin: Origin, link: Link) -> QMI_RpcFuture[Any]:
        """Hand a message to an object of this context."""

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


class _Asking:
    """A request on its way; its answer settles a future."""

    __slots__ = ("_link", "future", "number", "stream")

    def __init__(self, link: Link, what: str) -> None:
        self._link = link
        self.future: QMI_RpcFuture[Any] = QMI_RpcFuture(what, explain=self._explain)
        self.future.on_cancel = self.cancel
        self.future.assist = link.assist
        self.number = 0
        self.stream: _RemoteStream | None = None

    def _explain(self) -> str:
        return f"{self._link.title} was heard from {self._link.silence:.1f} s ago"

    def cancel(self) -> None:
        if self.number:
            self._link.cancel_request(self.number)

    def reply(self, reply: Reply) -> None:
        if self.stream is not None:
            error = reply.error if isinstance(reply, Failure) else QMI_Exception("the stream ended unexpectedly")
            self.stream.put(_Fault(error))
        elif isinstance(reply, Value):
            self.future.settle(reply.value)
        else:
            self.future.fail(reply.error)

    def stream_opened(self) -> None:
        self.stream = _RemoteStream(self._link, self.number, self.future.what)
        if self.future.settle(self.stream):
            self._link.send_credit(self.number, _WINDOW)
        else:
            self._link.cancel_request(self.number)

    def item(self, value: Any) -> None:
        if self.stream is not None:
            self.stream.put(value)

    def stream_ended(self) -> None:
        if self.stream is not None:
            self.stream.put(END)


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
    asking = _Asking(link, what)
    try:
        link.send_request(message, asking, soon=soon)
    except QMI_Exception as error:  # not sendable, or not delivered: the caller's
        return failed_future(what, error)
    except BaseException:  # Ctrl-C: nobody will wait for the answer
        asking.cancel()
        raise
    return asking.future


# Serving: requests of another context at this one


class Serving:
    """What the other side of one link has asked for and not got yet.

    Args:
        home: The context.
        link: The link.
        origin: Who is at its other end.
    """

    def __init__(self, home: Home, link: Link, origin: Origin) -> None:
        self._home = home
        self._link = link
        self._origin = origin
        # Answers come from any thread, cancellations from the loop. Nothing is called with the mutex.
        self._mutex = threading.Lock()
        self._open: dict[int, QMI_RpcFuture[Any] | _Pump] = {}
        self._cancelled: set[int] = set()
        self._ended = False

    @property
    def count(self) -> int:
        """How many requests are open."""
        return len(self._open)

    def request(self, number: int, message: Request) -> None:
        """The other side asks for something."""
        if self._ended:
            return
        try:
            future = self._home.request_here(message, self._origin, self._link)
        except Exception as error:  # goes to the caller, who is not to end this program
            future = failed_future(message.object, error)
        self._open[number] = future
        future.linger = self._link.linger
        future.add_done_callback(lambda: self._answer(number, future))

    def _answer(self, number: int, future: QMI_RpcFuture[Any]) -> None:
        error = future.error()
        value = None if error is not None else future.result()
        if isinstance(value, ActorStream):
            self._stream(number, value)
            return
        self._forget(number)
        if error is not None:
            self._link.send_failure(number, error)
        else:
            self._link.send_value(number, value)

    def _stream(self, number: int, stream: ActorStream) -> None:
        pump = _Pump(self._link, number, stream, self._forget)
        with self._mutex:
            too_late = number in self._cancelled or number not in self._open
            self._open[number] = pump
        if too_late:
            pump.stop()
        else:
            self._link.open_stream(number)

    def _forget(self, number: int) -> None:
        with self._mutex:
            self._open.pop(number, None)
            self._cancelled.discard(number)

    def cancel(self, number: int) -> None:
        """The other side does not wait for this any more."""
        with self._mutex:
            served = self._open.get(number)
            if served is None:
                return
            self._cancelled.add(number)
        if isinstance(served, _Pump):
            served.stop()
        else:
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
