"""What a signal costs its publisher with 1, 10 and 100 subscribers, by links and by the server of a site.

Processor time of the publisher's process, kernel included, for each signal: "burst" of signals as fast as the driver
can, with their acknowledgements at a site, "single" of one every 10 ms. The subscribers are light
(:mod:`benchmarks.listeners`), all in one other process, each with a connection of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.listeners import listening
from benchmarks.plan import Figures, Goal, Measure

_BURST = 1000
_SINGLES = 50
_PERIOD = 0.01
SUBSCRIBERS = (1, 10, 100)
GOAL = 7.0
"""µs of a signal in a burst."""
GROWTH = 1.3
"""So many times what it costs with one subscriber: the rest of the difference is noise."""


@contextmanager
def _publisher(kind: str) -> Iterator[int]:
    """A program that publishes; gives where its subscribers connect to."""
    from benchmarks.site.server import bench_server, site_context
    from benchmarks.systems.qmi_script import context, free_port

    if kind == "links":
        port = free_port()
        with context("bench", port):
            yield port
    else:
        with bench_server() as server, site_context(server):
            yield server.port


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import Driver

    kind, _, count = variant.partition(" ")
    with _publisher(kind) as port:
        driver = qmi.make_instrument("driver", Driver)
        with listening(port, int(count), kind) as listeners:

            def cost(signals: int) -> float:
                listeners.expect(signals)
                begin = time.process_time()
                driver.burst(signals)
                listeners.wait()
                return (time.process_time() - begin) / signals

            def single() -> float:
                time.sleep(_PERIOD)
                return cost(1)

            def alone() -> float:
                time.sleep(_PERIOD)
                begin = time.process_time()
                driver.burst(0)
                return time.process_time() - begin

            cost(_BURST)
            end = time.monotonic() + seconds
            bursts = [cost(_BURST)]
            while time.monotonic() < end:
                bursts.append(cost(_BURST))
            call = statistics.median(alone() for _ in range(_SINGLES))
            singles = statistics.median(single() for _ in range(_SINGLES)) - call
    return {"burst": statistics.median(bursts) * 1e6, "single": singles * 1e6}


MEASURE = Measure(
    title="signal by links and by a site, publisher's processor time",
    unit="µs",
    runs=tuple(f"ours:{kind} {count}" for count in SUBSCRIBERS for kind in ("links", "site")),
    goals=(
        *(Goal(run=f"ours:site {count}", figure="burst", at_most=GOAL) for count in SUBSCRIBERS),
        Goal(run="ours:site 100", figure="burst", versus="ours:site 1", at_most=GROWTH),
        Goal(run="ours:site 100", figure="single", versus="ours:site 1", at_most=GROWTH),
        Goal(run="ours:site 100", figure="burst", versus="ours:links 100", at_most=0.2),
    ),
    measure=measure,
)
