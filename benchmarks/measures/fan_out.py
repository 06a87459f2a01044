"""What a signal costs its publisher for each connected program: processor time of its process, kernel included.

"value" is that of signals in a burst (1,000 as fast as the driver can), "single" that of one every 10 ms. The programs
that listen are light (:mod:`benchmarks.listeners`), all in one other process, each with a link of its own.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.listeners import listening
from benchmarks.plan import Figures, Goal, Measure

_BURST = 1000
_SINGLES = 50
_PERIOD = 0.01
PROGRAMS = (1, 10, 50, 100)
_AT_MOST = 4.0


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import qmi
    from benchmarks.drivers import Driver
    from benchmarks.systems.qmi_script import context, free_port

    port, programs = free_port(), int(variant)
    with context("bench", port):
        driver = qmi.make_instrument("driver", Driver)
        with listening(port, programs) as listeners:

            def burst() -> float:
                listeners.expect(_BURST)
                begin = time.process_time()
                driver.burst(_BURST)
                listeners.wait()
                return (time.process_time() - begin) / _BURST

            def single() -> float:
                time.sleep(_PERIOD)
                listeners.expect(1)
                begin = time.process_time()
                driver.burst(1)
                listeners.wait()
                return time.process_time() - begin

            def alone() -> float:
                time.sleep(_PERIOD)
                begin = time.process_time()
                driver.burst(0)
                return time.process_time() - begin

            burst()
            end = time.monotonic() + seconds
            bursts = [burst()]
            while time.monotonic() < end:
                bursts.append(burst())
            call = statistics.median(alone() for _ in range(_SINGLES))
            singles = statistics.median(single() for _ in range(_SINGLES)) - call
    return {"value": statistics.median(bursts) / programs * 1e6, "single": singles / programs * 1e6}


MEASURE = Measure(
    title="signal to connected programs, publisher's processor time for each",
    unit="µs",
    runs=tuple(f"ours:{programs}" for programs in PROGRAMS),
    goals=tuple(Goal(run=f"ours:{programs}", at_most=_AT_MOST) for programs in PROGRAMS if programs > 1),
    measure=measure,
)
