"""Memory that an array of 100 MB there and back takes on either side, as multiples of its size.

The array itself is there before. So 1.0 is what cannot be less: the array that arrives.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.meter import memory_now, memory_peak
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

SIZE = 100_000_000


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import numpy

    array = numpy.ones(SIZE // 8)
    with served(run_name(system)) as address, system.remote(address) as target:
        proxy = target.proxy
        target.echo(numpy.ones(10_000))
        here, there = memory_now(), proxy.memory_now()
        back = target.echo(array)
        there, here = proxy.memory_peak() - there, memory_peak() - here
        if back.nbytes != array.nbytes:
            raise ValueError("what came back is not what was sent")
    return {"caller": here / SIZE, "callee": there / SIZE}


MEASURE = Measure(
    title="memory for an array of 100 MB there and back",
    unit="times its size",
    runs=("ours", "upstream"),
    goals=(Goal(figure="caller", at_most=1.1), Goal(figure="callee", at_most=1.1)),
    measure=measure,
)
