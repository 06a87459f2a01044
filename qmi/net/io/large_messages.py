"""Decodes the large messages of a link beside the loop, one link at a time, as far as there is memory for them.

Nothing else is read from the link before its message is decoded, so that everything is handled in the order in which it
came. The other links go on: the thread that decodes gives the interpreter away every few milliseconds
(:mod:`qmi.net.codec.pieces`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import trio

from qmi.net.protocol.connection import Connection, Packet
from qmi.net.protocol.events import Event
from qmi.net.protocol.packets import Frame
from qmi.runtime.gc_pause import gc_paused
from qmi.runtime.wakeup import TaskWaker

_PATIENCE = 5.0
"""For how many seconds a large request waits for memory that those of others take up."""


class LargeMessages:
    """The large messages of one link. On its loop, but for :meth:`decode`.

    Args:
        connection: The protocol.
        mutex: The link's.
        decoded: Handles what was decoded, without the mutex; returns the events.
        threads: How many threads of all links may decode at a time.
    """

    def __init__(
        self,
        connection: Connection,
        mutex: threading.Lock,
        decoded: Callable[[Packet | Exception], list[Event]],
        threads: trio.CapacityLimiter,
    ) -> None:
        self._connection = connection
        self._mutex = mutex
        self._decoded = decoded
        self._threads = threads
        self._memory_free: TaskWaker | None = None

    async def decode_next(self) -> list[Event]:
        """Decode the connection's ``large_frame``; returns the events of it and of what came after it."""
        try:
            await self._wait_for_memory()
            async with self._threads:
                frame = self._connection.large_frame
                if frame is None:  # the link was lost meanwhile
                    return []
                try:
                    found = await trio.to_thread.run_sync(self.decode, frame, limiter=trio.CapacityLimiter(1))
                except RuntimeError:  # no thread can be started
                    found = self.decode(frame)
                del frame
                return self._decoded(found)
        finally:
            with self._mutex:
                self._connection.cancel_reservation()

    async def _wait_for_memory(self) -> None:
        # For a moment only: what comes after the message on this link may be what others wait for. Then it is refused.
        with trio.move_on_after(_PATIENCE):
            while self._connection.lost is None:
                # Requests that end in any thread wake who reserves in vain; `wake` is also called at the loss.
                self._memory_free = waker = TaskWaker()
                with self._mutex:
                    if self._connection.reserve(waker.wake):
                        return
                await waker.wait()

    def wake(self) -> None:
        """The link is there, or is lost: wait for memory no longer than that asks for."""
        if self._memory_free is not None:
            self._memory_free.wake()

    def decode(self, frame: Frame) -> Packet | Exception:
        """Decode a frame, in any thread, without the mutex."""
        with gc_paused():
            return self._connection.decode(frame)
