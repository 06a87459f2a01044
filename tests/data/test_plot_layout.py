from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.data.plot_layout import (
    MAX_PANELS,
    Arrangement,
    Layout,
    PlotColumn,
    arrange,
    check_axes,
    lay_out,
    scaled_unit,
    time_of_rows,
)

OVER_TIME = Arrangement("lines", ("time",))
T, V, W = PlotColumn("T", "K"), PlotColumn("V", "V"), PlotColumn("W", "V", "int")


def shown(layout: Layout) -> list[tuple[str, ...]]:
    return [(panel.form, *(curve.label for curve in panel.curves)) for panel in layout.panels]


@pytest.mark.parametrize(
    ("columns", "y", "expected"),
    [
        ([T, V, W], None, [("lines", "T"), ("lines", "V", "W")]),
        ([T, V, W], "V", [("lines", "V")]),
        ([T, V, W], ["W", "T"], [("lines", "W"), ("lines", "T")]),
        ([PlotColumn(name, "", "bool") for name in ("on", "off")], None, [("lines", "on"), ("lines", "off")]),
        ([V, PlotColumn("mode", "", "text")], None, [("lines", "V")]),
        ([V, PlotColumn("mode", "", "text")], ["mode", "V"], [("lines", "mode"), ("lines", "V")]),
        ([PlotColumn("mode", "", "text"), PlotColumn("at", "", "time")], None, [("lines", "mode"), ("lines", "at")]),
        ([PlotColumn("z", "Ω", "complex")], None, [("lines", "|z|"), ("lines", "phase of z")]),
        (
            [PlotColumn(f"z{n}", "Ω", "complex") for n in (1, 2)],
            None,
            [("lines", "|z1|", "|z2|"), ("lines", "phase of z1", "phase of z2")],
        ),
        ([PlotColumn("trace", "V", shape=(5,)), T], None, [("history", "trace"), ("lines", "T")]),
        ([PlotColumn("trace", "V", shape=(5,))], "trace[-1]", [("trace", "trace")]),
        ([PlotColumn("trace", "V", shape=(5,))], ["trace[-1]", "trace"], [("trace", "trace"), ("history", "trace")]),
        ([PlotColumn("camera", "", "int", (4, 5))], None, [("picture", "camera")]),
        ([PlotColumn("cube", "", "int", (4, 5, 6)), T], None, [("lines", "T")]),
        ([PlotColumn("names", "", "text", (4,)), T], None, [("lines", "T")]),
        ([PlotColumn("nothing", "V", "none"), T], None, [("lines", "T")]),
        ([PlotColumn("nothing", "V", "none")], None, []),
        ([PlotColumn("odd[-1]", "V")], "odd[-1]", [("lines", "odd[-1]")]),
    ],
)  # fmt: skip
def test_layout_over_time(columns: list[PlotColumn], y: Any, expected: list[tuple[str, ...]]) -> None:
    assert shown(lay_out(columns, OVER_TIME, y)) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (V, [("image", "V")]),
        (PlotColumn("z", "Ω", "complex"), [("image", "|z|"), ("image", "phase of z")]),
        (PlotColumn("on", "", "bool"), [("image", "on")]),
        (PlotColumn("mode", "", "text"), [("lines", "mode")]),
        (PlotColumn("trace", "V", shape=(5,)), [("trace", "trace")]),
    ],
)
def test_layout_over_a_grid(column: PlotColumn, expected: list[tuple[str, ...]]) -> None:
    over = Arrangement("image", ("a", "b"))
    layout = lay_out([PlotColumn("a", "V"), PlotColumn("b", "V"), column], over)
    assert shown(layout) == expected
    assert all((panel.x, panel.y) == ("a", "b") for panel in layout.panels if panel.form == "image")


