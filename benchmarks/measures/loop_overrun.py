"""Iterations per second of a loop whose body takes longer than its period, with either policy that goes on.

Nobody waits here: what is measured is what a library does between two iterations. Upstream logs each iteration that is
late, which takes longer than all the rest, so the log is silent, for both.

With a period of 1 µs a fast machine may have just done with an iteration by then, body and all; upstream sleeps if so,
for 50 µs, and its figure falls to a half or less in some rounds. With one of 0.1 µs, and a body that only counts, it
never does. Tries of all kinds take turns, and the middle one of each counts.
"""

from __future__ import annotations

import logging
import statistics
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

TRIES = 3
WARM_UP = 0.1
PERIODS = {"1 µs": 1e-6, "0.1 µs": 1e-7}
POLICIES = ("IMMEDIATE", "SKIP")
FIGURES = {f"{policy} {period}": (policy, period) for period in PERIODS for policy in POLICIES}


def measure(system: Any, variant: str, seconds: float) -> Figures:
    from benchmarks.systems.qmi_script import context

    tries: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    with context():
        logging.getLogger("qmi.core.task").setLevel(logging.ERROR)
        for number in range(TRIES):
            for index, (figure, (policy, period)) in enumerate(FIGURES.items()):
                tries[figure].append(rate(f"loop_{number}_{index}", policy, period, seconds / TRIES))
    return {figure: statistics.median(rates) for figure, rates in tries.items()}


def rate(name: str, policy: str, period: str, seconds: float) -> float:
    """Iterations per second of a new loop."""
    import qmi
    from benchmarks.drivers import BusyLoop, CountingLoop
    from qmi.core.task import QMI_LoopTaskMissedLoopPolicy

    loop = BusyLoop if PERIODS[period] >= 1e-6 else CountingLoop
    task: Any = qmi.make_task(name, loop, PERIODS[period], QMI_LoopTaskMissedLoopPolicy[policy])
    task.start()
    time.sleep(WARM_UP)
    begin, before = time.perf_counter(), task.get_status()
    time.sleep(seconds)
    found = (task.get_status() - before) / (time.perf_counter() - begin)
    task.stop()
    task.join()
    return float(found)


MEASURE = Measure(
    title="loops per second, body longer than the period",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=tuple(Goal(figure=figure, versus="upstream", at_least=1.0) for figure in FIGURES),
    measure=measure,
)
