"""A blocking call in one process, to a driver with a thread of its own."""

from __future__ import annotations

from benchmarks.measures._calls import local_call
from benchmarks.plan import Goal, Measure

MEASURE = Measure(
    title="blocking call in one process, driver in its own thread",
    unit="µs",
    runs=("ours", "upstream", "pykka_actors", "threads"),
    goals=(Goal(versus="upstream", at_most=0.85), Goal(versus="threads", at_most=1.25)),
    measure=local_call,
)
