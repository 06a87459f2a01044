"""8 MiB arrays there and back between two processes."""

from __future__ import annotations

from benchmarks.measures._calls import run_name
from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served
from benchmarks.systems.base import System

SIZE = 8 << 20


def measure(system: System, variant: str, seconds: float) -> Figures:
    import numpy

    array = numpy.arange(SIZE // 8, dtype=numpy.float64)
    with served(run_name(system, variant)) as address, system.remote(address) as target:
        back = target.echo(array)
        if bytes(memoryview(back).cast("B")) != array.tobytes():
            raise ValueError("what came back is not what was sent")
        # Bytes per microsecond are MB/s; each byte goes there and back.
        return {"value": 2 * SIZE / microseconds_per_call(lambda: target.echo(array), seconds, warm_up=3)}


MEASURE = Measure(
    title="8 MiB array there and back",
    unit="MB/s",
    runs=("ours", "upstream", "pyro5", "rpyc_service", "sockets", "sockets:fresh"),
    goals=(Goal(versus="upstream", at_least=2.5), Goal(versus="sockets", at_least=0.75)),
    measure=measure,
)
