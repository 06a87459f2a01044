"""Memory that one idle ``async`` object takes, as the system counts it.

The first few thousand fill what the interpreter has in stock, and do not count.
"""

from __future__ import annotations

import gc
from typing import Any

from benchmarks.meter import memory_now
from benchmarks.plan import Figures, Goal, Measure

EARLY, OBJECTS = 5000, 20000


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import trio

    import qmi
    from benchmarks.own_drivers import AsyncDriver

    async def main() -> float:
        async with qmi.open_context("bench", None, console_loglevel="ERROR") as home:
            for number in range(EARLY):
                await home.make_instrument(f"early{number}", AsyncDriver)
            gc.collect()
            before = memory_now()
            for number in range(OBJECTS):
                await home.make_instrument(f"driver{number}", AsyncDriver)
            gc.collect()
            return (memory_now() - before) / OBJECTS / 1024

    return {"value": trio.run(main)}


MEASURE = Measure(
    title="memory of one idle async object",
    unit="KiB",
    runs=("ours",),
    goals=(Goal(at_most=8.0),),
    measure=measure,
)
