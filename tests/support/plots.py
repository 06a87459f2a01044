"""Runs to draw, without files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from qmi.data.plot_drawing import Drawer, Drawing, RunToDraw
from qmi.data.plot_table import Table
from qmi.data.rows import Row

BEGIN = datetime(2026, 11, 26, 14, 5, 1, tzinfo=UTC)


def rows_of(values: Iterable[Mapping[str, Any]], period: float = 1.0) -> list[Row]:
    """Rows with so many seconds between them."""
    return [Row(row, number, BEGIN + timedelta(seconds=number * period)) for number, row in enumerate(values)]


def drawing_of(
    columns: Mapping[str, str],
    values: Iterable[Mapping[str, Any]],
    coordinates: Sequence[str] = (),
    *,
    axes: Any = None,
    x: Any = None,
    y: Any = None,
    state: str = "running",
) -> Drawing:
    """How a run with these rows is drawn."""
    run = RunToDraw("sample", "20261126-140501_sample", columns, coordinates, axes)
    table = Table(columns, cells=run.makes_cells(x))
    table.add(rows_of(values))
    return Drawer(run, x, y).draw(table.snapshot(), state)
