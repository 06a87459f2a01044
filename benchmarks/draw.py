"""The picture of the results: each goal's ratio with its spread, beside its limit."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import used
from benchmarks.plan import Goal
from benchmarks.results import Results, Spread, in_order
from benchmarks.table import goal_title, number

MET, MISSED, LIMIT = "#2a7f62", "#c8553d", "#444444"
LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def draw(results: Results, path: Path) -> None:
    """Write a picture; needs matplotlib, which nothing else here does."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows: list[tuple[str, Goal, Spread]] = []
    for measure, found in in_order(results):
        for goal in measure.goals:
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


def _share(value: float, goal: Goal, limit: float) -> float:
    # A figure may be zero or, for lateness, before its time: the axis is logarithmic.
    value = max(value, 1e-3 * limit)
    return value / limit if goal.at_most is not None else limit / value
