from __future__ import annotations

import asyncio
import math
import selectors
import threading

import pytest
import trio
import trio.testing

from qmi.core.exceptions import QMI_BlockingOnLoopException
from qmi.runtime.wakeup import GLANCE, AsyncioWaker, Interrupt, Loop, TaskWaker, ThreadWaker, refuse_on_loop
from tests.support.tasks import in_thread


@pytest.mark.parametrize("in_main", [True, False])
def test_a_thread_waits_until_it_is_woken_or_its_time_is_over(in_main: bool) -> None:
    results: list[bool] = []

    def wait() -> None:
        results.append(ThreadWaker().wait(0))
        results.append(ThreadWaker().wait(0.01))
        results.append(ThreadWaker().wait(-1))
        for timeout in (None, 20.0, 1e12):
            waiter = ThreadWaker()
            threading.Timer(0.001, waiter.wake).start()
            results.append(waiter.wait(timeout))
            waiter.wake()
            waiter.wake()

    if in_main:
        wait()
    else:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert results == [False, False, False, True, True, True]


def test_the_main_thread_waits_longer_than_it_looks_for_ctrl_c() -> None:
    waiter = ThreadWaker()
    threading.Timer(0.4, waiter.wake).start()
    assert waiter.wait()
    assert not waiter.wait(0.3)


class Sleeps(selectors.DefaultSelector):
    """What a loop of asyncio sleeps on: it notes for how long, and wakes the waiter as soon as the loop would sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self.waiter: AsyncioWaker | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0 and self.waiter is not None:
            self.seconds.append(timeout)
            self.waiter.wake()
        return super().select(timeout)


@pytest.mark.parametrize("in_main", [True, False])
def test_asyncio_in_the_main_thread_looks_for_the_stop_button_while_it_waits(in_main: bool) -> None:
    sleeps = Sleeps()

    async def wait() -> None:
        sleeps.waiter = AsyncioWaker()
        await sleeps.waiter.wait()
        sleeps.waiter = None

    loop = asyncio.SelectorEventLoop(sleeps)
    try:
        if in_main:
            loop.run_until_complete(wait())
        else:
            in_thread(lambda: loop.run_until_complete(wait())).wait(timeout=20)
    finally:
        loop.close()
    assert len(sleeps.seconds) == 1
    assert (sleeps.seconds[0] or math.inf) <= GLANCE or not in_main


async def test_a_task_is_woken_from_its_loop_and_from_threads() -> None:
    early = TaskWaker()
    early.wake()
    early.wake()
    await early.wait()
    late = TaskWaker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.wait)
        nursery.start_soon(trio.to_thread.run_sync, late.wake)
    cancelled = TaskWaker()
    with trio.move_on_after(0):
        await cancelled.wait()
    cancelled.wake()


def test_a_loop_that_has_ended_takes_nothing() -> None:
    async def main() -> tuple[Loop, TaskWaker]:
        loop, waiter = Loop(), TaskWaker()
        called: list[int] = []
        assert loop.is_here()
        assert loop.now_or_soon(called.append, 1)
        assert called == [1]
        await trio.to_thread.run_sync(loop.now_or_soon, called.append, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert called == [1, 2]
        assert not await trio.to_thread.run_sync(loop.is_here)
        return loop, waiter

    results: list[tuple[Loop, TaskWaker]] = []

    def elsewhere() -> None:
        results.append(trio.run(main))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    loop, waiter = results[0]
    assert not loop.soon(print)
    assert not loop.now_or_soon(print)
    waiter.wake()


def test_an_interrupt_ends_waits_now_and_later() -> None:
    interrupt = Interrupt()
    one, two = ThreadWaker(), ThreadWaker()
    interrupt.enter(one)
    interrupt.check()
    states = [interrupt.requested]
    interrupt.request(lambda: ValueError("stop"))
    states.append(interrupt.requested)
    assert states == [False, True]
    assert one.wait(0)
    with pytest.raises(ValueError, match="stop"):
        interrupt.enter(two)
    with pytest.raises(ValueError, match="stop"):
        interrupt.check()
    interrupt.leave(one)
    interrupt.clear()
    interrupt.check()


async def test_blocking_is_refused_on_a_loop() -> None:
    with pytest.raises(QMI_BlockingOnLoopException, match=r"^x\(\) would block the event loop; write 'await x\(\)'$"):
        refuse_on_loop("x()", "await x()")
    await trio.to_thread.run_sync(refuse_on_loop, "x()", "await x()")


def test_a_task_whose_loop_broke_off_is_woken_without_effect() -> None:
    waiters: list[TaskWaker] = []

    async def main() -> None:
        waiters.append(TaskWaker())

    class Torn:
        """The entry of a loop that Ctrl-C ended in the midst of its own work."""

        def run_sync_soon(self, function: object) -> None:
            raise OSError(9, "Bad file descriptor")

    trio.run(main)
    (waiter,) = waiters
    waiter._task = trio.lowlevel.Task  # type: ignore[assignment]  # which is still there: nobody has cancelled it
    waiter.wake()
    in_thread(waiter.wake).wait(10)
    waiter._token = Torn()  # type: ignore[assignment]
    in_thread(waiter.wake).wait(10)
