"""The measuring program: 100 values at 10 Hz, and on demand a loop at 500 Hz of which it says how late it was.

It is told what to do by lines of its standard input, and answers each by a line of JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import qmi
from benchmarks.drivers import TimedLoop
from benchmarks.measures.loop_lateness import FIRST, RATE, lateness
from benchmarks.meter import quantile
from benchmarks.systems.qmi_script import context
from qmi.core.pubsub import QMI_Signal
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy

OBJECTS = 10
VALUES = 10
"""Values of each object."""


class Publisher(QMI_LoopTask):  # type: ignore[type-arg]  # upstream's may not have type arguments
    """Publishes ten values as signals, in each iteration all of them."""

    sig_v0 = QMI_Signal([float])
    sig_v1 = QMI_Signal([float])
    sig_v2 = QMI_Signal([float])
    sig_v3 = QMI_Signal([float])
    sig_v4 = QMI_Signal([float])
    sig_v5 = QMI_Signal([float])
    sig_v6 = QMI_Signal([float])
    sig_v7 = QMI_Signal([float])
    sig_v8 = QMI_Signal([float])
    sig_v9 = QMI_Signal([float])

    def loop_iteration(self) -> Any:
        """Publish."""
        now = time.monotonic()
        for number in range(VALUES):
            getattr(self, f"sig_v{number}").publish(math.sin(now + number))


def main(arguments: list[str]) -> None:
    """Serve at a port, ``values`` (polled parameters at 10 Hz, of this library alone) or ``signals``, so often."""
    port, kind, period = int(arguments[0]), arguments[1], 1.0 / float(arguments[2])
    with context("lab", port):
        for name in _names():
            if kind == "values":
                from benchmarks.web.meters import Meter

                qmi.make_instrument(name, Meter).open()
            else:
                skip = QMI_LoopTaskMissedLoopPolicy.SKIP
                qmi.make_task(name, Publisher, loop_period=period, policy=skip).start()
                time.sleep(period / OBJECTS)  # spread over the period, as they are who were started by hand
        print("{}", flush=True)
        for line in sys.stdin:
            print(json.dumps(_timed_loop(float(line))), flush=True)


def _names() -> Iterator[str]:
    for number in range(OBJECTS):
        yield f"meter{number}"


def _timed_loop(seconds: float) -> dict[str, float]:
    """Run a loop at 500 Hz; how late its iterations were, in microseconds."""
    times: list[float] = []
    task: Any = qmi.make_task("loop", TimedLoop, times, 1.0 / RATE)
    task.start()
    time.sleep(FIRST / RATE + seconds)
    task.stop()
    task.join()
    qmi.context().remove_rpc_object(task)
    late = lateness(times, 1.0 / RATE)
    return {"median": quantile(late, 0.5) * 1e6, "p99": quantile(late, 0.99) * 1e6}
