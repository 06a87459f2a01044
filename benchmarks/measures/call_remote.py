"""A blocking call between two processes on one machine."""

from __future__ import annotations

from benchmarks.measures._calls import remote_call
from benchmarks.plan import Goal, Measure

MEASURE = Measure(
    title="blocking call between processes",
    unit="µs",
    runs=("ours", "upstream", "pyro5", "rpyc_service", "sockets"),
    goals=(Goal(versus="upstream", at_most=0.45),),
    measure=remote_call,
)
