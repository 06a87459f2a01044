"""A clock for tests: time stands still while anybody works, and jumps to the next appointment when all wait.

Every waiter made by :meth:`VirtualClock.thread_waiter` or :meth:`VirtualClock.loop_waiter` is a *participant* until it
is closed. A participant waits or works. Only when all of them wait does time move, to the earliest time that one waits
for, and that one alone is woken; the next is woken when it waits again. So only one participant works at a time, each
run goes the same way, and equal times are served in the order in which the waiters were made. Participants may live in
threads and in any number of trio loops. Nothing sleeps: an hour of a 10 Hz loop takes a fraction of a second.

By default nobody is woken, not even for a time that is over, but while a test lets time move, in
:meth:`VirtualClock.run` (or ``run_async``)::

    clock = VirtualClock()
    waiter = clock.thread_waiter(name="task")     # before the thread starts: the clock must know whom to wait for
    thread = Thread(target=loop, args=(clock, waiter))
    thread.start()
    clock.run(3600.0)                             # returns when an hour is over and the loop waits again
    waiter.interrupt()
    thread.join()                                 # the loop closes its waiter when it ends

and for tasks in the loop::

    nursery.start_soon(loop, clock, clock.loop_waiter(name="task"))
    await clock.run_async(3600.0)
    nursery.cancel_scope.cancel()

An instrument that a task calls works in a thread of its own and takes no virtual time: the task does not wait *in the
clock* while it waits for the answer, so time stands still. To make work take time, any code calls
:meth:`VirtualClock.advance`: it moves time on at once, and who should have been woken meanwhile is woken late. That is
how periods get missed on purpose::

    def loop_iteration(self):
        clock.advance(0.25)                       # with a period of 0.1: two starts are overdue now

A participant that waits for another one by other means than the clock (say, for a signal that the other sends a second
later) stops time. ``run`` then gives up after ``patience`` real seconds and names who has not come back.
"""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import trio

from qmi.errors import QMI_BlockingOnLoopException, QMI_InvalidValueException, QMI_TimeoutException, QMI_UsageException

__all__ = ["VirtualClock"]


