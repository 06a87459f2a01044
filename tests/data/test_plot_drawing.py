from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.data import plot_table
from qmi.data.plot_drawing import Drawer, Drawing, Image, Lines, Points, RunToDraw
from qmi.data.plot_table import Table, envelope, thin
from tests.support.plots import BEGIN, drawing_of, rows_of


def lines(drawing: Drawing, number: int = 0) -> Lines:
    panel = drawing.panels[number]
    assert isinstance(panel, Lines)
    return panel


def image(drawing: Drawing, number: int = 0) -> Image:
    panel = drawing.panels[number]
    assert isinstance(panel, Image)
    return panel


# -- lines


def test_columns_without_coordinates_are_drawn_over_time() -> None:
    drawing = drawing_of({"T": "K", "V": "V", "W": "V"}, [{"T": 300.0 - n, "V": n, "W": 2 * n} for n in range(3)])
    assert (drawing.title, drawing.subtitle) == ("sample", "20261126-140501_sample: running, 3 rows")
    temperature, voltages = lines(drawing, 0), lines(drawing, 1)
    assert (temperature.x.label, temperature.x.times, temperature.y.label) == ("time", True, "T [K]")
    ((_, xs, ys),) = temperature.curves
    assert (xs - BEGIN.timestamp()).tolist() == [0, 1, 2]
    assert ys.tolist() == [300, 299, 298]
    assert voltages.y.label == "V, W [V]"
    assert [label for label, _, _ in voltages.curves] == ["V", "W"]


def test_values_that_there_are_not_are_left_out() -> None:
    values: list[Any] = [{"a": 1.0, "b": None}, {"a": None, "b": 5.0}, {"a": math.nan, "b": 6}, {"a": math.inf, "b": 7}]
    drawing = drawing_of({"a": "V", "b": "V"}, values)
    assert [ys.tolist() for _, _, ys in lines(drawing).curves] == [[1.0], [5.0, 6.0, 7.0]]


def test_coordinate_is_on_the_horizontal_axis_with_a_prefix() -> None:
    drawing = drawing_of({"f": "Hz", "I": "A"}, [{"f": 1e6 * n, "I": 1e-9 * n} for n in range(1, 4)], ["f"])
    panel = lines(drawing)
    assert (panel.x.label, panel.y.label) == ("f [MHz]", "I [nA]")
    ((_, xs, ys),) = panel.curves
    assert xs.tolist() == [1, 2, 3]
    assert ys == pytest.approx([1, 2, 3])


def test_sweeps_that_begin_anew_are_not_joined() -> None:
    drawing = drawing_of({"f": "", "I": ""}, [{"f": n % 10, "I": n} for n in range(30)], ["f"])
    ((_, xs, ys),) = lines(drawing).curves
    assert numpy.flatnonzero(numpy.isnan(xs)).tolist() == numpy.flatnonzero(numpy.isnan(ys)).tolist() == [10, 21]


def test_sweeps_there_and_back_are_one_line() -> None:
    there = [*range(10), *range(9, -1, -1)]
    ((_, xs, _),) = lines(drawing_of({"f": "", "I": ""}, [{"f": n, "I": n} for n in there], ["f"])).curves
    assert not numpy.isnan(xs).any()


def test_complex_numbers_are_magnitude_and_phase() -> None:
    drawing = drawing_of({"z": "Ω"}, [{"z": 1}, {"z": 3 + 4j}, {"z": -2}, {"z": None}])
    assert [lines(drawing, n).y.label for n in (0, 1)] == ["|z| [Ω]", "phase of z [deg]"]
    assert lines(drawing, 0).curves[0][2].tolist() == [1, 5, 2]
    assert lines(drawing, 1).curves[0][2] == pytest.approx([0, 53.13, 180], abs=0.01)


def test_bools_and_texts_are_steps() -> None:
    rows: list[Any] = [{"on": True, "mode": "fast"}, {"on": False, "mode": "slow"}, {"on": None, "mode": "fast"}]
    drawing = drawing_of({"on": "", "mode": ""}, rows, y=["on", "mode"])
    on, mode = lines(drawing, 0), lines(drawing, 1)
    assert (on.steps, on.y.categories, on.curves[0][2].tolist()) == (True, ("False", "True"), [1, 0])
    assert (mode.steps, mode.y.categories, mode.curves[0][2].tolist()) == (True, ("fast", "slow"), [0, 1, 0])


