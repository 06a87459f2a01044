"""The time of a whole program that starts a context, makes nothing in it and stops, from the command to its exit.

Beside it a program that imports trio and does nothing: no program of this library takes less.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_PROGRAMS = {
    "qmi": "import qmi; qmi.start('bench', None, console_loglevel='ERROR'); qmi.stop()",
    "trio": "import trio",
}


def measure(system: Any, variant: str, seconds: float) -> Figures:
    """The least of several runs: load only adds to it."""
    command = [sys.executable, "-P", "-c", _PROGRAMS[system.module]]
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, timeout=60.0)
        found.append(time.perf_counter() - begin)
    return {"value": min(found) * 1e3}


MEASURE = Measure(
    title="a program that starts, makes nothing and stops",
    unit="ms",
    runs=("ours", "upstream", "trio_alone"),
    goals=(Goal(versus="upstream", at_most=1.5),),
    measure=measure,
)
