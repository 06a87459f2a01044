"""How results look as text: one row for each goal, and all figures by system."""

from __future__ import annotations

import math
import statistics
from typing import Final

from benchmarks.machine import warning
from benchmarks.plan import Goal, Measure
from benchmarks.results import Found, Results, Spread, Verdict, in_order

NAMES = {
    "ours": "qmi-trio",
    "upstream": "QMI",
    "pykka_actors": "pykka",
    "pyro5": "Pyro5",
    "rpyc_service": "rpyc",
    "qcodes_dataset": "QCoDeS",
    "threads": "two threads",
    "sockets": "socket",
    "trio_alone": "trio",
}


def run_title(run: str) -> str:
    """A run as people call it."""
    system, _, variant = run.partition(":")
    return NAMES[system] + (f" ({variant})" if variant else "")


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.3g}"


def goal_title(goal: Goal) -> str:
    """Whose figure against whose."""
    mine = run_title(goal.run) + ("" if goal.figure == "value" else f" {goal.figure}")
    if goal.versus is None:
        return mine
    return f"{mine} / {run_title(goal.versus)}" + (f" {goal.versus_figure}" if goal.versus_figure else "")


MANY: Final = 20
"""A measure of more goals has one row, and no place in the picture."""


def markdown(results: Results) -> str:
    """The table of the documentation: a row for each goal, or one for all of a measure if they are many."""
    lines = ["| what | unit | figures | compared | ratio | goal | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for measure, found in in_order(results):
        if len(measure.goals) > MANY:
            lines.append(_row_of_many(measure, found))
            continue
        figures = "; ".join(_figures(found, run) for run in measure.runs)
        for index, goal in enumerate(measure.goals):
            verdict = found.verdict(goal)
            what, unit, all_figures = (measure.title, measure.unit, figures) if index == 0 else ("", "", "")
            ratio = _ratio(verdict)
            mark = "yes" if verdict.met else "no"
            lines.append(
                f"| {what} | {unit} | {all_figures} | {goal_title(goal)} | {ratio} | {_limit(goal)} | {mark} |"
            )
    return "\n".join(lines)


def _row_of_many(measure: Measure, found: Found) -> str:
    verdicts = [found.verdict(goal) for goal in measure.goals]
    ratios = [verdict.ratio.median for verdict in verdicts if verdict.ratio is not None]
    middle = f"{number(statistics.median(ratios))} in the middle" if ratios else "-"
    missed = [verdict for verdict in verdicts if not verdict.met]
    missed.sort(key=lambda verdict: verdict.ratio.median if verdict.ratio else math.inf, reverse=True)
    others = ", ".join(
        f"{verdict.goal.figure} {number(verdict.ratio.median) if verdict.ratio else '-'}" for verdict in missed
    )
    figures = "; ".join(
        f"{run_title(run)} {number(all_of_run['value'].median)}"
        for run in measure.runs
        if (all_of_run := found.figures(run))
    )
    what = f"{goal_title(measure.goals[0]).replace(measure.goals[0].figure, 'each')}; missed: {others or 'none'}"
    reached = f"{len(verdicts) - len(missed)} of {len(verdicts)}"
    return (
        f"| {measure.title} | {measure.unit} | {figures} | {what} | {middle} | {_limit(measure.goals[0])} | {reached} |"
    )


def _limit(goal: Goal) -> str:
    return goal.limit().replace("<=", "≤").replace(">=", "≥")


def _figures(found: Found, run: str) -> str:
    figures = found.figures(run)
    if not figures:
        return f"{run_title(run)}: -"
    values = ", ".join(
        (f"{name} " if name != "value" else "") + number(figure.median) for name, figure in figures.items()
    )
    return f"{run_title(run)} {values}"


def _ratio(verdict: Verdict) -> str:
    return "-" if verdict.ratio is None else f"{number(verdict.ratio.median)} {_range(verdict.ratio)}"


def _range(found: Spread) -> str:
    return f"({number(found.low)} to {number(found.high)})"


def text(results: Results) -> str:
    """The same for a terminal, with the spread of every figure."""
    lines = []
    for measure, found in in_order(results):
        lines.append(f"\n{measure.title} [{measure.unit}]" + (f"  (load {found.load:g})" if found.load else ""))
        for run in measure.runs:
            for name, figure in found.figures(run).items():
                title = run_title(run) + ("" if name == "value" else f", {name}")
                lines.append(f"    {title:28}{number(figure.median):>12}   {_range(figure)}")
            if run in found.failures:
                lines.append(f"    {run_title(run):28}{'-':>12}   {found.failures[run]}")
        for goal in measure.goals:
            verdict = found.verdict(goal)
            mark = "reached" if verdict.met else "MISSED"
            lines.append(f"    -> {goal_title(goal):38}{_ratio(verdict):>28}  goal {goal.limit():8} {mark}")
    doubt = warning(results.load_before)
    if doubt is not None:
        lines.append(f"\nWARNING: {doubt}")
    return "\n".join(lines)
