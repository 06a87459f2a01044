"""The thread that belongs to one actor, from its constructor to its release."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

import trio

from qmi.actors.user_code import line_in_thread
from qmi.runtime.doorbell import Doorbell, Idler
from qmi.runtime.forks import abandon_in_child, end_child

Job = Callable[[], object]


class Worker:
    """A thread that does one job after the other.

    Jobs may be given before the thread runs. A job must not raise.

    Args:
        name: Name of the thread, shown by debuggers and profilers.
        lost: Called if the thread cannot start, with the reason, or is left behind, with None.

    Attributes:
        bell: Wakes the thread where it waits for the next request by itself.
        idle: Where the thread waits when its job is done, until there is another one; set by the thread, for once.
        is_wanted: Tells whether there is a job to do, or the thread shall end. No method, which would take several
            times as long.
    """

    __slots__ = ("__weakref__", "_inherited", "_jobs", "_lost", "_thread", "bell", "idle", "is_wanted", "name")

    def __init__(self, name: str, lost: Callable[[Exception | None], object]) -> None:
        self.name: str = name
        self._lost = lost
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.is_wanted: Callable[[], object] = self._jobs.qsize
        self.bell: Doorbell = Doorbell()
        self._thread: threading.Thread | None = None
        self._inherited = False
        self.idle: Callable[[Idler], object] | None = None
        abandon_in_child(self)

    def abandon(self) -> None:
        """This is a forked child: if this thread forked, it ends when its job does, and else is not here."""
        self._inherited = True

    def give(self, job: Job) -> None:
        """Have a job done after those that were given before."""
        self._jobs.put(job)
        if self.bell.is_listening:
            self.bell.ring()

    def finish(self) -> None:
        """Let the thread end when its jobs are done."""
        self._jobs.put(None)
        self.bell.ring()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold a thread until :meth:`finish`; if cancelled, the thread is left behind with the job that it does.

        The limiter is its own: trio's default of 40 threads must never cap the number of instruments.
        """
        task_status.started()
        try:
            await trio.to_thread.run_sync(
                self._work, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1), thread_name=self.name
            )
        except trio.Cancelled:
            self.lose()
            raise
        except Exception as error:  # the system has no thread left; whoever needs this one is told
            self.lose(error)

    def lose(self, error: Exception | None = None) -> None:
        """Tell who counts on the thread that there is none (any more)."""
        self._lost(error)

    def _work(self) -> None:
        self._thread = threading.current_thread()
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            if self._inherited:
                end_child(self.name)
            del job  # what the job refers to must not live until the next one comes
            if self.idle is not None:
                idle, self.idle = self.idle, None
                idle(self)

    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return self._thread is threading.current_thread()

    def where(self) -> str:
        """Where the thread stands now: ``file:line in function``, or an empty string."""
        ident = None if self._thread is None else self._thread.ident
        frame = None if ident is None else sys._current_frames().get(ident)
        if frame is None:
            return ""
        return line_in_thread(frame, __file__)
