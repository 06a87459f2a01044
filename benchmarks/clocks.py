"""How late the ways of waiting are: each at 1 kHz, 500 Hz and 10 Hz, alone and beside 50 other loops.

    python -m benchmarks.clocks [--seconds 2] [--rounds 3] [--busy 50] [--only TEXT]

The ways take turns and each has several rounds, so that whatever else the machine does falls on all alike; the table
shows the median of the rounds. Lateness is in microseconds. ``cpu`` is the process's share of one processor.
"""

from __future__ import annotations

import argparse
import heapq
import os
import select
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from qmi.actors.clock.monotonic import MonotonicClock
from qmi.actors.clock.timerfd import open_timer, remove_timer_slack
from qmi.actors.tasks.lateness import LatenessHistogram

RATES = (1000.0, 500.0, 10.0)
BUSY_RATE = 10.0

BlockingWait = Callable[[float], object]
AsyncWait = Callable[[float], Awaitable[None]]


class Row(NamedTuple):
    """One way's result in one round: seconds, and the share of a processor."""

    median: float
    p99: float
    worst: float
    cpu: float


def condition(slack: bool) -> BlockingWait:
    """What ``threading`` offers: a condition with a timeout."""
    if not slack:
        remove_timer_slack()
    cond = threading.Condition()

    def wait(t: float) -> None:
        with cond:
            cond.wait(max(0.0, t - time.monotonic()))

    return wait


def bare_lock() -> BlockingWait:
    remove_timer_slack()
    lock = threading.Lock()
    lock.acquire()
    return lambda t: lock.acquire(timeout=max(0.0, t - time.monotonic()))


def timer_and_event() -> BlockingWait:
    """A timer and an event, each a descriptor, in one epoll: another thread can end the wait through the event."""
    timer = open_timer()
    if timer is None:
        return bare_lock()
    poll = select.epoll()
    poll.register(timer.fd, select.EPOLLIN)
    poll.register(os.eventfd(0), select.EPOLLIN)

    def wait(t: float) -> None:
        timer.arm(t)
        poll.poll()

    return wait


async def trio_sleep(t: float) -> None:
    await trio.sleep(max(0.0, t - time.monotonic()))


def bare_timerfd() -> AsyncWait:
    timer = open_timer()
    if timer is None:
        return trio_sleep

    async def wait(t: float) -> None:
        timer.arm(t)
        await trio.lowlevel.wait_readable(timer.fd)

    return wait


class SharedTimer:
    """One timer for all loops: a heap of times, and a task that wakes who is due."""

    def __init__(self) -> None:
        self.timer = open_timer()
        self.heap: list[tuple[float, int, trio.lowlevel.Task]] = []
        self.number = 0
        self.running = False

    async def serve(self) -> None:
        """Wake who is due, for ever."""
        if self.timer is None:
            return
        while True:
            await trio.lowlevel.wait_readable(self.timer.fd)
            now = time.monotonic()
            while self.heap and self.heap[0][0] <= now:
                trio.lowlevel.reschedule(heapq.heappop(self.heap)[2])
            self.timer.arm(self.heap[0][0] if self.heap else now + 3600.0)

    async def wait(self, t: float) -> None:
        """Wait until this time; for measuring, so it cannot be cancelled."""
        if self.timer is None:
            return await trio_sleep(t)
        if not self.running:
            self.running = True
            trio.lowlevel.spawn_system_task(self.serve)
        self.number += 1
        heapq.heappush(self.heap, (t, self.number, trio.lowlevel.current_task()))
        if self.heap[0][0] == t:
            self.timer.arm(t)
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return None


_shared: trio.lowlevel.RunVar[SharedTimer] = trio.lowlevel.RunVar("shared timer")


def shared_timerfd() -> AsyncWait:
    """The one timer of this run of trio."""
    try:
        return _shared.get().wait
    except LookupError:
        shared = SharedTimer()
        _shared.set(shared)
        return shared.wait


