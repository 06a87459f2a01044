"""The rows that a plot is made of, in a bounded amount of memory, however long the run is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy

from qmi.data.plot_layout import PlotColumn, time_of_rows

Array: TypeAlias = "numpy.ndarray[Any, numpy.dtype[Any]]"

MAX_ROWS: Final = 1 << 16
"""How many rows are kept, where lines are drawn: many more than a screen has columns."""
MAX_CELLS: Final = 1 << 20
"""How many rows are kept, where they may be the cells of an image."""
MAX_TRACES: Final = 512
MAX_TRACE_POINTS: Final = 1024
"""How many arrays are kept, and of how many points each, for the image of a column of arrays."""
_BATCH: Final = 4096
_ENOUGH: Final = 64
"""Texts of a column that are told apart."""


class TimedRow(Protocol):
    """A row, as followers have it."""

    @property
    def time(self) -> datetime:
        """When it was measured."""

    def __getitem__(self, name: str, /) -> Any:
        """The value of a column."""


def thin(columns: Mapping[str, Array], block: int) -> Array:
    """Which rows are kept, so that the extremes of each column survive.

    Args:
        columns: The columns; the numbers count.
        block: The number of rows of which the least and the greatest of each column are kept.

    Returns:
        The indices of the rows, rising; the first and the last row are among them.
    """
    length = len(next(iter(columns.values())))
    whole = length - length % block
    starts = numpy.arange(0, whole, block)
    kept = [numpy.arange(whole, length), numpy.array([0, length - 1])]
    for values in columns.values():
        numbers = numpy.abs(values) if values.dtype.kind == "c" else values
        if numbers.dtype.kind != "f":
            continue
        blocks = numbers[:whole].reshape(-1, block)
        missing = numpy.isnan(blocks)
        kept.append(starts + numpy.where(missing, numpy.inf, blocks).argmin(axis=1))
        kept.append(starts + numpy.where(missing, -numpy.inf, blocks).argmax(axis=1))
    return numpy.unique(numpy.concatenate(kept))


def envelope(x: Array, y: Array, columns: int) -> tuple[Array, Array]:
    """A line with at most four points for each column of pixels, which looks like the line itself.

    Args:
        x: Where the points are; nothing is done unless they rise, all in one part.
        y: Their values; none is NaN.
        columns: The number of columns.
    """
    if len(x) <= 4 * columns or not x[-1] > x[0] or not bool((numpy.diff(x) >= 0).all()):
        return x, y
    pixel = ((x - x[0]) * (columns / (x[-1] - x[0]))).astype(int)
    starts = numpy.flatnonzero(numpy.diff(pixel, prepend=-1))
    kept = [starts, numpy.append(starts[1:], len(x)) - 1]
    for extreme in (numpy.minimum, numpy.maximum):
        of_pixel = numpy.repeat(extreme.reduceat(y, starts), numpy.diff(numpy.append(starts, len(x))))
        places = numpy.flatnonzero(y == of_pixel)
        kept.append(places[numpy.unique(pixel[places], return_index=True)[1]])
    rows = numpy.unique(numpy.concatenate(kept))
    return x[rows], y[rows]


class Traces(NamedTuple):
    """The arrays of a column.

    Attributes:
        rows: For the arrays that are kept: their columns of plain values, as in :class:`Snapshot`.
        values: The arrays themselves, as rows; long ones as means of several points.
        newest: The newest array, as it is.
    """

    rows: dict[str, Array]
    values: Array
    newest: Array


class Snapshot(NamedTuple):
    """What a plot is made of at one moment.

    Attributes:
        columns: What is known of the columns.
        values: The plain values of the columns and the times of the rows, NaN where there is none; times are seconds
            since 1970, texts are numbers of entries of ``texts``.
        texts: The different texts of the columns.
        traces: The columns of arrays.
        rows: How many rows there were.
        newest_only: How many rows are kept, if older ones are forgotten; else 0.
    """

    columns: tuple[PlotColumn, ...]
    values: dict[str, Array]
    texts: dict[str, tuple[str, ...]]
    traces: dict[str, Traces]
    rows: int
    newest_only: int = 0


class Table:
    """Keeps rows.

    Args:
        columns: Units of the columns by their names.
        cells: Keep all rows up to :data:`MAX_CELLS`, and then the newest ones; not only the extremes of many.
    """

    def __init__(self, columns: Mapping[str, str], *, cells: bool = False) -> None:
        self._units = dict(columns)
        self._time = time_of_rows(columns)
        self._cells = cells
        self._kinds = dict.fromkeys(columns, "none")
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._texts: dict[str, dict[str, int]] = {}
        self._traces: dict[str, _Traces] = {}
        self._kept: dict[str, Array] = {}
        self._fresh: list[dict[str, Array]] = []
        self._fresh_rows = 0
        self._factor = 1
        self._forgotten = False
        self.rows: int = 0

    def add(self, rows: Sequence[TimedRow]) -> None:
        """Take rows in."""
        for at in range(0, len(rows), _BATCH):
            self._add(rows[at : at + _BATCH])

    def _add(self, rows: Sequence[TimedRow]) -> None:
        batch = {self._time: numpy.array([row.time.timestamp() for row in rows])}
        arrays: dict[str, list[Any]] = {}
        for name in self._units:
            values = [row[name] for row in rows]
            found = self._plain(name, values)
            if found is None:
                arrays[name] = values
            else:
                batch[name] = found
        for name, values in arrays.items():
            self._traces.setdefault(name, _Traces()).add(values, batch)
        self.rows += len(rows)
        self._fresh.append(batch)
        self._fresh_rows += len(rows)
        if self._is_time_to_put_away():
            self._put_away()

    def _plain(self, name: str, values: list[Any]) -> Array | None:
        """The values as numbers; None for arrays."""
        kinds = {type(value) for value in values} - {type(None)}
        if kinds <= {float}:
            self._is(name, "float" if kinds else "none")
            return numpy.array(values, dtype=float)
        if kinds <= {float, int, bool}:
            self._is(name, "bool" if kinds == {bool} else "float" if float in kinds else "int")
            return numpy.array(values, dtype=float)
        if any(isinstance(value, str) for value in values):
            self._is(name, "text")
            known = self._texts.setdefault(name, {})
            return numpy.array([self._code(known, value) for value in values])
        if datetime in kinds:
            self._is(name, "time")
            return numpy.array([numpy.nan if value is None else _seconds(value) for value in values])
        if kinds <= {float, int, bool, complex}:
            self._is(name, "complex")
            return numpy.array([numpy.nan if value is None else value for value in values], dtype=complex)
        arrays = [value for value in values if getattr(value, "shape", ())]
        if not arrays:  # numbers of numpy
            self._is(name, "float")
            return numpy.array([numpy.nan if value is None else float(value) for value in values])
        self._shapes[name] = arrays[-1].shape
        letter = arrays[-1].dtype.kind
        self._is(name, {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}.get(letter, "text"))
        return None

    def _is(self, name: str, kind: str) -> None:
        order = ("none", "bool", "int", "float", "complex", "text", "time")
        self._kinds[name] = max(self._kinds[name], kind, key=order.index)

    def _code(self, known: dict[str, int], value: object) -> float:
        if value is None:
            return numpy.nan
        text = str(value)
        if text not in known and len(known) >= _ENOUGH:
            return float(known.setdefault("(others)", _ENOUGH))
        return float(known.setdefault(text, len(known)))

    def _put_away(self) -> None:
        """Thin out what has come, as what came before it was; and all of it once more, if it is too much."""
        if not self._fresh:
            return
        fresh = _joined(self._fresh)
        self._fresh, self._fresh_rows = [], 0
        if self._factor > 1:
            fresh = _taken(fresh, thin(fresh, _block(fresh, self._factor)))
        kept = self._kept = _joined([self._kept, fresh])
        if self._cells and _length(kept) > MAX_CELLS:
            self._kept = _taken(kept, slice(-MAX_CELLS * 3 // 4, None))
            self._forgotten = True
        while not self._cells and _length(self._kept) > MAX_ROWS:
            self._factor *= 2
            self._kept = _taken(self._kept, thin(self._kept, _block(self._kept, 2)))

    def _is_time_to_put_away(self) -> bool:
        least = _BATCH if self._factor == 1 else max(_BATCH, 4 * _block(self._kept, self._factor))
        return self._fresh_rows >= max(least, _length(self._kept) // 8)

    def snapshot(self) -> Snapshot:
        """What is there now; it does not change any more."""
        columns = tuple(
            PlotColumn(name, unit, self._kinds[name], self._shapes.get(name, ())) for name, unit in self._units.items()
        )
        if len(self._fresh) > 1:  # the next look need not join them again
            self._fresh = [_joined(self._fresh)]
        values = _joined([self._kept, *self._fresh])
        return Snapshot(
            columns,
            values,
            {name: tuple(known) for name, known in self._texts.items()},
            {name: traces.snapshot() for name, traces in self._traces.items() if traces.newest is not None},
            self.rows,
            _length(values) if self._forgotten else 0,
        )


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return numpy.nan


def _block(columns: Mapping[str, Array], factor: int) -> int:
    """Rows of which the extremes are kept, so that at most one row in ``factor`` stays."""
    return 2 * max(1, len(columns)) * factor


def _taken(columns: Mapping[str, Array], rows: Any) -> dict[str, Array]:
    return {name: values[rows] for name, values in columns.items()}


def _length(columns: Mapping[str, Array]) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _joined(parts: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Tables below each other; a column that one of them lacks has no value there."""
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return dict(*parts)
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: numpy.concatenate([part.get(name, numpy.full(_length(part), numpy.nan)) for part in parts])
        for name in names
    }


