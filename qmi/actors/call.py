"""How a proxy reaches its object: the one place where blocking, non-blocking and awaited calls part ways."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

import trio

from qmi.actors.actor import Actor
from qmi.actors.future import (
    PendingCall,
    QMI_RpcFuture,
    call_async,
    call_blocking,
    check_cycle,
    check_timeout,
    failed_future,
)
from qmi.actors.inline import (
    InlineCall,
    call_in_task,
    call_in_task_within,
    call_in_thread,
    runs_in_task_of_caller,
    runs_in_thread_of_caller,
)
from qmi.actors.interface import Interface, Method, Placement
from qmi.actors.lock_pass import PASSES
from qmi.actors.open_blocks import Block, block_at
from qmi.actors.pubsub.history import History
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.streams import RpcStream, Source
from qmi.actors.unknown_names import unknown_method, unknown_setting
from qmi.config.validators import printable
from qmi.errors import (
    QMI_CancelledCallException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_ObjectLockedException,
    QMI_OutcomeUnknownException,
    QMI_UsageException,
)
from qmi.messages import (
    BLOCK,
    ENTER_BLOCK,
    EXIT_BLOCK,
    GET_PROPERTY,
    SERVICE_NAMES,
    Acquire,
    Args,
    Call,
    ForceRelease,
    Kwargs,
    LockAnswer,
    LockInfo,
    Origin,
    QueryLock,
    Release,
    Request,
    Token,
    call_text,
    method_text,
)
from qmi.names import CONTEXT_OBJECT_NAME, Address
from qmi.runtime.call_context import EXECUTION, current_chain
from qmi.runtime.identity import own_identity
from qmi.runtime.random_bytes import random_bytes
from qmi.runtime.sigint import HANDLER, INTERRUPTS, SIGINT, current_handler
from qmi.runtime.wakeup import Loop, in_task, on_any_loop, refuse_on_loop, refuse_outside_loops

_logger = logging.getLogger("qmi.core.rpc")

T = TypeVar("T")


LINK_GONE: Final = (QMI_NotDeliveredException, QMI_OutcomeUnknownException)
_CALLER: Final = Placement.CALLER  # looking it up in the enumeration would take longer than the rest
_MOMENT = 0.01
"""A call that waits for so few seconds before it is sent has all of its time left."""


class Router(Protocol):
    """What a proxy needs of the context that it was made by."""

    origin: Origin
    loop: Loop

    def find_actor(self, address: Address) -> Actor | None:
        """The object if it lives in this context, None if it lives in another one.

        Raises:
            QMI_Exception: If it should live here but does not, or if this context has stopped.
        """

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives. Every error comes with the future."""

    def request_elsewhere(
        self,
        address: Address,
        message: Request,
        *,
        soon: bool = False,
        patience: float | None = 0.0,
        shared: bool = True,
    ) -> QMI_RpcFuture[Any]:
        """Send a message to an object of another context. Every error comes with the future.

        Args:
            address: The object.
            message: The message.
            soon: Whether the message may wait a moment for others that go out together with it.
            patience: For how many seconds this may block while too much waits to be sent to that context; None: as
                long as the context takes any of it.
            shared: Whether others than the caller may wait for the answer.
        """

    def release_later(self, address: Address, key: Token) -> None:
        """Release a grant of an object of another context as soon as there is a link to it."""

    def call_elsewhere(self, address: Address, call: Call, timeout: float | None) -> Awaitable[object]:
        """Call a plain method of an object of another context, and await its result for so many seconds at most."""

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> QMI_RpcFuture[T]:
        """Run an async function in the loop of the context; giving up cancels it."""

    def subscribe(
        self, address: Address, signal: str, receiver: QMI_SignalReceiver, history: History | None = None
    ) -> QMI_RpcFuture[None]:
        """Have each signal of this name put into a receiver, and what of the past is wanted."""

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription."""


class Handle:
    """A proxy's end of its object, shared by the blocking, the non-blocking and the async view of it.

    Attributes:
        router: The context.
        address: Where the object lives.
        interface: What it offers.
        token: The token of the proxy's plain lock, or None.
        open_blocks: How many ``locked()`` blocks of it are open, of all threads and tasks.
    """

    __slots__ = ("__weakref__", "_actor", "_is_elsewhere", "address", "interface", "open_blocks", "router", "token")

    def __init__(self, router: Router, address: Address, interface: Interface) -> None:
        self.router: Router = router
        self.address: Address = address
        self.interface: Interface = interface
        self.token: Token | None = PASSES.get(address) if PASSES else None
        self.open_blocks: int = 0
        self._actor: Actor | None = None
        self._is_elsewhere = False  # known once it was looked for

    def _find_actor(self) -> Actor | None:
        # The actor of the last call, unless it has ended since: then there may be another one of that name. It may also
        # end between this look and the call: then its mailbox refuses the call, with the reason.
        actor = self._actor
        if actor is None or actor.mailbox.closed is not None:
            self._actor = actor = self.router.find_actor(self.address)
            self._is_elsewhere = actor is None
        return actor

    # Calls

    def call_blocking(self, method: Method, args: Args, kwargs: Kwargs, timeout: float | None) -> object:
        """Call a method and wait for its result."""
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        name = method.name
        if on_any_loop():
            refuse_on_loop(f"{self.address}.{call_text(name, args)}", _awaited_form(name, args))
        execution = EXECUTION.get()
        chain = () if execution is None else execution.chain
        limit = None if timeout is None else check_timeout(timeout)
        actor = self._actor
        if self._is_elsewhere:
            actor = None
        elif actor is None or actor.mailbox.closed is not None:
            actor = self._find_actor()
        token = self._shown_token() if self.open_blocks else self.token
        if actor is None:
            call = Call(self.address.object, name, args, kwargs, token, chain)
            if limit is None and not chain:  # what call_blocking() looks at before it waits has just been looked at
                return self._request(method, call, soon=False, patience=None).wait_or_cancel(None, execution)
            return self._call_elsewhere(method, call, limit)
        if actor.placement is _CALLER and limit is None and runs_in_thread_of_caller(here := actor.method(name)):
            inline = InlineCall(actor, here, args, kwargs, token, chain, self.router.origin)
            if chain:
                check_cycle(chain, actor.where, inline.what)
            result = call_in_thread(actor, inline)
        else:
            # Nothing here may refer to the call when its error is raised, whose traceback refers to this.
            result = PendingCall(name, args, kwargs, token, chain, self.router.origin).wait_or_cancel(
                limit, execution, actor.submit
            )
        return self._stream(result) if method.kind.is_stream else result

    def _call_elsewhere(self, method: Method, call: Call, limit: float | None) -> object:
        if limit is None:
            return call_blocking(self._request(method, call, soon=False, patience=None), None)
        begun = time.monotonic()
        future = self._request(method, call, soon=False, patience=limit)
        waited = time.monotonic() - begun  # until there was room to send it
        return call_blocking(future, limit if waited < _MOMENT else max(limit - waited, 0.0))

    def call_nonblocking(self, method: Method, args: Args, kwargs: Kwargs) -> QMI_RpcFuture[object]:
        """Call a method; the future gives its result."""
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        # Nobody waits for this call yet, so that it cannot be part of a cycle: the future looks when it is waited for.
        return self._send(method, args, kwargs, (), shared=True, patience=None)

    def _send(
        self,
        method: Method,
        args: Args,
        kwargs: Kwargs,
        chain: tuple[str, ...],
        *,
        shared: bool,
        patience: float | None = 0.0,
    ) -> QMI_RpcFuture[object]:
        token = self._shown_token() if self.open_blocks else self.token
        try:
            actor = None if self._is_elsewhere else self._find_actor()
        except QMI_Exception as error:  # it is gone: goes to the caller
            return failed_future(str(self.address), error)
        if actor is None:
            call = Call(self.address.object, method.name, args, kwargs, token, chain)
            return self._request(method, call, soon=True, patience=patience)
        future = actor.submit(PendingCall(method.name, args, kwargs, token, chain, self.router.origin, shared=shared))
        return self._streamed(future) if method.kind.is_stream else future

    def _request(self, method: Method, call: Call, *, soon: bool, patience: float | None) -> QMI_RpcFuture[object]:
        future = self.router.request_elsewhere(self.address, call, soon=soon, patience=patience, shared=soon)
        if not method.direct:
            future.callee = self.address
        return self._streamed(future) if method.kind.is_stream else future

    def _streamed(self, future: QMI_RpcFuture[object]) -> QMI_RpcFuture[object]:
        # Nobody may ever see the value of this future: then the stream is forgotten, which ends it at its other end.
        streamed: QMI_RpcFuture[object] = QMI_RpcFuture(future.what, explain=future.explain)
        streamed.callee = future.callee
        streamed.follow(future, self._stream)
        return streamed

    def _stream(self, source: object) -> RpcStream:
        return RpcStream(cast("Source", source), self.router.loop, self._shown_token)

    async def call_async(self, method: Method, args: Args, kwargs: Kwargs, timeout: float | None) -> object:
        """Call a method and await its result; being cancelled cancels the call."""
        name = method.name
        if not in_task():
            what = f"{self.address}.{call_text(name, args)}"
            refuse_outside_loops(what, f"proxy.{method_text(name, args)}", _blocking_form(name, args))
            return await self._call_in_asyncio(method, args, kwargs, timeout)
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        limit = None if timeout is None else check_timeout(timeout)
        chain = current_chain()
        try:
            actor = None if self._is_elsewhere else self._find_actor()
        except QMI_Exception:  # it is gone; who tries in a loop must let others run all the same
            await trio.lowlevel.checkpoint()
            raise
        token = self._shown_token() if self.open_blocks else self.token
        if actor is None and not method.kind.is_stream:
            call = Call(self.address.object, name, args, kwargs, token, chain)
            return await self.router.call_elsewhere(self.address, call, limit)
        here = None if actor is None else actor.method(name)
        if actor is None or here is None or not runs_in_task_of_caller(actor, here) or not self.router.loop.is_here():
            return await call_async(self._send(method, args, kwargs, chain, shared=False), limit)
        inline = InlineCall(actor, here, args, kwargs, token, chain, self.router.origin)
        if chain:
            check_cycle(chain, actor.where, inline.what)
        if limit is None:
            result = await call_in_task(actor, inline)
        else:
            result = await call_in_task_within(limit, actor, inline)
        return self._stream(result) if method.kind.is_stream else result

    async def _call_in_asyncio(self, method: Method, args: Args, kwargs: Kwargs, timeout: float | None) -> object:
        INTERRUPTS.look()
        limit = check_timeout(timeout)
        chain = current_chain()
        actor = self._find_actor()
        if actor is not None or method.kind.is_stream:
            return await call_async(self._send(method, args, kwargs, chain, shared=False), limit)
        # In the loop of the context, where a call may wait until there is room on the link.
        token = self._shown_token() if self.open_blocks else self.token
        call = Call(self.address.object, method.name, args, kwargs, token, chain)
        return await call_async(self.router.run(self.router.call_elsewhere, self.address, call, limit))

    # Locking: each is a future, which the views wait for in their own way

    def _ask(self, message: Request) -> QMI_RpcFuture[Any]:
        actor = self._actor
        if actor is not None and actor.mailbox.closed is None:
            return actor.handle(message, self.router.origin)
        return self.router.request(self.address, message)

    def _shown_token(self) -> Token | None:
        # What calls show while there are blocks at this proxy: those of the thread or task that is in one show the
        # block's own token, all others that of a plain lock.
        block = block_at(self)
        return self.token if block is None else block.key

    def token_to_lock_with(self, custom: str | None) -> Token:
        """The token that a plain lock shall belong to."""
        token = check_token(custom)
        if token is not None:
            return token
        own = self.token
        # A pass is not asked with: when it is gone, the new lock would be open to all others who were handed it.
        if own is not None and not own.is_pass and self.open_blocks and block_at(self) is not None:
            return own  # below the block, which shows a token of its own
        return Token(random_bytes(16).hex())

    def new_block(self, custom: str | None) -> Block:
        """A block that is to be entered."""
        return Block(self, Token(BLOCK + random_bytes(16).hex()), check_token(custom))

    def acquire(self, timeout: float | None, token: Token, key: Token | None = None) -> QMI_RpcFuture[LockAnswer]:
        """Ask for the lock.

        A proxy that holds the lock already keeps it, with the token that it has, unless a custom one is asked for; one
        with a pass keeps that also then.

        Args:
            timeout: How long to wait for another holder, in seconds; None waits for ever.
            token: What the lock shall belong to.
            key: What stands for this request alone, if ``token`` does not.
        """
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        limit = check_timeout(timeout)
        is_block = key is not None and key.is_block
        block = block_at(self, token if token.custom else None)
        if block is not None:
            held: Token | None = block.key
        else:
            held = self.token if is_block or not token.custom or self._has_pass() else None
        message = Acquire(self.address.object, token, math.inf if limit is None else limit, held, key)
        future = self._ask(message)
        future.callee = self.address
        return future

    def new_key(self, token: Token) -> Token | None:
        """What stands for a request for a plain lock, if the token that it asks with does not."""
        return Token(random_bytes(16).hex()) if token.custom else None

    def granted(self, token: Token, answer: LockAnswer) -> LockAnswer:
        """Take note of the answer to a request for a plain lock."""
        if answer == LockAnswer.GRANTED or (answer and token.custom and not self._has_pass()):
            self.token = token
        return answer

    def _has_pass(self) -> bool:
        return self.token is not None and self.token.is_pass

    def undo_acquire(self, key: Token, future: QMI_RpcFuture[LockAnswer] | None, *, stays: bool = False) -> None:
        """Nobody will learn that the lock was granted, so it must not be.

        Args:
            key: What stands for the request.
            future: The answer, if the caller got that far.
            stays: Whether the lock would outlive the link, since it has a text.
        """
        if key == self.token:
            return
        if future is None:
            self._release_for_sure(key, stays)
            return
        # The answer may come in this very moment, in another thread: it has claimed the future, but has not written its
        # value yet. It is waited for, so that what this caller does next finds the lock released. Releasing by the key
        # takes back what this request was granted, and nothing else; where the request was withdrawn, it has no effect.
        try:
            if not future.cancel():
                future.settle()
        finally:  # Ctrl-C once more: then the other thread releases it
            future.add_done_callback(lambda: self._release_unless_refused(key, future, stays))

    def _release_unless_refused(self, key: Token, future: QMI_RpcFuture[LockAnswer], stays: bool) -> None:
        error = future.error()
        if isinstance(error, QMI_CancelledCallException) or (error is None and future.result() == LockAnswer.GRANTED):
            self._release_for_sure(key, stays)
        elif stays and isinstance(error, QMI_OutcomeUnknownException):
            self.router.release_later(self.address, key)

    def _release_for_sure(self, key: Token, stays: bool) -> None:
        future = self.release_at_once(key)
        if stays:
            future.add_done_callback(lambda: self._release_when_linked(key, future))

    def _release_when_linked(self, key: Token, future: QMI_RpcFuture[bool]) -> None:
        if isinstance(future.error(), LINK_GONE):
            self.router.release_later(self.address, key)

    def token_to_release(self, custom: str | None) -> Token | None:
        """The token that the proxy's plain lock should belong to."""
        return check_token(custom) or self.token

    def release(self, token: Token | None, context_name: str | None = None) -> QMI_RpcFuture[bool]:
        """Ask to unlock."""
        if INTERRUPTS.pending or current_handler(SIGINT) is not HANDLER:
            INTERRUPTS.look()
        return self._ask(Release(self.address.object, token, context_name))

    def release_at_once(self, key: Token) -> QMI_RpcFuture[bool]:
        """Give a grant back. Nothing is raised on the way, and Ctrl-C that is due has to wait."""
        return self._ask(Release(self.address.object, key))

    def released(self, token: Token | None, answer: bool) -> bool:
        """Take note of the answer to :meth:`release`: a lock that could not be released is not there."""
        if token is None or self.token != token:
            return answer
        if answer or not (token.custom or (token.is_pass and PASSES.get(self.address) == token)):
            self.token = None
        return answer

    def note_release(self, block: Block, future: QMI_RpcFuture[bool]) -> None:
        """See to what becomes of the release at the end of a block.

        It is logged if the lock was lost before. If it stays while there is no link, it is released later.
        """
        future.add_done_callback(lambda: self._end_release(block, future))

    def _end_release(self, block: Block, future: QMI_RpcFuture[bool]) -> None:
        error = future.error()
        if block.text is not None and isinstance(error, LINK_GONE):
            self.router.release_later(self.address, block.key)
            _logger.info("The lock of a block at %s is given back when there is a link: %s", self.address, error)
        elif error is not None:
            _logger.info("The lock of a block at %s is not given back, but gone: %s", self.address, error)
        elif not future.result():
            _logger.warning("A locked() block at %s had lost its lock before its end", self.address)

    def wait_for_release(self, block: Block, future: QMI_RpcFuture[bool]) -> None:
        """Wait until the grant of a block is given back. It is on its way already, whatever ends the wait."""
        self.note_release(block, future)
        if not future.done():
            with suppress(QMI_Exception):  # the object or the link is gone, and the lock with it
                future.wait()

    def wait(self, what: str, future: QMI_RpcFuture[T], instead: str, *, release: bool = False) -> T:
        """Wait for an answer; an error on a loop, unless there is one already.

        Args:
            what: What was asked, for the message.
            future: The answer.
            instead: What to write on a loop.
            release: Whether what was asked gives something back. Then whoever stops waiting does not take the request
                back: it may not have gone out yet.
        """
        if not future.done():
            refuse_on_loop(f"{self.address}.{what}", instead)
        return future.wait() if release else call_blocking(future, None)

    async def await_lock(self, future: QMI_RpcFuture[LockAnswer]) -> LockAnswer:
        """Await the answer to :meth:`acquire`."""
        return await call_async(future)

    async def await_info(self) -> LockInfo | None:
        """Ask who holds the lock, and for what."""
        info = await call_async(self.query_lock())
        if info is None or self._is_here():
            return info
        try:
            return with_words(info, await call_async(self._ask_context("lock_words")))
        except QMI_Exception:  # an older version, or it has ended meanwhile
            return info

    def lock_info(self, instead: str) -> LockInfo | None:
        """The same for blocking code.

        Args:
            instead: What to write on a loop.
        """
        info = self.wait("lock_info()", self.query_lock(), instead)
        if info is None or self._is_here():
            return info
        try:
            return with_words(info, self.wait("lock_info()", self._ask_context("lock_words"), instead))
        except QMI_Exception:  # as above
            return info

    def say_reason(self, reason: str, instead: str) -> None:
        """Say for what the lock is held that was just granted; when this returns, everybody can see it.

        Args:
            reason: For what.
            instead: What to write on a loop.
        """
        with suppress(QMI_Exception):  # an older version, which does not know of reasons; or the lock is gone already
            self.wait("lock()", self._note_reason(reason), instead)

    async def await_reason(self, reason: str) -> None:
        """The same in the loop."""
        with suppress(QMI_Exception):  # as above
            await call_async(self._note_reason(reason))

    def _note_reason(self, reason: str) -> QMI_RpcFuture[bool]:
        return self._ask_context("note_lock", reason, *own_identity())

    def request_release(self, reason: str) -> QMI_RpcFuture[str | None]:
        """Tell the holder that somebody wants the lock."""
        return self._ask_context("request_lock_release", check_reason(reason, may_be_empty=True), *own_identity())

    def force_release_for(self, reason: str) -> QMI_RpcFuture[None]:
        """Ask to unlock, whoever holds it, and say for what."""
        INTERRUPTS.look()
        return self._ask_context("force_unlock_object", check_reason(reason), *own_identity())

    def _is_here(self) -> bool:
        return self.address.context == self.router.origin.context

    def _ask_context(self, method: str, *args: object) -> QMI_RpcFuture[Any]:
        # The context of the object is asked, since older versions know its methods by their names, and can say that
        # they do not know one; an unknown field of a lock request would end the link.
        address = Address(self.address.context, CONTEXT_OBJECT_NAME)
        return self.router.request(address, Call(CONTEXT_OBJECT_NAME, method, (self.address.object, *args)))

    def force_release(self) -> QMI_RpcFuture[None]:
        """Ask to unlock, whoever holds it."""
        INTERRUPTS.look()
        return self._ask(ForceRelease(self.address.object))

    def query_lock(self) -> QMI_RpcFuture[LockInfo | None]:
        """Ask who holds it."""
        INTERRUPTS.look()
        return self._ask(QueryLock(self.address.object))

    # Signals

    def subscribe(
        self, signal: str, receiver: QMI_SignalReceiver, history: History | None = None
    ) -> QMI_RpcFuture[None]:
        """Have each signal of this name put into a receiver, and what of the past is wanted."""
        INTERRUPTS.look()
        return self.router.subscribe(self.address, signal, check_receiver(receiver), history)

    def unsubscribe(self, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription."""
        INTERRUPTS.look()
        return self.router.unsubscribe(self.address, signal, check_receiver(receiver))

    def explain_unknown(self, name: str, setting: bool = False) -> str:
        """Why the proxy has no attribute of this name, or none that can be set."""
        if setting:
            return unknown_setting(self.interface, str(self.address), name)
        try:
            actor = self.router.find_actor(self.address)
        except QMI_Exception:  # it is gone, and only what it offered is known
            actor = None
        return unknown_method(
            self.interface, str(self.address), name, actor is not None and actor.has_unpublished(name)
        )

    def not_granted(self, timeout: float, info: LockInfo | None) -> QMI_ObjectLockedException:
        """The error for a block that needed the lock and did not get it."""
        holder = f" It is held by {printable(info.describe())}" if info is not None else ""
        return QMI_ObjectLockedException(f"{self.address} could not be locked within {timeout:g} s.{holder}")


def check_reason(reason: object, *, may_be_empty: bool = False) -> str:
    """What somebody says why the lock is wanted.

    Raises:
        QMI_UsageException: If it is no text, or says nothing.
    """
    if not isinstance(reason, str) or not (may_be_empty or reason.strip()):
        raise QMI_UsageException(f"reason must be a text that says for what, got {reason!r}")
    return reason


def with_words(info: LockInfo, words: object) -> LockInfo:
    """What is known of a holder, with the words that another program has told; it may be of any version."""
    if isinstance(words, tuple | list) and len(words) == 4 and all(isinstance(word, str) for word in words):
        return LockInfo(*info, *(printable(word[:200]) for word in words))
    return info


def check_token(custom: object) -> Token | None:
    """A lock token that somebody typed.

    Raises:
        QMI_UsageException: If it is neither None nor a text.
    """
    if custom is None:
        return None
    if not isinstance(custom, str) or not custom:
        raise QMI_UsageException(f"A lock token is a text that is not empty; got {type(custom).__name__}")
    return Token(custom, custom=True)


def check_receiver(receiver: object) -> QMI_SignalReceiver:
    """A receiver that somebody gave.

    Raises:
        QMI_UsageException: If it is none.
    """
    if not isinstance(receiver, QMI_SignalReceiver):
        raise QMI_UsageException(f"Signals go to a QMI_SignalReceiver; got {receiver!r}")
    return receiver


def _awaited_form(name: str, args: Args) -> str:
    """What to write on an event loop instead of a blocking call."""
    if name not in SERVICE_NAMES:
        return f"await proxy.rpc_nonblocking.{method_text(name, args)}(...)"
    if name in (ENTER_BLOCK, EXIT_BLOCK):
        return "async with proxy.rpc_async:"
    shown = f"await proxy.rpc_async.{args[0]}"
    return shown if name == GET_PROPERTY else f"{shown}.set(...)"


def _blocking_form(name: str, args: Args) -> tuple[str, str] | None:
    """What to write where nothing can be awaited, with a blocking proxy; None for a call of a method."""
    if name not in SERVICE_NAMES:
        return None
    if name in (ENTER_BLOCK, EXIT_BLOCK):
        return "with proxy:", "function_with_this_block"
    owner, _, attribute = f"proxy.{args[0]}".rpartition(".")
    if name == GET_PROPERTY:
        return f"{owner}.{attribute}", f"getattr, {owner}, {attribute!r}"
    return f"{owner}.{attribute} = ...", f"setattr, {owner}, {attribute!r}, ..."


# The methods of proxies, by the view that they are seen through


class ProxyView(Protocol):
    """What is needed of a proxy."""

    @property
    def __rpc__(self) -> Handle:
        """Its end of the object."""


def blocking_method(method: Method) -> Callable[..., object]:
    """A method of a blocking proxy."""

    def call(self: ProxyView, /, *args: object, rpc_timeout: float | None = None, **kwargs: object) -> object:
        return self.__rpc__.call_blocking(method, args, kwargs, rpc_timeout)

    return call


def nonblocking_method(method: Method) -> Callable[..., QMI_RpcFuture[object]]:
    """A method of a proxy that returns futures."""

    def call(self: ProxyView, /, *args: object, **kwargs: object) -> QMI_RpcFuture[object]:
        return self.__rpc__.call_nonblocking(method, args, kwargs)

    return call


def async_method(method: Method) -> Callable[..., Awaitable[object]]:
    """A method of a proxy whose calls are awaited."""

    async def call(self: ProxyView, /, *args: object, rpc_timeout: float | None = None, **kwargs: object) -> object:
        return await self.__rpc__.call_async(method, args, kwargs, rpc_timeout)

    return call
