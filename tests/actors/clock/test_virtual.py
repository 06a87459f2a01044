from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio
import trio.testing

from qmi.actors.clock.monotonic import Clock, LoopTimer, ThreadTimer
from qmi.actors.clock.virtual import VirtualClock
from qmi.actors.tasks.schedule import QMI_LoopTaskMissedLoopPolicy, Schedule
from qmi.errors import QMI_TimeoutException, QMI_UsageException

IMMEDIATE = QMI_LoopTaskMissedLoopPolicy.IMMEDIATE
SKIP = QMI_LoopTaskMissedLoopPolicy.SKIP
TERMINATE = QMI_LoopTaskMissedLoopPolicy.TERMINATE

Iteration = Callable[[int], None]


def plain_loop(clock: Clock, waiter: ThreadTimer, schedule: Schedule, iteration: Iteration) -> None:
    with waiter:
        schedule.begin(clock.now())
        number = 0
        while waiter.wait_until(schedule.next_start):
            schedule.started(clock.now())
            iteration(number)
            number += 1
            if (notice := schedule.finished(clock.now())) is not None and notice.end_reason is not None:
                break


async def async_loop(clock: Clock, waiter: LoopTimer, schedule: Schedule, iteration: Iteration) -> None:
    with waiter:
        schedule.begin(clock.now())
        number = 0
        while True:
            await waiter.sleep_until(schedule.next_start)
            schedule.started(clock.now())
            iteration(number)
            number += 1
            if (notice := schedule.finished(clock.now())) is not None and notice.end_reason is not None:
                break


@contextmanager
def running(clock: VirtualClock, name: str, schedule: Schedule, iteration: Iteration) -> Iterator[ThreadTimer]:
    waiter = clock.thread_waiter(name=name)
    thread = threading.Thread(target=plain_loop, args=(clock, waiter, schedule, iteration))
    thread.start()
    try:
        yield waiter
    finally:
        waiter.interrupt()
        thread.join(10.0)
    assert not thread.is_alive()


def test_an_hour_of_a_plain_loop_takes_a_moment() -> None:
    clock = VirtualClock()
    schedule = Schedule(0.1, SKIP)
    begin = time.process_time()
    with running(clock, "task", schedule, lambda number: None):
        clock.run(3600.0)
        statistics = schedule.statistics()
    assert time.process_time() - begin < 5.0
    assert clock.now() == 3600.0
    assert (statistics.iterations, statistics.missed) == (36001, 0)
    assert statistics.lateness.worst == 0.0


async def test_an_hour_of_an_async_loop_takes_a_moment() -> None:
    clock = VirtualClock()
    schedule = Schedule(0.1, SKIP)

    begin = time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(async_loop, clock, clock.loop_waiter(name="task"), schedule, lambda number: None)
        await clock.run_async(3600.0)
        assert clock.now() == 3600.0
        nursery.cancel_scope.cancel()
    assert time.process_time() - begin < 5.0
    assert schedule.statistics().iterations == 36001


