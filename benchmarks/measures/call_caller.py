"""A blocking call to a driver that may run on the calling thread."""

from __future__ import annotations

from benchmarks.measures._calls import local_call
from benchmarks.plan import Goal, Measure

MEASURE = Measure(
    title="blocking call in one process, driver may run on the calling thread",
    unit="µs",
    runs=("ours:caller", "upstream"),
    goals=(Goal(run="ours:caller", versus="upstream", at_most=0.05),),
    measure=local_call,
)