class VirtualClock:
    """See the module. Implements :class:`qmi.actors.clock.monotonic.Clock`.

    Args:
        start: What :meth:`now` says at first, in seconds.
        free_running: Let time move whenever all participants wait, not only within :meth:`run`. For loops that end by
            themselves: where such a clock stands when another thread looks at it is a matter of chance.
        patience: Real seconds that :meth:`run` lets one participant work before it gives up.
    """

    def __init__(self, *, start: float = 0.0, free_running: bool = False, patience: float = 10.0) -> None:
        self._now = start
        self._free_running = free_running
        self._patience = patience
        self._guard = threading.Lock()
        self._participants: dict[int, _VirtualWaiter] = {}
        self._made = 0
        # Who waits: time and number. An entry counts only while its participant still waits for that very time.
        self._appointments: list[tuple[float, int]] = []
        self._waiting = 0
        self._wake_ups = 0
        self._running = False
        # How to tell the run that its time is over; None when it was told.
        self._tell: Callable[[], None] | None = None
        self._horizon = math.inf if free_running else -math.inf

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    def thread_waiter(self, *, name: str = "", precise: bool = False) -> VirtualThreadWaiter:
        """A participant that waits in a thread; ``precise`` has no meaning here."""
        return VirtualThreadWaiter(self, name)

    def loop_waiter(self, *, name: str = "", precise: bool = False) -> VirtualLoopWaiter:
        """A participant that waits in a trio task; ``precise`` has no meaning here."""
        return VirtualLoopWaiter(self, name)

    def advance(self, seconds: float) -> None:
        """Move time on at once, as work that takes so long would. From any thread; waits for nobody, wakes nobody.

        Who should have been woken meanwhile is woken late: when the caller waits again, or in the next :meth:`run`.

        Raises:
            QMI_InvalidValueException: If the time is negative or not finite.
        """
        _check_duration(seconds)
        with self._guard:
            self._now += seconds
            self._move_on()

    def run(self, seconds: float | None = None) -> None:
        """Let time move, and block until it has moved so far and every participant waits again.

        All that is due until then is done, what is due exactly then as well. Time ends up later if work that began
        before took longer.

        Args:
            seconds: Virtual seconds; None: until no participant is left.

        Raises:
            QMI_TimeoutException: If a participant neither waits nor ends for ``patience`` real seconds; names it.
            QMI_UsageException: If another run is going on, or when called on the loop, where ``await run_async()`` is
                the way.
        """
        if trio.lowlevel.in_trio_run():
            raise QMI_BlockingOnLoopException(
                "VirtualClock.run() blocks the event loop that it should let run; use 'await clock.run_async(...)' here"
            )
        done = threading.Lock()
        done.acquire()
        self._begin_run(seconds, done.release)
        try:
            seen = -1
            while not done.acquire(timeout=self._patience):
                seen = self._check_progress(seen)
        finally:
            self._end_run()

    async def run_async(self, seconds: float | None = None) -> None:
        """Like :meth:`run`, for a trio task. When cancelled, time stands still again."""
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        self._begin_run(seconds, lambda: token.run_sync_soon(done.set))
        try:
            seen = -1
            while True:
                with trio.move_on_after(self._patience):
                    await done.wait()
                if done.is_set():
                    return
                seen = self._check_progress(seen)
        finally:
            self._end_run()

    def _begin_run(self, seconds: float | None, tell: Callable[[], None]) -> None:
        if seconds is not None:
            _check_duration(seconds)
        with self._guard:
            if self._running:
                raise QMI_UsageException("This virtual clock is being run already; only one run() can go on at a time")
            self._running, self._tell = True, tell
            self._horizon = math.inf if seconds is None else self._now + seconds
            self._move_on()

    def _end_run(self) -> None:
        with self._guard:
            self._running, self._tell = False, None
            self._horizon = math.inf if self._free_running else -math.inf
            # A clock that runs by itself goes on from here.
            self._move_on()

    def _check_progress(self, seen: int) -> int:
        with self._guard:
            if self._wake_ups != seen:
                return self._wake_ups
            working = [repr(p.name) for p in self._participants.values() if p.wakes_at is None]
            if not working:
                waiting = ", ".join(repr(p.name) for p in self._participants.values())
                raise QMI_TimeoutException(
                    f"The virtual clock stands at {self._now:g} s: all that are left ({waiting}) wait without an end. "
                    "Interrupt them, or give run() a time"
                )
            raise QMI_TimeoutException(
                f"The virtual clock stands at {self._now:g} s: {', '.join(working)} did not wait in the clock, and did "
                f"not end, for {self._patience:g} s. Does it wait for something else that needs time to pass?"
            )

    # What follows is called by participants, or with the guard held.

    def _register(self, participant: _VirtualWaiter) -> int:
        with self._guard:
            number = self._made
            self._made += 1
            self._participants[number] = participant
            return number

    def _unregister(self, participant: _VirtualWaiter) -> None:
        with self._guard:
            if self._participants.pop(participant.number, None) is not None:
                self._stop_waiting(participant)
                self._move_on()

    def _wait(self, participant: _VirtualWaiter, t: float) -> bool:
        """Note that the participant waits, unless it is interrupted; it may have been woken when this returns."""
        with self._guard:
            if participant.number not in self._participants:
                raise QMI_UsageException(f"The waiter {participant.name!r} of the virtual clock is closed")
            if participant.interrupted:
                return False
            participant.wakes_at = t
            self._waiting += 1
            heapq.heappush(self._appointments, (t, participant.number))
            self._move_on()
            return True

    def _withdraw(self, participant: _VirtualWaiter) -> None:
        """The participant works again, whether it was woken or not."""
        with self._guard:
            self._stop_waiting(participant)

    def _interrupt(self, participant: _VirtualWaiter) -> None:
        with self._guard:
            participant.interrupted = True
            if self._stop_waiting(participant):
                participant.wake()

    def _stop_waiting(self, participant: _VirtualWaiter) -> bool:
        if participant.wakes_at is None:
            return False
        participant.wakes_at = None
        self._waiting -= 1
        return True

    def _move_on(self) -> None:
        """If everybody waits: wake the next one, or tell the run that its time is over."""
        if self._waiting < len(self._participants):
            return
        while self._appointments:
            t, number = self._appointments[0]
            participant = self._participants.get(number)
            if participant is None or participant.wakes_at != t:
                heapq.heappop(self._appointments)
                continue
            # Also somebody overdue waits for the next run: a loop that is late for ever must not make a run endless.
            if t > self._horizon or t == math.inf:
                break
            heapq.heappop(self._appointments)
            self._now = max(self._now, t)
            self._stop_waiting(participant)
            self._wake_ups += 1
            participant.wake()
            return
        self._finish_run()

    def _finish_run(self) -> None:
        if self._tell is None:
            return
        if self._horizon < math.inf:
            self._now = max(self._now, self._horizon)
        elif self._participants:
            return
        tell, self._tell = self._tell, None
        self._horizon = -math.inf
        tell()


