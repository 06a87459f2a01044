"""Whether a measuring loop is later while 20 browsers look at the values of its program.

The loop runs at 500 Hz in the measuring program, beside 100 values that are read at 10 Hz; it takes turns with and
without browsers, within one run. On a machine of few processors the browsers' own work counts, too: they and the
server run on the processors that the loop needs.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.plan import Figures, Goal, Measure

BROWSERS = 20
TURNS = 3


def measure(system: Any, variant: str, seconds: float) -> Figures:
    from benchmarks.web.stage import helper, laboratory, pages, topics

    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with laboratory("values") as (lab, port), pages(port) as served:
        for _ in range(TURNS):
            found["without"].append(lab.ask(str(seconds / TURNS)))
            with helper("benchmarks.web.browsers", served.url, *topics("values")) as browsers:
                browsers.ask(f"open {BROWSERS}")
                found["with"].append(lab.ask(str(seconds / TURNS)))
    figures: Figures = {}
    for name in ("median", "p99"):
        for which, turns in found.items():
            figures[f"{name} {which}"] = statistics.median(turn[name] for turn in turns)
        figures[f"{name} ratio"] = figures[f"{name} with"] / figures[f"{name} without"]
    return figures


MEASURE = Measure(
    title="lateness of a 500 Hz loop with 20 browsers, and without",
    unit="µs",
    runs=("ours",),
    goals=(Goal(figure="median ratio", at_most=1.1), Goal(figure="p99 ratio", at_most=1.25)),
    measure=measure,
)
