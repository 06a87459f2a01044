"""How punctual loop tasks are: plain, async and precise ones, beside upstream QMI in the same run.

    python -m benchmarks.loops [--seconds 3] [--rounds 3] [--others 0 50] [--upstream PYTHON] [--plot loops.png]

``--upstream`` is a Python that has upstream QMI installed (by default that of the other benchmarks), and nothing of it
is used but its public names: the same script, ``loop_program.py``, runs with both. They take turns, round by round,
each in a fresh process, so that whatever else the machine does falls on all alike; the table shows the median of the
rounds and, in brackets, their least and greatest. ``--seconds 60`` measures a minute, for the drift.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environments import interpreter

PROGRAM = Path(__file__).with_name("loop_program.py")
PERIODS = {"1 kHz": 1e-3, "500 Hz": 2e-3, "10 Hz": 0.1, "flat out": 1e-6}
OURS = ("plain", "async", "precise")
GOAL = 0.6


class Case(NamedTuple):
    """What is measured: which loop, how often, beside how many others."""

    kind: str
    rate: str
    others: int


Result = dict[str, float]


def run(python: str, case: Case, seconds: float) -> Result:
    """Measure once, in a fresh process."""
    kind = "plain" if case.kind == "upstream" else case.kind
    words = ["--kind", kind, "--period", str(PERIODS[case.rate]), "--others", str(case.others)]
    done = subprocess.run(
        [python, str(PROGRAM), *words, "--seconds", str(seconds)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{case} failed:\n{done.stderr}")
    found: Result = json.loads(done.stdout)
    return found


def measure(options: Any) -> dict[Case, list[Result]]:
    """All cases, taking turns."""
    kinds = [*OURS, *(["upstream"] if options.upstream else [])]
    cases = [Case(kind, rate, others) for others in options.others for rate in PERIODS for kind in kinds]
    results: dict[Case, list[Result]] = {case: [] for case in cases}
    for number in range(options.rounds):
        for case in cases:
            python = options.upstream if case.kind == "upstream" else sys.executable
            seconds = min(options.seconds, 1.0) if case.rate == "flat out" else options.seconds
            results[case].append(run(python, case, seconds))
            print(f"\rround {number + 1}: {' '.join(map(str, case))}      ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def middle(results: Sequence[Result], name: str, scale: float = 1e6) -> str:
    values = [result[name] * scale for result in results]
    return f"{statistics.median(values):.0f} ({min(values):.0f}..{max(values):.0f})"


def table(results: Mapping[Case, Sequence[Result]]) -> list[str]:
    lines = [row("", "median µs", "99 % µs", "worst µs", "drift µs/min", "missed %", "cpu %")]
    for case, rounds in results.items():
        name = f"{case.rate:>9}, {case.others:>2} others, {case.kind:<9}"
        if case.rate == "flat out":
            lines.append(f"{name:34}{middle(rounds, 'rate', 1.0):>26} iterations a second")
            continue
        times = [middle(rounds, column) for column in ("median", "p99", "worst", "drift")]
        lines.append(row(name, *times, missed(case, rounds), middle(rounds, "cpu", 100.0)))
    return lines


def row(name: str, *columns: str) -> str:
    return f"{name:34}" + "".join(f"{column:>22}" for column in columns)


def missed(case: Case, rounds: Sequence[Result]) -> str:
    values = [max(100.0 * (1.0 - result["rate"] * PERIODS[case.rate]), 0.0) for result in rounds]
    return f"{statistics.median(values):.0f} ({min(values):.0f}..{max(values):.0f})"


def verdict(results: Mapping[Case, Sequence[Result]]) -> list[str]:
    """How the medians at 500 Hz compare with upstream's."""
    lines = []
    for case, rounds in results.items():
        other = results.get(case._replace(kind="upstream"))
        if case.rate != "500 Hz" or case.kind == "upstream" or other is None:
            continue
        ours, theirs = (statistics.median(result["median"] for result in some) for some in (rounds, other))
        ratio = ours / theirs
        good = "reached" if ratio <= GOAL else "MISSED"
        lines.append(
            f"500 Hz, {case.others} others, {case.kind}: {ratio:.2f} of upstream's median (goal {GOAL}: {good})"
        )
    return lines


def draw(results: Mapping[Case, Sequence[Result]], path: str) -> bool:
    """Draw medians (bars) and 99th percentiles (lines above them); False without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot

    others = sorted({case.others for case in results})
    kinds = list(dict.fromkeys(case.kind for case in results))
    rates = [rate for rate in PERIODS if rate != "flat out"]
    figure, axes = pyplot.subplots(1, len(others), figsize=(6 * len(others), 4), sharey=True, squeeze=False)
    for axis, count in zip(axes[0], others, strict=True):
        for index, kind in enumerate(kinds):
            rows = [results[Case(kind, rate, count)] for rate in rates]
            medians = [max(statistics.median(row["median"] for row in rounds) * 1e6, 0.1) for rounds in rows]
            tails = [statistics.median(row["p99"] for row in rounds) * 1e6 for rounds in rows]
            places = [place + 0.2 * index for place in range(len(rates))]
            axis.bar(places, medians, 0.18, label=kind)
            axis.vlines(places, medians, tails, color="grey")
        axis.set_yscale("log")
        axis.set_xticks([place + 0.1 * (len(kinds) - 1) for place in range(len(rates))], rates)
        axis.set_title(f"beside {count} other loops")
    axes[0][0].set_ylabel("lateness in µs: median, line to 99 %")
    axes[0][0].legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path)
    return True


def bars(results: Mapping[Case, Sequence[Result]]) -> list[str]:
    """The medians as text, a star for each factor of two above half a microsecond."""
    lines = []
    for case, rounds in results.items():
        if case.rate != "flat out":
            median = statistics.median(result["median"] for result in rounds) * 1e6
            stars = "*" * max(int(median * 2).bit_length(), 0)
            lines.append(f"{case.rate:>9}, {case.others:>2} others, {case.kind:<9} {stars} {median:.0f} µs")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--others", type=int, nargs="+", default=[0, 50])
    parser.add_argument("--upstream", metavar="PYTHON", help="by default that of the other benchmarks")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    options.upstream = options.upstream or interpreter("upstream")
    results = measure(options)
    print(*table(results), *verdict(results), sep="\n")
    if options.plot is None or not draw(results, options.plot):
        print(*bars(results), sep="\n")


if __name__ == "__main__":
    main()
