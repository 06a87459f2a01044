"""What can stand in an object's line: calls, lock acquisitions, stream items, and the object's end."""

from __future__ import annotations

from _thread import LockType, allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Method
from qmi.actors.streams import ActorStream
from qmi.messages import Acquire, Call, LockAnswer, Origin, Token, call_text
from qmi.runtime.wakeup import Waker

if TYPE_CHECKING:
    from qmi.actors.actor import Actor


class Turn:
    """Something that needs the object for itself for a while.

    Args:
        name: Name of the method.
        origin: The context it came from.

    Attributes:
        origin: The context it came from.
        since: When it began, as monotonic time; 0 before.
        scope: Cancels it while it runs in the event loop.
        given_up: Whether nobody waits for it any more.
    """

    __slots__ = ("_claim", "given_up", "name", "origin", "refusal", "scope", "since")

    refusal: BaseException
    """Why the lock refused it; set under the mailbox's mutex, and only if it did."""

    def __init__(self, name: str, origin: Origin) -> None:
        self.name: str = name
        self.origin: Origin = origin
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self._claim = allocate_lock()  # nothing is lighter for the garbage collector

    @property
    def what(self) -> str:
        """What it is, for people: ``"get_sample()"``."""
        return call_text(self.name)

    @property
    def is_sent(self) -> bool:
        """Whether its result goes to another program."""
        return False

    @property
    def is_held(self) -> bool:
        """Whether it must not come yet, since its answer would find no room on its way."""
        return False

    def try_start(self) -> bool:
        """Take it on; True for exactly one of those who try."""
        return self._claim.acquire(False)

    def fail(self, error: BaseException) -> None:
        """Tell whoever waits for it that it will not come to anything."""
        raise AssertionError

    def describe(self, now: float) -> str:
        """What it does, how long already and for whom."""
        return f"{self.what} for {max(now - self.since, 0.0):.1f} s, called from context {self.origin.context!r}"


class CallFuture(QMI_RpcFuture[Any]):
    """The result of a turn that the actor runs.

    Attributes:
        turn: The turn from when it stands in line until it ends. Then it is forgotten, so that what the two refer to
            is freed at once, and not when the garbage collector finds it.
    """

    __slots__ = ("turn",)

    is_sent: bool = False
    """Whether the result goes to another program."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.turn: CallTurn | PullTurn | None = None

    def explain(self, patience: float = 0.0) -> str:
        """What the actor is doing."""
        turn = self.turn
        return super().explain() if turn is None else turn.actor.explain_busy()

    def is_held(self) -> bool:
        """Whether the turn must not come yet; only if its result is sent."""
        return False

    def _give_up(self) -> None:
        turn = self.turn
        if turn is None:
            super()._give_up()
        else:
            turn.actor.abandon_turn(turn)


class CallTurn(Turn):
    """A method call whose caller waits for a future."""

    __slots__ = ("actor", "call", "future", "method", "token")

    def __init__(self, actor: Actor, call: Call, method: Method, origin: Origin, future: CallFuture) -> None:
        super().__init__(call.method, origin)
        self.actor: Actor = actor
        self.call: Call = call
        self.method: Method = method
        self.token: Token | None = call.token
        self.future: CallFuture = future
        future.turn = self

    @property
    def what(self) -> str:
        """What it is, for people."""
        return self.call.what

    def invoke(self, target: Any) -> Any:
        """Call the method of the object."""
        call = self.call
        return getattr(target, call.method)(*call.args, **call.kwargs)

    def set_result(self, value: Any) -> None:
        """Answer with what the method returned."""
        result = as_result(self.actor, self, value)
        self.future.turn = None
        if not self.future.set_result(result) and issubclass(type(result), ActorStream):
            cast("ActorStream", result).drop()

    def spin(self, busy: Callable[[], bool]) -> None:
        """Called by the thread that ran it and has nothing left to do; ``busy`` is whether that has changed."""
        self.future.spin(busy)

    @property
    def is_sent(self) -> bool:
        """Whether its result goes to another program."""
        return self.future.is_sent

    @property
    def is_held(self) -> bool:
        """Whether it must not come yet."""
        future = self.future  # one that is not sent is never held
        return future.is_sent and not self.given_up and future.is_held()

    @property
    def chain(self) -> tuple[str, ...]:
        """The objects that wait for it."""
        return self.call.chain

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.future.fail(error)
        self.future.turn = None


class InlineTurn(Turn):
    """A method call that the caller runs itself, as soon as it is its turn.

    Args:
        method: The method.
        token: The caller's lock token.
        chain: The objects that wait for it.
        origin: The context it came from.
    """

    __slots__ = ("_waiter", "chain", "error", "granted", "method", "token")

    def __init__(self, method: Method, token: Token | None, chain: tuple[str, ...], origin: Origin) -> None:
        # This is made for each call of the quickest kind, so that nothing is made that is not needed.
        self.name: str = method.name
        self.origin: Origin = origin
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self.method: Method = method
        self.token: Token | None = token
        self.chain: tuple[str, ...] = chain
        self.error: BaseException | None = None
        self.granted: bool = False
        self._waiter: Waker | None = None

    def expect(self, waiter: Waker) -> bool:
        """Have somebody woken when the turn comes; False if it has come already."""
        self._waiter = waiter
        return not self.granted

    def grant(self) -> None:
        """The turn has come, or will never come."""
        # The order matters: `expect` sets what is read here before it reads what is set here.
        self.granted = True
        if self._waiter is not None:
            self._waiter.wake()

    def fail(self, error: BaseException) -> None:
        """Wake the caller with an error."""
        self.error = error
        self.grant()


class WaitedTurn(Turn):
    """A method call whose caller waits on the spot, in a thread.

    Args:
        method: The method.
        args: Its arguments.
        kwargs: Its keyword arguments.
        token: The caller's lock token.
        chain: The objects that wait for it.
        origin: The context it came from.

    Attributes:
        lock: What the caller waits for.
        ended: Whether there is a value or an error.
    """

    __slots__ = ("args", "chain", "ended", "error", "kwargs", "lock", "method", "token", "value")

    def __init__(
        self,
        method: Method,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        token: Token | None,
        chain: tuple[str, ...],
        origin: Origin,
    ) -> None:
        # This is made for each call of a script, so that nothing is made that is not needed.
        self.name: str = method.name
        self.origin: Origin = origin
        self.since: float = 0.0
        self.scope: trio.CancelScope | None = None
        self.given_up: bool = False
        self._claim = allocate_lock()
        self.method: Method = method
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self.token: Token | None = token
        self.chain: tuple[str, ...] = chain
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended: bool = False
        self.lock: LockType = allocate_lock()
        self.lock.acquire()

    @property
    def what(self) -> str:
        """What it is, for people."""
        return call_text(self.name, self.args)

    def invoke(self, target: Any) -> Any:
        """Call the method of the object."""
        return getattr(target, self.name)(*self.args, **self.kwargs)

    def spin(self, busy: Callable[[], bool]) -> None:
        """Called by the thread that ran it; the next call comes from another thread, and will wake this one."""

    def set_result(self, value: Any) -> None:
        """Wake the caller with a result, unless the call has ended."""
        if not self.ended:
            self.value = value
            self.ended = True
            self.wake()

    def fail(self, error: BaseException) -> None:
        """Wake the caller with an error, unless the call has ended."""
        # If two threads end the call in the same moment, the caller takes the error, or the value if that is all there
        # is when it wakes.
        if not self.ended:
            self.error = error
            self.ended = True
            self.wake()

    def wake(self) -> None:
        """End the caller's wait."""
        try:  # noqa: SIM105 - as in ThreadWaker
            self.lock.release()
        except RuntimeError:  # woken twice
            pass


