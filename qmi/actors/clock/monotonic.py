"""Which clock tasks go by, and how to wait for a time on it punctually: in threads and in the loop.

The clock is monotonic: whatever happens to the wall clock, nothing here notices. It is an object and not a function so
that tests can put :class:`qmi.actors.clock.virtual.VirtualClock` in its place.

Make a waiter *before* starting the thread or task that will wait in it, and close it when that ends (a virtual clock
waits for all its waiters, so it must know them from the start)::

    clock = MonotonicClock()

    with clock.thread_waiter(name="task") as waiter:     # a plain loop, in its own thread
        schedule.begin(clock.now())
        while waiter.wait_until(schedule.next_start):    # ends when another thread calls waiter.interrupt()
            ...

    with clock.loop_waiter(name="task") as waiter:       # an async loop
        schedule.begin(clock.now())
        while True:
            await waiter.sleep_until(schedule.next_start)    # ends by cancellation
            ...

How punctual: each waiter learns how late it is woken as a rule and sets its timers early by that, see
:mod:`qmi.actors.clock.wakeup_latency`; what that gains stands in ``benchmarks/NOTES.md``.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Protocol, Self

import trio

from qmi.actors.clock.timerfd import TimerFd, open_timer, remove_timer_slack, take_short_turns
from qmi.actors.clock.wakeup_latency import AimEarly

__all__ = ["Clock", "LoopTimer", "MonotonicClock", "ThreadTimer"]

# To sleep and be woken takes longer than this, so it is spun in any case.
_TOO_SHORT_TO_SLEEP: Final = 10e-6
# One sleep is at most a day, far from what a C type can hold; the wait goes on after it.
_LONGEST_SLEEP: Final = 86400.0


class ThreadTimer(Protocol):
    """Waits for times in one thread. Only :meth:`interrupt` may be called from others."""

    def wait_until(self, t: float) -> bool:
        """Block until this time: True when it is reached, False when interrupted, also before the call."""
        ...

    def reach(self, t: float, now: float) -> float | None:
        """Block until this time, and return the time that it is then; None when interrupted, as above.

        Args:
            t: When to return.
            now: The time a moment ago; it is returned as it is if it is not before ``t``.
        """
        ...

    def interrupt(self) -> None:
        """End the wait at once, from any thread. Every later wait ends at once too, until :meth:`clear`."""
        ...

    def clear(self) -> None:
        """Forget the interruption."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether somebody interrupted the waiter and nobody cleared that."""
        ...

    @property
    def counts_waits(self) -> bool:
        """Whether its clock must see each wait, also for a time that is over."""
        ...

    def close(self) -> None:
        """Release what the waiter holds; nobody may wait in it any more."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LoopTimer(Protocol):
    """Waits for times in one trio task."""

    async def sleep_until(self, t: float) -> None:
        """Wait until this time. Always a checkpoint, also when the time is over; can be cancelled at any moment."""
        ...

    def close(self) -> None:
        """Release what the waiter holds; nobody may wait in it any more."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Clock(Protocol):
    """Tells the time and lets threads and trio tasks wait for it. ``name`` says who waits, for messages."""

    def now(self) -> float:
        """Seconds since some moment in the past; never goes back."""
        ...

    def thread_waiter(self, *, name: str = "", precise: bool = False) -> ThreadTimer:
        """A waiter for one thread; ``precise`` as in :class:`MonotonicClock`."""
        ...

    def loop_waiter(self, *, name: str = "", precise: bool = False) -> LoopTimer:
        """A waiter for one trio task; ``precise`` as in :class:`MonotonicClock`."""
        ...


class MonotonicClock:
    """The real clock, ``time.monotonic()``.

    ``precise=True`` makes a waiter spin for the last stretch of each wait. The stretch is learned: as long as all but
    one in fifty wake-ups take, at most 1 ms. It costs that much processor time per wait (some 100 to 500 µs: at 500 Hz
    up to a quarter of one processor), during which the GIL is held, so other Python threads stand still; in the loop,
    everything else that runs there stands still as well. Without it, a waiter spins in a quarter of the waits and for
    some microseconds, never for more than a tenth of the wait or 0.5 ms.
    """

    now: staticmethod[[], float] = staticmethod(time.monotonic)
    """Seconds since some moment in the past; never goes back."""

    def thread_waiter(self, *, name: str = "", precise: bool = False) -> ThreadTimer:
        """A waiter for one thread."""
        return _ThreadTimer(_aim(precise))

    def loop_waiter(self, *, name: str = "", precise: bool = False) -> LoopTimer:
        """A waiter for one trio task; uses one descriptor on Linux."""
        return _LoopTimer(_aim(precise), open_timer())


