"""Datasets in text files: a header of comments, then one line for each row."""

from __future__ import annotations

import ast
import io
import math
import re
from typing import TYPE_CHECKING, Any, TextIO

from qmi.data.hdf5_files import FORMER, MARKER, utc_text
from qmi.data.structure import DataSet

if TYPE_CHECKING:
    from qmi.data.structure import AnyArray

_FIRST_LINE = "# QMI_DataSet"
_HEADER = re.compile(r"# (.+?): (.*)", re.DOTALL)
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_EXACT = 2**53
"""Above this not every integer is a float."""


def write_dataset_to_text(dataset: DataSet, fh: TextIO) -> None:
    """Write a dataset as text.

    The header has names, labels, units and attributes. Each line of the rest is one row; before the columns stand the
    indices, if there are two axes or more, and the scales of the axes. All numbers become floats, or complex numbers.

    Args:
        dataset: What to write.
        fh: A file that is open for writing text.

    Raises:
        TypeError: If the data are no numbers, or an attribute is no text, number or truth value.
        ValueError: If a part of the dataset does not fit, or numbers are too large for a float.
    """
    fh.write(dataset_as_text(dataset))


def dataset_as_text(dataset: DataSet) -> str:
    """What is written into the file."""
    import numpy as np

    dataset.__qmi_check__()
    special, labels = _special_columns(dataset)
    rows = dataset.data.reshape(-1, dataset.ncol)
    _check_numbers(dataset.name, rows)
    lines = [_FIRST_LINE, "#"]
    for name, value in {**_description(dataset, labels), **dataset.attrs}.items():
        lines.append(f"# {name}: {_literal(name, value)!r}")
    out = io.StringIO()
    out.write("\n".join([*lines, "#"]) + "\n")
    table = np.column_stack([*special, rows]) if special else rows
    if table.dtype.kind != "c":
        table = table.astype(np.float64)
    np.savetxt(out, table)
    return out.getvalue()


def _check_numbers(name: str, rows: AnyArray) -> None:
    kind = rows.dtype.kind
    if kind not in "biufc":
        raise TypeError(f"the data of {name!r} are of type {rows.dtype}; text files take numbers only")
    if kind in "iu" and rows.dtype.itemsize == 8 and (int(rows.max()) > _EXACT or int(rows.min()) < -_EXACT):
        raise ValueError(f"the data of {name!r} have integers beyond {_EXACT}, which text files lose; write HDF5")


def _special_columns(dataset: DataSet) -> tuple[list[AnyArray], list[tuple[str, str]]]:
    """The columns before those of the data, and the label and unit of each."""
    import numpy as np

    if dataset.is_raw:
        return [], []
    sizes = dataset.data.shape[:-1]
    indices = [index.reshape(-1) for index in np.indices(sizes)]
    columns, labels = [], []
    if len(sizes) > 1:
        columns += indices
        labels += [(f"axis{axis}_index", "") for axis in range(len(sizes))]
    for axis, scale in enumerate(dataset.axis_scale):
        if scale is not None:
            columns.append(np.asarray(scale)[indices[axis]])
            labels.append((f"axis{axis}_scale", dataset.axis_unit[axis]))
    return columns, labels


def _description(dataset: DataSet, special: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": dataset.name,
        "layout": "raw" if dataset.is_raw else "axis",
        "timestamp": float(dataset.timestamp),
        "time_str": utc_text(dataset.timestamp),
        "data_ndim": dataset.data.ndim,
        "n_axes": dataset.n_axes,
        "ncol": dataset.ncol,
    }
    found |= {f"dim{axis}_size": size for axis, size in enumerate(dataset.data.shape)}
    for axis in range(dataset.n_axes):
        texts = (dataset.axis_label[axis], dataset.axis_unit[axis], dataset.axis_name[axis])
        found |= _texts(f"axis{axis}", *texts)
    for place, (label, unit) in enumerate(special):
        found |= _texts(f"column{place}", label, unit, "")
    for col in range(dataset.ncol):
        texts = (dataset.column_label[col], dataset.column_unit[col], dataset.column_name[col])
        found |= _texts(f"column{len(special) + col}", *texts)
    return {f"{MARKER}_{name}": value for name, value in found.items()}


def _texts(prefix: str, label: str, unit: str, name: str) -> dict[str, str]:
    named = {"label": label, "unit": unit, "name": name}
    return {f"{prefix}_{what}": text for what, text in named.items() if text}


def _literal(name: str, value: Any) -> str | int | float:
    if not isinstance(name, str):
        raise TypeError(f"attribute names are texts, got {name!r}")
    if not name or ": " in name or not name.isprintable() or name != name.strip():
        raise ValueError(f"attribute {name!r}: a text file takes names of printable characters without ': '")
    plain = value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value
    if not isinstance(plain, str | int | float):
        raise TypeError(
            f"attribute {name!r} is of type {type(value).__name__}; text files take texts, truth values and real "
            f"numbers. Write HDF5, or leave it out"
        )
    kind = next(kind for kind in (str, bool, int, float) if isinstance(plain, kind))
    return kind(plain)


# -- reading


def read_dataset_from_text(fh: TextIO) -> DataSet:
    """Read a dataset from a text file that this library or any version of QMI wrote.

    Args:
        fh: A file that is open for reading text.

    Returns:
        The dataset; its data are floats, or complex numbers if there are any.

    Raises:
        ValueError: If it is no such file, or is damaged; the message says what was expected.
    """
    return _Reader(fh).read()


