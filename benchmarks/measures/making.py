"""The time to make an object: with a thread, and ``async``."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

OBJECTS = 200


def measure(system: Any, variant: str, seconds: float) -> Figures:
    return {"value": _async(seconds) if variant == "async" else _threaded(seconds)}


def _threaded(seconds: float) -> float:
    import qmi
    from benchmarks.drivers import Driver
    from benchmarks.systems.qmi_script import context

    found: list[float] = []
    with context() as home:
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            begin = time.perf_counter()
            proxies = [qmi.make_instrument(f"driver{number}", Driver) for number in range(OBJECTS)]
            found.append((time.perf_counter() - begin) / OBJECTS)
            for proxy in proxies:
                home.remove_rpc_object(proxy)
    return statistics.median(found) * 1e6


def _async(seconds: float) -> float:
    import trio

    import qmi
    from benchmarks.own_drivers import AsyncDriver

    async def main() -> float:
        found: list[float] = []
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            async with qmi.open_context("bench", None, console_loglevel="ERROR") as home:
                begin = time.perf_counter()
                for number in range(OBJECTS):
                    await home.make_instrument(f"driver{number}", AsyncDriver)
                found.append((time.perf_counter() - begin) / OBJECTS)
        return statistics.median(found) * 1e6

    return trio.run(main)


MEASURE = Measure(
    title="making an object",
    unit="µs",
    runs=("ours", "upstream", "ours:async"),
    goals=(
        Goal(versus="upstream", at_most=0.8),
        Goal(run="ours:async", versus="upstream", at_most=0.3),
    ),
    measure=measure,
)
