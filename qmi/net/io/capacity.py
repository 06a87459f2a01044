"""Who waits until a link can take more: threads and tasks, each of which then tries again.

Whoever finds the link full registers before looking once more, and whoever makes room wakes all who have registered:
so nobody sleeps through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from qmi.errors import QMI_NotDeliveredException
from qmi.runtime.wakeup import TaskWaker, ThreadWaker, Waker

if TYPE_CHECKING:
    from qmi.net.codec import Encoded


class NoRoomException(QMI_NotDeliveredException):
    """A call was not sent since too much waits already. It may be sent when there is room.

    Attributes:
        encoded: The call as it would have been sent.
    """

    def __init__(self, text: str, encoded: Encoded) -> None:
        super().__init__(text)
        self.encoded: Encoded = encoded


NoRoomException.__qualname__ = NoRoomException.__name__ = QMI_NotDeliveredException.__name__
NoRoomException.__module__ = QMI_NotDeliveredException.__module__


class Room:
    """Those who wait for room on one link. Safe for threads.

    Args:
        is_full: Whether there is none. If so, :meth:`tell` is called when there is.
    """

    def __init__(self, is_full: Callable[[], bool]) -> None:
        self._is_full = is_full
        self._mutex = threading.Lock()
        self._waiters: list[Waker] = []

    def tell(self) -> None:
        """There is room, or will never be: whoever waits is to look again."""
        with self._mutex:
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.wake()

    def enter(self, waiter: Waker) -> bool:
        """Have somebody woken when there is room; False if there is some now."""
        with self._mutex:
            self._waiters.append(waiter)
        if self._is_full():
            return True
        self.leave(waiter)
        return False

    def leave(self, waiter: Waker) -> None:
        """Somebody waits no more."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def wait(self, waiter: ThreadWaker, timeout: float | None) -> None:
        """Wait in a thread, for so many seconds at most."""
        try:
            if self.enter(waiter):
                waiter.wait(timeout)
        finally:
            self.leave(waiter)

    async def wait_in_task(self) -> None:
        """Wait in a task. A checkpoint."""
        waiter = TaskWaker()
        try:
            if not self.enter(waiter):
                waiter.wake()
            await waiter.wait()
        finally:
            self.leave(waiter)
