"""Where the documentation shows the results: the table in its page, and one line in the README.

python -m benchmarks.pages [RESULTS.json]
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.machine import used, warning
from benchmarks.results import DIRECTORY, Results, in_order, load_results
from benchmarks.table import markdown, number

ROOT = Path(__file__).parent.parent
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: written by `make bench-pages` -->", "<!-- end of benchmarks -->"


def section(results: Results) -> str:
    """What the page shows: what was measured where, and the table."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    doubt = warning(results.load_before)
    rounds = max(len(found.rounds) for found in results.measures.values())
    return "\n".join(
        [
            f"Measured on {results.date}: {used(machine)} ({machine['processor']}), "
            f"{machine['memory_gib']} GiB, {machine['system']}, {machine['python']}; {versions}. "
            f"All took turns in {rounds} rounds; figures are medians, in brackets the least and the greatest ratio."
            + (f" Note that {doubt}." if doubt else ""),
            "",
            markdown(results),
        ]
    )


def summary(results: Results) -> str:
    """What the README shows: a line about calls and loops, and how many goals are reached."""
    verdicts = [found.verdict(goal) for measure, found in in_order(results) for goal in measure.goals]
    reached = sum(verdict.met for verdict in verdicts)
    parts = []
    for measure, what in (("call_thread", "in one program"), ("call_remote", "between two programs")):
        if figures := _medians(results, measure, "value"):
            parts.append(f"a call {what} takes {number(figures[0])} µs (QMI: {number(figures[1])} µs)")
    if figures := _medians(results, "loop_lateness", "median"):
        parts.append(f"a 500 Hz loop is {number(figures[0])} µs late in the median (QMI: {number(figures[1])} µs)")
    what = "; ".join([", ".join(parts)] * bool(parts) + [f"{reached} of {len(verdicts)} goals are reached"])
    return f"Measured beside QMI on {results.date}: {what}. [All figures](docs/benchmarks.md)."


def _medians(results: Results, measure: str, figure: str) -> tuple[float, float] | None:
    """Of this library and of QMI."""
    found = results.measures.get(measure)
    if found is None:
        return None
    ours, theirs = (found.figures(run).get(figure) for run in ("ours", "upstream"))
    return None if ours is None or theirs is None else (ours.median, theirs.median)


def replace_section(text: str, content: str) -> str:
    """The text with other content between the markers.

    Raises:
        ValueError: If it does not have both, in this order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}; put them where the results are to stand")
    return f"{head}{BEGIN}\n{content}\n{END}{tail}"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY / "latest.json"
    results = load_results(path)
    for page, content in ((PAGE, section(results)), (README, summary(results))):
        page.write_text(replace_section(page.read_text(encoding="utf-8"), content), encoding="utf-8")
    print(f"{PAGE.name} and {README.name} show {path.name} now")


if __name__ == "__main__":
    main()
