"""What a run of the tests says about each row of the fault table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from rich.table import Table
from rich.text import Text

from tests.faults.rows import ROWS

OTHER = 0
"""Stands for "no row": slow tests of other things."""
SLOW = 2.0
"""Seconds from which on a test has to be marked as slow."""
_NUMBERS = re.compile(r"test_fault_((?:\d\d_)(?:and_\d\d_)*)")


def rows_of(test: str) -> list[int]:
    """The rows that a test belongs to, by its name; some do two at once."""
    match = _NUMBERS.search(test)
    return [int(number) for number in re.findall(r"\d\d", match[1])] if match else []


@dataclass
class Outcome:
    """What came of one test function, all its parameters together."""

    rows: list[int]
    slow: bool
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest: float = 0.0
    reasons: dict[str, None] = field(default_factory=dict)


class Results:
    """A plugin of pytest: picks the tests and takes down what they give.

    Args:
        rows: Only these; all, and the slow tests of other things, if empty.
    """

    def __init__(self, rows: set[int]) -> None:
        self.wanted = rows
        self.tests: dict[str, Outcome] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            rows = rows_of(item.nodeid) or [mark.args[0] for mark in item.iter_markers("fault")]
            slow = item.get_closest_marker("slow") is not None
            wanted = self.wanted & set(rows) if self.wanted else rows or slow
            (kept if wanted else left).append(item)
            if wanted:
                self.tests.setdefault(_function(item.nodeid), Outcome(rows or [OTHER], slow))
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = self.tests[_function(report.nodeid)]
        outcome.seconds += report.duration
        outcome.longest = max(outcome.longest, report.duration)
        if report.when == "call" or report.outcome != "passed":
            outcome.counts[report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            outcome.reasons[report.longrepr[2].removeprefix("Skipped: ")] = None

    def of_row(self, number: int) -> dict[str, Outcome]:
        """The tests of one row."""
        return {test: outcome for test, outcome in self.tests.items() if number in outcome.rows}

    def missing(self) -> list[int]:
        """Rows that no test belongs to."""
        return [number for number in self.shown() if not self.of_row(number)]

    def shown(self) -> list[int]:
        """Rows that were asked for."""
        return [number for number in ROWS if not self.wanted or number in self.wanted]

    def skips(self) -> Iterator[tuple[int, str, str]]:
        """Row, test and reason of all that was skipped."""
        for test, outcome in self.tests.items():
            for reason in outcome.reasons:
                yield outcome.rows[0], test, reason

    def unmarked(self) -> Iterator[tuple[str, float]]:
        """Tests that take longer than their marks say, with the seconds of the longest of their cases."""
        for test, outcome in self.tests.items():
            if outcome.longest > SLOW and not outcome.slow:
                yield test, outcome.longest


def table(results: Results) -> Table:
    """The fault table with what came out."""
    shown = Table(title="What must hold when something breaks", title_justify="left", show_lines=False)
    shown.add_column("row", justify="right")
    shown.add_column("what", min_width=20)
    shown.add_column("result", min_width=12)
    shown.add_column("time", justify="right", no_wrap=True)
    shown.add_column("test", overflow="fold")
    for number in results.shown():
        _add(shown, str(number), ROWS[number], results.of_row(number))
    if others := results.of_row(OTHER):
        _add(shown, "", "other slow tests", others)
    return shown


def _add(shown: Table, number: str, what: str, tests: dict[str, Outcome]) -> None:
    if not tests:
        shown.add_row(number, what, Text("missing", style="bold red"), "", "")
        return
    for index, (test, outcome) in enumerate(tests.items()):
        first = (number, what) if index == 0 else ("", "")
        shown.add_row(*first, _result(outcome.counts), f"{outcome.seconds:.2f} s", test.removeprefix("tests/"))


def _result(counts: Counter[str]) -> Text:
    style = "red" if counts["failed"] else "green" if counts["passed"] else "yellow"
    return Text(", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "not run", style=style)


def _function(nodeid: str) -> str:
    return nodeid.partition("[")[0].removesuffix("::runTest")
