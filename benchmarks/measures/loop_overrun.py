"""Iterations per second of a loop whose body takes longer than its period, with either policy that goes on.

Nobody waits here: what is measured is what a library does between two iterations. Upstream logs each iteration that is
late, which takes longer than all the rest, so the log is silent, for both.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

PERIOD = 1e-6
POLICIES = ("IMMEDIATE", "SKIP")


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import BusyLoop
    from benchmarks.systems.qmi_script import context
    from qmi.core.task import QMI_LoopTaskMissedLoopPolicy

    figures = {}
    with context():
        logging.getLogger("qmi.core.task").setLevel(logging.ERROR)
        for policy in POLICIES:
            task: Any = qmi.make_task(f"loop_{policy}", BusyLoop, PERIOD, QMI_LoopTaskMissedLoopPolicy[policy])
            task.start()
            time.sleep(0.2)
            begin, before = time.perf_counter(), task.get_status()
            time.sleep(seconds)
            done = task.get_status() - before
            figures[policy] = done / (time.perf_counter() - begin)
            task.stop()
            task.join()
    return figures


MEASURE = Measure(
    title="loops per second, body longer than the period",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=tuple(Goal(figure=policy, versus="upstream", at_least=1.0) for policy in POLICIES),
    measure=measure,
)