def _aim(precise: bool) -> AimEarly:
    if precise:
        return AimEarly(quantile=0.98, share=1.0, longest=1e-3, first=150e-6)
    return AimEarly(quantile=0.25, share=0.1, longest=0.5e-3)


class _Closing:
    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ThreadTimer(_Closing):
    """Waits in a lock that nobody has but :meth:`interrupt` to give: the cheapest wait with a timeout there is."""

    counts_waits = False

    def __init__(self, aim: AimEarly) -> None:
        self._aim = aim
        self._guard = threading.Lock()
        self._gate = threading.Lock()
        self._gate.acquire()
        self.interrupted = False
        self._prepared_in: int | None = None
        self._woken_late: float | None = None

    def interrupt(self) -> None:
        with self._guard:
            if not self.interrupted:
                self.interrupted = True
                self._gate.release()

    def clear(self) -> None:
        with self._guard:
            self.interrupted = False
            # Free if the interruption ended no wait, else taken by the wait that it ended.
            self._gate.acquire(blocking=False)

    def wait_until(self, t: float) -> bool:
        return self.reach(t, time.monotonic()) is not None

    def reach(self, t: float, now: float) -> float | None:
        # Nothing here takes a lock while there is nothing to wait for: a request to stop sets a plain attribute.
        if now < t:
            if t - now > _TOO_SHORT_TO_SLEEP and self._sleep_until(t):
                return None
            now = time.monotonic()
            while now < t and not self.interrupted:
                now = time.monotonic()
        return None if self.interrupted else now

    def _sleep_until(self, t: float) -> bool:
        """Sleep until shortly before this time; whether the sleep was interrupted."""
        now = time.monotonic
        if self._woken_late is not None:  # noted then, learned now: who has been woken is in a hurry
            self._aim.woke(self._woken_late)
            self._woken_late = None
        left = t - now()
        while left > _TOO_SHORT_TO_SLEEP and not self.interrupted:
            early = self._aim.early(left)
            if early >= left:
                break
            if self._sleep(min(left - early, _LONGEST_SLEEP)):
                return True
            left = t - now()
            if left <= early:
                self._woken_late = early - left
                break
        return False

    def _sleep(self, seconds: float) -> bool:
        """Whether the sleep was interrupted."""
        me = threading.get_ident()
        if self._prepared_in != me:
            remove_timer_slack()
            take_short_turns()
            self._prepared_in = me
        return self._gate.acquire(timeout=seconds)


class _LoopTimer(_Closing):
    """Waits for a timer of its own to become readable; trio's sleep, which counts milliseconds, where there is none."""

    def __init__(self, aim: AimEarly, timer: TimerFd | None) -> None:
        self._aim = aim
        self._timer = timer
        self._prepared = False
        self._woken_late: float | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.close()

    async def sleep_until(self, t: float) -> None:
        now = time.monotonic
        if self._woken_late is not None:  # noted then, learned now: who has been woken is in a hurry
            self._aim.woke(self._woken_late)
            self._woken_late = None
        left = t - now()
        early = self._aim.early(left)
        if left <= _TOO_SHORT_TO_SLEEP or early >= left:
            await trio.lowlevel.checkpoint()
        else:
            target = t - early
            while now() < target:
                await self._sleep_until(min(target, now() + _LONGEST_SLEEP))
            self._woken_late = now() - target
        while now() < t:
            pass

    async def _sleep_until(self, target: float) -> None:
        if not self._prepared:
            take_short_turns()
            self._prepared = True
        if self._timer is None:
            await trio.sleep(max(0.0, target - time.monotonic()))
        else:
            self._timer.arm(target)
            await trio.lowlevel.wait_readable(self._timer.fd)
