"""Iterations per second of a loop with a period of 1 µs, whose body takes less than that.

Upstream sleeps for what is left of a period, which takes it some 50 µs, in which a whole iteration is over here.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import IdleLoop
    from benchmarks.systems.qmi_script import context

    counter = [0]
    with context():
        task: Any = qmi.make_task("loop", IdleLoop, counter, 1e-6)
        task.start()
        time.sleep(0.2)
        begin, before = time.perf_counter(), counter[0]
        time.sleep(seconds)
        rate = (counter[0] - before) / (time.perf_counter() - begin)
        task.stop()
        task.join()
    return {"value": rate}


MEASURE = Measure(
    title="loops per second, body shorter than the period",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=(Goal(versus="upstream", at_least=1.0),),
    measure=measure,
)
