"""Non-blocking calls in flight, in one process."""

from __future__ import annotations

from benchmarks.measures._calls import local_flight
from benchmarks.plan import Goal, Measure

MEASURE = Measure(
    title="non-blocking calls in flight, in one process",
    unit="1/s",
    runs=("ours", "upstream", "pykka_actors"),
    goals=(Goal(versus="upstream", at_least=1.5),),
    measure=local_flight,
)
