"""How late the iterations of a 500 Hz loop start, alone, and when each adds a row that another program follows."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.follower import following
from benchmarks.measures.loop_lateness import RATE, lateness
from benchmarks.meter import quantile
from benchmarks.plan import Figures, Goal, Measure


def recording_loop() -> Any:
    """A loop that adds a row in each iteration."""
    from benchmarks.drivers import TimedLoop

    class RecordingLoop(TimedLoop):
        """Looks at the clock, and adds it to a run."""

        run_of_rows: Any = None

        def loop_iteration(self) -> None:
            """Add a row."""
            super().loop_iteration()
            self.run_of_rows.add(sent=time.monotonic(), value=1.0)

    return RecordingLoop


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    import qmi.data
    from benchmarks.drivers import TimedLoop
    from benchmarks.systems.qmi_script import context, free_port

    port = free_port()
    times: list[float] = []
    loop: Any = TimedLoop
    with ExitStack() as blocks:
        blocks.enter_context(context("server", port))
        if variant == "recording":
            run = blocks.enter_context(qmi.data.run("loop", ["sent", "value"], folder=Path.cwd() / "runs"))
            blocks.enter_context(following(run.run_id, f"127.0.0.1:{port}"))
            blocks.callback(run.__exit__, None, None, None)
            loop = recording_loop()
            loop.run_of_rows = run
        task: Any = qmi.make_task("loop", loop, times, 1.0 / RATE)
        task.start()
        time.sleep(100 / RATE + seconds)
        task.stop()
        task.join()
    late = lateness(times, 1.0 / RATE)
    return {"median": quantile(late, 0.5) * 1e6, "p99": quantile(late, 0.99) * 1e6}


MEASURE = Measure(
    title="loop lateness at 500 Hz, recording and followed",
    unit="µs",
    runs=("ours", "ours:recording"),
    goals=(Goal(run="ours:recording", figure="p99", versus="ours", at_most=1.3),),
    measure=measure,
)
