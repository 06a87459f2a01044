"""Drawings in a terminal, as wide and high as it is, with colours or without."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Final, NamedTuple, TypeAlias

import numpy
from rich.cells import cell_len, set_cell_size

from qmi.data.plot_drawing import Axis, Drawing, Image, Lines, Points
from qmi.data.plot_table import Array, envelope
from qmi.data.plot_ticks import number_ticks, spread, time_ticks

MIN_WIDTH: Final = 30
MIN_HEIGHT: Final = 8
_MIN_ROWS: Final = 3
_MAX_MARGIN: Final = 16
_BRAILLE: Final = 0x2800
# The bits of the eight dots in a braille character: four rows from the top, two columns.
_DOTS: Final = numpy.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_COLOURS: Final = (33, 208, 35, 170, 37, 160)
"""Colours of curves in the palette of 256 that are legible on black and on white."""
_SHADES: Final = "·░▒▓█"
_PLAIN_SHADES: Final = ".:-=+*#%@"
_VIRIDIS: Final = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)),
)
_LEVELS: Final = 24

Panels: TypeAlias = Lines | Image | Points


class Style(NamedTuple):
    """What a terminal can show.

    Attributes:
        colour: Whether it has the palette of 256 colours, and they are wanted.
        fine: Whether it has characters beyond ASCII.
    """

    colour: bool = True
    fine: bool = True


def draw_text(
    drawing: Drawing, width: int, height: int, style: Style | None = None, zone: tzinfo | None = None
) -> list[str]:
    """The lines of a drawing.

    Args:
        drawing: What to draw.
        width: In characters; no line is wider, unless the width is less than :data:`MIN_WIDTH`.
        height: In lines; there are not more, unless the height is less than :data:`MIN_HEIGHT`.
        style: What the terminal can show.
        zone: The time zone of times; None for the local one.
    """
    style = style or Style()
    width, height = max(width, MIN_WIDTH), max(height, MIN_HEIGHT)
    panels = list(drawing.panels)
    if not style.colour:  # lines that cannot be told apart by their colours have pictures of their own
        panels = [part for panel in panels for part in _apart(panel)]
    lines = [_fitted(drawing.title, width), _fitted(drawing.subtitle, width)]
    shared = len({panel.x for panel in panels}) == 1
    shown, rows = _that_fit(panels, height - len(lines), shared)
    pictures = [_Picture(panel, width, style, zone) for panel in shown]
    margin = max((picture.margin(down) for picture, down in zip(pictures, rows, strict=True)), default=0)
    for number, (picture, down) in enumerate(zip(pictures, rows, strict=True)):
        lines += picture.draw(down, margin, labelled=not shared or number == len(pictures) - 1)
    if len(shown) < len(panels):
        names = ", ".join(_name(panel) for panel in panels[len(shown) :])
        lines.append(_fitted(f"no room for {names}", width))
    return lines


def _that_fit(panels: list[Panels], room: int, shared: bool) -> tuple[list[Panels], list[int]]:
    """The first panels, as many as there is room for, and how many lines each has within its axes."""
    for number in range(len(panels), 0, -1):
        left = room - (number < len(panels)) - 2 * number - 2 * (1 if shared else number)
        if left >= _MIN_ROWS * number or number == 1:
            left = max(left, 1)
            return panels[:number], [left // number + (index < left % number) for index in range(number)]
    return [], []


def _apart(panel: Panels) -> list[Panels]:
    if not isinstance(panel, Lines) or len(panel.curves) == 1:
        return [panel]
    unit = panel.y.label.rpartition("[")[2].rstrip("]") if panel.y.label.endswith("]") else panel.y.label
    unit = "" if unit == ", ".join(label for label, _, _ in panel.curves) else unit
    return [
        Lines(panel.x, Axis(f"{curve[0]} [{unit}]" if unit else curve[0]), (curve,), panel.steps)
        for curve in panel.curves
    ]


def _name(panel: Panels) -> str:
    if isinstance(panel, Lines):
        return ", ".join(label for label, _, _ in panel.curves)
    return panel.z.label


def _fitted(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 3).rstrip() + "..."


class _Picture:
    """A panel in a terminal."""

    def __init__(self, panel: Panels, width: int, style: Style, zone: tzinfo | None) -> None:
        self._panel = panel
        self._width = width
        self._style = style
        self._zone = zone
        self._xs = _range(_all(panel, 0), panel.x)
        self._ys = _range(_all(panel, 1), panel.y)

    def margin(self, down: int) -> int:
        """How wide the labels on the left are."""
        return min(_MAX_MARGIN, max((cell_len(label) for _, label in self._ticks_down(down)), default=0))

    def draw(self, down: int, margin: int, *, labelled: bool) -> list[str]:
        """The lines: a heading, so many lines within the axes, the lower axis, and what is written below it."""
        across = self._width - margin - 1
        cells = self._lines(across, down) if isinstance(self._panel, Lines) else self._cells(across, down)
        ticks = {self._row(value, down): label for value, label in self._ticks_down(down)}
        bar, tick = ("│", "┤") if self._style.fine else ("|", "+")
        lines = [self._heading()]
        for row, content in enumerate(cells):
            label = set_cell_size(ticks[row], min(margin, cell_len(ticks[row]))) if row in ticks else ""
            lines.append(f"{' ' * (margin - cell_len(label))}{label}{tick if row in ticks else bar}{content}".rstrip())
        axis, *below = self._below(across, margin)
        return [*lines, axis, *below] if labelled else [*lines, axis]

    def _heading(self) -> str:
        panel = self._panel
        if isinstance(panel, Lines):
            if len(panel.curves) == 1 or not self._style.colour:
                return _fitted(panel.y.label, self._width)
            unit = panel.y.label.rpartition("[")[2].rstrip("]") if panel.y.label.endswith("]") else ""
            names = [label for label, _, _ in panel.curves]
            text = _fitted("  ".join(names) + (f"  [{unit}]" if unit else ""), self._width)
            for number, name in enumerate(names):
                text = text.replace(name, f"\0{number}\0", 1)
            for number, name in enumerate(names):
                text = text.replace(f"\0{number}\0", _paint(name, _COLOURS[number % len(_COLOURS)]), 1)
            return text
        low, high = _limits(panel)
        scale = "".join(self._shade(number / 8, one_line=True) for number in range(9))
        if not self._style.colour:
            scale = _SHADES if self._style.fine else _PLAIN_SHADES
        plain = 9 if self._style.colour else len(scale)
        rest = f" {high:.4g}  {panel.z.label}, over {panel.y.label}"
        return f"{low:.4g} {scale}" + _fitted(rest, self._width - plain - 1 - len(f"{low:.4g}"))

    def _below(self, across: int, margin: int) -> list[str]:
        """The axis with its ticks, their labels, and what it is."""
        panel = self._panel
        most = max(1, across // 12)
        if panel.x.categories:
            ticks = [(float(number), label) for number, label in enumerate(panel.x.categories)]
        elif panel.x.times:
            ticks = time_ticks(*self._xs, most, self._zone)
        else:
            ticks = number_ticks(*self._xs, most)
        low, high = self._xs
        places = [(round((value - low) / (high - low) * (across - 1)), label) for value, label in ticks]
        places = [(place, label) for place, label in places if 0 <= place < across]
        corner, line, tick = ("└", "─", "┬") if self._style.fine else ("+", "-", "+")
        marks = {place for place, _ in places}
        axis = "".join(tick if place in marks else line for place in range(across))
        name = panel.x.label
        if panel.x.times:
            end = datetime.fromtimestamp(high, self._zone).astimezone(self._zone)
            name = f"{name}, {end:%Y-%m-%d %Z}"
        indent = " " * (margin + 1)
        return [
            f"{' ' * margin}{corner}{axis}",
            f"{indent}{spread(places, across)}",
            _fitted(indent + " " * max(0, (across - cell_len(name)) // 2) + name, self._width),
        ]

    def _ticks_down(self, down: int) -> list[tuple[float, str]]:
        if self._panel.y.categories:
            return [(float(number), label) for number, label in enumerate(self._panel.y.categories)]
        most = max(2, down // 3)
        if self._panel.y.times:
            return time_ticks(*self._ys, most, self._zone)
        for number in (most, most + 1, most + 2):
            ticks = number_ticks(*self._ys, number)
            if len(ticks) > 1:
                return ticks
        return [(value, f"{value:.4g}") for value in self._ys]

    def _row(self, value: float, down: int) -> int:
        low, high = self._ys
        return min(down - 1, max(0, round((high - value) / (high - low) * (down - 1))))

    # What is within the axes

    def _lines(self, across: int, down: int) -> list[str]:
        panel = self._panel
        assert isinstance(panel, Lines)
        wide, high = (2, 4) if self._style.fine else (1, 1)
        bits = numpy.zeros((down, across), int)
        colours = numpy.zeros((down, across), int)
        for number, (_, xs, ys) in enumerate(panel.curves):
            if panel.steps:
                xs, ys = numpy.repeat(xs, 2)[1:], numpy.repeat(ys, 2)[:-1]
            columns, rows = self._dots(xs, ys, across * wide, down * high)
            numpy.bitwise_or.at(
                bits, (rows // high, columns // wide), _DOTS[rows % high, columns % wide] if self._style.fine else 1
            )
            colours[rows // high, columns // wide] = _COLOURS[number % len(_COLOURS)]
        characters = [
            [(chr(_BRAILLE + bit) if self._style.fine else "*") if bit else " " for bit in line]
            for line in bits.tolist()
        ]
        if not self._style.colour:
            return ["".join(line) for line in characters]
        return [_painted(line, of_line) for line, of_line in zip(characters, colours.tolist(), strict=True)]

    def _dots(self, xs: Array, ys: Array, across: int, down: int) -> tuple[Array, Array]:
        """The dots of a line."""
        xs, ys = envelope(xs, ys, across)
        (left, right), (low, high) = self._xs, self._ys
        columns, rows = (xs - left) / (right - left) * (across - 1), (high - ys) / (high - low) * (down - 1)
        if len(xs) > 1:
            lengths = numpy.nan_to_num(numpy.maximum(numpy.abs(numpy.diff(columns)), numpy.abs(numpy.diff(rows))))
            counts = numpy.ceil(lengths).astype(int) + 1
            begins = numpy.repeat(numpy.arange(len(counts)), counts)
            share = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
            share = share / counts[begins]
            columns = numpy.append(columns[begins] + share * numpy.diff(columns)[begins], columns[-1])
            rows = numpy.append(rows[begins] + share * numpy.diff(rows)[begins], rows[-1])
        there = numpy.isfinite(columns) & numpy.isfinite(rows)
        return (
            numpy.clip(numpy.rint(columns[there]).astype(int), 0, across - 1),
            numpy.clip(numpy.rint(rows[there]).astype(int), 0, down - 1),
        )

    def _cells(self, across: int, down: int) -> list[str]:
        panel = self._panel
        assert not isinstance(panel, Lines)
        halves = 2 if self._style.colour and self._style.fine else 1
        shares = self._shares(panel, across, down * halves)
        lines = []
        for row in range(down):
            if halves == 1:
                shades = [self._shade(share) for share in shares[row].tolist()]
                lines.append("".join(shades))
            else:
                lines.append(_halves(shares[2 * row].tolist(), shares[2 * row + 1].tolist()))
        return lines

    def _shares(self, panel: Image | Points, across: int, down: int) -> Array:
        """For each cell of the terminal, the value between 0 and 1; NaN where there is none."""
        lowest, highest = _limits(panel)
        (left, right), (low, high) = self._xs, self._ys
        if isinstance(panel, Image):
            edges_x, edges_y = _edges(panel.xs), _edges(panel.ys)
            xs = left + (numpy.arange(across) + 0.5) / across * (right - left)
            ys = high - (numpy.arange(down) + 0.5) / down * (high - low)
            columns = numpy.clip(numpy.searchsorted(edges_x, xs) - 1, 0, len(panel.xs) - 1)
            rows = numpy.clip(numpy.searchsorted(edges_y, ys) - 1, 0, len(panel.ys) - 1)
            values = panel.values[rows][:, columns]
        else:
            values = numpy.full((down, across), numpy.nan)
            columns = numpy.rint((panel.xs - left) / (right - left) * (across - 1)).astype(int)
            rows = numpy.rint((high - panel.ys) / (high - low) * (down - 1)).astype(int)
            values[rows, columns] = panel.values
        shares: Array = (values - lowest) / (highest - lowest)
        return shares

    def _shade(self, share: float, *, one_line: bool = False) -> str:
        if share != share:
            return " "
        if self._style.colour:
            return _paint("█" if self._style.fine else "#", _palette()[round(share * (_LEVELS - 1))])
        shades = _SHADES if self._style.fine else _PLAIN_SHADES
        return shades[min(len(shades) - 1, int(share * len(shades)))]


def _all(panel: Panels, index: int) -> Array:
    if isinstance(panel, Lines):
        parts = [curve[index + 1] for curve in panel.curves]
        return numpy.concatenate(parts) if parts else numpy.zeros(0)
    values = (panel.xs, panel.ys)[index]
    return _edges(values) if isinstance(panel, Image) else values


def _range(values: Array, axis: Axis) -> tuple[float, float]:
    """The ends of an axis."""
    if axis.categories:
        return -0.25, max(1.0, len(axis.categories) - 1) + 0.25
    finite = values[numpy.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        half = 0.5 if axis.times else abs(low) * 0.05 or 0.5
        return low - half, high + half
    return low, high


def _limits(panel: Image | Points) -> tuple[float, float]:
    if panel.cyclic:
        return -180.0, 180.0
    finite = panel.values[numpy.isfinite(panel.values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + (abs(low) * 0.1 or 1.0)


def _edges(centers: Array) -> Array:
    if len(centers) < 2:
        half = 0.5
        return numpy.array([value + side for value in centers for side in (-half, half)] or [0.0, 1.0])
    inner = (centers[1:] + centers[:-1]) / 2
    return numpy.array([2 * centers[0] - inner[0], *inner, 2 * centers[-1] - inner[-1]])


# Colours


def _paint(text: str, colour: int) -> str:
    return f"\x1b[38;5;{colour}m{text}\x1b[0m"


def _painted(characters: Sequence[str], colours: Sequence[int]) -> str:
    """Characters with their colours; the codes stand where the colour changes."""
    line, now = "", 0
    for character, colour in zip(characters, colours, strict=True):
        wanted = colour if character != " " else now
        if wanted != now:
            line += f"\x1b[38;5;{wanted}m"
            now = wanted
        line += character
    return line.rstrip() + ("\x1b[0m" if now else "")


def _halves(upper: Sequence[float], lower: Sequence[float]) -> str:
    """Two rows of colours in one row of characters."""
    palette = _palette()
    line, now = "", ""
    for above, below in zip(upper, lower, strict=True):
        has_above, has_below = above == above, below == below
        codes, character = "\x1b[0m", " "
        if has_above:
            codes, character = f"\x1b[0;38;5;{palette[round(above * (_LEVELS - 1))]}m", "▀"
            if has_below:
                codes = f"{codes[:-1]};48;5;{palette[round(below * (_LEVELS - 1))]}m"
        elif has_below:
            codes, character = f"\x1b[0;38;5;{palette[round(below * (_LEVELS - 1))]}m", "▄"
        line += (codes if codes != now else "") + character
        now = codes
    return f"{line}\x1b[0m"


@functools.cache
def _palette() -> tuple[int, ...]:
    """Colours of a palette of 256, from low to high values."""
    found = []
    for number in range(_LEVELS):
        place = number / (_LEVELS - 1) * (len(_VIRIDIS) - 1)
        begin = min(int(place), len(_VIRIDIS) - 2)
        rgb = [
            one + (other - one) * (place - begin)
            for one, other in zip(_VIRIDIS[begin], _VIRIDIS[begin + 1], strict=True)
        ]
        red, green, blue = (0 if part < 48 else 1 if part < 115 else int((part - 35) / 40) for part in rgb)
        found.append(16 + 36 * red + 6 * green + blue)
    return tuple(found)