class _Traces:
    """The arrays of a column: the newest one, and as many others as an image can show."""

    def __init__(self) -> None:
        self.newest: Array | None = None
        self._rows: list[dict[str, float]] = []
        self._values: list[Array] = []
        self._stride = 1
        self._number = 0

    def add(self, arrays: Sequence[Any], rows: Mapping[str, Array]) -> None:
        for at, array in enumerate(arrays):
            if array is None:
                continue
            self.newest = array
            if array.ndim == 1 and self._number % self._stride == 0:
                self._rows.append({name: values[at] for name, values in rows.items()})
                self._values.append(_shortened(array))
                if len(self._values) > MAX_TRACES:
                    del self._rows[1::2], self._values[1::2]
                    self._stride *= 2
            self._number += 1

    def snapshot(self) -> Traces:
        assert self.newest is not None
        names = dict.fromkeys(name for row in self._rows for name in row)
        rows = {name: numpy.array([row.get(name, numpy.nan) for row in self._rows]) for name in names}
        return Traces(rows, numpy.array(self._values), self.newest)


def _shortened(array: Array) -> Array:
    count = -(-len(array) // MAX_TRACE_POINTS)
    if count == 1:
        return array
    starts = numpy.arange(0, len(array), count)
    lengths = numpy.diff(numpy.append(starts, len(array)))
    shortened: Array = numpy.add.reduceat(array, starts) / lengths
    return shortened
