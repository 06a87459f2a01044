"""Rows of ten floats a second, each of which survives SIGKILL as soon as it was added.

QMI's recorder keeps rows in memory until it writes them, which it does at the latest when it is closed: that is waited
for. With the variant "each", a recorder is opened and closed for each row, by which each of them is in the file.
"""

from __future__ import annotations

import time

from benchmarks.plan import Figures, Goal, Measure
from benchmarks.systems.base import System

_COLUMNS = [f"c{number}" for number in range(10)]
_BLOCK = 20


def measure(system: System, variant: str, seconds: float) -> Figures:
    row = [float(number) + 0.1 for number in range(len(_COLUMNS))]
    rows = 0
    with system.recording(variant, _COLUMNS) as recording:
        recording.add(row)  # whatever is made with the first row
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds:
            for _ in range(_BLOCK):
                recording.add(row)
            rows += _BLOCK
        recording.make_safe()
        return {"value": rows / (time.perf_counter() - begin)}


MEASURE = Measure(
    title="rows of ten floats, safe against SIGKILL",
    unit="1/s",
    runs=("ours", "qcodes_dataset", "upstream", "upstream:each"),
    goals=(
        Goal(at_least=10_000),
        Goal(versus="qcodes_dataset", at_least=10),
        Goal(versus="upstream:each", at_least=10),
    ),
    measure=measure,
)
