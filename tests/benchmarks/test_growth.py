"""The picture of how cost grows, without measuring anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.children import ChildFailed
from benchmarks.growth import (
    KINDS,
    SIZES,
    Growth,
    Line,
    draw,
    endings,
    load_growth,
    measure_kind,
    runs_of,
    section,
    table,
)
from benchmarks.machine import describe
from benchmarks.measures import growth as points
from benchmarks.table import NAMES


def found() -> Growth:
    lines = {
        "ours": Line({str(size): 2.0 for size in SIZES}),
        "ours:async": Line(),
        "upstream": Line({"1": 3.0, "10": 4.5}, "can't start new thread"),
    }
    return Growth(describe(), {"qmi": "1"}, "2030-01-02", 0.0, 15.0, {"objects": lines})


def test_growth_of_each_kind_can_be_measured() -> None:
    assert KINDS.keys() == points._KINDS.keys()
    for kind in KINDS:
        assert {run.partition(":")[0] for run in runs_of(kind)} == {"ours", "upstream"} <= NAMES.keys()


def test_growth_table_says_where_a_system_could_not_go_on() -> None:
    assert "| objects in one program: µs to make one | qmi-trio | 2 | 2 | 2 | 2 | 2 |" in table(found())
    assert "|  | QMI | 3 | 4.5 | - | - | - |" in table(found())
    assert endings(found()) == ["QMI did not get to 100 objects: can't start new thread."]
    assert "can't start new thread" in section(found())


@pytest.mark.slow
def test_growth_survives_its_file_and_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "growth.json"
    found().save(path)
    assert load_growth(path) == found()
    draw(found(), tmp_path / "growth.svg")
    assert "not to 100" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


def test_system_that_failed_is_not_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def child(run: str, measure: str, seconds: float, *, limit: float) -> dict[str, float]:
        asked.append((run, measure))
        if run == "upstream:links-100":
            raise ChildFailed("it said no")
        return {"value": 1.0}

    monkeypatch.setattr(growth, "run_child", child)
    lines = measure_kind("links", 0.5, 15.0)
    assert lines["ours"] == Line({str(size): 1.0 for size in SIZES})
    assert lines["upstream"] == Line({"1": 1.0, "10": 1.0}, "it said no")
    assert lines["upstream"].ended_at() == 100
    assert ("upstream:links-1000", "growth") not in asked
    assert ("ours:links-10000", "growth") in asked
