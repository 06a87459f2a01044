"""Many rows of ten floats: whether adding stays what it was, and what becomes of them at the end.

There are a million rows for each second that is asked for: ``--only rows_many --seconds 10`` measures ten millions.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_BLOCK = 1000
_PARTS = 10


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import psutil
    import xarray

    import qmi.data

    process = psutil.Process()
    rows = max(100_000, int(1_000_000 * seconds))
    row = {f"c{number}": number + 0.1 for number in range(10)}
    blocks: list[float] = []
    with qmi.data.run("many", list(row), folder=Path.cwd() / "runs") as run:
        for number in range(rows // _BLOCK):
            begin = time.perf_counter()
            for _ in range(_BLOCK):
                run.add(**row)
            blocks.append(time.perf_counter() - begin)
            if number == rows // _BLOCK // _PARTS:
                memory = process.memory_info().rss
        memory = process.memory_info().rss - memory
        begin = time.perf_counter()
    ended = time.perf_counter()
    with xarray.open_dataset(run.file) as data:
        assert data.sizes["row"] == rows
    opened = time.perf_counter()
    part = len(blocks) // _PARTS

    def of(found: list[float]) -> float:
        return statistics.quantiles(found, n=4)[0] / _BLOCK * 1e6  # what other programs do makes blocks only slower

    return {
        "value": of(blocks),
        "of the first tenth": of(blocks[:part]),
        "of the last tenth": of(blocks[-part:]),
        "memory in MiB": memory / (1 << 20),
        "file": (ended - begin) / rows * 1e6,
        "opening in s": opened - ended,
    }


MEASURE = Measure(
    title="a million rows of ten floats: adding, making the file, opening it",
    unit="µs a row",
    runs=("ours",),
    goals=(
        Goal(figure="of the last tenth", versus="ours", versus_figure="of the first tenth", at_most=1.2),
        Goal(figure="memory in MiB", at_most=2),
        Goal(figure="file", at_most=5),
        Goal(figure="opening in s", at_most=1),
    ),
    measure=measure,
)
