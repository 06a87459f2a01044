"""Drawings on a figure of matplotlib: in a window, or for a file or a notebook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy
from dateutil.tz import tzlocal
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from qmi.data.plot_drawing import Axis, Drawing, Image, Lines, Points
from qmi.data.plot_table import Array, envelope

AnyPanel: TypeAlias = Lines | Image | Points

_DAY: Final = 86400.0
_PIXELS: Final = 4000
"""Columns of pixels that a line is drawn for, so that there is something left when somebody zooms in."""
_CELLS: Final = 1500
"""Cells of an image along an axis at most."""
_FEW: Final = 150
"""Up to so many points are marked."""
_NO_VALUE: Final = "0.9"


class FigurePainter:
    """Draws on a figure, again and again. What somebody has zoomed into stays as it is.

    Args:
        figure: The figure.
    """

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self._kind: object = None
        self._updates: list[Callable[[AnyPanel], None]] = []

    def paint(self, drawing: Drawing) -> None:
        """Show this from now on."""
        kind = [_kind_of(panel) for panel in drawing.panels]
        if kind != self._kind:
            self._figure.clear()
            self._updates = self._axes(drawing)
            self._kind = kind
        self._figure.suptitle(f"{drawing.title}\n{drawing.subtitle}", fontsize="medium", parse_math=False)
        for update, panel in zip(self._updates, drawing.panels, strict=True):
            update(panel)

    def _axes(self, drawing: Drawing) -> list[Callable[[AnyPanel], None]]:
        panels = drawing.panels
        if not panels:
            return []
        across = 2 if len(panels) > 1 and not any(isinstance(panel, Lines) for panel in panels) else 1
        down = -(-len(panels) // across)
        shared = across == 1 and len({panel.x for panel in panels}) == 1
        axes = self._figure.subplots(down, across, squeeze=False, sharex=shared).ravel()
        for unused in axes[len(panels) :]:
            unused.remove()
        makers: dict[type, Callable[..., Callable[[AnyPanel], None]]] = {Lines: _lines, Image: _image, Points: _points}
        found = []
        for number, (ax, panel) in enumerate(zip(axes, panels, strict=False)):
            _label(ax, panel, named=not shared or number == len(panels) - 1)
            found.append(makers[type(panel)](self._figure, ax, panel))
        return found


def _kind_of(panel: Lines | Image | Points) -> object:
    """What must not change, so that a panel can be drawn with other values."""
    if isinstance(panel, Lines):
        return "lines", panel.x, panel.y, panel.steps, [label for label, _, _ in panel.curves]
    return type(panel).__name__, panel.x, panel.y, panel.z


def _label(ax: Axes, panel: Lines | Image | Points, *, named: bool) -> None:
    for side, axis, shown in ((ax.xaxis, panel.x, named), (ax.yaxis, panel.y, True)):
        label = axis.label
        if axis.times:
            zone = tzlocal()
            locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
            side.set_major_locator(locator)
            side.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
            label = f"{label} ({datetime.now(zone):%Z})"
        elif axis.categories:
            side.set_ticks(range(len(axis.categories)), labels=axis.categories)
        if shown:
            side.set_label_text(label, parse_math=False)


def _places(values: Array, axis: Axis) -> Array:
    """Values as matplotlib has them: times are days since 1970."""
    return values / _DAY if axis.times else values


def _lines(figure: Figure, ax: Axes, panel: Lines) -> Callable[[AnyPanel], None]:
    style = "steps-post" if panel.steps else "default"
    drawn = [ax.plot([], [], drawstyle=style, linewidth=1.2, markersize=3)[0] for _ in panel.curves]
    ax.grid(alpha=0.3)
    if len(drawn) > 1:
        labels = [label.replace("_", "\u200b_", 1) if label.startswith("_") else label for label, _, _ in panel.curves]
        legend = ax.legend(drawn, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)

    def update(panel: AnyPanel) -> None:
        assert isinstance(panel, Lines)
        for line, (_, xs, ys) in zip(drawn, panel.curves, strict=True):
            shown_xs, shown_ys = envelope(xs, ys, _PIXELS)
            line.set_data(_places(shown_xs, panel.x), _places(shown_ys, panel.y))
            line.set_marker("o" if len(xs) <= _FEW and not panel.steps else "")
        ax.relim()
        ax.autoscale_view()

    update(panel)
    return update


def _image(figure: Figure, ax: Axes, panel: Image) -> Callable[[AnyPanel], None]:
    ax.set_facecolor(_NO_VALUE)
    values, extent = _pixels_of(panel)
    drawn = ax.imshow(values, aspect="auto", origin="lower", interpolation="nearest", extent=extent)
    _colour(figure, ax, drawn, panel)

    def update(panel: AnyPanel) -> None:
        assert isinstance(panel, Image)
        values, extent = _pixels_of(panel)
        drawn.set_data(values)
        drawn.set_extent(extent)
        _limit(drawn, panel)

    _limit(drawn, panel)
    return update


def _pixels_of(panel: Image) -> tuple[Array, tuple[float, float, float, float]]:
    xs, columns = _pixels(_places(panel.xs, panel.x))
    ys, rows = _pixels(_places(panel.ys, panel.y))
    return panel.values[rows][:, columns], (*xs, *ys)


def _points(figure: Figure, ax: Axes, panel: Points) -> Callable[[AnyPanel], None]:
    drawn = ax.scatter(panel.xs, panel.ys, c=panel.values, s=14)
    _colour(figure, ax, drawn, panel)
    ax.grid(alpha=0.3)

    def update(panel: AnyPanel) -> None:
        assert isinstance(panel, Points)
        xs, ys = _places(panel.xs, panel.x), _places(panel.ys, panel.y)
        drawn.set_offsets(numpy.column_stack([xs, ys]))
        drawn.set_array(panel.values)
        _limit(drawn, panel)
        if len(xs):
            ax.update_datalim(numpy.column_stack([xs, ys]))
        ax.autoscale_view()

    update(panel)
    return update


def _colour(figure: Figure, ax: Axes, drawn: Any, panel: Image | Points) -> None:
    drawn.set_cmap("twilight_shifted" if panel.cyclic else "viridis")
    bar = figure.colorbar(drawn, ax=ax)
    bar.ax.yaxis.set_label_text(panel.z.label, parse_math=False)


def _limit(drawn: Any, panel: Image | Points) -> None:
    finite = panel.values[numpy.isfinite(panel.values)]
    if panel.cyclic:
        drawn.set_clim(-180, 180)
    elif len(finite):
        drawn.set_clim(finite.min(), finite.max())


def _pixels(centers: Array) -> tuple[tuple[float, float], Array]:
    """The ends of an axis of an image, and which cell is at each of its pixels: those have one size."""
    edges = _edges(centers)
    steps = numpy.diff(edges)
    ends = (float(edges[0]), float(edges[-1]))
    if len(centers) <= _CELLS and numpy.ptp(steps) <= 1e-3 * steps.mean():
        return ends, numpy.arange(len(centers))
    places = numpy.linspace(*ends, 2 * _CELLS + 1)[1::2]
    return ends, numpy.clip(numpy.searchsorted(edges, places) - 1, 0, len(centers) - 1)


def _edges(centers: Array) -> Array:
    """The edges of cells around these places."""
    if not len(centers):
        return numpy.array([0.0, 1.0])
    if len(centers) == 1:
        half = 0.5 * (abs(centers[0]) * 1e-6 if abs(centers[0]) > 1e5 else 1.0)
        return numpy.array([centers[0] - half, centers[0] + half])
    inner = (centers[1:] + centers[:-1]) / 2
    ends = centers[0] - (inner[0] - centers[0]), centers[-1] + (centers[-1] - inner[-1])
    return numpy.array([ends[0], *inner, ends[1]])
