from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qmi.data import RunInfo
from qmi.data.run_list import RunList

BEGUN = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def info(number: int, **other: object) -> RunInfo:
    values: dict[str, object] = {"state": "done", "rows": 10**number, "tags": ("a", "ü"), "comment": "<b>\nmore"}
    values |= other
    started = BEGUN + timedelta(minutes=number)
    return RunInfo(f"run{number}", "run", started, None, file=Path("x"), **values)  # type: ignore[arg-type]


def test_runs_are_shown_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    found = RunList([info(0), info(3, state="running", tags=(), comment="")])
    local = [f"{one.started.astimezone():%Y-%m-%d %H:%M:%S}" for one in found]
    assert repr(found).splitlines() == [
        "run   started              state    rows  tags  comment",
        f"run0  {local[0]}  done        1  a, ü  <b>...",
        f"run3  {local[1]}  running",
    ]
    assert ">run0</td>" in found._repr_html_()
    assert "&lt;b&gt;" in found._repr_html_()


def test_long_list_shows_the_latest_runs() -> None:
    found = RunList([info(number, rows=number) for number in range(60)])
    lines = repr(found).splitlines()
    assert (lines[1], lines[2][:5], lines[-1][:5]) == ("... 10 before", "run10", "run59")
    assert "10 before" in found._repr_html_()


def test_list_of_runs_is_a_list() -> None:
    found = RunList([info(0), info(1)])
    assert found == [info(0), info(1)]
    assert found[0] == info(0)
    assert type(found[:1]) is RunList
    assert repr(RunList()) == "no runs"
    assert "no runs" in RunList()._repr_html_()
