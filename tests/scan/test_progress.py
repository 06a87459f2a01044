from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from qmi.scan import progress, scan, settable
from qmi.scan.progress import Bar, Cell, Lines, ShownProgress, duration, find_display, progress_text


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((0, 51, 0.0, "running"), "0 of 51 points, running"),
        ((0, 51, 5.0, "paused"), "0 of 51 points, paused"),
        ((10, 51, 2.0, "running"), "10 of 51 points, 5 per s, 0:08 left, running"),
        ((2, 4, 10.0, "running"), "2 of 4 points, 5 s each, 0:10 left, running"),
        ((60, 61, 0.0, "running"), "60 of 61 points, running"),
        ((1, 3601, 1.0, "running"), "1 of 3601 points, 1 per s, 1:00:00 left, running"),
        ((5, None, 1.0, "running"), "5 points, 5 per s, running"),
        ((51, 51, 102.0, "done"), "51 of 51 points, 2 s each, done after 1:42"),
        ((3, 51, 1.0, "stopped"), "3 of 51 points, 3 per s, stopped after 0:01"),
        ((9, 5, 1.0, "running"), "9 of 5 points, 9 per s, 0:00 left, running"),
    ],
)
def test_progress_has_points_rate_and_time_left(args: Any, text: str) -> None:
    assert progress_text(*args) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (90061, "25:01:01")])
def test_durations_are_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_pipe_gets_a_line_now_and_then() -> None:
    now, file = [0.0], io.StringIO()
    shown = ShownProgress(Lines(file), 100, lambda: now[0])
    for done in range(1, 26):
        now[0] += 1.0
        shown.update(done, "running")
    shown.end(25, "stopped")
    assert file.getvalue().splitlines() == [
        "10 of 100 points, 1 per s, 1:30 left, running",
        "20 of 100 points, 1 per s, 1:20 left, running",
        "25 of 100 points, 1 per s, stopped after 0:25",
    ]


def test_terminal_gets_a_bar() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    bar = Bar(console, 4)
    bar.show("2 of 4 points", 2)
    bar.close()
    assert "━" in file.getvalue()
    assert "2 of 4 points" in file.getvalue()


def test_notebook_gets_a_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append(data["text/plain"]))
    fake = SimpleNamespace(display=lambda data, raw, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setattr(progress, "Console", lambda file: SimpleNamespace(is_jupyter=True))
    display = find_display(3, sys.stderr)
    assert isinstance(display, Cell)
    display.show("1 of 3 points", 1)
    display.close()
    assert shown == ["1 of 3 points"]


def test_display_is_that_of_the_file() -> None:
    assert isinstance(find_display(3, io.StringIO()), Lines)


def test_scan_shows_its_progress_if_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    scan(settable(lambda value: None, name="x"), [1, 2]).show_progress().run()
    assert capsys.readouterr().err.startswith("2 of 2 points, ")
    scan(settable(lambda value: None, name="x"), [1, 2]).run()
    assert capsys.readouterr() == ("", "")


async def test_scan_of_a_trio_program_shows_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    await scan(settable(lambda value: None, name="x"), [1, 2]).show_progress().run_async()
    assert "done after 0:00" in capsys.readouterr().err


def test_failed_scan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError

    made = scan(settable(lambda value: None, name="x"), [1, 2]).measure(fail).show_progress()
    with pytest.raises(ValueError):
        made.run()
    assert capsys.readouterr().err == "0 of 2 points, failed after 0:00\n"


def test_closed_output_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(Lines, "every", 0.0)
    assert len(scan(settable(lambda value: file.close(), name="x"), [1, 2]).show_progress().run()) == 2
