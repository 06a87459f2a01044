"""What a user writes to run a loop and see how punctual it is. Runs with this library and with upstream QMI.

Prints one line of JSON. ``async`` and ``precise`` loops are this library's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from typing import Any

import qmi
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy

OTHERS_PERIOD = 0.1


class Loop(QMI_LoopTask):  # type: ignore[type-arg]  # upstream may not have type arguments
    """Notes when its iterations start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.status: list[float] = []

    def loop_iteration(self) -> Any:
        self.status.append(time.monotonic())


class Other(QMI_LoopTask):  # type: ignore[type-arg]
    """A loop beside it, which does a little."""

    def loop_iteration(self) -> Any:
        sum(range(100))


class AsyncLoop(Loop):
    """The same in the event loop."""

    async def loop_iteration(self) -> None:
        self.status.append(time.monotonic())


class AsyncOther(Other):
    """The same in the event loop."""

    async def loop_iteration(self) -> None:
        sum(range(100))


def measure(starts: list[float], period: float) -> dict[str, float]:
    """How late iterations started on the grid that the first one laid, and how far they moved away from it a minute."""
    origin = starts[0]
    # An iteration belongs to the last point of the grid that it is not clearly before.
    places = [int((start - origin) / period + 0.1) for start in starts[1:]]
    late = [start - origin - place * period for start, place in zip(starts[1:], places, strict=True)]
    ordered = sorted(map(abs, late))
    count = len(late)
    fifth = max(count // 5, 1)
    moved = statistics.median(late[-fifth:]) - statistics.median(late[:fifth])
    lasted = starts[-1] - origin
    return {
        "median": ordered[count // 2],
        "p99": ordered[count * 99 // 100],
        "worst": ordered[-1],
        "drift": moved * 60.0 / (0.8 * lasted),
        "rate": count / lasted,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["plain", "async", "precise"], required=True)
    parser.add_argument("--period", type=float, required=True)
    parser.add_argument("--others", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    loop, other = (AsyncLoop, AsyncOther) if options.kind == "async" else (Loop, Other)
    extra: Any = {"precise": True} if options.kind == "precise" else {}
    skip = QMI_LoopTaskMissedLoopPolicy.SKIP
    qmi.start("bench", None, console_loglevel="CRITICAL")
    others = [
        qmi.make_task(f"other{number}", other, loop_period=OTHERS_PERIOD, policy=skip)
        for number in range(options.others)
    ]
    task: Any = qmi.make_task("loop", loop, loop_period=options.period, policy=skip, **extra)
    for each in others:
        each.start()
        time.sleep(OTHERS_PERIOD / (options.others + 1))  # spread over their period
    begin = resource.getrusage(resource.RUSAGE_SELF)
    task.start()
    time.sleep(options.seconds)
    task.stop()
    task.join()
    end = resource.getrusage(resource.RUSAGE_SELF)
    starts = task.get_status()
    for each in others:
        each.stop()
        each.join()
    qmi.stop()
    used = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    json.dump({**measure(starts, options.period), "cpu": used / options.seconds}, sys.stdout)


if __name__ == "__main__":
    main()
