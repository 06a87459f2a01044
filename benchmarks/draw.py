"""The picture of the results: each goal's ratio with its spread, beside its limit."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import used
from benchmarks.plan import Goal
from benchmarks.results import Results, Spread, in_order
from benchmarks.table import MANY, goal_title, number, run_title

MET, MISSED, LIMIT, LATE = "#2a7f62", "#c8553d", "#444444", "#a9cdbf"
LATENESS = "loop lateness at 500 Hz"
LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def draw(results: Results, path: Path) -> None:
    """Write a picture; needs matplotlib, which nothing else here does."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows: list[tuple[str, Goal, Spread]] = []
    for measure, found in in_order(results):
        for goal in measure.goals if len(measure.goals) <= MANY else ():
            verdict = found.verdict(goal)
            if verdict.ratio is not None:
                rows.append((f"{measure.title}\n{goal_title(goal)}", goal, verdict.ratio))
    figure, axes = pyplot.subplots(figsize=(11, 0.55 * len(rows) + 1.6))
    for height, (_, goal, ratio) in enumerate(reversed(rows)):
        limit = goal.at_most if goal.at_most is not None else goal.at_least
        assert limit is not None
        # To the left of the line is better, whichever way the goal is worded.
        low, middle, high = (_share(value, goal, limit) for value in (ratio.low, ratio.median, ratio.high))
        color = MET if goal.is_met(ratio.median) else MISSED
        axes.barh(height, middle, color=color, height=0.62)
        axes.plot(sorted((low, high)), (height, height), color="black", linewidth=1.2)
        label = f" {number(ratio.median)}  (goal {goal.limit()})"
        axes.text(max(low, middle, high), height, label, va="center", fontsize=8, bbox=LABEL)
    axes.axvline(1.0, color=LIMIT, linestyle="--", linewidth=1.0)
    axes.set_yticks(range(len(rows)), [title for title, _, _ in reversed(rows)], fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.35, y=0.01)
    axes.set_xlabel("part of the limit that is used; left of the dashed line the goal is reached")
    machine = results.machine
    axes.set_title(f"{results.date}, {used(machine)}, {machine['python']}", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_lateness(results: Results, path: Path) -> None:
    """Write a picture of how late loops start, for the page about tasks; nothing if that was not measured."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    found = {measure.title: (measure, found) for measure, found in in_order(results)}.get(LATENESS)
    if found is None:
        return
    runs = [(run_title(run), found[1].figures(run)) for run in found[0].runs]
    figure, axes = pyplot.subplots(figsize=(7.5, 2.6))
    bars = {}
    for height, (_, figures) in enumerate(reversed(runs)):
        for name, color in (("p99", LATE), ("median", MET)):
            if name not in figures:
                continue
            middle, low, high = figures[name]
            bars[name] = axes.barh(height, middle, color=color, height=0.6)
            axes.plot((low, high), (height, height), color="black", linewidth=0.8)
    axes.set_yticks(range(len(runs)), [title for title, _ in reversed(runs)], fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("how late an iteration starts, in µs (lines: least and greatest of the rounds)", fontsize=8)
    axes.set_title(f"{LATENESS}; {results.date}, {used(results.machine)}", fontsize=9)
    titles = {"median": "median", "p99": "99th percentile"}
    axes.legend([bars[name] for name in titles], titles.values(), fontsize=8, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _share(value: float, goal: Goal, limit: float) -> float:
    # A figure may be zero or, for lateness, before its time: the axis is logarithmic.
    if not limit:  # nothing may be lost: whatever was is far beyond
        return 1e-3 if value <= 0 else 1e3
    value = max(value, 1e-3 * limit)
    return value / limit if goal.at_most is not None else limit / value
