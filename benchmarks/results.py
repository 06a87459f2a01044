"""What a run of the benchmarks found: rounds of figures, and what is made of them. Read and written as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measures import ORDER, WEB
from benchmarks.plan import Figures, Goal, Measure

DIRECTORY = Path(__file__).parent / "results"


class Spread(NamedTuple):
    """The middle of some values, and how far they went."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(statistics.median(values), min(values), max(values))


class Verdict(NamedTuple):
    """What became of a goal; no ratio if one of its runs gave nothing."""

    goal: Goal
    ratio: Spread | None
    met: bool


@dataclass
class Found:
    """One measure's rounds: figures by run in each of them.

    Attributes:
        rounds: Figures by run.
        failures: Why a run gave nothing, by run.
        load: Load of the machine when this measure was done.
    """

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    load: float = 0.0

    def figures(self, run: str) -> dict[str, Spread]:
        """The figures of a run over all rounds."""
        mine = [figures[run] for figures in self.rounds if run in figures]
        return {name: spread([figures[name] for figures in mine]) for name in (mine[0] if mine else ())}

    def verdict(self, goal: Goal) -> Verdict:
        """Hold the figures against a goal; what counts is the middle of the rounds' ratios."""
        ratios = goal.pairs(self.rounds)
        if not ratios:
            return Verdict(goal, None, False)
        ratio = spread(ratios)
        return Verdict(goal, ratio, goal.is_met(ratio.median))


@dataclass
class Results:
    """Everything.

    Attributes:
        machine: Where it was measured.
        versions: What was measured.
        date: Day of the measurement.
        load_before: Load of the machine before it began.
        seconds: Length of each run.
        measures: By name.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    load_before: float
    seconds: float
    measures: dict[str, Found] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load_results(path: Path) -> Results:
    """Read them back."""
    plain = json.loads(path.read_text())
    plain["measures"] = {name: Found(**found) for name, found in plain["measures"].items()}
    return Results(**plain)


def measure_named(name: str) -> Measure:
    """The definition of a measure."""
    found: Measure = import_module(f"benchmarks.measures.{name}").MEASURE
    return found


def in_order(results: Results) -> list[tuple[Measure, Found]]:
    """Definitions and what was found, in the order of the table."""
    return [(measure_named(name), results.measures[name]) for name in (*ORDER, *WEB) if name in results.measures]
