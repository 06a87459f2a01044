"""The rows of a run that has ended, from its file, one by one and with the types that they had while it lasted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from qmi.data.column_values import ColumnType, time_of, values_of_file
from qmi.data.follow_rules import RunHead
from qmi.data.rows import Row
from qmi.data.run_file import check_libraries, time_name
from qmi.errors import QMI_RecordingException

if TYPE_CHECKING:
    import h5py

_PART_BYTES: Final = 1 << 20
_PART_ROWS: Final = 1024
_MICROSECOND: Final = 1000
_KINDS: Final = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


class RunFile:
    """The file of a run, open for reading its rows.

    Args:
        path: The file.

    Attributes:
        head: What is known of the run.
        state: How it has ended: "done", "failed" or "interrupted".

    Raises:
        QMI_RecordingException: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        check_libraries()
        import h5py

        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise QMI_RecordingException(f"{path} cannot be read: {error}") from error
        try:
            attributes = {name: getattr(value, "flat", [value])[0] for name, value in self._file.attrs.items()}
            self.state: str = str(attributes["state"])
            self._rows = int(attributes["rows"])
            self._columns = _columns(attributes)
            self.head: RunHead = self._head(attributes)
        except (OSError, KeyError, ValueError) as error:
            self.close()
            raise QMI_RecordingException(f"{path} has no rows that can be read one by one: {error}") from error

    def __enter__(self) -> RunFile:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _head(self, attributes: dict[str, Any]) -> RunHead:
        started = datetime.fromisoformat(str(attributes["started"]))
        axes = {
            name: {axis: (unit, self._axis(axis)) for axis, unit in column["axes"].items()}
            for name, column in self._columns.items()
            if column["axes"]
        }
        coordinates = tuple(name for name, column in self._columns.items() if column["coordinate"])
        return RunHead(
            str(attributes["run_id"]),
            str(attributes["title"]),
            int(started.timestamp()) * 1_000_000_000 + started.microsecond * _MICROSECOND,
            {name: str(column["unit"]) for name, column in self._columns.items()},
            coordinates,
            axes,
        )

    def _axis(self, name: str) -> Any:
        values = self._file[name][()]
        return values_of_file(values[None], _kind_of(self._file[name])._replace(shape=values.shape))[0]

    def parts(self, first: int) -> Iterator[list[Row]]:
        """The rows from a number on, some at once."""
        names = list(self._columns)
        kinds = [_type_of(column) for column in self._columns.values()]
        variables = [self._file[name] for name in names]
        times = self._file[time_name(self.head.columns)]
        size = sum(variable.dtype.itemsize * max(1, _product(variable.shape[1:])) for variable in variables)
        length = max(1, min(_PART_ROWS, _PART_BYTES // max(1, size)))
        for at in range(first, self._rows, length):
            end = min(at + length, self._rows)
            values = [values_of_file(variable[at:end], kind) for variable, kind in zip(variables, kinds, strict=True)]
            stamps = times[at:end].tolist()
            yield [
                Row(dict(zip(names, row, strict=True)), at + index, time_of(stamps[index]))
                for index, row in enumerate(zip(*values, strict=True))
            ]


def _columns(attributes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "qmi_columns" not in attributes:
        raise ValueError("an older version has written it; qmi.data.load() reads it")
    found: dict[str, dict[str, Any]] = json.loads(attributes["qmi_columns"])
    return found


def _kind_of(variable: h5py.Dataset) -> ColumnType:
    shape = tuple(variable.shape[1:])
    if str(variable.attrs.get("units", "")).startswith("nanoseconds since"):
        return ColumnType("time", shape, missing=True)
    if variable.attrs.get("dtype") in ("bool", b"bool"):
        return ColumnType("bool", shape)
    kind = _KINDS.get(variable.dtype.kind, "text")
    return ColumnType(kind, shape, dtype=variable.dtype.str if shape and kind != "text" else "")


def _type_of(column: dict[str, Any]) -> ColumnType:
    shape = column["shape"]
    integers = int(column.get("low", 0)), int(column.get("high", 0))  # older versions have not looked for them
    return ColumnType(
        column["kind"], None if shape is None else tuple(shape), column["missing"], column["dtype"], *integers
    )


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
