"""Signals per second across a link to ten receivers in the other process."""

from __future__ import annotations

from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.measures._signals import signals_per_second
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

RECEIVERS = 10


def measure(system: Any, variant: str, seconds: float) -> Figures:
    with served(run_name(system)) as address, system.remote(address) as target:
        return {"value": signals_per_second(target.proxy, RECEIVERS, seconds)}


MEASURE = Measure(
    title="signals across a link to 10 receivers",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=(Goal(versus="upstream", at_least=2.0),),
    measure=measure,
)
