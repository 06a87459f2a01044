"""Results that come item by item: a generator of a driver, and what its consumer holds.

Each item is a turn of its own, so that others can use the object between two items, and the consumer's pace is the
generator's pace. A consumer that leaves closes the generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmi.actors.future import QMI_RpcFuture, call_async, call_blocking
from qmi.messages import Origin, Token
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler
from qmi.runtime.wakeup import Loop, in_task, refuse_outside_trio

if TYPE_CHECKING:
    from qmi.actors.actor import Actor


class End:
    """What a stream gives after its last item."""

    def __repr__(self) -> str:
        return "END"


END: Final = End()


class Source(Protocol):
    """Where a consumer gets its items from: an actor here, or a link to one."""

    what: str

    def next(self, token: Token | None) -> QMI_RpcFuture[Any]:
        """Ask for the next item; :data:`END` after the last.

        Args:
            token: The reader's lock token, where the item is made now.
        """

    def leave(self) -> QMI_RpcFuture[Any]:
        """The consumer wants no more."""


class ActorStream:
    """A generator that runs in an actor, one turn an item."""

    __slots__ = ("__weakref__", "_actor", "_generator", "chain", "is_async", "name", "origin", "token")

    def __init__(
        self,
        actor: Actor,
        generator: Generator[Any, Any, Any] | AsyncGenerator[Any, Any],
        name: str,
        origin: Origin,
        token: Token | None,
        chain: tuple[str, ...],
        is_async: bool,
    ) -> None:
        self._actor = actor
        self._generator: Any = generator
        self.name: str = name
        self.origin: Origin = origin
        self.token: Token | None = token
        self.chain: tuple[str, ...] = chain
        self.is_async: bool = is_async

    @property
    def what(self) -> str:
        """The call that it is the result of, for people."""
        return f"{self.name}()"

    # What the consumer's side calls

    def next(self, token: Token | None) -> QMI_RpcFuture[Any]:
        """Ask for the next item; :data:`END` after the last."""
        return self._actor.pull(self, token)

    def next_ahead(self) -> QMI_RpcFuture[Any]:
        """The same, before anybody reads it."""
        return self._actor.pull(self, self.token, ahead=True)

    def leave(self) -> QMI_RpcFuture[Any]:
        """The consumer wants no more."""
        return self._actor.pull(self, self.token, closing=True)

    def drop(self) -> None:
        """The caller gave up before the stream got there: a generator that has not begun needs no more than this."""
        self._actor.forget_stream(self)

    # What the actor calls, where the generator belongs

    def advance(self) -> Any:
        """Run the generator to its next item; in the loop, something to await."""
        if self.is_async:
            return self._advance_async()
        try:
            return next(self._generator)
        except StopIteration:
            self._actor.forget_stream(self)
            return END
        except BaseException:
            self._actor.forget_stream(self)
            raise

    async def _advance_async(self) -> Any:
        try:
            return await anext(self._generator)
        except StopAsyncIteration:
            self._actor.forget_stream(self)
            return END
        except BaseException:
            self._actor.forget_stream(self)
            raise

    def close(self) -> Any:
        """End the generator where it stands; in the loop, something to await."""
        self._actor.forget_stream(self)
        return self._generator.aclose() if self.is_async else self._generator.close()

    async def finish(self) -> None:
        """The same for who is in the loop."""
        ending = self.close()
        if self.is_async:
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

    def __iter__(self) -> RpcStream:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
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
            refuse_outside_trio(f"The next item of {self._source.what}", "next")
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
