"""Processor time of one program that polls 50 instruments, each on a connection of its own, ten times a second."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

INSTRUMENTS = 50
PERIOD = 0.1


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.scpi_drivers import Meter
    from benchmarks.systems.qmi_script import context

    with served("sockets:scpi") as port, context("bench"):
        meters: list[Any] = [
            qmi.make_instrument(f"meter{number}", Meter, f"tcp:127.0.0.1:{port}") for number in range(INSTRUMENTS)
        ]
        for meter in meters:
            meter.open()
        rounds = max(5, int(seconds / PERIOD))
        begin, due = time.process_time(), time.monotonic()
        for _ in range(rounds):
            for future in [meter.rpc_nonblocking.measure() for meter in meters]:
                future.wait()
            due += PERIOD
            time.sleep(max(0.0, due - time.monotonic()))
        used = time.process_time() - begin
        for meter in meters:
            meter.close()
    return {"value": used / rounds / PERIOD * 100}


MEASURE = Measure(
    title="50 instruments polled at 10 Hz by one program",
    unit="% of a processor",
    runs=("ours", "upstream"),
    goals=(Goal(versus="upstream", at_most=1.0),),
    measure=measure,
)
