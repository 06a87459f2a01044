from __future__ import annotations

import ctypes
import gc
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from qmi.actors.clock import monotonic as clock_module
from qmi.actors.clock import timerfd as linux_timer
from qmi.actors.clock.monotonic import Clock, MonotonicClock, ThreadTimer
from qmi.actors.clock.timerfd import (
    _SCHED_ATTR,
    _SCHED_CALLS,
    TimerFd,
    open_timer,
    remove_timer_slack,
    take_short_turns,
)
from qmi.actors.clock.wakeup_latency import AimEarly

needs_timerfd = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is there on Linux only")

# Far enough that no test ever gets there.
FOR_EVER = 3600.0


def no_timer() -> None:
    return None


@pytest.fixture(params=[pytest.param("native", marks=needs_timerfd), "fallback"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock:
    if request.param == "fallback":
        monkeypatch.setattr(clock_module, "open_timer", no_timer)
        monkeypatch.setattr(clock_module, "remove_timer_slack", lambda: False)
    return MonotonicClock()


def test_thread_timer_learns_how_late_it_was_woken_when_it_sleeps_again(monkeypatch: pytest.MonkeyPatch) -> None:
    late, moment = 50e-6, [1000.0]
    learned: list[float] = []

    def sleep(timer: clock_module._ThreadTimer, seconds: float) -> bool:
        moment[0] += seconds + late
        return False

    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    monkeypatch.setattr(clock_module._ThreadTimer, "_sleep", sleep)
    monkeypatch.setattr(AimEarly, "woke", lambda aim, delay: learned.append(delay))
    with MonotonicClock().thread_waiter() as waiter:
        # What is due has waited long enough: it starts first.
        assert waiter.wait_until(1001.0)
        assert learned == []
        assert waiter.wait_until(1002.0)
        assert learned == [pytest.approx(late, abs=1e-9)]


async def test_loop_timer_learns_how_late_it_was_woken_when_it_sleeps_again(monkeypatch: pytest.MonkeyPatch) -> None:
    late, moment = 50e-6, [1000.0]
    learned: list[float] = []

    async def sleep(timer: clock_module._LoopTimer, target: float) -> None:
        moment[0] = target + late

    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    monkeypatch.setattr(clock_module._LoopTimer, "_sleep_until", sleep)
    monkeypatch.setattr(AimEarly, "woke", lambda aim, delay: learned.append(delay))
    with MonotonicClock().loop_waiter() as waiter:
        await waiter.sleep_until(1001.0)
        assert learned == []
        await waiter.sleep_until(1002.0)
        assert learned == [pytest.approx(late, abs=1e-9)]


def interrupted(waiter: ThreadTimer) -> bool:
    return waiter.interrupted


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a thread goes to sleep until its time."""
    asleep = threading.Event()
    sleep = clock_module._ThreadTimer._sleep

    def announce_and_sleep(timer: clock_module._ThreadTimer, seconds: float) -> bool:
        asleep.set()
        return sleep(timer, seconds)

    monkeypatch.setattr(clock_module._ThreadTimer, "_sleep", announce_and_sleep)
    return asleep


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("ahead", [-1.0, 0.0, 1e-6, 20e-6, 100e-6, 2e-3, 20e-3])
def test_a_thread_is_never_woken_before_its_time(clock: Clock, precise: bool, ahead: float) -> None:
    with clock.thread_waiter(precise=precise) as waiter:
        for _ in range(5):
            t = clock.now() + ahead
            assert waiter.wait_until(t) is True
            assert clock.now() >= t


@pytest.mark.parametrize("precise", [False, True])
@pytest.mark.parametrize("ahead", [-1.0, 0.0, 1e-6, 20e-6, 100e-6, 2e-3, 20e-3])
async def test_a_task_is_never_woken_before_its_time(clock: Clock, precise: bool, ahead: float) -> None:
    with clock.loop_waiter(precise=precise) as waiter:
        for _ in range(5):
            t = clock.now() + ahead
            await waiter.sleep_until(t)
            assert clock.now() >= t


@pytest.mark.parametrize("end", [FOR_EVER, math.inf])
def test_another_thread_ends_the_wait_at_once(clock: Clock, end: float, asleep: threading.Event) -> None:
    waiter = clock.thread_waiter(name="task")
    results: list[bool] = []

    def wait() -> None:
        results.append(waiter.wait_until(clock.now() + end))

    thread = threading.Thread(target=wait)
    thread.start()
    assert asleep.wait(10.0)
    waiter.interrupt()
    thread.join(10.0)
    assert results == [False]
    waiter.close()


def test_an_interruption_lasts_until_it_is_cleared(clock: Clock) -> None:
    with clock.thread_waiter() as waiter:
        waiter.interrupt()
        waiter.interrupt()
        assert waiter.wait_until(clock.now() + FOR_EVER) is False
        assert waiter.wait_until(clock.now() - 1.0) is False
        assert interrupted(waiter) is True
        waiter.clear()
        waiter.clear()
        assert interrupted(waiter) is False
        assert waiter.wait_until(clock.now() + 1e-3) is True
        waiter.interrupt()
        assert waiter.wait_until(clock.now() + FOR_EVER) is False


@pytest.mark.parametrize("ahead", [-1.0, 0.0, 5e-6, 2e-3])
def test_reach_returns_the_time_that_it_is_then(clock: Clock, ahead: float) -> None:
    with clock.thread_waiter() as waiter:
        now = clock.now()
        reached = waiter.reach(now + ahead, now)
        assert reached is not None
        assert max(now, now + ahead) <= reached <= clock.now()
        waiter.interrupt()
        assert waiter.reach(now + ahead, now) is None
        assert waiter.reach(now + FOR_EVER, now) is None
        waiter.clear()
        assert waiter.reach(now, now) == now


def test_a_waiter_waits_again_after_an_interrupted_wait(clock: Clock, asleep: threading.Event) -> None:
    waiter = clock.thread_waiter()

    def wait() -> None:
        waiter.wait_until(clock.now() + FOR_EVER)

    for _ in range(3):
        asleep.clear()
        thread = threading.Thread(target=wait)
        thread.start()
        assert asleep.wait(10.0)
        waiter.interrupt()
        thread.join(10.0)
        assert not thread.is_alive()
        waiter.clear()
        t = clock.now() + 2e-3
        assert waiter.wait_until(t) is True
        assert clock.now() >= t


def test_thread_timer_may_be_interrupted_by_many_threads_at_once(clock: Clock) -> None:
    waiter = clock.thread_waiter()
    start = threading.Barrier(8)
    failures: list[BaseException] = []

    def interrupt() -> None:
        try:
            start.wait(10.0)
            for _ in range(200):
                waiter.interrupt()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=interrupt) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        waiter.wait_until(clock.now() + 0.1)
        waiter.clear()
    assert failures == []


def test_spinning_ends_when_interrupted(clock: Clock) -> None:
    waiter = clock_module._ThreadTimer(AimEarly(quantile=0.5, share=1.0, longest=FOR_EVER, first=FOR_EVER))
    timer = threading.Timer(0.001, waiter.interrupt)
    timer.start()
    assert waiter.wait_until(clock.now() + 0.5 * FOR_EVER) is False
    timer.join()


async def test_a_long_wait_is_made_of_several_sleeps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "_LONGEST_SLEEP", 1e-3)
    with clock.thread_waiter() as waiter:
        t = clock.now() + 10e-3
        assert waiter.wait_until(t)
        assert clock.now() >= t

    with clock.loop_waiter() as waiter:
        t = clock.now() + 10e-3
        await waiter.sleep_until(t)
        assert clock.now() >= t


@pytest.mark.parametrize("end", [FOR_EVER, math.inf])
async def test_a_sleeping_task_is_cancelled_at_once_and_can_sleep_again(clock: Clock, end: float) -> None:
    with clock.loop_waiter() as waiter:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiter.sleep_until, clock.now() + end)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert nursery.cancel_scope.cancelled_caught
            t = clock.now() + 2e-3
            await waiter.sleep_until(t)
            assert clock.now() >= t


@pytest.mark.parametrize("ahead", [-1.0, 0.0, 5e-6])
async def test_sleeping_is_a_checkpoint_when_the_time_is_over(clock: Clock, ahead: float) -> None:
    with clock.loop_waiter() as waiter:
        with trio.testing.assert_checkpoints():
            await waiter.sleep_until(clock.now() + ahead)
        with trio.CancelScope() as scope:
            scope.cancel()
            await waiter.sleep_until(clock.now() + ahead)
        assert scope.cancelled_caught


async def test_loops_that_sleep_together_wake_in_order(clock: Clock) -> None:
    woken: set[int] = set()

    async def sleep(number: int, t: float) -> None:
        with clock.loop_waiter() as waiter:
            await waiter.sleep_until(t)
            woken.add(number)
            # On a machine that stood still several are due in one turn of the loop, and trio runs them in any order.
            await trio.lowlevel.checkpoint()
            assert set(range(number)) <= woken

    begin = clock.now() + 0.01
    async with trio.open_nursery() as nursery:
        for number in (3, 1, 4, 0, 2):
            nursery.start_soon(sleep, number, begin + 0.02 * number)


@pytest.mark.fault(39)
def test_the_wall_clock_may_jump(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = time.time
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: wall() + jump)
        before = time.monotonic()
        with clock.thread_waiter() as waiter:
            assert waiter.wait_until(clock.now() + 5e-3)
        assert 5e-3 <= time.monotonic() - before < 60.0


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@needs_timerfd
def test_closing_gives_the_descriptors_back() -> None:
    clock = MonotonicClock()
    gc.collect()
    before = open_descriptors()
    waiters = [clock.loop_waiter() for _ in range(20)]
    plain = [clock.thread_waiter() for _ in range(20)]
    assert open_descriptors() == before + 20
    for close in (*(waiter.close for waiter in waiters), *(waiter.close for waiter in plain)):
        close()
        close()
    assert open_descriptors() == before


@needs_timerfd
def test_the_slack_of_a_thread_can_be_removed() -> None:
    found: list[object] = []

    def look() -> None:
        found.append(remove_timer_slack())
        # PR_GET_TIMERSLACK
        found.append(ctypes.PyDLL(None).prctl(30, 0, 0, 0, 0))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10.0)
    assert found == [True, 1]


needs_short_turns = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in _SCHED_CALLS, reason="the numbers of the calls are not known"
)


def turn_of_this_thread() -> int:
    look = _SCHED_CALLS[os.uname().machine][1]
    state = ctypes.create_string_buffer(_SCHED_ATTR.size)
    assert ctypes.PyDLL(None).syscall(look, 0, state, _SCHED_ATTR.size, 0) == 0
    return int(_SCHED_ATTR.unpack(state.raw)[5])


@needs_short_turns
def test_a_thread_can_take_short_turns_and_keeps_its_priority() -> None:
    found: list[object] = []

    def look() -> None:
        before = os.getpriority(os.PRIO_PROCESS, 0)
        usual = turn_of_this_thread()
        found.extend([take_short_turns(), turn_of_this_thread() in (100_000, usual)])
        found.append(os.getpriority(os.PRIO_PROCESS, 0) == before)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10.0)
    assert found == [True, True, True]


@needs_short_turns
def test_thread_of_another_policy_keeps_its_turns() -> None:
    found: list[object] = []

    def look() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        usual = turn_of_this_thread()
        found.extend([take_short_turns(), turn_of_this_thread() == usual])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(10.0)
    assert found == [False, True]


@needs_timerfd
def test_waits_of_threads_and_tasks_take_short_turns(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(clock_module, "take_short_turns", lambda: asked.append(threading.get_ident()))
    with clock.thread_waiter() as waiter:
        waiter.wait_until(clock.now() + 1e-3)
        waiter.wait_until(clock.now() + 1e-3)

    async def wait() -> None:
        with clock.loop_waiter() as waiter:
            await waiter.sleep_until(clock.now() + 1e-3)
            await waiter.sleep_until(clock.now() + 1e-3)

    trio.run(wait)
    assert asked == [threading.get_ident()] * 2


def refuse(*_: object) -> int:
    return -1


class _Library:
    """A C library whose calls fail."""

    prctl = timerfd_create = syscall = staticmethod(refuse)
    timerfd_settime = staticmethod(refuse)


@pytest.mark.parametrize(
    "library", [pytest.param(lambda: None, id="no library"), pytest.param(_Library, id="all calls fail")]
)
def test_clock_outside_linux_uses_no_timer_and_no_slack(
    library: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_timer, "_c_library", library)
    assert open_timer() is None
    assert remove_timer_slack() is False
    assert take_short_turns() is False


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_are_not_asked(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert open_timer() is None
    assert remove_timer_slack() is False
    assert take_short_turns() is False


def test_a_library_that_cannot_be_loaded_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "PyDLL", fail)
    assert open_timer() is None


def test_a_timer_that_cannot_be_set_says_so() -> None:
    timer = TimerFd(-1, refuse)
    with pytest.raises(OSError, match=r"timerfd_settime for 5\.0"):
        timer.arm(5.0)
    timer.close()


def test_the_lead_follows_a_quantile_of_the_delays() -> None:
    for quantile, low, high in ((0.25, 35e-6, 70e-6), (0.9, 130e-6, 165e-6)):
        aim = AimEarly(quantile=quantile, share=1.0, longest=1e-3)
        # Delays of 30 to 149 µs, spread evenly.
        for number in range(3000):
            aim.woke((30 + number * 7 % 120) * 1e-6)
        assert low < aim.lead < high


def test_the_lead_stays_within_its_bounds() -> None:
    aim = AimEarly(quantile=0.5, share=0.1, longest=200e-6, first=1.0)
    assert aim.lead == 200e-6
    for _ in range(100):
        aim.woke(5.0)
        assert 190e-6 <= aim.lead <= 200e-6
    assert aim.early(1.0) == aim.lead
    assert aim.early(1e-3) == pytest.approx(100e-6)
    for _ in range(1000):
        aim.woke(0.0)
    assert 0.0 <= aim.lead <= 1e-6


def test_a_loop_of_a_few_hertz_learns_within_seconds() -> None:
    aim = AimEarly(quantile=0.25, share=0.1, longest=0.5e-3)
    for _ in range(20):
        aim.woke(300e-6)
    assert aim.lead == pytest.approx(300e-6, rel=0.25)
