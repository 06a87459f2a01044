from __future__ import annotations

import datetime
import enum
import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from qmi.presenting.json_values import dumps
from qmi.tools.cli.terminal import Table, Terminal, aligned, terminal_columns


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_in_a_pipe_is_aligned_text_without_colour() -> None:
    out = io.StringIO()
    Terminal(out).table(("name", "why"), [("lab", "it is\noff"), ("a_longer_name", None)], styles=["red", ""])
    assert out.getvalue() == "NAME           WHY\nlab            it is; off\na_longer_name\n"


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("NO_COLOR", False), ("TERM", False)])
def test_table_on_a_terminal_is_coloured_unless_that_is_not_wanted(
    variable: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if variable:
        monkeypatch.setenv(variable, "1" if variable == "NO_COLOR" else "dumb")
    out = Screen()
    Terminal(out).table(("name",), [("lab",)], styles=["red"])
    assert ("\x1b[31m" in out.getvalue()) is coloured
    assert "lab" in out.getvalue()


def test_what_a_terminal_would_obey_is_shown_and_not_sent() -> None:
    for out in (io.StringIO(), Screen()):
        terminal = Terminal(out, io.StringIO())
        terminal.table(("name",), [("\x1b]0;title\x07",)])
        terminal.write("\x1b[2J")
        assert "\x1b]0" not in out.getvalue()
        assert "\x1b[2J" not in out.getvalue()


def test_aligned_text_of_no_rows_has_its_titles() -> None:
    assert aligned(Table(("a", "b"))) == "A  B\n"


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: object


@dataclass
class Point:
    x: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), None),
        (float("-inf"), None),
        (1 + 2j, [1.0, 2.0]),
        (b"\x01\xff", "01ff"),
        (Colour.RED, "red"),
        ({1: (2, 3)}, {"1": [2, 3]}),
        (Pair(1, b""), {"left": 1, "right": ""}),
        (Point(float("inf")), {"x": None}),
        (np.array([[1.0, np.nan], [3.0, 4.0]]), [[1.0, None], [3.0, 4.0]]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.array(["a"]), ["a"]),
        (datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2024-01-02T03:04:05+00:00"),
        (datetime.timedelta(minutes=1), 60.0),
        ("Ω\n", "Ω\n"),
    ],
    ids=repr,
)
def test_json_has_something_for_every_value(value: Any, expected: object) -> None:
    assert json.loads(dumps(value)) == expected


def test_json_of_many_values_is_a_line_each() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    terminal.write_json({"a": [1, 2]}, line=True)
    terminal.write_json("two\nlines", line=True)
    assert out.getvalue() == '{"a": [1, 2]}\n"two\\nlines"\n'


@pytest.mark.parametrize("columns", ["", "0", "-3", "wide", "7", "132"])
def test_columns_are_those_that_shutil_finds(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_columns() == shutil.get_terminal_size().columns


@pytest.mark.parametrize("output", [None, "closed"])
def test_columns_without_an_output_are_the_usual_ones(
    output: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = None if output is None else (tmp_path / "output").open("w")
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "__stdout__", stream)
    assert terminal_columns() == 80