class PullTurn(Turn):
    """The next item of a stream.

    Args:
        actor: The object.
        stream: The stream.
        future: What gets the item.
        token: The token of whoever reads the stream.
        ahead: Whether nobody reads it yet: the token is that of the call which opened the stream.
        closing: Whether the stream is to end instead.
    """

    __slots__ = ("actor", "chain", "closing", "future", "is_ahead", "stream", "token")

    def __init__(
        self, actor: Actor, stream: Any, future: CallFuture, token: Token | None, *, ahead: bool, closing: bool
    ) -> None:
        super().__init__(stream.name, stream.origin)
        self.actor: Actor = actor
        self.stream: Any = stream
        self.token: Token | None = token
        self.is_ahead: bool = ahead
        self.chain: tuple[str, ...] = stream.chain
        self.future: CallFuture = future
        self.closing: bool = closing
        future.turn = self

    @property
    def is_sent(self) -> bool:
        """Whether its result goes to another program, as it may."""
        return True

    def invoke(self, target: Any) -> Any:
        """Make the next item."""
        return self.stream.close() if self.closing else self.stream.advance()

    def set_result(self, value: Any) -> None:
        """Answer with the item."""
        self.future.turn = None
        self.future.set_result(value)

    def spin(self, busy: Callable[[], bool]) -> None:
        """Called by the thread that ran it and has nothing left to do; ``busy`` is whether that has changed."""
        self.future.spin(busy)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.future.fail(error)
        self.future.turn = None


class AcquireTurn(Turn):
    """A lock acquisition.

    Attributes:
        answer: What was decided, once and for all; None before. Guarded by the mailbox's mutex.
        error: Why it was refused, if not because somebody else holds the lock.
    """

    __slots__ = ("answer", "error", "future", "request")

    def __init__(self, request: Acquire, origin: Origin, future: QMI_RpcFuture[LockAnswer]) -> None:
        super().__init__("lock", origin)
        self.request: Acquire = request
        self.answer: LockAnswer | None = None
        self.error: BaseException | None = None
        self.future: QMI_RpcFuture[LockAnswer] = future

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.future.fail(error)


class EndTurn(Turn):
    """The end of the object: its last turn."""

    __slots__ = ("future",)

    def __init__(self, origin: Origin, future: QMI_RpcFuture[None]) -> None:
        super().__init__("release_rpc_object", origin)
        self.future: QMI_RpcFuture[None] = future

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.future.fail(error)


def as_result(actor: Actor, turn: CallTurn | InlineTurn, value: Any) -> Any:
    """What the caller gets for what the method returned: a generator becomes a stream."""
    kind = turn.method.kind
    if not kind.is_stream:
        return value
    stream = ActorStream(actor, value, turn.name, turn.origin, turn.token, turn.chain, kind.is_async)
    actor.remember_stream(stream)
    return stream
