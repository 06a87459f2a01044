"""How cost grows with how many there are, from 1 to 10,000: this library and upstream QMI taking turns, and a picture.

    python -m benchmarks.growth [--kinds calls,links] [--seconds 0.5] [--limit 15]

Each point is measured in processes of their own, which are killed when they take longer than the limit. A system whose
point fails is not asked for larger ones: the picture and the table say where it ended, and by what. Writes
``benchmarks/results/growth.json`` and ``growth.svg``; ``make bench-pages`` puts the table into the documentation.
"""

from __future__ import annotations

import argparse
import datetime
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.children import ChildFailed, run_child
from benchmarks.environments import versions
from benchmarks.results import DIRECTORY
from benchmarks.table import number, run_title

SIZES = (1, 10, 100, 1000, 10_000)
KINDS = {
    "calls": "calls of another program under way at once: µs for each",
    "signals": "receivers of a signal in one program: µs for each",
    "objects": "objects in one program: µs to make one",
    "links": "programs connected to one: µs of a call in it",
    "loops": "loops once a second: µs of processor time an iteration",
}
_ASYNC = ("objects", "loops")
RESULTS = DIRECTORY / "growth.json"
_COLORS = {"ours": "#2a7f62", "ours:async": "#7fb7a3", "upstream": "#c8553d"}


@dataclass
class Line:
    """One system's points of one kind.

    Attributes:
        points: Figures by how many there were, as text.
        end: What it could not go on by; empty if it reached the end.
    """

    points: dict[str, float] = field(default_factory=dict)
    end: str = ""

    def ended_at(self) -> int | None:
        """How many there should have been when it could not go on."""
        return SIZES[len(self.points)] if self.end else None


@dataclass
class Growth:
    """What one run found.

    Attributes:
        machine: Where it was measured.
        versions: What was measured.
        date: Day of the measurement.
        load_before: Load of the machine before it began.
        limit: Seconds after which a point was given up.
        kinds: Lines by kind and run.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    load_before: float
    limit: float
    kinds: dict[str, dict[str, Line]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load_growth(path: Path = RESULTS) -> Growth:
    """Read it back."""
    plain = json.loads(path.read_text())
    plain["kinds"] = {
        kind: {run: Line(**line) for run, line in lines.items()} for kind, lines in plain["kinds"].items()
    }
    return Growth(**plain)


def runs_of(kind: str) -> tuple[str, ...]:
    """Who is measured: this library's ``async`` objects and loops, too."""
    return ("ours", "ours:async", "upstream") if kind in _ASYNC else ("ours", "upstream")


def measure_kind(kind: str, seconds: float, limit: float) -> dict[str, Line]:
    """Measure the points of one kind, the systems taking turns."""
    lines = {run: Line() for run in runs_of(kind)}
    for index, size in enumerate(SIZES):
        for run in lines if index % 2 == 0 else reversed(lines):
            line = lines[run]
            if line.end:
                continue
            system, _, variant = run.partition(":")
            point = "-".join(part for part in (variant, kind, str(size)) if part)
            print(f"{kind}, {size}: {run_title(run)}", flush=True)
            try:
                line.points[str(size)] = run_child(f"{system}:{point}", "growth", seconds, limit=limit)["value"]
            except ChildFailed as failure:
                line.end = str(failure)
    return lines


def table(growth: Growth) -> str:
    """The table of the documentation."""
    head = " | ".join(f"{size:,}" for size in SIZES)
    rows = [f"| what | | {head} |", "| --- | --- |" + " ---: |" * len(SIZES)]
    for kind, lines in growth.kinds.items():
        for index, (run, line) in enumerate(lines.items()):
            cells = [number(line.points[str(size)]) if str(size) in line.points else "-" for size in SIZES]
            rows.append(f"| {'' if index else KINDS[kind]} | {run_title(run)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def endings(growth: Growth) -> list[str]:
    """Sentences that say who could not go on, where and by what."""
    return [
        f"{run_title(run)} did not get to {line.ended_at():,} {kind}: {line.end}."
        for kind, lines in growth.kinds.items()
        for run, line in lines.items()
        if line.end
    ]


def section(growth: Growth) -> str:
    """What the page shows."""
    doubt = machine.warning(growth.load_before)
    parts = [
        f"Measured on {growth.date}: {machine.used(growth.machine)} ({growth.machine['processor']}), "
        f"{growth.machine['system']}, {growth.machine['python']}; "
        + ", ".join(f"{name} {version}" for name, version in growth.versions.items())
        + "."
        + (f" Note that {doubt}." if doubt else ""),
        "",
        table(growth),
    ]
    if ended := endings(growth):
        parts += ["", *(f"- {sentence}" for sentence in ended)]
    return "\n".join(parts)


def draw(growth: Growth, path: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 3, figsize=(11, 6.2), sharex=True)
    for axes, (kind, lines) in zip(panels.flat, growth.kinds.items(), strict=False):
        for index, (run, line) in enumerate(lines.items()):
            sizes = [int(size) for size in line.points]
            axes.plot(sizes, list(line.points.values()), "o-", color=_COLORS[run], markersize=4, label=run_title(run))
            if line.end and sizes:
                place = (sizes[-1], line.points[str(sizes[-1])])
                axes.plot(*place, "x", color=_COLORS[run], markersize=12, mew=2)
                axes.annotate(
                    f"{run_title(run)}: not to {line.ended_at():,}",
                    (0.98, 0.97 - 0.07 * index),
                    xycoords="axes fraction",
                    ha="right",
                    va="top",
                    fontsize=8,
                    color=_COLORS[run],
                )
        what, _, unit = KINDS[kind].partition(": ")
        axes.set_title(what, fontsize=9)
        axes.set_ylabel(unit, fontsize=8)
        found = [figure for line in lines.values() for figure in line.points.values()]
        if found:  # at least two decades, so that noise does not look like growth
            middle = (min(found) * max(found)) ** 0.5
            axes.set_ylim(min(0.5 * min(found), middle / 10), max(5 * max(found), middle * 10))
        axes.set(xscale="log", yscale="log", xlim=(0.7, 20_000))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES], fontsize=8)
        axes.tick_params(labelbottom=True, labelsize=8)
        axes.grid(alpha=0.3, which="major")
    *_, last = panels.flat
    last.axis("off")
    titles: dict[str, Any] = {}
    for axes in panels.flat:
        handles, texts = axes.get_legend_handles_labels()
        titles.update(zip(texts, handles, strict=True))
    last.legend(titles.values(), titles, loc="center", fontsize=10, frameon=False)
    said = f"{growth.date}, {machine.used(growth.machine)}"
    last.text(0.5, 0.2, said, ha="center", fontsize=8, transform=last.transAxes)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas; the others stay in the file")
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring at each point")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds after which a point is given up")
    options = parser.parse_args(arguments)
    names = options.kinds.split(",")
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = Growth(machine.describe(), versions(("ours", "upstream")), today, machine.load(), options.limit)
    before = load_growth().kinds if RESULTS.exists() else {}
    for kind in KINDS:
        if kind in names:
            found.kinds[kind] = measure_kind(kind, options.seconds, options.limit)
        elif kind in before:
            found.kinds[kind] = before[kind]
    found.save(RESULTS)
    draw(found, RESULTS.with_suffix(".svg"))
    print("\n".join((table(found), *endings(found))))


if __name__ == "__main__":
    main()