BLOCKING: dict[str, Callable[[], BlockingWait]] = {
    "thread: condition": lambda: condition(True),
    "thread: condition, no slack": lambda: condition(False),
    "thread: lock, no slack": bare_lock,
    "thread: timerfd, eventfd, epoll": timer_and_event,
    "thread: waiter": lambda: MonotonicClock().thread_waiter().wait_until,
    "thread: waiter, precise": lambda: MonotonicClock().thread_waiter(precise=True).wait_until,
}
ASYNC: dict[str, Callable[[], AsyncWait]] = {
    "loop: trio.sleep": lambda: trio_sleep,
    "loop: timerfd": bare_timerfd,
    "loop: one shared timerfd": shared_timerfd,
    "loop: waiter": lambda: MonotonicClock().loop_waiter().sleep_until,
    "loop: waiter, precise": lambda: MonotonicClock().loop_waiter(precise=True).sleep_until,
}


def in_thread(make: Callable[[], BlockingWait], rate: float, seconds: float, late: LatenessHistogram) -> None:
    wait = make()
    origin = time.monotonic() + 0.01
    for number in range(int(rate * seconds)):
        t = origin + number / rate
        wait(t)
        late.add(time.monotonic() - t)


async def in_loop(make: Callable[[], AsyncWait], rate: float, seconds: float, late: LatenessHistogram) -> None:
    wait = make()
    origin = time.monotonic() + 0.01
    for number in range(int(rate * seconds)):
        t = origin + number / rate
        await wait(t)
        late.add(time.monotonic() - t)


def run_blocking(way: str, rate: float, seconds: float, busy: int) -> LatenessHistogram:
    late = LatenessHistogram()
    others = [
        threading.Thread(target=in_thread, args=(BLOCKING[way], BUSY_RATE, seconds, LatenessHistogram()))
        for _ in range(busy)
    ]
    threads = [*others, threading.Thread(target=in_thread, args=(BLOCKING[way], rate, seconds, late))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return late


def run_async(way: str, rate: float, seconds: float, busy: int) -> LatenessHistogram:
    late = LatenessHistogram()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(busy):
                nursery.start_soon(in_loop, ASYNC[way], BUSY_RATE, seconds, LatenessHistogram())
            nursery.start_soon(in_loop, ASYNC[way], rate, seconds, late)

    trio.run(main)
    return late


def measure(way: str, rate: float, seconds: float, busy: int) -> Row:
    cpu, begin = time.process_time(), time.monotonic()
    late = (run_blocking if way in BLOCKING else run_async)(way, rate, seconds, busy)
    share = (time.process_time() - cpu) / (time.monotonic() - begin)
    _, median, p99, worst = late.summary()
    return Row(median, p99, worst, share)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=50, help="how many other 10 Hz loops run in the second table")
    parser.add_argument("--only", default="", help="measure the ways whose name contains this")
    options = parser.parse_args()
    ways = [way for way in (*BLOCKING, *ASYNC) if options.only in way]
    for busy in (0, options.busy):
        print(f"\nbeside {busy} other loops; lateness in µs: median / 99 % / worst, cpu")
        print(f"{'':34}" + "".join(f"{f'{rate:g} Hz':>28}" for rate in RATES))
        table: dict[tuple[str, float], list[Row]] = {}
        for _ in range(options.rounds):
            for rate in RATES:
                for way in ways:
                    table.setdefault((way, rate), []).append(measure(way, rate, options.seconds, busy))
        for way in ways:
            cells = []
            for rate in RATES:
                median, p99, worst, cpu = (statistics.median(column) for column in zip(*table[way, rate], strict=True))
                cells.append(f"{median * 1e6:7.0f} /{p99 * 1e6:6.0f} /{worst * 1e6:6.0f} {cpu:4.0%}")
            print(f"{way:34}" + "".join(f"{cell:>28}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
