"""An awaited call to an ``async`` driver in one loop, beside upstream's blocking call."""

from __future__ import annotations

from typing import Any

from benchmarks.measures._calls import local_call
from benchmarks.meter import microseconds_per_await
from benchmarks.plan import Figures, Goal, Measure


def measure(system: Any, variant: str, seconds: float) -> Figures:
    if variant != "async":
        return local_call(system, variant, seconds)
    import trio

    async def main() -> float:
        async with system.local_async() as proxy:
            return await microseconds_per_await(proxy.nothing, seconds)

    return {"value": trio.run(main)}


MEASURE = Measure(
    title="awaited call to an async driver in one loop",
    unit="µs",
    runs=("ours:async", "upstream"),
    goals=(Goal(run="ours:async", versus="upstream", at_most=0.15),),
    measure=measure,
)
