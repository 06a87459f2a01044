"""What a plot shows, ready to be drawn on a window or in a terminal: curves and images with their axes and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy

from qmi.data.plot_layout import (
    Arrangement,
    Curve,
    Names,
    Panel,
    arrange,
    lay_out,
    names_in,
    scaled_unit,
    time_of_rows,
    with_unit,
)
from qmi.data.plot_table import Array, Snapshot, Traces
from qmi.errors import QMI_InvalidValueException

_SAME: Final = 1e-9
"""Values of a coordinate that differ by less than this share of its range are one."""

_MAX_LABEL: Final = 30


@dataclass(frozen=True)
class Axis:
    """An axis of a panel.

    Attributes:
        label: Its label, with the unit.
        times: Whether its values are seconds since 1970.
        categories: Texts for which the numbers 0, 1, 2 … stand.
    """

    label: str
    times: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Curves over one axis; there is no NaN but between the parts of a curve, if it has several.

    Attributes:
        curves: The label, the places and the values of each.
        steps: Whether a value holds until the next one.
    """

    x: Axis
    y: Axis
    curves: tuple[tuple[str, Array, Array], ...]
    steps: bool = False


@dataclass(frozen=True)
class Image:
    """Values on a grid.

    Attributes:
        z: What the colours mean.
        xs: The columns of the grid, rising.
        ys: The rows of the grid, rising.
        values: The values, the first index is that of ``ys``; NaN where there is none.
        cyclic: Whether the values are angles in degrees.
    """

    x: Axis
    y: Axis
    z: Axis
    xs: Array
    ys: Array
    values: Array
    cyclic: bool = False


@dataclass(frozen=True)
class Points:
    """Coloured points.

    Attributes:
        z: What the colours mean.
        cyclic: Whether the values are angles in degrees.
    """

    x: Axis
    y: Axis
    z: Axis
    xs: Array
    ys: Array
    values: Array
    cyclic: bool = False


@dataclass(frozen=True)
class Drawing:
    """All of a plot.

    Attributes:
        title: The name of the run.
        subtitle: Its id, state and number of rows, and what has to be said of the plot.
        panels: From the top.
    """

    title: str
    subtitle: str
    panels: tuple[Lines | Image | Points, ...]


@dataclass(frozen=True)
class RunToDraw:
    """What is known of the run.

    Attributes:
        name: Its name.
        run_id: Its id.
        columns: Units of the columns by their names.
        coordinates: The names of the coordinates.
        axes: For columns of arrays: the names of their axes, with unit and values.
    """

    name: str
    run_id: str
    columns: Mapping[str, str]
    coordinates: Sequence[str] = ()
    axes: Mapping[str, Mapping[str, tuple[str, Array]]] | None = None

    def makes_cells(self, x: Names) -> bool:
        """Whether its rows may be the cells of an image."""
        return len(names_in(x) or self.coordinates) > 1


class Drawer:
    """Makes drawings of what there is of a run.

    Args:
        run: The run.
        x: What the user wants on the horizontal axis; two names for an image.
        y: What the user wants to see.
    """

    def __init__(self, run: RunToDraw, x: Names = None, y: Names = None) -> None:
        self._run = run
        self._x = names_in(x)
        self._y = y
        self._time = time_of_rows(run.columns)

    def draw(self, snapshot: Snapshot, state: str) -> Drawing:
        """The plot as it is now."""
        notes = [f"{self._run.run_id}: {state}, {snapshot.rows:,} row{'' if snapshot.rows == 1 else 's'}"]
        if snapshot.newest_only:
            notes.append(f"the newest {snapshot.newest_only:,}")
        panels: list[Lines | Image | Points] = []
        if snapshot.rows:
            rows, over, where = self._arranged(snapshot)
            layout = lay_out(snapshot.columns, over, self._y)
            view = _View(self._run, snapshot, rows, self._time)
            panels = [view.panel(panel) for panel in layout.panels]
            notes += [where] if where else []
            notes += [f"not shown: {', '.join(layout.left_out)}"] if layout.left_out else []
        return Drawing(self._run.name, "; ".join(notes), tuple(panels))

    def _arranged(self, snapshot: Snapshot) -> tuple[dict[str, Array], Arrangement, str]:
        """The rows that are shown, what they are shown over, and what the other coordinates are."""
        rows = snapshot.values
        names = self._x or [name for name in self._run.coordinates if name in rows]
        if wrong := [name for name in self._x if name not in rows]:
            raise QMI_InvalidValueException(f"x must be a column of plain values, got {wrong[0]!r}, which has arrays")
        if len(names) < 2:
            return rows, Arrangement("lines", tuple(names or [self._time])), ""
        where = ""
        outer = [name for name in names[:-2] if _distinct(rows[name]) > 1]
        if outer:
            newest = numpy.logical_and.reduce([rows[name] == rows[name][-1] for name in outer])
            rows = {name: values[newest] for name, values in rows.items()}
            values = {name: _text_of(snapshot, name, float(rows[name][-1])) for name in outer}
            where = ", ".join(f"{name} = {value} {self._run.columns[name]}".rstrip() for name, value in values.items())
        distinct = {name: _distinct(rows[name]) for name in names}

        def cells(one: str, other: str) -> int:
            if distinct[one] * distinct[other] >= 2 * len(rows[one]):
                return 0
            return int((~numpy.isnan(_grid(rows[one], rows[other], numpy.zeros(len(rows[one])))[2])).sum())

        found = arrange(names, distinct, cells, lambda name: _rises(rows[name]))
        assert found is not None
        return rows, found, where


