"""Non-blocking calls in flight, between two processes."""

from __future__ import annotations

from benchmarks.measures._calls import remote_flight
from benchmarks.plan import Goal, Measure

MEASURE = Measure(
    title="non-blocking calls in flight, between processes",
    unit="1/s",
    runs=("ours", "upstream", "rpyc_service"),
    goals=(Goal(versus="upstream", at_least=2.5),),
    measure=remote_flight,
)