def test_layout_of_many_columns_says_which_are_left_out() -> None:
    layout = lay_out([PlotColumn(f"c{n}", f"unit{n}") for n in range(MAX_PANELS + 2)], OVER_TIME)
    assert len(layout.panels) == MAX_PANELS
    assert layout.left_out == ("c6", "c7")


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ("Q", None, "x must be a column (T, V, time), got 'Q'"),
        (None, "Q", "y must be a column (T, V), got 'Q'"),
        (None, ["T", "Q"], "got 'Q'"),
        (["T", "V", "time"], None, "x must be a name or two names of columns"),
        (None, [], "y must be a name or a list of names"),
        (None, [3], "y must be a name or a list of names"),
    ],
)
def test_axes_that_there_are_not_are_refused(x: Any, y: Any, words: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as caught:
        check_axes(["T", "V"], x, y)
    assert words in str(caught.value)


def test_axes_may_be_the_time_and_the_last_array() -> None:
    check_axes(["T", "V"], "time", ["V[-1]", "T"])
    check_axes(["T", "time"], ["row_time", "time"], None)
    assert time_of_rows(["T", "time"]) == "row_time"


def arranged(names: Sequence[str], points: Sequence[tuple[float, ...]]) -> Arrangement | None:
    columns = {name: [point[index] for point in points] for index, name in enumerate(names)}

    def rising(name: str) -> bool:
        values = columns[name]
        return values == sorted(values) or values == sorted(values, reverse=True)

    cells: Callable[[str, str], int] = lambda a, b: len(set(zip(columns[a], columns[b], strict=True)))  # noqa: E731
    return arrange(names, {name: len(set(values)) for name, values in columns.items()}, cells, rising)


def scan_points(outer: int, inner: int, *, snake: bool) -> list[tuple[float, float]]:
    lines = [[(float(a), float(b)) for b in range(inner)] for a in range(outer)]
    return [point for n, line in enumerate(lines) for point in (line[::-1] if snake and n % 2 else line)]


@given(st.integers(2, 8), st.integers(2, 8), st.booleans(), st.data())
def test_grid_is_an_image_as_soon_as_its_second_line_has_begun(outer: int, inner: int, snake: bool, data: Any) -> None:
    points = scan_points(outer, inner, snake=snake)
    measured = data.draw(st.integers(1, len(points)))
    expected = Arrangement("image", ("a", "b")) if measured > inner else Arrangement("lines", ("b",))
    assert arranged(["a", "b"], points[:measured]) == expected


def test_coordinates_that_are_swept_at_once_are_one_axis() -> None:
    assert arranged(["a", "b"], [(n, 10 - 2 * n) for n in range(20)]) == Arrangement("lines", ("a",))


def test_coordinates_without_a_grid_are_points() -> None:
    points = [(n * 7 % 20, n * n * 3 % 17) for n in range(20)]
    assert arranged(["a", "b"], points) == Arrangement("points", ("a", "b"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(6)))[::7])
def test_grid_may_be_measured_in_any_order(order: tuple[int, ...]) -> None:
    points = scan_points(2, 3, snake=False)
    assert arranged(["a", "b"], [points[n] for n in order]) == Arrangement("image", ("a", "b"))


def test_coordinate_that_does_not_vary_is_no_axis() -> None:
    assert arranged(["a", "b"], [(1, 5), (2, 5), (3, 5)]) == Arrangement("lines", ("a",))
    assert arranged(["a", "b"], [(1, 5)]) == Arrangement("lines", ("b",))
    assert arranged(["a", "b", "c"], [(1, a, c) for a in range(3) for c in range(3)]) == Arrangement(
        "image", ("b", "c")
    )
    assert arrange([], {}, lambda a, b: 0, lambda a: True) is None


@pytest.mark.parametrize(
    ("unit", "largest", "expected"),
    [
        ("A", 3e-9, "nA"),
        ("A", 0.9999e-9, "nA"),
        ("V", 0.0131, "V"),
        ("V", 0.009, "mV"),
        ("V", 9000.0, "V"),
        ("Hz", 5e9, "GHz"),
        ("Hz", 1e4, "kHz"),
        ("s", 2e-6, "µs"),
        ("s", 86400.0, "s"),
        ("K", 20000.0, "K"),
        ("K", 0.004, "mK"),
        ("mV", 1e-6, "mV"),
        ("dBm", 1e-6, "dBm"),
        ("", 1e-6, ""),
        ("A", 0.0, "A"),
        ("A", 1e-30, "A"),
        ("A", 1e30, "A"),
        ("A", float("inf"), "A"),
    ],
)
def test_unit_has_a_prefix_where_values_are_very_small_or_large(unit: str, largest: float, expected: str) -> None:
    factor, scaled = scaled_unit(unit, largest)
    assert scaled == expected
    assert (factor == 1.0) == (scaled == unit)
    if scaled != unit:
        assert 0.99 <= largest * factor < 1000
