from __future__ import annotations

import errno
import io
import math
import os
from pathlib import Path
from typing import Any

import numpy
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qmi.data.plot_drawing import Drawing
from qmi.data.plot_figure import FigurePainter
from qmi.data.plot_show import File
from tests.support.plots import BEGIN, drawing_of


def painted(*drawings: Drawing) -> Figure:
    """A figure on which drawings were shown one after the other."""
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    painter = FigurePainter(figure)
    for drawing in drawings:
        painter.paint(drawing)
    return figure


def panels(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def sweep(length: int, **more: Any) -> Drawing:
    return drawing_of(
        {"f": "Hz", "V": "V", "W": "V"}, [{"f": n, "V": 4 * n, "W": 2.0} for n in range(length)], ["f"], **more
    )


def grid(measured: int) -> Drawing:
    rows = [{"a": a, "b": float(b) ** 2, "I": 1e-9 * a * b} for a in range(4) for b in range(5)]
    return drawing_of({"a": "V", "b": "V", "I": "A"}, rows[:measured], ["a", "b"])


def test_lines_have_labels_units_and_a_legend() -> None:
    (axes,) = panels(figure := painted(sweep(5, state="done")))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("f [Hz]", "V, W [V]")
    assert [line.get_xydata()[-1].tolist() for line in axes.get_lines()] == [[4, 16], [4, 2]]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["V", "W"]
    assert figure.get_suptitle() == "sample\n20261126-140501_sample: done, 5 rows"


def test_lines_over_time_have_dates() -> None:
    (axes,) = panels(painted(drawing_of({"T": "K"}, [{"T": n} for n in range(3)])))
    assert axes.get_xlabel().startswith("time (")
    assert float(axes.get_lines()[0].get_xdata()[0]) * 86400 == pytest.approx(BEGIN.timestamp(), abs=1e-4)
    low, high = axes.get_xlim()
    assert (high - low) * 86400 < 3


def test_lines_grow_in_place_with_the_range() -> None:
    figure = Figure()
    FigureCanvasAgg(figure)
    painter = FigurePainter(figure)
    painter.paint(sweep(3))
    (axes,) = panels(figure)
    painter.paint(sweep(100))
    assert panels(figure) == [axes]
    assert axes.get_xlim()[1] > 90
    axes.set_xlim(10, 20)  # as somebody does who looks more closely
    painter.paint(sweep(200))
    assert axes.get_xlim() == (10, 20)
    assert axes.get_ylim()[1] > 790


def test_grid_becomes_an_image_with_a_labelled_scale() -> None:
    figure = painted(grid(3), grid(9), grid(20))
    (axes,) = panels(figure)
    (image,) = axes.get_images()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a [V]", "b [V]")
    assert [other.get_ylabel() for other in figure.axes if other is not axes] == ["I [nA]"]
    left, right, low, high = image.get_extent()
    assert (left, right) == (-0.5, 3.5)
    assert (low, high) == (-0.5, 19.5)
    assert axes.get_xlim() == (-0.5, 3.5)
    assert image.get_clim() == pytest.approx((0, 12))


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 1), (2, 3), (3, 4)])
def test_cells_of_uneven_size_are_where_they_belong(a: int, b: int) -> None:
    (axes,) = panels(painted(grid(20)))
    (image,) = axes.get_images()
    shown: Any = image.get_array()
    left, right, low, high = image.get_extent()
    column = int((a - left) / (right - left) * shown.shape[1])
    row = int((b * b - low) / (high - low) * shown.shape[0])
    assert shown[row, column] == pytest.approx(a * b)


def test_cells_that_were_not_measured_are_empty() -> None:
    (axes,) = panels(painted(grid(7)))
    shown: Any = axes.get_images()[0].get_array()
    assert numpy.ma.is_masked(shown) or numpy.isnan(numpy.asarray(shown)).any()


def test_panels_of_each_form_are_drawn() -> None:
    rows: list[dict[str, Any]] = [
        {"z": complex(n, 1), "on": n > 2, "mode": "ab"[n % 2], "trace": numpy.sin(numpy.arange(5) * n)}
        for n in range(5)
    ]
    columns = {"z": "Ω", "on": "", "mode": "", "trace": "V"}
    figure = painted(drawing_of(columns, rows, y=["z", "on", "mode", "trace", "trace[-1]"]))
    figure.savefig(io.BytesIO())
    labels = [axes.get_ylabel() for axes in panels(figure)]
    assert labels == ["|z| [Ω]", "phase of z [deg]", "on", "mode", "trace_0", "trace [V]"]
    assert [tick.get_text() for tick in panels(figure)[3].get_yticklabels()] == ["a", "b"]


def test_points_are_drawn_with_their_values() -> None:
    rows = [{"a": n * 7 % 20, "b": n * n * 3 % 17, "V": float(n)} for n in range(20)]
    columns = {"a": "mm", "b": "mm", "V": "V"}
    (axes,) = panels(painted(drawing_of(columns, rows[:12], ["a", "b"]), drawing_of(columns, rows, ["a", "b"])))
    (points,) = axes.collections
    assert len(points.get_offsets()) == 20
    assert points.get_clim() == (0, 19)


def test_names_are_shown_as_they_are_written() -> None:
    rows = [{"$a$": 1.0, "_b": 2.0}]
    (axes,) = panels(painted(drawing_of({"$a$": "$x_1$", "_b": "$x_1$"}, rows)))
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text().replace("\u200b", "") for text in legend.get_texts()] == ["$a$", "_b"]
    assert not any(text.get_parse_math() for text in [axes.yaxis.label, *legend.get_texts()])


@pytest.mark.parametrize("rows", [[], [{"T": None}], [{"T": math.nan}], [{"T": 4.0}], [{"T": 4.0}, {"T": 4.0}]])
def test_figure_of_next_to_nothing_is_drawn(rows: list[dict[str, Any]]) -> None:
    figure = painted(drawing_of({"T": "K"}, rows))
    figure.savefig(io.BytesIO(), dpi=20)
    assert len(panels(figure)) <= 1


def test_figure_of_a_single_cell_is_drawn() -> None:
    rows = [{"camera": numpy.ones((1, 1))}]
    (axes,) = panels(painted(drawing_of({"camera": ""}, rows)))
    assert list(axes.get_images()[0].get_extent()) == [-0.5, 0.5, -0.5, 0.5]


def test_many_rows_are_drawn_as_few_points_with_all_extremes() -> None:
    values = numpy.zeros(60_000)
    values[12_345] = 7.0
    (axes,) = panels(painted(drawing_of({"V": "V"}, [{"V": float(v)} for v in values])))
    (line,) = axes.get_lines()
    assert len(line.get_xdata()) < 20_000
    assert max(line.get_ydata()) == 7


def test_full_disk_leaves_the_picture_of_a_run_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(figure: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half a pic")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "run.png").write_bytes(b"before")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OSError, match="No space left"):
        File(tmp_path / "run.png").show(drawing_of({"T": "K"}, [{"T": 4.2}]), last=False)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("run.png", b"before")]