def test_text_as_a_coordinate_is_a_category() -> None:
    drawing = drawing_of({"chip": "", "R": "Ω"}, [{"chip": name, "R": 5} for name in "ABA"], ["chip"])
    assert lines(drawing).x.categories == ("A", "B")
    assert lines(drawing).curves[0][1].tolist() == [0, 1, 0]


def test_texts_beyond_many_are_one_category() -> None:
    drawing = drawing_of({"t": ""}, [{"t": f"text {n}"} for n in range(200)])
    assert len(lines(drawing).y.categories) == 65
    assert lines(drawing).curves[0][2].max() == 64


def test_times_are_drawn_where_they_are_wanted() -> None:
    rows = [{"at": datetime(2026, 1, 1, n, tzinfo=UTC), "V": n} for n in range(3)]
    assert lines(drawing_of({"at": "", "V": ""}, rows, x="at")).x.times
    assert lines(drawing_of({"at": "", "V": ""}, rows, y="at")).y.times


def test_column_called_time_leaves_the_time_of_rows_its_other_name() -> None:
    drawing = drawing_of({"time": "s", "V": ""}, [{"time": n, "V": n} for n in range(3)])
    assert lines(drawing).x.label == "row_time"
    assert (
        lines(drawing_of({"time": "s", "V": ""}, [{"time": n, "V": n} for n in range(3)], x="time")).x.label
        == "time [s]"
    )


def test_drawing_without_rows_has_no_panels() -> None:
    drawing = drawing_of({"T": "K"}, [])
    assert (drawing.panels, drawing.subtitle) == ((), "20261126-140501_sample: running, 0 rows")
    assert drawing_of({"T": "K"}, [{"T": None}]).panels == ()


# -- images


def grid(outer: int, inner: int, *, snake: bool = False) -> list[dict[str, Any]]:
    found = []
    for a in range(outer):
        line = range(inner)
        found += [
            {"a": a / 10, "b": float(b), "V": 100.0 * a + b} for b in (reversed(line) if snake and a % 2 else line)
        ]
    return found


@pytest.mark.parametrize("snake", [False, True])
@pytest.mark.parametrize("measured", [5, 7, 8, 12])
def test_grid_is_an_image_of_what_was_measured(measured: int, snake: bool) -> None:
    rows = grid(3, 4, snake=snake)[:measured]
    panel = image(drawing_of({"a": "V", "b": "mV", "V": "V"}, rows, ["a", "b"]))
    assert (panel.x.label, panel.y.label, panel.z.label) == ("a [V]", "b [mV]", "V [V]")
    assert panel.ys.tolist() == [0, 1, 2, 3]
    assert panel.values.shape == (4, len(panel.xs))
    assert numpy.isfinite(panel.values).sum() == measured
    for row in rows:
        column = numpy.flatnonzero(numpy.isclose(panel.xs, row["a"]))[0]
        assert panel.values[int(row["b"]), column] == row["V"]


def test_grid_takes_coordinates_that_differ_by_rounding_for_one() -> None:
    rows = [{"a": a, "b": b + (1e-16 if a else 0.0), "V": 1.0} for a in (0, 1) for b in (-0.1, 0.0, 0.3)]
    panel = image(drawing_of({"a": "", "b": "", "V": ""}, rows, ["a", "b"]))
    assert panel.values.shape == (3, 2)


def test_first_line_of_a_grid_is_a_line() -> None:
    panel = lines(drawing_of({"a": "V", "b": "mV", "V": "V"}, grid(3, 4)[:4], ["a", "b"]))
    assert panel.x.label == "b [mV]"


def test_cell_that_was_measured_again_has_its_last_value() -> None:
    rows = [*grid(2, 2), {"a": 0.0, "b": 1.0, "V": 77.0}]
    assert image(drawing_of({"a": "", "b": "", "V": ""}, rows, ["a", "b"])).values[1, 0] == 77


def test_third_coordinate_selects_the_newest_image() -> None:
    rows = [{"field": f, **row} for f in (0.5, 1.5) for row in grid(2, 3)]
    drawing = drawing_of({"field": "T", "a": "", "b": "", "V": ""}, rows, ["field", "a", "b"])
    assert image(drawing).values.shape == (3, 2)
    assert drawing.subtitle.endswith("12 rows; field = 1.5 T")


