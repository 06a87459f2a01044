"""The file of a run that has ended: netCDF-4, made from the log, under another name until it is whole."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qmi.data.column_values import NUMBERS, ColumnType, convert, storage, time_of, type_of_plain
from qmi.data.log_contents import Event, Summary, summary_of
from qmi.data.row_batches import RowBatch
from qmi.data.run_log import LogContents
from qmi.data.stored_texts import stored
from qmi.errors import QMI_Exception, QMI_MissingLibraryException, QMI_RecordingException

if TYPE_CHECKING:
    import h5netcdf
    import h5py
    import xarray

    from qmi.data.column_values import Array

ENDING: Final = ".nc"
ROW: Final = "row"
TIME_UNITS: Final = "nanoseconds since 1970-01-01"
"""How times stand in files; they are in UTC."""
_PART_BYTES: Final = 16 << 20
_PART_ROWS: Final = 1 << 16
_SPARSE: Final = 2048
"""Bytes of an array from which on the rows that have none take no room."""
_CHUNK_BYTES: Final = 1 << 20
_OVERHEAD: Final = 1 << 16
"""Bytes of a file besides its rows, about."""
_LIBRARIES: Final = ("numpy", "h5py", "h5netcdf", "xarray")


def check_libraries() -> None:
    """See whether what files of runs need is there; nothing is imported yet, since that takes seconds.

    Raises:
        QMI_MissingLibraryException: If something is not installed.
    """
    for name in _LIBRARIES:
        if name not in sys.modules and find_spec(name) is None:
            raise QMI_MissingLibraryException(
                f"Runs need the Python package {name!r}, which is not installed: pip install 'qmi-trio[data]'"
            )


def attributes_of(summary: Summary, skipped: int) -> dict[str, str | int]:
    """The attributes of the file, which are texts and numbers."""
    head, end = summary.head, summary.end
    metadata: dict[str, Any] = dict(head.metadata)
    metadata["comments"] = [
        {"time": time_of(head.started + time).isoformat(), "text": text} for time, text in summary.comments
    ]
    if end is not None:
        metadata["end"] = {name: value for name, value in end.items() if name not in ("event", "time", "state")}
    if summary.lost or skipped:
        metadata["damage"] = {"rows_lost": summary.lost, "bytes_skipped": skipped}
    attributes: dict[str, str | int] = {
        "title": head.name,
        "run_id": head.run_id,
        "started": time_of(head.started).isoformat(),
        "ended": time_of(head.started + summary.last).isoformat(),
        "state": "interrupted" if end is None else end["state"],
        "rows": summary.rows,
        "rows_lost": summary.lost,
        "damaged": int(bool(summary.lost or skipped)),
        "comment": "\n".join(text for _, text in summary.comments),
        "tags": json.dumps(summary.tags, ensure_ascii=False),
        "qmi_columns": json.dumps(_columns_of(summary), ensure_ascii=False),
        "qmi_metadata": json.dumps(metadata, ensure_ascii=False),
    }
    if summary.recorded is not None:
        gaps = [{"time": time_of(head.started + gap["time"]).isoformat(), **_described(gap)} for gap in summary.gaps]
        attributes["recorded"] = json.dumps(summary.recorded, ensure_ascii=False)
        attributes["gaps"] = json.dumps(gaps, ensure_ascii=False)
    return attributes


def _described(event: Event) -> Event:
    return {name: value for name, value in event.items() if name not in ("event", "time")}


def _columns_of(summary: Summary) -> dict[str, dict[str, Any]]:
    """What the columns are, for those who read the rows one by one."""
    head = summary.head
    return {
        name: {
            "unit": head.columns[name],
            **kind._asdict(),
            "coordinate": name in head.coordinates,
            "axes": {axis: unit for axis, (unit, _) in head.axes.get(name, {}).items()},
        }
        for name, kind in summary.types.items()
    }


def build(log: Path, file: Path) -> dict[str, str | int]:
    """Make the file of a run from its log; one of that name is replaced when the new one is whole.

    Returns:
        The attributes of the file.

    Raises:
        QMI_RecordingException: If it cannot be written, or the log is none; nothing is left of the file then.
    """
    check_libraries()
    contents = LogContents(log)
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        summary = summary_of(contents.batches())
        attributes = attributes_of(summary, contents.skipped)
        _check_room(summary, file.parent)
        _write(part, summary, contents, attributes)
        _to_disk(part)
        os.replace(part, file)
    except BaseException as error:  # whatever it is, of h5py too, which has no errors of its own
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, Exception):
            raise
        reason = str(error) if isinstance(error, OSError | QMI_Exception) else f"{type(error).__name__}: {error}"
        raise QMI_RecordingException(
            f"{file} cannot be written: {reason}. The rows are whole in {log}: mend that, then call qmi.data.recover()"
        ) from error
    return attributes


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _value_bytes(kind: ColumnType) -> int:
    """Bytes of a value in the file."""
    import numpy

    return numpy.dtype(storage(kind)[0]).itemsize * prod(kind.shape or ())


def _is_sparse(kind: ColumnType) -> bool:
    """Whether a column takes room in the file only where it has a value: large arrays that not all rows have."""
    return kind.missing and kind.kind in ("bool", *NUMBERS) and bool(kind.shape) and _value_bytes(kind) >= _SPARSE


def _row_bytes(summary: Summary) -> int:
    """Bytes of a row, without what is sparse."""
    return 8 + sum(_value_bytes(kind) for kind in summary.types.values() if not _is_sparse(kind))


def _check_room(summary: Summary, folder: Path) -> None:
    needed, free = summary.rows * _row_bytes(summary) + _OVERHEAD, shutil.disk_usage(folder).free
    for name, kind in summary.types.items():
        if _is_sparse(kind):
            needed += (summary.rows - summary.absent.get(name, 0)) * _value_bytes(kind)
    if needed > free:
        raise QMI_RecordingException(f"it needs {needed / 1e6:.2f} MB, and {free / 1e6:.2f} MB are free on the disk")


def _write(path: Path, summary: Summary, contents: LogContents, attributes: dict[str, str | int]) -> None:
    import h5netcdf
    import h5py

    with _PatientFile(path, "w+b") as opened:
        with h5py.File(opened, "w", track_order=True) as below, h5netcdf.File(below, "w") as file:
            for name, value in attributes.items():
                file.attrs[name] = stored(value)
            rows = _Rows(_define(file, below, summary), summary)
            for batch in contents.batches():
                if isinstance(batch, RowBatch):
                    rows.put(batch)
                if opened.failure is not None:
                    break
            rows.flush()
        if opened.failure is not None:
            raise opened.failure


class _PatientFile(io.FileIO):
    """A file that keeps an error of writing to itself: HDF5 crashes the program where the disk is full.

    Attributes:
        failure: The first error; nothing is written after it.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.failure is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.failure = error
        if self.failure is not None:
            self.seek(len(view) - done, os.SEEK_CUR)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


