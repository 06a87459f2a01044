"""Results that come item by item: a generator of a driver, and what its consumer holds.

Each item is a turn of its own, so that others can use the object between two items, and the consumer's pace is the
generator's pace. A consumer that leaves closes the generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, Final, Protocol, cast

from qmi.actors.future import NO_ARGUMENTS, Callee, PendingCall, QMI_RpcFuture, call_async, call_blocking, check_cycle
from qmi.actors.interface import Method
from qmi.actors.services import StreamActor
from qmi.errors import QMI_CallCycleException
from qmi.messages import Origin, Token, call_text
from qmi.runtime.call_context import current_chain
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import Loop, in_task, refuse_outside_loops


class End:
    """What a stream gives after its last item."""

    def __repr__(self) -> str:
        return "END"


END: Final = End()


class Source(Protocol):
    """Where a consumer gets its items from: an actor here, or a link to one."""

    what: str

    def next(self, token: Token | None) -> QMI_RpcFuture[object]:
        """Ask for the next item; :data:`END` after the last.

        Args:
            token: The reader's lock token, where the item is made now.
        """

    def leave(self) -> QMI_RpcFuture[object]:
        """The consumer wants no more."""


class PullTurn(PendingCall):
    """The next item of a stream: one more turn of the call that opened it.

    Args:
        stream: The stream.
        token: The token of whoever reads the stream.
        ahead: Whether nobody reads it yet: the token is that of the call which opened the stream.
        closing: Whether the stream is to end instead.
    """

    __slots__ = ("closing", "is_ahead", "stream")

    is_sent = True  # as it may be

    def __init__(self, stream: ActorStream, token: Token | None, *, ahead: bool = False, closing: bool = False) -> None:
        super().__init__(stream.name, (), NO_ARGUMENTS, token, stream.chain, stream.origin)
        self.method: Method = stream.method
        self.actor: Callee | None = stream.actor
        self.stream: ActorStream = stream
        self.is_ahead: bool = ahead
        self.closing: bool = closing

    def invoke(self, target: object) -> object:
        """Make the next item."""
        return self.stream.close() if self.closing else self.stream.advance()


class ActorStream:
    """A generator that runs in an actor, one turn an item.

    Args:
        actor: The actor.
        call: The call that it is the result of. It is not kept: its result is the stream.
        generator: The generator.
    """

    __slots__ = ("__weakref__", "_generator", "actor", "chain", "is_async", "method", "name", "origin", "token")

    def __init__(self, actor: StreamActor, call: PendingCall, generator: object) -> None:
        self.actor: StreamActor = actor
        self._generator = generator
        self.name: str = call.name
        self.method: Method = call.method
        self.origin: Origin = call.origin
        self.token: Token | None = call.token
        self.chain: tuple[str, ...] = call.chain
        self.is_async: bool = call.method.kind.is_async

    @property
    def what(self) -> str:
        """The call that it is the result of, for people."""
        return call_text(self.name)

    # What the consumer's side calls

    def _pull(self, pull: PullTurn) -> PullTurn:
        if not pull.closing:
            try:
                check_cycle(current_chain(), self.actor.where, pull.what)
            except QMI_CallCycleException as error:  # goes to the consumer
                pull.fail(error)
                return pull
        self.actor.enter(pull)
        return pull

    def next(self, token: Token | None) -> QMI_RpcFuture[object]:
        """Ask for the next item; :data:`END` after the last."""
        return self._pull(PullTurn(self, token))

    def next_ahead(self) -> QMI_RpcFuture[object]:
        """The same, before anybody reads it."""
        return self._pull(PullTurn(self, self.token, ahead=True))

    def leave(self) -> QMI_RpcFuture[object]:
        """The consumer wants no more."""
        return self._pull(PullTurn(self, self.token, closing=True))

    def drop(self) -> None:
        """The caller gave up before the stream got there: a generator that has not begun needs no more than this."""
        self.actor.forget_stream(self)

    # What the actor calls, where the generator belongs

    def advance(self) -> object:
        """Run the generator to its next item; in the loop, something to await."""
        if self.is_async:
            return self._advance_async()
        try:
            return next(cast("Generator[object, None, object]", self._generator))
        except StopIteration:
            self.actor.forget_stream(self)
            return END
        except BaseException:
            self.actor.forget_stream(self)
            raise

    async def _advance_async(self) -> object:
        try:
            return await anext(cast("AsyncGenerator[object, None]", self._generator))
        except StopAsyncIteration:
            self.actor.forget_stream(self)
            return END
        except BaseException:
            self.actor.forget_stream(self)
            raise

    def close(self) -> Awaitable[None] | None:
        """End the generator where it stands; in the loop, something to await."""
        self.actor.forget_stream(self)
        if self.is_async:
            return cast("AsyncGenerator[object, None]", self._generator).aclose()
        cast("Generator[object, None, object]", self._generator).close()
        return None

    async def finish(self) -> None:
        """The same for who is in the loop."""
        ending = self.close()
        if ending is not None:
            await ending


class RpcStream:
    """The items of a generator method, for ``for`` and ``async for``.

    Leaving the loop early, closing the stream or forgetting it ends the generator at its other end.

    Args:
        source: Where the items come from.
        loop: The loop of the context that it was made by.
        token: Tells the lock token of the running code, at the proxy that it came from.
    """

    __slots__ = ("__weakref__", "_ended", "_loop", "_source", "_token")

    def __init__(self, source: Source, loop: Loop, token: Callable[[], Token | None]) -> None:
        self._source = source
        self._loop = loop
        self._token = token
        self._ended = False

    def __repr__(self) -> str:
        return f"<rpc stream of {self._source.what}>"

    def _repr_html_(self) -> str:
        from qmi import html  # which only those need who show it

        state = html.mark("ended", html.DIM) if self._ended else html.mark("goes on", html.GOOD)
        return html.card(self._source.what, "stream", [state])

    def __iter__(self) -> RpcStream:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        INTERRUPTS.look()
        try:
            item = call_blocking(self._source.next(self._token()), None)
        except BaseException:
            self.close()
            raise
        if item is END:
            self._ended = True
            raise StopIteration
        return item

    def __aiter__(self) -> RpcStream:
        return self

    async def __anext__(self) -> Any:
        if not in_task():
            refuse_outside_loops(f"The next item of {self._source.what}", "next")
        if self._ended:
            raise StopAsyncIteration
        try:
            item = await call_async(self._source.next(self._token()))
        except BaseException:
            self.close()
            raise
        if item is END:
            self._ended = True
            raise StopAsyncIteration
        return item

    def close(self) -> None:
        """End the generator; the next item is the end."""
        if not self._ended:
            self._ended = True
            self._source.leave()

    def __enter__(self) -> RpcStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def aclose(self) -> None:
        """End the generator; the next item is the end."""
        self.close()

    async def __aenter__(self) -> RpcStream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._ended:
            self._ended = True
            # The garbage collector may call this in a thread that holds the very lock that leaving needs.
            self._loop.soon(self._source.leave)


RpcStream.__module__ = "qmi.core.rpc"
