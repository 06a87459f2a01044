"""Rows of one array of 1 MiB, beside plain writes of the same array to a file in the same folder.

Both take turns in one process, some rows at a time, so that whatever else the disk does falls on both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

_ROWS = 16
_BLOCKS = 12


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import numpy

    import qmi.data

    array = numpy.random.default_rng(1).random((1 << 20) // 8)
    folder = Path.cwd()
    file = os.open(folder / "plain", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with qmi.data.run("arrays", ["trace"], folder=folder / "runs") as run:
        ways: list[Callable[[], object]] = [lambda: os.write(file, array.data), lambda: run.add(trace=array)]
        took = [0.0, 0.0]
        for block in range(_BLOCKS):
            for which in (0, 1) if block % 2 else (1, 0):
                begin = time.perf_counter()
                for _ in range(_ROWS):
                    ways[which]()
                if block > 1:
                    took[which] += time.perf_counter() - begin
    os.close(file)
    plain, ours = ((_BLOCKS - 2) * _ROWS / each for each in took)
    return {"value": ours, "plain write": plain}


MEASURE = Measure(
    title="rows of 1 MiB arrays",
    unit="MiB/s",
    runs=("ours",),
    goals=(Goal(versus="ours", versus_figure="plain write", at_least=0.7),),
    measure=measure,
)
