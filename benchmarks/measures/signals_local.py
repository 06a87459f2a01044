"""Signals per second to one receiver in the same process."""

from __future__ import annotations

from typing import Any

from benchmarks.measures._signals import signals_per_second
from benchmarks.plan import Figures, Goal, Measure


def measure(system: Any, variant: str, seconds: float) -> Figures:
    with system.local(variant) as target:
        return {"value": signals_per_second(target.proxy, 1, seconds)}


MEASURE = Measure(
    title="signals in one process",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=(Goal(versus="upstream", at_least=2.0),),
    measure=measure,
)