class _Rows:
    """Collects rows and writes them in large parts."""

    def __init__(self, variables: list[h5netcdf.Variable], summary: Summary) -> None:
        import numpy

        self._variables = variables
        self._started = summary.head.started
        self._types = list(summary.types.values())
        self._length = max(1, min(_PART_ROWS, _PART_BYTES // _row_bytes(summary), summary.rows))
        self._parts: list[Array | None] = [numpy.empty(self._length, "i8")]
        for kind in self._types:
            shape = (self._length, *(kind.shape or ()))
            self._parts.append(None if _is_sparse(kind) else numpy.empty(shape, storage(kind)[0]))
        self._at = 0
        self._count = 0

    def put(self, batch: RowBatch) -> None:
        """Take rows, and write what has become a part."""
        first = 0
        while first < len(batch):
            last = min(len(batch), first + self._length - self._count)
            target = slice(self._count, self._count + last - first)
            times = self._parts[0]
            assert times is not None
            times[target] = batch.times[first:last] + self._started
            for index, (part, kind, values) in enumerate(zip(self._parts[1:], self._types, batch.columns, strict=True)):
                if part is None:
                    self._put_sparse(self._variables[index + 1], values[first:last], kind)
                else:
                    part[target] = convert(values[first:last], kind)
            self._count += last - first
            first = last
            if self._count == self._length:
                self.flush()

    def _put_sparse(self, variable: h5netcdf.Variable, values: Array | list[object], kind: ColumnType) -> None:
        """Write the values that there are, where the other rows have none."""
        at = self._at + self._count
        if not isinstance(values, list):
            variable[at : at + len(values)] = convert(values, kind)
            return
        for index, value in enumerate(values):
            if value is not None:
                variable[at + index : at + index + 1] = convert([value], kind)

    def flush(self) -> None:
        """Write what is there."""
        end = self._at + self._count
        if self._count:
            for variable, part in zip(self._variables, self._parts, strict=True):
                if part is not None:
                    variable[self._at : end] = part[: self._count]
        self._at, self._count = end, 0


def time_name(columns: dict[str, str]) -> str:
    """What the coordinate with the times of the rows is called."""
    return "time" if "time" not in columns else "row_time"


def _define(file: h5netcdf.File, below: h5py.File, summary: Summary) -> list[h5netcdf.Variable]:
    head = summary.head
    if not summary.rows:
        # A dimension of no length would be one without limit, and reading would take seconds: each look at the shape
        # of a column is one at all columns. h5netcdf takes what is there.
        below.create_dataset(ROW, shape=(0,), dtype=">f4", track_order=True)
    file.dimensions[ROW] = summary.rows
    time = time_name(head.columns)
    variables = [file.create_variable(time, (ROW,), "i8", chunking_heuristic="h5py")]
    _describe_times(variables[0])
    variables[0].attrs["long_name"] = "time at which the row was added, in UTC"
    sources = {column: one["source"] for one in summary.recorded or () for column in one["columns"]}
    coordinates = " ".join([time, *head.coordinates])
    for name, kind in summary.types.items():
        dimensions = (ROW, *_axes(file, summary, name))
        variable = _create(file, name, dimensions, kind)
        variables.append(variable)
        if head.columns[name]:
            variable.attrs[_unit_attribute(kind, head.columns[name])] = head.columns[name]
        if name in sources:
            variable.attrs["source"] = sources[name]
        if name in summary.enums:
            variable.attrs["enum"] = summary.enums[name]["class"]
            variable.attrs["enum_members"] = json.dumps(summary.enums[name]["members"])
        if name not in head.coordinates:
            variable.attrs["coordinates"] = coordinates
    return variables


def _create(file: h5netcdf.File, name: str, dimensions: tuple[str, ...], kind: ColumnType) -> h5netcdf.Variable:
    import h5py
    import numpy

    settings: dict[str, Any] = {}
    dtype, nothing = (h5py.string_dtype(), None) if kind.kind == "text" else storage(kind)
    if _is_sparse(kind) and dimensions[0] == ROW:
        settings = {"chunks": _chunks(kind), "fillvalue": numpy.array(nothing, dtype)[()]}
    elif kind.fill is not None:
        settings = {"fillvalue": numpy.int64(kind.fill)}  # netCDF's attribute _FillValue says what is no value
    variable = file.create_variable(name, dimensions, dtype, chunking_heuristic="h5py", **settings)
    if kind.kind == "bool" and not kind.missing:
        variable.attrs["dtype"] = "bool"  # xarray makes bool of it
    if kind.kind == "time":
        _describe_times(variable)
    return variable


def _chunks(kind: ColumnType) -> tuple[int, ...]:
    """Parts of a sparse column, of one row each: HDF5 keeps only those that were written."""
    lengths, size = list(kind.shape or ()), _value_bytes(kind)
    for axis, length in enumerate(lengths):
        parts = min(length, -(-size // _CHUNK_BYTES))
        lengths[axis] = -(-length // parts)
        size = -(-size // parts)
    return (1, *lengths)


def _unit_attribute(kind: ColumnType, unit: str) -> str:
    """What a unit is called: ``units`` may not be there for times, and would make times of "s since 2000"."""
    return "unit" if kind.kind == "time" or " since " in unit else "units"


def _describe_times(variable: h5netcdf.Variable) -> None:
    variable.attrs["units"] = TIME_UNITS
    variable.attrs["calendar"] = "proleptic_gregorian"
    variable.attrs["time_zone"] = "UTC"


def _axes(file: h5netcdf.File, summary: Summary, column: str) -> list[str]:
    """The dimensions of a column's arrays, which are made where they are new."""
    lengths = summary.types[column].shape or ()
    declared = summary.head.axes.get(column, {})
    names = list(declared) if len(declared) == len(lengths) else [f"{column}_{n}" for n in range(len(lengths))]
    for name, length in zip(names, lengths, strict=True):
        if name in file.dimensions:
            continue
        file.dimensions[name] = length
        if name in declared:
            unit, plain = declared[name]
            kind = type_of_plain(plain)
            variable = _create(file, name, (name,), kind)
            variable[:] = convert([plain], kind)[0]
            if unit:
                variable.attrs[_unit_attribute(kind, unit)] = unit
    return names


def read(file: Path) -> xarray.Dataset:
    """Read the file of a run into memory.

    Raises:
        QMI_RecordingException: If it cannot be read.
    """
    check_libraries()
    import xarray

    try:
        with xarray.open_dataset(file, engine="h5netcdf", decode_timedelta=False) as opened:
            if opened.nbytes > (memory := _memory()):
                raise QMI_RecordingException(
                    f"{file} has {opened.nbytes / 1e9:.1f} GB in memory; this computer has {memory / 1e9:.1f} GB: "
                    "open it by xarray.open_dataset(file), which reads only what you use of it, or follow the run"
                )
            return _with_exact_integers(opened.load(), file)
    except (OSError, ValueError) as error:
        raise QMI_RecordingException(f"{file} cannot be read: {error}") from error


def fill_of(variable: xarray.Variable) -> int | None:
    """What stands in files for None among the integers of a column that a float cannot have; None for other columns."""
    fill = variable.encoding.get("_FillValue")
    return fill if type(fill) is int and variable.dtype.kind == "O" else None


def _with_exact_integers(data: xarray.Dataset, file: Path) -> xarray.Dataset:
    """The same with integers that a float cannot have as they were added, and None where there is none.

    xarray makes floats of them, as it does wherever something is missing among integers.
    """
    import h5py
    import numpy

    found = [
        name
        for name, variable in data.variables.items()
        if "_FillValue" in variable.encoding and numpy.dtype(variable.encoding.get("dtype", "f8")) == "i8"
    ]
    if not found:
        return data
    with h5py.File(file, "r") as opened:
        for name in found:
            variable = data.variables[name]
            fill = variable.encoding["_FillValue"]
            stored = opened[name][()]
            values = stored.astype(object)
            values[stored == fill] = None
            # With that, xarray writes them into its own files as they are here.
            data = data.assign({name: (variable.dims, values, variable.attrs, {"_FillValue": int(fill)})})
    return data


def _memory() -> float:
    """Bytes of memory of this computer."""
    sysconf = getattr(os, "sysconf", None)  # Windows has none
    try:
        return float("inf") if sysconf is None else float(sysconf("SC_PHYS_PAGES") * sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return float("inf")


def write_attributes(file: Path, changed: Mapping[str, str]) -> None:
    """Change some attributes of the file of a run, in the file itself: it is to be a copy of it.

    Raises:
        OSError: If it cannot be written.
    """
    import h5netcdf
    import h5py

    with _PatientFile(file, "r+b") as opened:
        with h5py.File(opened, "r+") as below, h5netcdf.File(below, "r+") as found:
            for name, value in changed.items():
                found.attrs[name] = value
        if opened.failure is not None:
            raise opened.failure
    _to_disk(file)


def read_attributes(file: Path) -> dict[str, Any]:
    """Read only the attributes of the file of a run.

    Raises:
        OSError: If it is no such file.
    """
    check_libraries()
    import h5py

    with h5py.File(file, "r") as opened:
        return {name: getattr(value, "flat", [value])[0] for name, value in opened.attrs.items()}