class _View:
    """Makes panels of rows."""

    def __init__(self, run: RunToDraw, snapshot: Snapshot, rows: dict[str, Array], time: str) -> None:
        self._run = run
        self._columns = {column.name: column for column in snapshot.columns}
        self._snapshot = snapshot
        self._rows = rows
        self._time = time

    def panel(self, panel: Panel) -> Lines | Image | Points:
        if panel.form == "lines":
            return self._lines(panel)
        (curve,) = panel.curves
        if panel.form in ("image", "points"):
            return self._of_cells(panel, curve)
        traces = self._snapshot.traces.get(curve.column)
        if traces is None:
            traces = Traces({}, numpy.zeros((0, 0)), numpy.zeros((0,)))
        if panel.form == "history" and len(traces.values) > 1:
            return self._history(panel, curve, traces)
        if panel.form == "picture":
            return self._picture(panel, curve, traces.newest)
        values = _part(traces.newest, curve).astype(float)
        (xs, x) = self._axis_of_array(curve.column, 0, len(values))
        factor, y = _scaled(curve.label, panel.unit, values)
        return Lines(x, y, (_line(f"{curve.label} of the last row", xs, values * factor),))

    # Over coordinates, or time

    def _lines(self, panel: Panel) -> Lines:
        xs, x = self._axis(panel.x)
        first = self._columns[panel.curves[0].column]
        if first.kind in ("text", "time", "bool"):
            ys, y = self._axis(first.name)
            if first.kind == "bool":
                y = Axis(y.label, categories=("False", "True"))
            line = _line(first.name, xs, ys)
            return Lines(x, y, (line,), steps=first.kind != "time" and not x.categories)
        values = [_part(self._rows[curve.column], curve) for curve in panel.curves]
        label = ", ".join(curve.label for curve in panel.curves)
        factor, y = _scaled(label if len(label) <= _MAX_LABEL else "", panel.unit, *values)
        lines = [
            _line(curve.label, xs, part * factor, sweeps=not x.times)
            for curve, part in zip(panel.curves, values, strict=True)
        ]
        return Lines(x, y, tuple(lines))

    def _of_cells(self, panel: Panel, curve: Curve) -> Image | Points:
        values = _part(self._rows[curve.column], curve)
        factor, z = _scaled(curve.label, panel.unit, values)
        (xs, x), (ys, y) = self._axis(panel.x), self._axis(panel.y)
        if panel.form == "points":
            there = numpy.isfinite(xs) & numpy.isfinite(ys) & numpy.isfinite(values)
            return Points(x, y, z, xs[there], ys[there], values[there] * factor, _is_cyclic(curve))
        return Image(x, y, z, *_grid(xs, ys, values * factor), _is_cyclic(curve))

    def _axis(self, name: str) -> tuple[Array, Axis]:
        """The values of a column, as they are drawn on an axis."""
        values = self._rows[name]
        return self._scaled_axis(name, numpy.abs(values) if values.dtype.kind == "c" else values)

    def _scaled_axis(self, name: str, values: Array) -> tuple[Array, Axis]:
        column = self._columns.get(name)
        if column is None or column.kind == "time":
            return values, Axis(name, times=True)
        if column.kind == "text":
            return values, Axis(with_unit(name, column.unit), categories=self._snapshot.texts[name])
        factor, axis = _scaled(name, column.unit, values)
        return values * factor, axis

    # Arrays

    def _axis_of_array(self, column: str, index: int, length: int) -> tuple[Array, Axis]:
        declared = list(((self._run.axes or {}).get(column) or {}).items())
        if len(declared) <= index:
            name = f"{column}_{index}"
            return numpy.arange(length, dtype=float), Axis(name)
        name, (unit, given) = declared[index]
        values = numpy.asarray(given)
        if len(values) != length:
            return numpy.arange(length, dtype=float), Axis(name)
        if values.dtype.kind == "M":
            return values.astype("M8[ns]").astype("i8") / 1e9, Axis(name, times=True)
        if values.dtype.kind not in "fiub":
            return numpy.arange(length, dtype=float), Axis(name, categories=tuple(map(str, values)))
        factor, axis = _scaled(name, unit, values.astype(float))
        return values * factor, axis

    def _history(self, panel: Panel, curve: Curve, traces: Traces) -> Image:
        values = _part(traces.values, curve).astype(float)
        factor, z = _scaled(curve.label, panel.unit, values)
        ys, y = self._axis_of_array(curve.column, 0, len(traces.newest))
        count = -(-len(ys) // values.shape[1])
        ys = ys[::count][: values.shape[1]]
        xs, x = self._scaled_axis(panel.x, traces.rows[panel.x])
        xs, first = numpy.unique(xs[::-1], return_index=True)  # the newest array at each place
        values = values[::-1][first].T * factor
        order = numpy.argsort(ys)
        there = numpy.isfinite(xs)
        return Image(x, y, z, xs[there], ys[order], values[order][:, there], _is_cyclic(curve))

    def _picture(self, panel: Panel, curve: Curve, newest: Array) -> Image:
        values = _part(newest, curve).astype(float)
        factor, z = _scaled(f"{curve.label} of the last row", panel.unit, values)
        ys, y = self._axis_of_array(curve.column, 0, values.shape[0])
        xs, x = self._axis_of_array(curve.column, 1, values.shape[1])
        rows, columns = numpy.argsort(ys), numpy.argsort(xs)
        return Image(x, y, z, xs[columns], ys[rows], values[rows][:, columns] * factor, _is_cyclic(curve))


def _part(values: Array, curve: Curve) -> Array:
    if curve.part == "phase":
        return numpy.angle(values, deg=True)
    return numpy.abs(values) if curve.part == "magnitude" else values


def _is_cyclic(curve: Curve) -> bool:
    return curve.part == "phase"


def _scaled(label: str, unit: str, *values: Array) -> tuple[float, Axis]:
    largest = 0.0
    for each in values:
        finite = each[numpy.isfinite(each)]
        largest = max(largest, float(numpy.abs(finite).max(initial=0.0)))
    factor, unit = scaled_unit(unit, largest)
    return factor, Axis(with_unit(label, unit) if label else unit)


def _line(label: str, xs: Array, ys: Array, *, sweeps: bool = False) -> tuple[str, Array, Array]:
    """A curve without what has no value; sweeps that begin anew are not joined by a line."""
    there = numpy.isfinite(xs) & numpy.isfinite(ys)
    xs, ys = xs[there], ys[there]
    if sweeps and len(xs) > 2:
        steps = numpy.diff(xs)
        back = (numpy.abs(steps) > 0.5 * (xs.max() - xs.min())) & (numpy.abs(steps) > 2 * numpy.median(abs(steps)))
        if back.any():
            places = numpy.flatnonzero(back) + 1
            xs, ys = numpy.insert(xs, places, numpy.nan), numpy.insert(ys, places, numpy.nan)
    return label, xs, ys


def _levels(values: Array) -> tuple[Array, Array]:
    """The different values of a coordinate, rising, and which of them each value is; those that are nearly one are."""
    different, index = numpy.unique(values, return_inverse=True)
    finite = different[numpy.isfinite(different)]
    if not len(finite):
        return finite, numpy.full(len(values), -1)
    new = numpy.diff(finite, prepend=-numpy.inf) > _SAME * (finite[-1] - finite[0])
    numbers = numpy.full(len(different), -1)
    numbers[numpy.isfinite(different)] = numpy.cumsum(new) - 1
    return finite[new], numbers[index]


def _distinct(values: Array) -> int:
    return len(_levels(values)[0])


def _rises(values: Array) -> bool:
    steps = numpy.diff(values[numpy.isfinite(values)])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _grid(xs: Array, ys: Array, values: Array) -> tuple[Array, Array, Array]:
    """The columns and rows of a grid, and its cells; what was measured several times counts as it was last."""
    columns, column = _levels(xs)
    rows, row = _levels(ys)
    cells = numpy.full((len(rows), len(columns)), numpy.nan)
    there = (column >= 0) & (row >= 0)
    cells[row[there], column[there]] = values[there]
    return columns, rows, cells


def _text_of(snapshot: Snapshot, name: str, value: float) -> str:
    texts = snapshot.texts.get(name)
    return texts[int(value)] if texts and value == value else f"{value:.6g}"
