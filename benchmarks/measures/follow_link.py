"""How late a row of a run is at a follower in another program, over a link, at 100 rows per second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.follower import following
from benchmarks.meter import quantile
from benchmarks.plan import Figures, Goal, Measure

_PERIOD = 0.01


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi.data
    from benchmarks.systems.qmi_script import context, free_port

    port = free_port()
    row = {f"c{number}": number + 0.1 for number in range(9)}
    with (
        context("server", port),
        qmi.data.run("followed", ["sent", *row], folder=Path.cwd() / "runs") as run,
        following(run.run_id, f"127.0.0.1:{port}") as late,
    ):
        begin = time.monotonic()
        for number in range(int(seconds / _PERIOD)):
            time.sleep(max(0.0, begin + number * _PERIOD - time.monotonic()))
            run.add(sent=time.monotonic(), **row)
        run.__exit__(None, None, None)
    return {"median": quantile(late, 0.5) * 1e3, "p99": quantile(late, 0.99) * 1e3}


MEASURE = Measure(
    title="row at a follower over a link, 100 rows/s",
    unit="ms",
    runs=("ours",),
    goals=(Goal(figure="median", at_most=5.0),),
    measure=measure,
)
