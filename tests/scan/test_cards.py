"""Scans and runs as notebooks show them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import qmi.data
from qmi.scan import ScanInfo, scan, settable
from qmi.scan.progress import Cell
from tests.support.html_pages import HOSTILE, read


def texts(shown: str) -> str:
    return " | ".join(read(shown).texts)


@pytest.mark.parametrize("text", HOSTILE)
def test_scan_elsewhere_is_shown_as_a_card(text: str) -> None:
    info = ScanInfo("scan-1", text, "suspended", reason=text, points=3, length=10, user=text, comment=text)
    shown = info._repr_html_()
    assert "3 of 10 points" in texts(shown)
    assert "width:30.0%" in shown


def test_scan_is_shown_as_a_card() -> None:
    made: Any = scan(settable(lambda value: None, name="<x>"), [1.0, 2.0])
    assert "0 of 2 points" in texts(made._repr_html_())


def test_run_is_shown_as_a_card(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    with qmi.data.run("cool", {"T": "K"}, folder=tmp_path) as run:
        run.add(T=1.0)
        assert "1 rows" in texts(run._repr_html_())
        assert "running" in texts(run._repr_html_())
    assert "done" in texts(run._repr_html_())


def test_progress_in_a_notebook_is_a_bar_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    shown: list[dict[str, str]] = []
    handle = SimpleNamespace(update=lambda data, raw: shown.append(data))
    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: handle)
    cell = Cell(10)
    cell.show("4 of 10 points", 4)
    assert shown[-1]["text/plain"] == "4 of 10 points"
    assert "width:40.0%" in shown[-1]["text/html"]
