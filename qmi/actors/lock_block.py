"""``locked()`` blocks: what ``with`` and ``async with`` do at their beginning and end.

The end of a block releases its own grant alone. Whose block it is, and what its calls show, is in
:mod:`qmi.actors.open_blocks`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

from qmi.actors.call import ProxyView, check_reason
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.open_blocks import Block, close_block, open_block
from qmi.errors import QMI_UsageException
from qmi.messages import LockAnswer
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_loops

_INSTEAD = "async with proxy.rpc_async.locked()"


V = TypeVar("V", bound=ProxyView)


class _Entrance(Generic[V]):
    """What both kinds of block do the same way.

    Args:
        view: The proxy.
        timeout: How long to wait for another holder, in seconds.
        lock_token: A text of the user's, or None.
        reason: For what, or None.
    """

    __slots__ = ("_block", "_handle", "_reason", "_text", "_timeout", "_view")

    def __init__(self, view: V, timeout: float = 0.0, lock_token: str | None = None, reason: str | None = None) -> None:
        self._reason = None if reason is None else check_reason(reason)
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
        open_block(block, self._handle)
        self._block = block
        return self._view

    def _undo(self, block: Block, future: QMI_RpcFuture[LockAnswer] | None) -> None:
        # Whatever broke the entrance off, from the request to the last line of _enter().
        self._handle.undo_acquire(block.key, future, stays=block.text is not None)
        close_block(block, self._handle)
        self._block = None

    def _leave(self, block: Block) -> QMI_RpcFuture[bool]:
        # The release goes out before anything else is done, and nothing on the way to it raises.
        future = self._handle.release_at_once(block.key)
        self._block = None
        close_block(block, self._handle)
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
                if self._reason is not None:
                    self._handle.say_reason(self._reason, _INSTEAD)
                return self._enter(block)
        except BaseException:
            self._undo(block, future)
            raise
        info = self._handle.lock_info("await proxy.rpc_async.lock_info()")
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
        refuse_outside_loops(f"{self._handle.address}.locked()", "proxy.locked")
        block = self._prepare()
        future: QMI_RpcFuture[LockAnswer] | None = None
        try:
            future = self._ask(block)
            if await self._handle.await_lock(future):
                if self._reason is not None:
                    await self._handle.await_reason(self._reason)
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
