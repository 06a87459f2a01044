"""A blocking call with 1,000 objects, 100 links and 50 loops alive, beside the same call alone."""

from __future__ import annotations

from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

THREADED, ASYNC, LOOPS = 500, 500, 50
PERIOD = 0.1


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import Driver, IdleLoop
    from benchmarks.own_drivers import AsyncDriver
    from benchmarks.systems.qmi_script import context, free_port

    port = free_port()
    with context("bench", port):
        call = qmi.make_instrument("driver", Driver).nothing
        if variant == "alone":
            return {"value": microseconds_per_call(call, seconds)}
        for number in range(THREADED):
            qmi.make_instrument(f"threaded{number}", Driver)
        for number in range(ASYNC):
            qmi.make_instrument(f"async{number}", AsyncDriver)
        tasks: list[Any] = [qmi.make_task(f"loop{number}", IdleLoop, [0], PERIOD) for number in range(LOOPS)]
        for task in tasks:
            task.start()
        with served(run_name(system, f"crowd=127.0.0.1:{port}")):
            found = microseconds_per_call(call, seconds)
        for task in tasks:
            task.stop()
        for task in tasks:
            task.join()
    return {"value": found}


MEASURE = Measure(
    title="call with 1,000 objects, 100 links and 50 loops alive",
    unit="µs",
    runs=("ours:crowded", "ours:alone"),
    goals=(Goal(run="ours:crowded", versus="ours:alone", at_most=1.5),),
    measure=measure,
)
