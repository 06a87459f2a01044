"""Which columns of a run are drawn, in which form, and over what: rules on names, units and kinds of columns.

Coordinates go on the horizontal axis, and the time of the rows does where there are none. What has one unit shares a
panel. Two coordinates that fill a grid make an image; a column of arrays makes one, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from qmi.errors import QMI_InvalidValueException

TIME: Final = "time"
"""What the times of the rows are called, unless a column is."""

LAST: Final = "[-1]"
"""What is behind the name of a column of arrays whose newest array alone is to be drawn."""

MAX_PANELS: Final = 6
_NUMBERS: Final = ("bool", "int", "float")

Form: TypeAlias = Literal["lines", "image", "points", "history", "trace", "picture"]
Names: TypeAlias = str | Sequence[str] | None


class PlotColumn(NamedTuple):
    """A column of a run.

    Attributes:
        name: Its name.
        unit: Its unit; empty if it has none.
        kind: "none" (no values so far), "bool", "int", "float", "complex", "text" or "time".
        shape: Of its arrays; empty for plain values.
    """

    name: str
    unit: str = ""
    kind: str = "float"
    shape: tuple[int, ...] = ()


class Arrangement(NamedTuple):
    """How the coordinates lie.

    Attributes:
        form: "lines" over one axis, "image" where two axes make a grid, "points" where two axes do not.
        axes: The names of the axes.
    """

    form: Literal["lines", "image", "points"]
    axes: tuple[str, ...]


class Curve(NamedTuple):
    """What is drawn of a column.

    Attributes:
        column: Its name.
        part: "magnitude" or "phase" of complex numbers; else empty.
    """

    column: str
    part: str = ""

    @property
    def label(self) -> str:
        """How it is called."""
        return {"": "{}", "magnitude": "|{}|", "phase": "phase of {}"}[self.part].format(self.column)


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        form: "lines"; "image" and "points", coloured, over two coordinates; for arrays "history" (an image over rows),
            "trace" (the newest array as a line) or "picture" (the newest array of two dimensions as an image).
        curves: What is drawn: several for lines, one for the other forms.
        x: The column on the horizontal axis; empty for "trace" and "picture", which have an axis of the arrays there.
        y: The column on the vertical axis of "image" and "points".
        unit: The unit of the values.
    """

    form: Form
    curves: tuple[Curve, ...]
    x: str = ""
    y: str = ""
    unit: str = ""


class Layout(NamedTuple):
    """What is drawn.

    Attributes:
        panels: The panels, from the top.
        left_out: Columns that could be drawn, and are not, because there are so many.
    """

    panels: tuple[Panel, ...]
    left_out: tuple[str, ...] = ()


def time_of_rows(columns: Iterable[str]) -> str:
    """What the time of the rows is called: as in the file, not as a column."""
    return TIME if TIME not in columns else f"row_{TIME}"


def check_axes(columns: Sequence[str], x: Names, y: Names) -> None:
    """See whether there are such columns.

    Args:
        columns: The names of the columns.
        x: What the user wants on the horizontal axis, or the two axes of an image.
        y: What the user wants to see.

    Raises:
        QMI_InvalidValueException: If not.
    """
    named = {"x": [*columns, time_of_rows(columns)], "y": [*columns, *(f"{name}{LAST}" for name in columns)]}
    for argument, value in (("x", x), ("y", y)):
        if value is None:
            continue
        names = names_in(value)
        if not names or not all(isinstance(name, str) for name in names) or (argument == "x" and len(names) > 2):
            what = "a name or two names" if argument == "x" else "a name or a list of names"
            raise QMI_InvalidValueException(f"{argument} must be {what} of columns, got {value!r}")
        if unknown := [name for name in names if name not in named[argument]]:
            known = ", ".join(columns if argument == "y" else named["x"])
            raise QMI_InvalidValueException(f"{argument} must be a column ({known}), got {unknown[0]!r}")


def names_in(names: Names) -> list[str]:
    """The names in an argument."""
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def arrange(
    coordinates: Sequence[str],
    distinct: Mapping[str, int],
    cells: Callable[[str, str], int],
    rising: Callable[[str], bool],
) -> Arrangement | None:
    """How coordinates lie that were measured so far.

    An axis is a coordinate that varies. Two of them make a grid if more than half of the combinations of their values
    were measured, in whatever order; so do the first lines of one. Where they change together, as two voltages that are
    swept at once, one axis is enough.

    Args:
        coordinates: Their names, the one that changes most slowly first; the last two make an image.
        distinct: How many different values each has.
        cells: How many different pairs of values two of them have.
        rising: Whether a coordinate only rises, or only falls.

    Returns:
        None if there is no coordinate.
    """
    if not coordinates:
        return None
    varying = [name for name in coordinates if distinct[name] > 1][-2:]
    if len(varying) < 2:
        return Arrangement("lines", tuple(varying or coordinates[-1:]))
    one, other = varying
    if 2 * cells(one, other) > distinct[one] * distinct[other]:
        return Arrangement("image", (one, other))
    if rising(one) and rising(other):
        return Arrangement("lines", (one,))
    return Arrangement("points", (one, other))


