"""The time of importing the library and all that it offers, in a fresh interpreter, beside ``import trio``.

A package may put off what it needs until a name is used; the star takes all names, as a script would sooner or later.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_PROGRAM = "import time; begin = time.perf_counter(); from {} import *; print(time.perf_counter() - begin)"


def measure(system: Any, variant: str, seconds: float) -> Figures:
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        command = [sys.executable, "-P", "-c", _PROGRAM.format(system.module)]
        found.append(float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60.0).stdout))
    return {"value": statistics.median(found) * 1e3}


MEASURE = Measure(
    title="import of the library",
    unit="ms",
    runs=("ours", "trio_alone", "upstream"),
    goals=(Goal(versus="trio_alone", at_most=1.2),),
    measure=measure,
)
