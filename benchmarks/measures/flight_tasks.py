"""Awaited calls between processes from 100 tasks at once, beside upstream's pipelined calls and what trio alone can."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.measures._calls import remote_flight, run_name
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

TASKS = 100


def measure(system: Any, variant: str, seconds: float) -> Figures:
    if variant != "tasks":
        return remote_flight(system, variant, seconds)
    import trio

    async def caller(proxy: Any, done: list[int]) -> None:
        while True:
            await proxy.nothing()
            done[0] += 1

    async def main(address: str) -> float:
        async with system.remote_async(address) as proxy, trio.open_nursery() as nursery:
            done = [0]
            for _ in range(TASKS):
                nursery.start_soon(caller, proxy, done)
            await trio.sleep(0.2)
            begin, before = time.perf_counter(), done[0]
            await trio.sleep(seconds)
            rate = (done[0] - before) / (time.perf_counter() - begin)
            nursery.cancel_scope.cancel()
        return rate

    with served(run_name(system)) as address:
        return {"value": trio.run(main, address)}


MEASURE = Measure(
    title="awaited calls between processes from 100 tasks",
    unit="1/s",
    runs=("ours:tasks", "upstream", "trio_alone:tasks"),
    goals=(Goal(run="ours:tasks", versus="upstream", at_least=2.5),),
    measure=measure,
)
