"""A run while it is measured."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import cbor2
import trio

from qmi import html
from qmi.data import run_metadata
from qmi.data.column_values import ColumnType, Encoded, check_name, encoded, joined, names_of_columns
from qmi.data.log_contents import Event, Head
from qmi.data.plot_process import Plot
from qmi.data.plotting import plot_of_run
from qmi.data.row_format import row_parts
from qmi.data.run_file import check_libraries, time_name
from qmi.data.run_folder import RunFolder, check_run_name
from qmi.data.run_index import RunInfo
from qmi.data.run_log import RunLog
from qmi.data.stored_texts import stored, stored_text
from qmi.errors import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_RecordingException
from qmi.parameters.snapshot import show_value
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_trio

_JUMP: Final = 1.0
"""By how many seconds the clock of the computer may differ at the end, before it is noted."""

_AXES: Final = '{"trace": {"delay": ("s", delays)}}'

Axes = Mapping[str, Mapping[str, tuple[str, object]]]


def run(
    name: str,
    columns: Mapping[str, str | None] | Iterable[str],
    *,
    coordinates: Sequence[str] = (),
    axes: Axes | None = None,
    tags: Iterable[str] = (),
    comment: str = "",
    metadata: Mapping[str, object] | None = None,
    instruments: Sequence[Any] = (),
    update: bool = False,
    folder: str | Path | None = None,
) -> Run:
    """A run: rows of measured values, kept from the moment at which each of them is added.

    ::

        with qmi.data.run("cooldown", columns={"T": "K", "V": "V"}) as run:
            while run.rows < 1000:
                run.add(T=thermometer.temperature, V=dmm.voltage)

    In a trio program, ``async with``. While the run lasts, its rows are in a log; when it ends they become one netCDF-4
    file. If the program is killed, the next run, :func:`runs` or :func:`load` makes that file, or :func:`recover`. What
    is known of the program, its configuration and script is kept by itself, and so are the snapshots of the
    instruments of the context, at the beginning and at the end.

    Args:
        name: The name; several runs may have it. Each has an id of its own, :attr:`Run.run_id`.
        columns: Names of the columns and their units, or the names alone.
        coordinates: The columns that were set rather than measured; they become coordinates in the file.
        axes: For columns of arrays: the names of their axes, each with unit and values, such as
            ``{"trace": {"delay": ("s", delays)}}``.
        tags: By which the run is found again.
        comment: A comment; more can be added while it lasts.
        metadata: What else is to be kept, as JSON has it: texts, numbers, lists, dicts.
        instruments: Proxies of instruments of other programs whose snapshots are kept, too; and those that are locked.
        update: Whether instruments ask their devices for all their parameters; if not, their snapshots have what was
            read or set last, and nothing is asked.
        folder: Where the runs are; None takes ``runs`` in the configured ``datastore``, or else ``qmi_data/runs`` in
            the QMI home directory.

    Raises:
        QMI_InvalidValueException: If an argument will not do.
        QMI_MissingLibraryException: If a library of ``qmi-trio[data]`` is not installed.
        QMI_RecordingException: At the beginning of the block, if nothing can be written to the folder.
    """
    return Run(
        _Setup(name, columns, coordinates, axes, tags, comment, metadata), RunFolder(folder), instruments, update
    )


class _Setup:
    """What the user wants of a run, checked."""

    def __init__(
        self,
        name: str,
        columns: object,
        coordinates: Sequence[str],
        axes: Axes | None,
        tags: Iterable[str],
        comment: str,
        metadata: Mapping[str, object] | None,
    ) -> None:
        check_libraries()
        self.name: str = check_run_name(name)
        self.columns: dict[str, str] = names_of_columns(columns)
        self.coordinates: list[str] = self._checked_coordinates(coordinates)
        self.axes: dict[str, dict[str, tuple[str, Encoded]]] = self._checked_axes(axes or {})
        self.tags: list[str] = checked_tags(tags)
        if not isinstance(comment, str):
            raise QMI_InvalidValueException(f"comment must be a text, got {comment!r}")
        self.comment: str = stored_text(comment)
        try:
            self.metadata: dict[str, object] = json.loads(json.dumps(dict(metadata or {})))
        except (TypeError, ValueError) as error:
            raise QMI_InvalidValueException(
                f"metadata must be a dict of texts, numbers, lists and dicts, as JSON has them: {error}"
            ) from error

    def _checked_coordinates(self, coordinates: object) -> list[str]:
        if isinstance(coordinates, str):
            coordinates = [coordinates]
        if not isinstance(coordinates, Iterable):
            raise QMI_InvalidValueException(f"coordinates must be a list of names of columns, got {coordinates!r}")
        found = list(dict.fromkeys(map(_hashable, coordinates)))
        if unknown := [column for column in found if column not in self.columns]:
            raise QMI_InvalidValueException(f"coordinates must be columns ({', '.join(self.columns)}), got {unknown}")
        return found

    def _checked_axes(self, axes: Axes) -> dict[str, dict[str, tuple[str, Encoded]]]:
        found: dict[str, dict[str, tuple[str, Encoded]]] = {}
        known: dict[str, object] = {}
        if not isinstance(axes, Mapping):
            raise QMI_InvalidValueException(f"axes must be {_AXES}, got {axes!r}")
        for column, of_column in axes.items():
            if column not in self.columns:
                raise QMI_InvalidValueException(f"axes has {column!r}, which is no column ({', '.join(self.columns)})")
            if not isinstance(of_column, Mapping):
                raise QMI_InvalidValueException(f"axes of {column} must be as in {_AXES}, got {of_column!r}")
            found[column] = {}
            for axis, described in of_column.items():
                check_name(axis, "an axis")
                if axis in self.columns or axis == time_name(self.columns):
                    raise QMI_InvalidValueException(f"axis {axis!r} of {column} must have a name that no column has")
                if not isinstance(described, tuple | list) or len(described) != 2 or not _is_unit(described[0]):
                    raise QMI_InvalidValueException(
                        f"axis {axis!r} of {column} must be its unit and its values, as in {_AXES}; "
                        f"got {show_value(described)}"
                    )
                unit, values = described[0] or "", described[1]
                value = encoded(values, f"axis {axis}", unit)
                if not value.type.shape or len(value.type.shape) != 1:
                    raise QMI_InvalidValueException(f"axis {axis!r} of {column} must be a list of values")
                content = (unit, cbor2.dumps(value.complete()))
                if known.setdefault(axis, content) != content:
                    raise QMI_InvalidValueException(f"axis {axis!r} must be the same in all columns that have it")
                found[column][axis] = (unit, value)
        return found

    def head(self, run_id: str, started: int, metadata: dict[str, Any]) -> Head:
        """The first record of the log."""
        axes = {
            column: {axis: (unit, value.complete()) for axis, (unit, value) in of_column.items()}
            for column, of_column in self.axes.items()
        }
        return Head(run_id, self.name, self.columns, axes, self.coordinates, started, metadata)


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Tags, each once.

    Raises:
        QMI_InvalidValueException: If one is no text.
    """
    if not isinstance(tags, Iterable):
        raise QMI_InvalidValueException(f"tags must be texts, got {tags!r}")
    found = [tags] if isinstance(tags, str) else list(tags)
    if wrong := [tag for tag in found if not isinstance(tag, str) or not tag.isprintable() or not tag]:
        raise QMI_InvalidValueException(f"tags must be texts, got {wrong[0]!r}")
    return list(dict.fromkeys(found))


