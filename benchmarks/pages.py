"""Where the documentation shows the results: the tables in its page, and one line in the README and in the pages' own.

python -m benchmarks.pages [RESULTS.json [RESULTS-OF-THE-PAGES.json]]
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import growth
from benchmarks.machine import used, warning
from benchmarks.results import DIRECTORY, Results, in_order, load_results
from benchmarks.table import markdown, number

ROOT = Path(__file__).parent.parent
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
WEB_PAGE = ROOT / "docs" / "do" / "web.md"
BEGIN, END = "<!-- benchmarks: written by `make bench-pages` -->", "<!-- end of benchmarks -->"
WEB_BEGIN, WEB_END = (
    "<!-- benchmarks of pages: written by `make bench-pages` -->",
    "<!-- end of benchmarks of pages -->",
)

GROWTH_BEGIN, GROWTH_END = (
    "<!-- how cost grows: written by `make bench-pages` -->",
    "<!-- end of how cost grows -->",
)


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


def web_summary(results: Results) -> str:
    """What the page about the pages shows: what they cost, in one sentence each."""
    parts = []
    if server := _median(results, "web_pushes", "ours:values", "server"):
        quiet = _median(results, "web_pushes", "ours:nobody", "server") or 0.0
        parts.append(
            f"20 browsers that look at 100 values at 10 Hz take {number(server)} % of one processor of the server "
            f"({number(quiet)} % while nobody looks)"
        )
    if plots := _median(results, "web_plots", "ours:live", "renderer"):
        pictures = _median(results, "web_plots", "ours:live", "pictures") or 0.0
        parts.append(
            f"ten live plots at 20 Hz, all in sight, take {number(plots)} % of one processor of the browser, at "
            f"{number(pictures)} pictures a second each"
        )
    if paint := _median(results, "web_paint", "ours:cold", "site"):
        parts.append(f"the first page shows the contexts {number(paint)} ms after it was asked for")
    doubt = warning(results.load_before)
    noted = f" Note that {doubt}." if doubt else ""
    return f"Measured on {results.date}: {'; '.join(parts)}. [All figures](../benchmarks.md#the-pages).{noted}"


def _median(results: Results, measure: str, run: str, figure: str) -> float | None:
    found = results.measures.get(measure)
    value = None if found is None else found.figures(run).get(figure)
    return None if value is None else value.median


def replace_section(text: str, content: str, begin_mark: str = BEGIN, end_mark: str = END) -> str:
    """The text with other content between the markers.

    Raises:
        ValueError: If it does not have both, in this order.
    """
    head, begin, rest = text.partition(begin_mark)
    _, end, tail = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(
            f"the page has no lines {begin_mark!r} and {end_mark!r}; put them where the results are to stand"
        )
    return f"{head}{begin_mark}\n{content}\n{end_mark}{tail}"


def show(page: Path, content: str, begin_mark: str = BEGIN, end_mark: str = END) -> None:
    """Put results into a page."""
    text = replace_section(page.read_text(encoding="utf-8"), content, begin_mark, end_mark)
    page.write_text(text, encoding="utf-8")


def main() -> None:
    given = [Path(name) for name in sys.argv[1:]]
    path, web_path = (*given, *(DIRECTORY / name for name in ("latest.json", "web.json")[len(given) :]))
    results, web = load_results(path), load_results(web_path)
    show(PAGE, section(results))
    show(README, summary(results))
    show(PAGE, section(web), WEB_BEGIN, WEB_END)
    show(PAGE, growth.section(growth.load_growth()), GROWTH_BEGIN, GROWTH_END)
    show(WEB_PAGE, web_summary(web), WEB_BEGIN, WEB_END)
    print(f"{PAGE.name} and {README.name} show {path.name} now, {PAGE.name} and {WEB_PAGE.name} show {web_path.name}")


if __name__ == "__main__":
    main()
