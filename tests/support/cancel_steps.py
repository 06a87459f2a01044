"""Cancel a scenario at its 1st, 2nd, 3rd ... scheduler step until it completes, and interrupt code at each line."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar

import trio

from qmi.runtime.sigint import INTERRUPTS

T = TypeVar("T")


class _Canceller(trio.abc.Instrument):
    """Cancels a scope when its task has gone to wait for the n-th time."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self._task = task
        self._scope = scope
        self._left = step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancel_at(step: int, scenario: Callable[[], Awaitable[object]]) -> bool:
    """Run a scenario in a task of its own and cancel it at its n-th wait, with 0 before it begins.

    Returns:
        Whether the scenario completed all the same.
    """
    completed = False

    async def run() -> None:
        nonlocal completed
        with trio.CancelScope() as scope:
            canceller = _Canceller(trio.lowlevel.current_task(), scope, step)
            trio.lowlevel.add_instrument(canceller)
            if step == 0:
                scope.cancel()
            try:
                await scenario()
                completed = True
            finally:
                trio.lowlevel.remove_instrument(canceller)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
    return completed


async def cancel_at_each_step(
    scenario: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]], limit: int = 200
) -> int:
    """Cancel a scenario at its 1st, 2nd, 3rd ... step until it completes; check the invariants each time.

    Returns:
        The number of steps at which it was cancelled, counting the one before it began.
    """
    for step in range(limit):
        completed = await cancel_at(step, scenario)
        await check()
        if completed and step > 0:
            return step
    raise AssertionError(f"the scenario did not complete within {limit} steps")


def interrupt_at(
    number: int, function: Callable[[], T], where: Callable[[str], bool], allowed: Callable[[], bool]
) -> bool:
    """Raise KeyboardInterrupt in this thread at the n-th line that runs in some files; True if it got that far.

    Args:
        number: Which line, from 1 on.
        function: What to interrupt.
        where: Tells for a file name whether its lines count.
        allowed: Tells whether the line counts right now.
    """
    left = number

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not where(frame.f_code.co_filename):
            return None
        if event == "line" and left > 0 and allowed():
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
        INTERRUPTS.look()  # raises what was put off until the call had kept its outcome
    except KeyboardInterrupt:
        assert left == 0
    finally:
        sys.settrace(before)
    return left == 0


def in_qmi(filename: str) -> bool:
    return "/qmi/actors/" in filename or filename.endswith("/qmi/runtime/wakeup.py")
