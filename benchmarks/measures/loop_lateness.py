"""How late the iterations of a 500 Hz loop start, in microseconds after the time on their grid.

The grid begins when the loop is prepared; the first iteration starts at once with either library.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from benchmarks.meter import quantile
from benchmarks.plan import Figures, Goal, Measure

RATE = 500.0
FIRST = 100
"""Iterations at the beginning that do not count: the processor wakes up, the waiting learns."""


def lateness(times: list[float], period: float) -> list[float]:
    """Seconds from the time that each iteration was due to its start.

    It is due at the first time on the grid after the start before it. Counted to the nearest time on the grid, one that
    a busy machine holds up for longer than half a period would seem to be early, and no lateness to be longer.
    """
    late = []
    for before, moment in pairwise(times[FIRST:]):
        due = (int((before - times[0]) / period + 0.1) + 1) * period
        found = moment - times[0] - due
        late.append(found if found > -0.1 * period else found + period)  # overdue since then, and started at once
    return late


def loop_class(variant: str) -> Any:
    """The loop that a variant runs."""
    if variant == "async":
        from benchmarks.own_drivers import AsyncTimedLoop

        return AsyncTimedLoop
    from benchmarks.drivers import TimedLoop

    return TimedLoop


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.systems.qmi_script import context

    options: dict[str, Any] = {"precise": True} if variant == "precise" else {}
    times: list[float] = []
    with context():
        task: Any = qmi.make_task("loop", loop_class(variant), times, 1.0 / RATE, **options)
        task.start()
        time.sleep(FIRST / RATE + seconds)
        task.stop()
        task.join()
    late = lateness(times, 1.0 / RATE)
    return {"median": quantile(late, 0.5) * 1e6, "p99": quantile(late, 0.99) * 1e6}


MEASURE = Measure(
    title="loop lateness at 500 Hz",
    unit="µs",
    runs=("ours", "upstream", "ours:async", "ours:precise"),
    goals=(
        Goal(figure="median", versus="upstream", at_most=0.5),
        Goal(figure="p99", versus="upstream", at_most=0.7),
        Goal(run="ours:precise", figure="median", at_most=15.0),
    ),
    measure=measure,
)