def test_two_axes_can_be_named() -> None:
    drawing = drawing_of({"a": "", "b": "", "V": "V"}, grid(3, 4), x=["b", "a"])
    panel = image(drawing)
    assert (panel.x.label, panel.y.label, panel.values.shape) == ("b", "a", (3, 4))


def test_one_axis_of_a_grid_can_be_named() -> None:
    panel = lines(drawing_of({"a": "", "b": "", "V": "V"}, grid(3, 4), ["a", "b"], x="b", y="V"))
    assert panel.x.label == "b"
    assert numpy.isnan(panel.curves[0][1]).sum() == 2


def test_points_without_a_grid_are_coloured() -> None:
    rows = [{"a": n * 7 % 20, "b": n * n * 3 % 17, "V": float(n)} for n in range(20)]
    panel = drawing_of({"a": "", "b": "", "V": ""}, rows, ["a", "b"]).panels[0]
    assert isinstance(panel, Points)
    assert panel.values.tolist() == list(range(20))


def test_phase_of_a_grid_is_cyclic() -> None:
    rows = [{"a": a, "b": b, "z": complex(a, b)} for a in range(3) for b in range(3)]
    drawing = drawing_of({"a": "", "b": "", "z": ""}, rows, ["a", "b"])
    assert [image(drawing, n).cyclic for n in (0, 1)] == [False, True]


# -- arrays


def test_arrays_are_an_image_over_rows() -> None:
    delay = numpy.array([0, 1e-6, 2e-6])
    rows = [{"trace": numpy.array([n, n + 1.0, n + 2.0]), "T": 4.0} for n in range(4)]
    drawing = drawing_of({"trace": "V", "T": "K"}, rows, axes={"trace": {"delay": ("s", delay)}})
    panel = image(drawing)
    assert (panel.x.times, panel.y.label, panel.z.label) == (True, "delay [µs]", "trace [V]")
    assert panel.ys.tolist() == [0, 1, 2]
    assert panel.values[:, 3].tolist() == [3, 4, 5]
    assert lines(drawing, 1).y.label == "T [K]"


def test_arrays_of_a_sweep_are_sorted_by_its_coordinate() -> None:
    rows = [{"f": f, "trace": numpy.array([f, 2 * f])} for f in (3, 1, 2, 1)]
    panel = image(drawing_of({"f": "Hz", "trace": ""}, rows, ["f"]))
    assert panel.xs.tolist() == [1, 2, 3]
    assert panel.values.tolist() == [[1, 2, 3], [2, 4, 6]]
    assert panel.y.label == "trace_0"


def test_only_array_is_a_line_and_so_is_the_last_one() -> None:
    rows: list[Any] = [{"trace": numpy.array([1, 5, 2])}]
    assert lines(drawing_of({"trace": "V"}, rows)).curves[0][2].tolist() == [1, 5, 2]
    rows += [{"trace": None}, {"trace": numpy.array([7, 8, 9])}]
    panel = lines(drawing_of({"trace": "V"}, rows, y="trace[-1]"))
    assert (panel.curves[0][2].tolist(), panel.y.label) == ([7, 8, 9], "trace [V]")


def test_array_of_two_dimensions_is_a_picture_of_the_last_one() -> None:
    rows = [{"camera": numpy.arange(6).reshape(2, 3) * n} for n in (1, 2)]
    panel = image(drawing_of({"camera": "counts"}, rows))
    assert panel.values.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert (panel.x.label, panel.y.label) == ("camera_1", "camera_0")


def test_arrays_of_complex_numbers_are_two_images() -> None:
    rows = [{"s": numpy.array([1, 1j])} for _ in range(2)]
    drawing = drawing_of({"s": ""}, rows)
    assert image(drawing, 1).values[:, 0].tolist() == [0, 90]


def test_column_of_arrays_is_no_axis() -> None:
    with pytest.raises(QMI_InvalidValueException, match="x must be a column of plain values, got 'trace'"):
        drawing_of({"trace": "V", "T": ""}, [{"trace": numpy.zeros(3), "T": 1}], x="trace")


# -- bounded


