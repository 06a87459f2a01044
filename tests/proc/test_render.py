from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TextIO

import pytest
from rich.console import Console

from qmi.proc.live_table import LiveReporter
from qmi.proc.render import JsonReporter, PlainReporter, Reporter
from qmi.proc.status import State, Status

EVIL = Status("a", "h", State.FAILED, detail="[bold]no markup[/] \x1b]0;title\x07\nsecond")


def live(file: TextIO) -> LiveReporter:
    return LiveReporter(Console(file=file, force_terminal=True, width=100, height=30))


def shown(make: Callable[[TextIO], Reporter], *statuses: Status) -> str:
    file = io.StringIO()
    reporter = make(file)
    with reporter:
        for status in statuses:
            reporter.update(status)
    return file.getvalue()


def test_lines_are_printed_once_and_at_the_end_of_each() -> None:
    running = Status("a", "h", State.RUNNING, 12, "1.0")
    text = shown(PlainReporter, Status("a", "h", State.WAITING), running, running, Status("b", "h", State.OFFLINE))
    assert text == "a: RUNNING (PID=12, QMI=1.0)\nb: OFFLINE\n"


def test_a_list_of_states_keeps_its_order() -> None:
    file = io.StringIO()
    reporter = PlainReporter(file, in_order=True)
    for state in (State.WAITING, State.OFFLINE, State.ASKING, State.RUNNING):
        names = "ab" if state is State.WAITING else "ba"
        for name in names:
            reporter.update(Status(name, "h", state))
            if (state, name) == (State.OFFLINE, "b"):
                assert file.getvalue() == ""
    assert file.getvalue() == "a: OFFLINE\nb: OFFLINE\na: RUNNING\nb: RUNNING\n"


def test_a_long_line_is_not_wrapped() -> None:
    assert shown(PlainReporter, Status("a", "h", State.FAILED, detail="x" * 500)).count("\n") == 1


@pytest.mark.parametrize("make", [PlainReporter, live])
def test_output_of_programs_cannot_command_the_terminal(make: Callable[[TextIO], Reporter]) -> None:
    text = shown(make, EVIL)
    assert "[bold]no markup[/]" in text
    assert "second" in text
    assert "\x1b]0" not in text
    assert "\x07" not in text


def test_the_table_shows_everything_that_is_known() -> None:
    text = shown(live, Status("srv", "lab-pc", State.RUNNING, 4711, "1.0", 75.0))
    for part in ("NAME", "HOST", "STATE", "PID", "QMI", "FOR", "srv", "lab-pc", "RUNNING", "4711", "1.0", "1 min 15 s"):
        assert part in text


def test_the_table_counts_the_time_of_what_goes_on() -> None:
    text = shown(live, Status("srv", "h", State.STARTING))
    assert "starting" in text
    assert "0.0 s" in text


def test_the_table_does_not_flicker_when_it_asks_again() -> None:
    known = Status("srv", "h", State.RUNNING, 1)
    text = shown(live, known, Status("srv", "h", State.WAITING), Status("srv", "h", State.ASKING))
    last = text[text.rindex("srv") :]
    assert "RUNNING" in last
    again = shown(live, known, Status("srv", "h", State.STOPPING))
    assert "stopping" in again[again.rindex("srv") :]


def test_json_has_the_last_state_of_each() -> None:
    text = shown(JsonReporter, Status("a", "h", State.STARTING), Status("a", "h", State.STARTED, 1))
    assert [row["state"] for row in json.loads(text)] == ["STARTED"]