def _hashable(name: Any) -> Any:
    return name if isinstance(name, str) else repr(name)


def _is_unit(unit: object) -> bool:
    return unit is None or isinstance(unit, str)


class Run:
    """A run, made by :func:`run` and used in a ``with`` block. All methods work from any thread.

    Attributes:
        name: The name.
        run_id: Its id, when it has begun.
        rows: How many rows were added.
        info: What the index has of it, when it has ended.
    """

    def __init__(self, setup: _Setup, folder: RunFolder, instruments: Sequence[Any], update: bool) -> None:
        self.name: str = setup.name
        self.run_id: str = ""
        self.rows: int = 0
        self.info: RunInfo | None = None
        self._setup = setup
        self._folder = folder
        self._instruments = instruments
        self._update = update
        self._mutex = threading.Lock()
        self._log: RunLog | None = None
        self._columns = list(setup.columns)
        self._types = [ColumnType()] * len(self._columns)
        self._usual: list[type] = []
        self._enums: set[str] = set()
        self._begun = 0
        self._started = 0

    def __repr__(self) -> str:
        return f"<run {self.run_id or self.name}: {self.rows} rows>"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        info = self.info
        state = info.state if info is not None else "running" if self.run_id else "not begun"
        colours = {"running": html.BLUE, "done": html.GOOD, "failed": html.BAD, "interrupted": html.BAD}
        marks = [html.mark(state, colours.get(state, html.DIM)), f"{self.rows:,} rows"]
        told = [("columns", ", ".join(self._columns))] if self._columns else []
        told += [("file", str(info.file))] if info is not None else []
        body = [html.table(("", ""), [(html.dim(name), text) for name, text in told])] if told else []
        return html.card(self.run_id or self.name, "run", marks, body)

    @property
    def file(self) -> Path:
        """The netCDF file, which is there when the run has ended."""
        return self._folder.file_of(self.run_id)

    # Its beginning and end

    def __enter__(self) -> Run:
        refuse_on_loop("with qmi.data.run()", "async with qmi.data.run(...) as run:")
        context = run_metadata.active_context()
        self._begin(run_metadata.snapshots(context, self._instruments, update=self._update))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context = run_metadata.active_context()
        self._end(error, partial(run_metadata.snapshots, context, self._instruments, update=self._update))

    async def __aenter__(self) -> Run:
        refuse_outside_trio("async with qmi.data.run()", "with qmi.data.run")
        context = run_metadata.active_context()
        found = await run_metadata.snapshots_async(context, self._instruments, update=self._update)
        await trio.to_thread.run_sync(self._begin, found)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context = run_metadata.active_context()
        with trio.CancelScope(shield=True):  # the data are kept, whatever has ended the block
            found: dict[str, Any] = {}
            try:
                found = await run_metadata.snapshots_async(context, self._instruments, update=self._update)
            finally:  # also where Ctrl-C has come meanwhile
                await trio.to_thread.run_sync(self._end, error, lambda: found)

    def _begin(self, snapshots: dict[str, Any]) -> None:
        if self._begun:
            raise QMI_InvalidOperationException(
                f"Run {self.run_id} was begun before; make a new one: qmi.data.run(...)"
            )
        self._folder.recover_quietly()
        started = time.time_ns()
        begun = time.monotonic_ns()
        self.run_id, log = self._folder.new_log(self.name, _utc(started))
        try:
            metadata = run_metadata.of_program(run_metadata.active_context())
            metadata["instruments_at_begin"] = snapshots
            metadata["user_metadata"] = self._setup.metadata
            log.append(cbor2.dumps(self._setup.head(self.run_id, started, stored(metadata)).to_record()))
            self._begun, self._started, self._log = begun, started, log
            self._announce(started)
        except BaseException:  # nobody ends a run whose block was not entered: it has not begun
            self._log, self._begun = None, 0
            log.remove()
            self._folder.forget(self.run_id)
            self.run_id = ""
            raise

    def _announce(self, started: int) -> None:
        """Enter the run into the index, and note what the user says of it."""
        tags = self._setup.tags
        comment = self._setup.comment
        self._folder.enter(
            RunInfo(self.run_id, self.name, _utc(started), None, "running", 0, tuple(tags), comment, self.file)
        )
        if tags:
            self.tag(*tags)
        if comment:
            self.comment(comment)

    def _end(self, error: BaseException | None, snapshots: Any) -> None:
        with self._mutex:
            log, self._log = self._log, None
        if log is None or log.closed:  # a forked child leaves the run to its parent
            return
        found: dict[str, Any] = {}
        try:
            found = snapshots()
        finally:  # also where Ctrl-C has come while instruments were asked
            try:
                if not log.failed:
                    log.append(cbor2.dumps(stored(self._end_event(error, found))))
            finally:
                self._finish(log, error)

    def _end_event(self, error: BaseException | None, snapshots: dict[str, Any]) -> Event:
        elapsed = time.monotonic_ns() - self._begun
        jump = (time.time_ns() - self._started - elapsed) / 1e9
        return {
            "event": "end",
            "time": elapsed,
            "state": "done" if error is None else "failed",
            "error": None if error is None else f"{type(error).__name__}: {error}",
            "rows": self.rows,
            "clock_jump": jump if abs(jump) > _JUMP else 0.0,
            "instruments_at_end": snapshots,
        }

    def _finish(self, log: RunLog, error: BaseException | None) -> None:
        try:
            self.info = self._folder.end(self.run_id, log)
        except QMI_RecordingException as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # what has ended the block says more

    # Rows

    def add(self, /, **values: object) -> None:
        """Add a row; when this returns it will be in the file, even if the program is killed the moment after.

        Args:
            values: The value of each column: a number, a text, a bool, a datetime, a member of an enum, a list or
                array of them, or None where there is none.

        Raises:
            QMI_InvalidValueException: If a column is missing, or a value does not go with the column; nothing is added.
            QMI_RecordingException: If it cannot be written, such as on a full disk. What was added before is whole.
            QMI_InvalidOperationException: If the run does not last.
        """
        now = time.monotonic_ns()
        try:
            row = [values[name] for name in self._columns]
        except KeyError:
            raise self._strange(values) from None
        if len(values) != len(row):
            raise self._strange(values)
        with self._mutex:
            if self._log is None:
                raise self._closed()
            if [type(value) for value in row] == self._usual:
                self._log.append(cbor2.dumps([self.rows, now - self._begun, *row]))
            else:
                self._append(now - self._begun, self._checked(row))
            self.rows += 1

    def _append(self, time: int, row: list[Encoded]) -> None:
        """Write a row of any values; called with the mutex held."""
        assert self._log is not None
        try:
            parts = row_parts(self.rows, time, row)
        except (UnicodeError, cbor2.CBOREncodeError) as error:
            raise QMI_InvalidValueException(f"a row cannot be written: {error}") from error
        if len(parts) == 1:
            self._log.append(bytes(parts[0]))
        else:
            self._log.append_parts(parts)

    def _closed(self) -> Exception:
        if self._begun:
            return QMI_InvalidOperationException(
                f"Run {self.run_id} has ended; qmi.data.annotate({self.run_id!r}, ...) adds a comment or tags to it"
            )
        return QMI_InvalidOperationException(f"Run {self.name!r} has not begun: with qmi.data.run(...) as run:")

    def _strange(self, values: Mapping[str, object]) -> Exception:
        missing = [name for name in self._columns if name not in values]
        unknown = [name for name in values if name not in self._columns]
        parts = [f"{words} {', '.join(names)}" for words, names in (("without", missing), ("with", unknown)) if names]
        return QMI_InvalidValueException(
            f"a row of run {self.name} must have the columns {', '.join(self._columns)}, got one {' and '.join(parts)} "
            "(None stands for a value that there is not)"
        )

    def _checked(self, row: list[object]) -> list[Encoded]:
        """The row as it is written; called with the mutex held."""
        assert self._log is not None
        found: list[Encoded] = []
        types: list[ColumnType] = []
        for name, known, value in zip(self._columns, self._types, row, strict=True):
            one = encoded(value, f"column {name}", self._setup.columns[name])
            both = joined(known, one.type)
            if both is None:
                raise QMI_InvalidValueException(
                    f"column {name} of run {self.name} has {known}, got {show_value(value)}"
                    + (f" of shape {one.type.shape}" if one.type.shape else "")
                )
            if known.shape is None and both.shape is not None:
                self._check_axes(name, both.shape)
            found.append(one)
            types.append(both)
        self._note_enums(row)
        self._types = types
        # Rows of floats and bools alone need no further look; others are looked at each time.
        kinds = [type(value) for value in row]
        self._usual = kinds if all(kind is float or kind is bool for kind in kinds) else []
        return found

    def _check_axes(self, name: str, shape: tuple[int, ...]) -> None:
        axes = self._setup.axes.get(name)
        if axes is None:
            return
        declared = tuple((value.type.shape or ())[0] for _, value in axes.values())
        if declared != shape:
            raise QMI_InvalidValueException(
                f"column {name} must be arrays of shape {declared}, as its axes {', '.join(axes)} say; got {shape}"
            )

    def _note_enums(self, row: list[object]) -> None:
        assert self._log is not None
        for name, value in zip(self._columns, row, strict=True):
            if isinstance(value, Enum) and name not in self._enums:
                cls = type(value)
                members = {member.name: stored_text(repr(member.value)) for member in cls}
                full = f"{cls.__module__}.{cls.__qualname__}"
                self._log.append(cbor2.dumps({"event": "enum", "column": name, "class": full, "members": members}))
                self._enums.add(name)

    def plot(
        self,
        x: str | Sequence[str] | None = None,
        y: str | Sequence[str] | None = None,
        *,
        live: bool = True,
        term: bool = False,
        file: str | Path | None = None,
    ) -> Plot:
        """Draw the run, while it lasts or afterwards, by another process, which is started and not waited for.

        What is drawn, and where, is as for :func:`qmi.data.plot`. Whatever becomes of the plot, the run goes on.

        Args:
            x: The column on the horizontal axis, ``"time"`` for the times of the rows, or two columns for an image.
            y: The columns to draw; None for all numbers. ``"trace[-1]"`` is the last array of a column of arrays.
            live: Follow the run until it ends; False draws the rows that are there now.
            term: Draw at the top of the terminal. In a pipe it is drawn once, at the end.
            file: Draw into a file, which is renewed until the run ends.

        Returns:
            The plot; ``plot.close()`` closes it.

        Raises:
            QMI_InvalidOperationException: If the run has not begun, or no window can be opened here.
            QMI_InvalidValueException: If there is no such column.
            QMI_MissingLibraryException: If matplotlib is not installed.
        """
        if not self._begun:
            raise QMI_InvalidOperationException(f"Run {self.name!r} has not begun: with qmi.data.run(...) as run:")
        running = self._log is not None
        return plot_of_run(
            self.run_id, self._folder.path, self._setup.columns, x, y, live=live, term=term, file=file, running=running
        )

    # What the user says of it

    def comment(self, text: str) -> None:
        """Add a comment, with the time; :func:`annotate` does it when the run has ended.

        Raises:
            QMI_RecordingException: If it cannot be written.
            QMI_InvalidOperationException: If the run does not last.
        """
        if not isinstance(text, str):
            raise QMI_InvalidValueException(f"a comment must be a text, got {text!r}")
        self._note({"event": "comment", "text": text})

    def tag(self, *tags: str) -> None:
        """Add tags, by which the run is found again; :func:`annotate` does it when the run has ended.

        Raises:
            QMI_RecordingException: If they cannot be written.
            QMI_InvalidOperationException: If the run does not last.
        """
        self._note({"event": "tags", "tags": checked_tags(tags)})

    def _note(self, event: Event) -> None:
        with self._mutex:
            if self._log is None:
                raise self._closed()
            self._log.append(cbor2.dumps(stored({**event, "time": time.monotonic_ns() - self._begun})))


def note_event(run: Run, event: Event) -> None:
    """Note something in the log of a run that is no row; for what records by itself.

    Raises:
        QMI_RecordingException: If it cannot be written.
        QMI_InvalidOperationException: If the run does not last.
    """
    run._note(event)


def _utc(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