def lay_out(columns: Sequence[PlotColumn], over: Arrangement, y: Names = None) -> Layout:
    """Choose the panels.

    Args:
        columns: The columns, those of the coordinates too.
        over: What is on the axes: the coordinates, what the user has named, or the time of the rows.
        y: What the user wants to see; None for all that are numbers, or if there are none, for texts and times.
    """
    known = {column.name: column for column in columns}
    wanted = names_in(y) or _usual([column for column in columns if column.name not in over.axes])
    panels: list[Panel] = []
    for name in wanted:
        column = known[name.removesuffix(LAST)] if name not in known else known[name]
        for panel in _panels_of(column, over, last=name not in known):
            _put(panel, panels)
    kept = panels[:MAX_PANELS]
    shown = {curve.column for panel in kept for curve in panel.curves}
    left_out = [curve.column for panel in panels[MAX_PANELS:] for curve in panel.curves if curve.column not in shown]
    return Layout(tuple(kept), tuple(dict.fromkeys(left_out)))


def _usual(columns: Sequence[PlotColumn]) -> list[str]:
    numbers = [column.name for column in columns if column.kind in (*_NUMBERS, "complex") and len(column.shape) < 3]
    return numbers or [column.name for column in columns if column.kind in ("text", "time") and not column.shape]


def _panels_of(column: PlotColumn, over: Arrangement, *, last: bool) -> list[Panel]:
    if column.kind == "none" or len(column.shape) > 2 or (column.shape and column.kind not in (*_NUMBERS, "complex")):
        return []
    curves = [(Curve(column.name), column.unit)]
    if column.kind == "complex":
        curves = [(Curve(column.name, "magnitude"), column.unit), (Curve(column.name, "phase"), "deg")]
    found = []
    for curve, unit in curves:
        if len(column.shape) == 2:
            found.append(Panel("picture", (curve,), unit=unit))
        elif column.shape and (last or over.form != "lines"):
            found.append(Panel("trace", (curve,), unit=unit))
        elif column.shape:
            found.append(Panel("history", (curve,), over.axes[0], unit=unit))
        elif over.form == "lines" or column.kind in ("text", "time"):
            found.append(Panel("lines", (curve,), over.axes[0], unit=_unit_of_lines(column, unit)))
        else:
            found.append(Panel(over.form, (curve,), over.axes[0], over.axes[1], unit))
    return found


def _unit_of_lines(column: PlotColumn, unit: str) -> str:
    """What lines must have in common to share a panel; texts and truth values have panels of their own."""
    return unit if column.kind in (*_NUMBERS[1:], "complex") else f"\0{column.kind} {column.name}"


def _put(panel: Panel, panels: list[Panel]) -> None:
    """Add a panel, or its lines to one that has the same axes and unit."""
    for index, other in enumerate(panels):
        if panel.form == "lines" and other._replace(curves=()) == panel._replace(curves=()):
            panels[index] = other._replace(curves=(*other.curves, *panel.curves))
            return
    panels.append(panel)


_PREFIXES: Final = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 3: "k", 6: "M", 9: "G", 12: "T"}
_TAKE_PREFIXES: Final = frozenset(
    ("V", "A", "Hz", "s", "W", "Ω", "Ohm", "ohm", "F", "H", "T", "K", "m", "Pa", "J", "N", "C", "S", "eV", "Wb", "g")
)
_NEVER_KILO: Final = frozenset(("s", "K"))


def scaled_unit(unit: str, largest: float) -> tuple[float, str]:
    """A unit with a prefix by which values have few digits, such as nA.

    Args:
        unit: The unit.
        largest: The largest of the values, without its sign.

    Returns:
        What the values are multiplied by, and the unit.
    """
    if unit not in _TAKE_PREFIXES or 1e-2 <= largest < 1e4 or (largest >= 1e4 and unit in _NEVER_KILO):
        return 1.0, unit
    for power, prefix in _PREFIXES.items():
        if 0.9999 * 10.0**power <= largest < 0.9999 * 10.0 ** (power + 3):
            return 10.0**-power, prefix + unit
    return 1.0, unit


def with_unit(label: str, unit: str) -> str:
    """A name with its unit, as on an axis."""
    return f"{label} [{unit}]" if unit else label
