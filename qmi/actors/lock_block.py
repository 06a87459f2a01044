"""``locked()`` blocks: each belongs to the thread or task that entered it, and its end releases its own grant alone.

A plain ``lock()`` belongs to the proxy, so that whoever uses that proxy may call. A block belongs to whoever entered
it: its calls show the block's own token; all others, also at the same proxy, are refused or wait for their turn.

Which blocks the running code is in is kept in a context variable: a thread starts without any, a trio task with those
of the task that started it. So the children of a block's task may call, and so may ``trio.to_thread.run_sync()`` in
it; a block of their own excludes their siblings and the parent until it ends.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from qmi.actors.future import QMI_RpcFuture
from qmi.errors import QMI_UsageException
from qmi.messages import LockAnswer, Token
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_trio

if TYPE_CHECKING:
    from qmi.actors.call import Handle


class Block:
    """A block that was entered.

    Attributes:
        handle: The proxy that it was entered at; None after its end, so that nothing is kept alive by the contexts of
            tasks that remember it.
        is_open: Whether it is counted among the blocks of the proxy.
        key: What its calls show.
        text: The user's own token, if it has one.
    """

    __slots__ = ("handle", "is_open", "key", "text")

    def __init__(self, handle: Handle, key: Token, text: Token | None) -> None:
        self.is_open: bool = False
        self.handle: Handle | None = handle
        self.key: Token = key
        self.text: Token | None = text


_INSTEAD = "async with proxy.rpc_async.locked()"
_BLOCKS: ContextVar[tuple[Block, ...]] = ContextVar("qmi_blocks", default=())
# Guards the counters of all handles: threads that share a proxy enter and leave blocks at the same time. Calls read
# the counter without it: a thread that is in a block has counted it before its first call there.
_MUTEX = threading.Lock()


def block_at(handle: Handle, text: Token | None = None) -> Block | None:
    """The innermost block that the running code is in: one of this proxy, or one of its object with the same text."""
    for block in reversed(_BLOCKS.get()):
        at = block.handle
        if at is handle:
            return block
        same = at is not None and at.address == handle.address and at.router is handle.router
        if same and text is not None and block.text == text:
            return block
    return None


def _open(block: Block, handle: Handle) -> None:
    with _MUTEX:
        handle.open_blocks += 1
        block.is_open = True
    _BLOCKS.set((*(other for other in _BLOCKS.get() if other.handle is not None), block))


def _close(block: Block, handle: Handle) -> None:
    with _MUTEX:
        if not block.is_open:
            return
        block.is_open = False
        block.handle = None
        handle.open_blocks -= 1
    _BLOCKS.set(tuple(other for other in _BLOCKS.get() if other.handle is not None))


class _View(Protocol):
    @property
    def __rpc__(self) -> Handle: ...


V = TypeVar("V", bound=_View)


class _Entrance(Generic[V]):
    """What both kinds of block do the same way.

    Args:
        view: The proxy.
        timeout: How long to wait for another holder, in seconds.
        lock_token: A text of the user's, or None.
    """

    __slots__ = ("_block", "_handle", "_text", "_timeout", "_view")

    def __init__(self, view: V, timeout: float = 0.0, lock_token: str | None = None) -> None:
        self._view = view
        self._handle = view.__rpc__
        self._timeout = timeout
        self._text = lock_token
        self._block: Block | None = None

    def _prepare(self) -> Block:
        if self._block is not None:
            raise QMI_UsageException(f"This locked() block of {self._handle.address} has been entered already")
        return self._handle.new_block(self._text)

    def _ask(self, block: Block) -> QMI_RpcFuture[LockAnswer]:
        return self._handle.acquire(self._timeout, block.text or block.key, block.key)

    def _enter(self, block: Block) -> V:
        _open(block, self._handle)
        self._block = block
        return self._view

    def _undo(self, block: Block, future: QMI_RpcFuture[LockAnswer] | None) -> None:
        # Whatever broke the entrance off, from the request to the last line of _enter().
        self._handle.undo_acquire(block.key, future, stays=block.text is not None)
        _close(block, self._handle)
        self._block = None

    def _leave(self, block: Block) -> QMI_RpcFuture[bool]:
        # The release goes out before anything else is done, and nothing on the way to it raises.
        future = self._handle.release_at_once(block.key)
        self._block = None
        _close(block, self._handle)
        return future


class LockBlock(_Entrance[V]):
    """A ``with`` block during which one thread has an object for itself."""

    __slots__ = ()

    def __enter__(self) -> V:
        refuse_on_loop(f"{self._handle.address}.locked()", _INSTEAD)  # also where the lock could be had at once
        block = self._prepare()
        future: QMI_RpcFuture[LockAnswer] | None = None
        try:
            future = self._ask(block)
            if self._handle.wait("locked()", future, _INSTEAD):
                return self._enter(block)
        except BaseException:
            self._undo(block, future)
            raise
        info = self._handle.wait("lock_info()", self._handle.query_lock(), "await proxy.rpc_async.lock_info()")
        raise self._handle.not_granted(self._timeout, info)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (block := self._block) is not None:
            self._handle.wait_for_release(block, self._leave(block))


class AsyncLockBlock(_Entrance[V]):
    """An ``async with`` block during which one task has an object for itself."""

    __slots__ = ()

    async def __aenter__(self) -> V:
        refuse_outside_trio(f"{self._handle.address}.locked()", "proxy.locked")
        block = self._prepare()
        future: QMI_RpcFuture[LockAnswer] | None = None
        try:
            future = self._ask(block)
            if await self._handle.await_lock(future):
                return self._enter(block)
        except BaseException:
            self._undo(block, future)
            raise
        raise self._handle.not_granted(self._timeout, await self._handle.await_info())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not awaited: this must happen also when the block was cancelled.
        if (block := self._block) is not None:
            self._handle.note_release(block, self._leave(block))