def _check_duration(seconds: float) -> None:
    if not 0.0 <= seconds < math.inf:
        raise QMI_InvalidValueException(f"A virtual clock moves on by a finite time of 0 s or more; got {seconds!r}")


class _VirtualWaiter:
    # Called with the clock's guard held, in whatever thread made the clock move, and only while this one waits.
    wake: Callable[[], None]

    def __init__(self, clock: VirtualClock, name: str) -> None:
        self.name = name
        self.wakes_at: float | None = None
        self.interrupted = False
        self._clock = clock
        self.number: Final = clock._register(self)

    def close(self) -> None:
        """Leave: the clock waits no longer for this participant."""
        self._clock._unregister(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VirtualThreadWaiter(_VirtualWaiter):
    """The thread's side of a virtual clock, see :class:`qmi.actors.clock.monotonic.ThreadTimer`."""

    counts_waits = True

    def __init__(self, clock: VirtualClock, name: str) -> None:
        # Released once for each wait that was entered: by the clock, or by an interruption.
        self._woken = threading.Lock()
        self._woken.acquire()
        self.wake: Callable[[], None] = self._woken.release
        super().__init__(clock, name)

    def wait_until(self, t: float) -> bool:
        """Block until this virtual time: True when it is reached, False when interrupted, also before the call."""
        if self._clock._wait(self, t):
            self._woken.acquire()
        return not self.interrupted

    def reach(self, t: float, now: float) -> float | None:
        """Block until this virtual time; the time that it is then, or None when interrupted."""
        return self._clock.now() if self.wait_until(t) else None

    def interrupt(self) -> None:
        """End the wait at once, from any thread; the participant counts as working from here."""
        self._clock._interrupt(self)

    def clear(self) -> None:
        """Forget the interruption."""
        self.interrupted = False


class VirtualLoopWaiter(_VirtualWaiter):
    """The trio task's side of a virtual clock, see :class:`qmi.actors.clock.monotonic.LoopTimer`."""

    async def sleep_until(self, t: float) -> None:
        """Wait until this virtual time. Always a checkpoint."""
        await trio.lowlevel.checkpoint_if_cancelled()
        # An event for each wait: one that is set late, after a cancellation, must not end the wait that came after.
        woken = trio.Event()
        token = trio.lowlevel.current_trio_token()
        loop = threading.get_ident()

        def wake() -> None:
            if threading.get_ident() == loop:
                woken.set()
            else:
                token.run_sync_soon(woken.set)

        self.wake = wake
        self._clock._wait(self, t)
        try:
            await woken.wait()
        finally:
            # Cancelled: it works again, and the clock waits for it to close or to come back.
            self._clock._withdraw(self)
