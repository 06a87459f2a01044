"""Which ``locked()`` blocks the running code is in: each belongs to the thread or task that entered it.

A plain ``lock()`` belongs to the proxy, so that whoever uses that proxy may call. A block belongs to whoever entered
it: its calls show the block's own token; all others, also at the same proxy, are refused or wait for their turn.

The blocks are kept in a context variable: a thread starts without any, a trio task with those of the task that started
it. So the children of a block's task may call, and so may ``trio.to_thread.run_sync()`` in it; a block of their own
excludes their siblings and the parent until it ends.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Protocol

from qmi.messages import Token
from qmi.names import Address


class LockedProxy(Protocol):
    """What is needed of the proxy that a block is entered at."""

    address: Address
    open_blocks: int

    @property
    def router(self) -> object:
        """The context that it was made by."""


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

    def __init__(self, handle: LockedProxy, key: Token, text: Token | None) -> None:
        self.is_open: bool = False
        self.handle: LockedProxy | None = handle
        self.key: Token = key
        self.text: Token | None = text


_BLOCKS: ContextVar[tuple[Block, ...]] = ContextVar("qmi_blocks", default=())
# Guards the counters of all handles: threads that share a proxy enter and leave blocks at the same time. Calls read
# the counter without it: a thread that is in a block has counted it before its first call there.
_MUTEX = threading.Lock()


def block_at(handle: LockedProxy, text: Token | None = None) -> Block | None:
    """The innermost block that the running code is in: one of this proxy, or one of its object with the same text."""
    for block in reversed(_BLOCKS.get()):
        at = block.handle
        if at is handle:
            return block
        same = at is not None and at.address == handle.address and at.router is handle.router
        if same and text is not None and block.text == text:
            return block
    return None


def open_block(block: Block, handle: LockedProxy) -> None:
    """The running code has entered a block."""
    with _MUTEX:
        handle.open_blocks += 1
        block.is_open = True
    _BLOCKS.set((*(other for other in _BLOCKS.get() if other.handle is not None), block))


def close_block(block: Block, handle: LockedProxy) -> None:
    """The running code leaves a block; does nothing if it was not open."""
    with _MUTEX:
        if not block.is_open:
            return
        block.is_open = False
        block.handle = None
        handle.open_blocks -= 1
    _BLOCKS.set(tuple(other for other in _BLOCKS.get() if other.handle is not None))