@pytest.mark.parametrize(
    ("policy", "starts", "missed", "ended"),
    [
        (IMMEDIATE, [0.0, 1.0, 3.5, 4.5, 5.5], 2, False),
        (SKIP, [0.0, 1.0, 4.0, 5.0], 2, False),
        (TERMINATE, [0.0, 1.0], 2, True),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_an_iteration_can_consume_time_and_so_miss_periods(
    kind: str, policy: QMI_LoopTaskMissedLoopPolicy, starts: list[float], missed: int, ended: bool
) -> None:
    clock = VirtualClock()
    schedule = Schedule(1.0, policy)
    seen: list[float] = []

    def iteration(number: int) -> None:
        seen.append(clock.now())
        if number == 1:
            clock.advance(2.5)

    if kind == "async":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(async_loop, clock, clock.loop_waiter(), schedule, iteration)
            await clock.run_async(5.75)
            nursery.cancel_scope.cancel()
    else:
        with running(clock, "task", schedule, iteration):
            await trio.to_thread.run_sync(clock.run, 5.75)
    assert seen == starts
    assert schedule.statistics().missed == missed
    assert (schedule.statistics().end_reason is not None) == ended


def test_threads_and_loops_wake_in_one_order_and_one_at_a_time() -> None:
    def one_run() -> list[tuple[str, float]]:
        clock = VirtualClock()
        seen: list[tuple[str, float]] = []
        at_work: list[str] = []

        def noting(name: str) -> Iteration:
            def iteration(number: int) -> None:
                at_work.append(name)
                seen.append((name, clock.now()))
                assert at_work == [name]
                at_work.remove(name)

            return iteration

        waiters = [clock.loop_waiter(name="a"), clock.loop_waiter(name="b")]
        cancel: list[Callable[[], None]] = []

        async def main() -> None:
            token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                cancel.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
                for waiter, period in zip(waiters, (2.0, 3.0), strict=True):
                    nursery.start_soon(async_loop, clock, waiter, Schedule(period, SKIP), noting(waiter.name))

        with ExitStack() as stack:
            for name, period in (("c", 1.0), ("d", 3.0)):
                stack.enter_context(running(clock, name, Schedule(period, SKIP), noting(name)))
            loop = threading.Thread(target=trio.run, args=(main,))
            loop.start()
            clock.run(6.0)
            cancel[0]()
            loop.join(10.0)
        return seen

    first = one_run()
    assert first[:4] == [("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)]
    assert first[-4:] == [("a", 6.0), ("b", 6.0), ("c", 6.0), ("d", 6.0)]
    assert [name for name, now in first if now == 3.0] == ["b", "c", "d"]
    assert len(first) == 4 + 3 + 7 + 3
    assert all(one_run() == first for _ in range(10))


def test_time_stands_still_while_a_task_waits_for_an_instrument() -> None:
    clock = VirtualClock()
    seen: list[float] = []

    def iteration(number: int) -> None:
        # The instrument works in another thread; the clock knows nothing of it.
        answer = threading.Event()
        instrument = threading.Thread(target=answer.set)
        before = clock.now()
        instrument.start()
        assert answer.wait(10.0)
        instrument.join(10.0)
        assert clock.now() == before
        seen.append(before)

    with running(clock, "task", Schedule(1.0), iteration):
        clock.run(50.0)
    assert seen == [float(k) for k in range(51)]


def test_an_instrument_may_take_virtual_time() -> None:
    clock = VirtualClock()
    schedule = Schedule(1.0, IMMEDIATE)

    def iteration(number: int) -> None:
        instrument = threading.Thread(target=clock.advance, args=(1.25,))
        instrument.start()
        instrument.join(10.0)

    with running(clock, "task", schedule, iteration):
        clock.run(10.0)
    # Starts at 0, 1.25, ... 10, each of which moves time on.
    assert schedule.statistics().iterations == 9
    assert clock.now() == 11.25


def test_time_moves_only_as_far_as_it_is_run() -> None:
    clock = VirtualClock(start=100.0)
    seen: list[float] = []
    with running(clock, "task", Schedule(1.0), lambda number: seen.append(clock.now())):
        clock.run(2.5)
        assert seen == [100.0, 101.0, 102.0]
        assert clock.now() == 102.5
        clock.run(0.0)
        assert clock.now() == 102.5
        clock.run(0.5)
        assert seen == [100.0, 101.0, 102.0, 103.0]


def test_a_jump_from_outside_makes_a_waiting_loop_late() -> None:
    clock = VirtualClock()
    schedule = Schedule(1.0, SKIP)
    with running(clock, "task", schedule, lambda number: None):
        clock.run(0.5)
        clock.advance(3.25)
        clock.run(0.0)
        assert schedule.statistics().lateness.worst == 2.75
        clock.run(0.25)
        assert schedule.statistics().iterations == 3
    assert clock.now() == 4.0


def test_an_interrupted_thread_goes_on_at_once() -> None:
    clock = VirtualClock()
    results: list[tuple[bool, float]] = []
    waiter = clock.thread_waiter()
    ready = threading.Event()

    def work() -> None:
        with waiter:
            results.append((waiter.wait_until(math.inf), clock.now()))
            results.append((waiter.wait_until(1.0), clock.now()))
            waiter.clear()
            ready.set()
            results.append((waiter.wait_until(2.0), clock.now()))

    thread = threading.Thread(target=work)
    thread.start()
    clock.run(0.5)
    waiter.interrupt()
    waiter.interrupt()
    assert ready.wait(10.0)
    clock.run(5.0)
    thread.join(10.0)
    assert results == [(False, 0.5), (False, 0.5), (True, 2.0)]
    assert clock.now() == 5.5


async def test_a_cancelled_task_leaves_the_others_in_peace() -> None:
    clock = VirtualClock()
    schedule = Schedule(1.0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(async_loop, clock, clock.loop_waiter(), schedule, lambda number: None)
        with clock.loop_waiter() as waiter:
            with trio.CancelScope() as scope:
                scope.cancel()
                await waiter.sleep_until(0.0)
            assert scope.cancelled_caught
            async with trio.open_nursery() as sleepers:
                sleepers.start_soon(waiter.sleep_until, 100.0)
                await trio.testing.wait_all_tasks_blocked()
                sleepers.cancel_scope.cancel()
            # It works again: no time passes until it waits or leaves.
            assert clock.now() == 0.0
        await clock.run_async(10.0)
        nursery.cancel_scope.cancel()
    assert schedule.statistics().iterations == 11


async def test_sleeping_is_a_checkpoint_also_when_the_time_is_over() -> None:
    clock = VirtualClock(start=5.0, free_running=True)
    with clock.loop_waiter() as waiter, trio.testing.assert_checkpoints():
        await waiter.sleep_until(1.0)


def test_a_run_without_an_end_lasts_until_nobody_is_left() -> None:
    clock = VirtualClock()

    def work(waiter: ThreadTimer, end: float) -> None:
        with waiter:
            waiter.wait_until(end)

    threads = [threading.Thread(target=work, args=(clock.thread_waiter(), end)) for end in (3.0, 8.0, 5.0)]
    for thread in threads:
        thread.start()
    clock.run()
    assert clock.now() == 8.0
    for thread in threads:
        thread.join(10.0)


def test_a_free_running_clock_needs_nobody_to_run_it() -> None:
    clock = VirtualClock(free_running=True)
    schedule = Schedule(1.0, TERMINATE)
    waiter = clock.thread_waiter()
    thread = threading.Thread(
        target=plain_loop,
        args=(clock, waiter, schedule, lambda number: clock.advance(1.5 if number == 1000 else 0.0)),
    )
    thread.start()
    thread.join(10.0)
    assert schedule.statistics().iterations == 1001
    assert clock.now() == 1001.5


def test_a_free_running_clock_goes_on_after_a_run() -> None:
    clock = VirtualClock(free_running=True)
    waiter = clock.thread_waiter()
    thread = threading.Thread(target=waiter.wait_until, args=(50.0,))
    clock_at: list[float] = []
    thread.start()
    thread.join(10.0)
    clock_at.append(clock.now())
    waiter.close()
    clock.run(25.0)
    clock_at.append(clock.now())
    assert clock_at == [50.0, 75.0]


def test_a_run_gives_up_on_a_task_that_neither_waits_nor_ends() -> None:
    clock = VirtualClock(patience=0.05)
    released = threading.Event()

    def iteration(number: int) -> None:
        if number == 3:
            released.wait(10.0)

    with running(clock, "stuck task", Schedule(1.0), iteration):
        with pytest.raises(QMI_TimeoutException, match=r"stands at 3 s: 'stuck task' did not wait .* for 0\.05 s"):
            clock.run(10.0)
        released.set()
        clock.run(2.0)
    assert clock.now() == 5.0


async def test_an_async_run_gives_up_as_well_and_can_be_cancelled() -> None:
    clock = VirtualClock(patience=0.05)
    with clock.loop_waiter(name="idle"):
        with pytest.raises(QMI_TimeoutException, match="'idle' did not wait"):
            await clock.run_async(1.0)
        with trio.CancelScope() as scope:
            scope.cancel()
            await clock.run_async(1.0)
        assert scope.cancelled_caught
    await clock.run_async(1.0)
    assert clock.now() == 1.0


def test_a_run_without_an_end_tells_who_waits_for_ever() -> None:
    clock = VirtualClock(patience=0.05)
    waiter = clock.thread_waiter(name="listener")
    thread = threading.Thread(target=waiter.wait_until, args=(math.inf,))
    thread.start()
    with pytest.raises(QMI_TimeoutException, match=r"all that are left \('listener'\) wait without an end"):
        clock.run()
    waiter.interrupt()
    thread.join(10.0)


def test_virtual_clock_refuses_a_second_run_at_the_same_time() -> None:
    clock = VirtualClock()
    refused: list[str] = []

    def iteration(number: int) -> None:
        with pytest.raises(QMI_UsageException) as caught:
            clock.run(1.0)
        refused.append(str(caught.value))

    with running(clock, "task", Schedule(1.0), iteration):
        clock.run(0.5)
    assert len(refused) == 1
    assert "being run already" in refused[0]


async def test_a_blocking_run_on_the_loop_is_refused() -> None:
    with pytest.raises(QMI_UsageException, match=r"await clock\.run_async"):
        VirtualClock().run(1.0)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_does_not_go_back_nor_on_for_ever(seconds: float) -> None:
    clock = VirtualClock()
    for move in (clock.advance, clock.run):
        with pytest.raises(ValueError, match="finite time of 0 s or more"):
            move(seconds)
    clock.run(1.0)
    assert clock.now() == 1.0


def test_a_closed_waiter_says_so() -> None:
    clock = VirtualClock()
    waiter = clock.thread_waiter(name="task")
    waiter.close()
    waiter.close()
    with pytest.raises(QMI_UsageException, match="'task' of the virtual clock is closed"):
        waiter.wait_until(1.0)


def test_time_may_be_moved_on_after_a_run_was_told_that_it_is_over() -> None:
    clock = VirtualClock()
    clock._begin_run(1.0, lambda: None)
    clock.advance(2.0)
    clock._end_run()
    assert clock.now() == 3.0


def test_virtual_clock_is_a_clock() -> None:
    clock: Clock = VirtualClock()
    assert clock.now() == 0.0
