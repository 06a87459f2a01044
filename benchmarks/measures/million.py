"""A link with a million calls behind it, beside the same link after a few thousand.

"latency" is the time of a blocking call now, in times of it then; "caller" and "callee" are the memory that either side
has taken meanwhile, in MiB; "descriptors" are those that either has opened and not closed. "value" is calls in a
second.
"""

from __future__ import annotations

import gc
import os
import time
from typing import Any

from benchmarks.measures._calls import IN_FLIGHT, run_name
from benchmarks.meter import memory_now, microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

CALLS = 1_000_000
EARLY = 20_000
_MIB = 1 << 20
_OVER = 0.3
"""After so many seconds either side has given back what many calls at a time take."""


def descriptors(process: int) -> int:
    """How many a process has."""
    return len(os.listdir(f"/proc/{process}/fd"))


def measure(system: Any, variant: str, seconds: float) -> Figures:
    with served(run_name(system)) as address, system.remote(address) as target:
        there = target.proxy.process()

        def state() -> tuple[float, int, int, int]:
            latency = min(microseconds_per_call(target.call, seconds / 5) for _ in range(3))
            gc.collect()
            time.sleep(_OVER)
            count = descriptors(os.getpid()) + descriptors(there)
            return latency, memory_now(), target.proxy.memory_now(), count

        for _ in range(EARLY // IN_FLIGHT):
            target.flight(IN_FLIGHT)
        before = state()
        begin = time.perf_counter()
        for _ in range(CALLS // IN_FLIGHT):
            target.flight(IN_FLIGHT)
        took = time.perf_counter() - begin
        after = state()
    return {
        "value": CALLS / took,
        "latency": after[0] / before[0],
        "caller": (after[1] - before[1]) / _MIB,
        "callee": (after[2] - before[2]) / _MIB,
        "descriptors": float(after[3] - before[3]),
    }


MEASURE = Measure(
    title="a million calls over one link, and what they leave",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=(
        Goal(versus="upstream", at_least=2.0),
        Goal(figure="latency", at_most=1.25),
        Goal(figure="caller", at_most=1.0),
        Goal(figure="callee", at_most=1.0),
        Goal(figure="descriptors", at_most=0.0),
    ),
    measure=measure,
)