def test_table_keeps_the_extremes_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_table, "MAX_ROWS", 1 << 9)
    monkeypatch.setattr(plot_table, "_BATCH", 64)
    values = numpy.sin(numpy.arange(40_000) / 3000)
    values[31_234], values[1_001] = 50.0, -50.0
    other = numpy.where(numpy.arange(40_000) == 20_000, 9.0, numpy.nan)
    table = Table({"V": "V", "W": "V"})
    kept = []
    for at in range(0, 40_000, 500):
        part = [{"V": v, "W": w} for v, w in zip(values[at : at + 500], other[at : at + 500], strict=True)]
        table.add(rows_of(part, period=0.0))
        kept.append(len(table.snapshot().values["V"]))
    snapshot = table.snapshot()
    assert snapshot.rows == 40_000
    assert 200 < max(kept) < 4000
    assert (snapshot.values["V"].max(), snapshot.values["V"].min()) == (50, -50)
    assert numpy.nanmax(snapshot.values["W"]) == 9
    assert snapshot.values["V"][-1] == values[-1]


def test_table_of_cells_keeps_the_newest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_table, "MAX_CELLS", 1000)
    monkeypatch.setattr(plot_table, "_BATCH", 64)
    table = Table({"V": "V"}, cells=True)
    for at in range(0, 5000, 50):
        table.add(rows_of([{"V": float(n)} for n in range(at, at + 50)]))
        assert len(table.snapshot().values["V"]) < 1200
    snapshot = table.snapshot()
    assert snapshot.values["V"].tolist() == list(range(5000 - len(snapshot.values["V"]), 5000))
    assert snapshot.newest_only > 700
    drawing = Drawer(RunToDraw("n", "id", {"V": "V"})).draw(snapshot, "done")
    assert f"the newest {snapshot.newest_only:,}" in drawing.subtitle


def test_table_keeps_a_bounded_number_of_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot_table, "MAX_TRACES", 16)
    monkeypatch.setattr(plot_table, "MAX_TRACE_POINTS", 10)
    table = Table({"trace": ""})
    for n in range(200):
        table.add(rows_of([{"trace": numpy.full(25, float(n))}]))
    traces = table.snapshot().traces["trace"]
    assert traces.newest.tolist() == [199.0] * 25
    assert traces.values.shape[0] <= 16
    assert traces.values.shape[1] == 9
    steps = numpy.diff(traces.values[:, 0])
    assert (steps == steps[0]).all()


def test_column_may_change_its_kind_on_the_way() -> None:
    for first, second, kind in itertools.product((None, 1, 2.5), (1, 2.5, 3j), ("mixed",)):
        table = Table({"x": ""})
        table.add(rows_of([{"x": first}]))
        table.add(rows_of([{"x": second}]))
        values = table.snapshot().values["x"]
        assert values[1] == second, kind
        assert numpy.isnan(values[0]) if first is None else values[0] == first, kind


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(2, 20))
def test_thinned_rows_have_the_extremes_of_each_block(values: list[float], block: int) -> None:
    array = numpy.array(values)
    kept = thin({"y": array}, block)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    for at in range(0, len(values), block):
        inside = [number for number in kept.tolist() if at <= number < at + block]
        assert array[inside].max() == array[at : at + block].max()
        assert array[inside].min() == array[at : at + block].min()


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(-1e6, 1e6)), min_size=1, max_size=300), st.integers(1, 30))
def test_envelope_has_few_points_and_the_extremes_of_each_pixel(points: list[tuple[float, float]], pixels: int) -> None:
    points.sort(key=lambda point: point[0])
    x, y = numpy.array(points).T
    short_x, short_y = envelope(x, y, pixels)
    assert set(zip(short_x.tolist(), short_y.tolist(), strict=True)) <= set(points)
    assert len(short_x) <= max(4 * (pixels + 1), len(x) if len(x) <= 4 * pixels or x[0] == x[-1] else 0)
    assert (short_y.max(), short_y.min()) == (y.max(), y.min())
    assert (short_x[0], short_x[-1]) == (x[0], x[-1])


def test_envelope_leaves_lines_that_go_back_alone() -> None:
    x = numpy.array([0.0, 1.0, 0.5] * 50)
    assert envelope(x, x, 5)[0] is x