class _Reader:
    """Reads one file."""

    def __init__(self, fh: TextIO) -> None:
        self._lines = iter(fh)
        self._own: dict[str, object] = {}
        self._attrs: dict[str, object] = {}

    def read(self) -> DataSet:
        self._read_header()
        former = "layout" not in self._own
        name = str(self._field("name"))
        columns = self._count("ncol")
        if former:
            axes = self._count("ndim") - 1
            shape = (*(self._count(f"axis{axis}_size") for axis in range(axes)), columns)
        else:
            axes = self._count("n_axes")
            shape = tuple(self._count(f"dim{axis}_size") for axis in range(self._count("data_ndim")))
        table = self._read_rows(name)
        if not shape or columns != (shape[-1] if len(shape) > 1 else 1) or not 0 <= axes < max(len(shape), 1):
            raise ValueError(
                f"the header of {name!r} contradicts itself: shape {shape}, {columns} columns, {axes} axes"
            )
        rows = math.prod(shape) // columns if columns else 0
        if len(table) != rows:
            raise ValueError(f"dataset {name!r} has {len(table)} rows; its header says {rows}")
        special = table.shape[1] - columns
        if special < 0:
            raise ValueError(f"dataset {name!r} has {table.shape[1]} columns; its header says {columns}")
        dataset = DataSet(name, data=table[:, special:].reshape(shape).copy())
        dataset.timestamp = self._timestamp()
        self._set_axes(dataset, axes, shape, table[:, :special])
        for col in range(columns):
            prefix = f"column{special + col}"
            dataset.set_column_label(col, str(self._own.get(f"{prefix}_label", "")))
            dataset.set_column_unit(col, str(self._own.get(f"{prefix}_unit", "")))
            dataset.set_column_name(col, str(self._own.get(f"{prefix}_name", "")))
        dataset.attrs = self._attrs
        return dataset

    def _set_axes(self, dataset: DataSet, axes: int, shape: tuple[int, ...], special: AnyArray) -> None:
        import numpy as np

        for axis in range(axes):
            dataset.set_axis_label(axis, str(self._own.get(f"axis{axis}_label", "")))
            dataset.set_axis_unit(axis, str(self._own.get(f"axis{axis}_unit", "")))
            dataset.set_axis_name(axis, str(self._own.get(f"axis{axis}_name", "")))
        for place in range(special.shape[1]):
            label = str(self._own.get(f"column{place}_label", ""))
            found = re.fullmatch(r"axis(\d+)_(index|scale)", label)
            if found is None or int(found[1]) >= axes:
                raise ValueError(f"column {place} must be the index or the scale of an axis, got {label!r}")
            if found[2] == "scale":
                axis = int(found[1])
                values = np.moveaxis(special[:, place].reshape(shape[:-1]), axis, 0).reshape(shape[axis], -1)[:, 0]
                dataset.set_axis_scale(axis, values.real.copy() if not values.imag.any() else values.copy())

    def _read_header(self) -> None:
        first = next(self._lines, "").rstrip("\r\n")
        if first != _FIRST_LINE:
            raise ValueError(f"a dataset as text begins with {_FIRST_LINE!r}, got {first!r:.80}")
        second = next(self._lines, "").rstrip("\r\n")
        if second != "#":
            raise ValueError(f"the second line must be '#', got {second!r:.80}")
        for line in self._lines:
            text = line.rstrip("\r\n")
            if text == "#":
                return
            found = _HEADER.fullmatch(text)
            if found is None:
                raise ValueError(f"a line of the header must be '# name: value', got {text!r:.80}")
            name, value = found[1], _value(found[1], found[2])
            prefix = next((prefix for prefix in (f"{MARKER}_", f"{FORMER}_") if name.startswith(prefix)), None)
            if prefix is None:
                self._attrs[name] = value
            else:
                self._own[name.removeprefix(prefix)] = value
        raise ValueError("the header has no end: a line with '#' alone")

    def _field(self, name: str) -> object:
        if name not in self._own:
            raise ValueError(f"the header lacks {MARKER}_{name}")
        return self._own[name]

    def _timestamp(self) -> float:
        value = self._field("timestamp")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{MARKER}_timestamp must be a number of seconds, got {value!r:.80}")
        return float(value)

    def _count(self, name: str) -> int:
        value = self._field(name)
        if type(value) is not int or value < 0:
            raise ValueError(f"{MARKER}_{name} must be a count, got {value!r:.80}")
        return value

    def _read_rows(self, name: str) -> AnyArray:
        import numpy as np

        lines = [line for line in self._lines if line.strip()]
        if not lines:
            raise ValueError(f"dataset {name!r} has no rows")
        kind = np.complex128 if any("j" in line for line in lines) else np.float64
        try:
            return np.loadtxt(lines, dtype=kind, ndmin=2)
        except ValueError as error:
            raise ValueError(f"the rows of dataset {name!r} cannot be read: {error}") from None


def _value(name: str, text: str) -> Any:
    if text in _NUMBERS:
        return _NUMBERS[text]
    # QMI writes a number of numpy as numpy shows it, and cannot read it then.
    inner = re.fullmatch(r"(?:np|numpy)\.\w+\((.*)\)", text)
    try:
        return ast.literal_eval(inner[1] if inner else text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(f"the value of {name!r} in the header is no Python literal: {text!r:.80}") from None
