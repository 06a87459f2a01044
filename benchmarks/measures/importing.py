"""The time of ``import qmi`` in a fresh interpreter, beside ``import trio``: alone, and with all names that it offers.

A package may put off what it needs until a name is used; the star takes all names, as a script will sooner or later.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_PROGRAM = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"


def measure(system: Any, variant: str, seconds: float) -> Figures:
    return {
        "value": _milliseconds(f"import {system.module}", seconds),
        "all names": _milliseconds(f"from {system.module} import *", seconds),
    }


def _milliseconds(statement: str, seconds: float) -> float:
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 3 or time.perf_counter() < end:
        command = [sys.executable, "-P", "-c", _PROGRAM.format(statement)]
        found.append(float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60.0).stdout))
    return statistics.median(found) * 1e3


MEASURE = Measure(
    title="import of the library",
    unit="ms",
    runs=("ours", "trio_alone", "upstream"),
    goals=(Goal(versus="trio_alone", at_most=1.2), Goal(figure="all names", versus="trio_alone", at_most=1.2)),
    measure=measure,
)
