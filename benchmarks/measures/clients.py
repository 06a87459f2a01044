"""Twenty programs that all call one instrument at the same time, each the next time when it has its answer.

"value" is how many calls they get done in a second together; "median" and "p99" are µs that a call takes, "share" is
the calls of the program that got the fewest, as a part of what each would have if all had as many.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measures._calls import run_name
from benchmarks.meter import quantile
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.server import served

PROGRAMS = 20


@contextmanager
def callers(system: Any, address: str, seconds: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Twenty programs that are connected and wait for a line."""
    child = Path(__file__).parent.parent / "child.py"
    command = [sys.executable, "-P", str(child), system.name, "--run", "benchmarks.caller", system.name, address]
    programs = [
        subprocess.Popen(
            [*command, str(number), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(PROGRAMS)
    ]
    try:
        for program in programs:
            if said(program) != "ready":
                raise RuntimeError("a program that calls ended before it was connected")
        yield programs
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def said(program: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert program.stdout is not None
    return program.stdout.readline().strip()


def tell(program: subprocess.Popen[str]) -> None:
    """Give a program a line."""
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def measure(system: Any, variant: str, seconds: float) -> Figures:
    with served(run_name(system)) as address, callers(system, address, seconds) as programs:
        for program in programs:
            tell(program)
        found = [json.loads(said(program)) for program in programs]
    times = [time for each in found for time in each["times"]]
    rates = [each["calls"] / each["seconds"] for each in found]
    median = statistics.median(times)
    return {
        "value": sum(rates),
        "median": median,
        "p99": quantile(times, 0.99),
        "p99 in medians": quantile(times, 0.99) / median,
        "share": min(rates) / statistics.fmean(rates),
    }


MEASURE = Measure(
    title="twenty programs that call one instrument at once",
    unit="1/s",
    runs=("ours", "upstream"),
    goals=(
        Goal(versus="upstream", at_least=2.0),
        Goal(figure="p99 in medians", at_most=3.0),
        Goal(figure="share", at_least=0.5),
    ),
    measure=measure,
)
