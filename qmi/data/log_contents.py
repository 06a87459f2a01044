"""What the records of a log mean: the head of the run, its rows, and what else happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qmi.data.column_values import ColumnType, joined, type_of_column
from qmi.data.row_batches import RowBatch
from qmi.errors import QMI_RecordingException

HEAD: Final = "qmi-run-1"
"""What the first record of a log is marked with."""

Event = dict[str, Any]
"""A record that is no row: texts, numbers, and lists and dicts of them."""


@dataclass(frozen=True)
class Head:
    """What a run was begun with.

    Attributes:
        run_id: Its id.
        name: Its name.
        columns: Units of the columns by their names.
        axes: For columns of arrays: the names of the axes, each with its unit and its values as they stand in the log.
        coordinates: The columns that are coordinates.
        started: When it began, in nanoseconds since 1970 in UTC.
        metadata: What is known of the program, the instruments and the user.
    """

    run_id: str
    name: str
    columns: dict[str, str]
    axes: dict[str, dict[str, tuple[str, object]]]
    coordinates: list[str]
    started: int
    metadata: dict[str, object]

    def to_record(self) -> Event:
        """The record of a log."""
        return {"format": HEAD, **vars(self)}

    @classmethod
    def from_record(cls, record: object) -> Head:
        """The head that a record has.

        Raises:
            QMI_RecordingException: If it is another record.
        """
        if not isinstance(record, Mapping) or record.get("format") != HEAD:
            raise QMI_RecordingException(f"a log begins with a record of the format {HEAD!r}, got {record!r:.80}")
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})


@dataclass
class Summary:
    """What is in a log, but for the values.

    Attributes:
        head: What the run was begun with.
        types: The type of each column.
        absent: For columns in which a value is missing: in how many rows.
        rows: How many rows there are.
        lost: How many rows are missing among them, since the log was damaged.
        next: The number of the next row.
        last: When the last row or event came, in nanoseconds after the start.
        comments: Comments of the user, each with its time in nanoseconds after the start.
        tags: Tags of the user.
        enums: For columns with members of enums: the class, and its members with their values.
        end: What was noted at the end of the run; None if it was cut short.
        recorded: For recordings of signals: each source and its columns; else None.
        gaps: Where signals may be missing in such a recording.
    """

    head: Head
    types: dict[str, ColumnType] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    lost: int = 0
    next: int = 0
    last: int = 0
    comments: list[tuple[int, str]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    enums: dict[str, Event] = field(default_factory=dict)
    end: Event | None = None
    recorded: list[Event] | None = None
    gaps: list[Event] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Take an event in."""
        what = event["event"]
        self.last = max(self.last, event.get("time", 0))
        if what == "comment":
            self.comments.append((event["time"], event["text"]))
        elif what == "tags":
            self.tags += [tag for tag in event["tags"] if tag not in self.tags]
        elif what == "enum":
            self.enums[event["column"]] = event
        elif what == "record":
            self.recorded = event["sources"]
        elif what == "gap":
            self.gaps.append(event)
        elif what == "end":
            self.end = event

    def take(self, batch: RowBatch) -> None:
        """Take rows in.

        Raises:
            QMI_RecordingException: If their values do not go with those before.
        """
        numbers = batch.numbers
        first, last = int(numbers[0]), int(numbers[-1])
        if len(batch.columns) != len(self.types):
            raise QMI_RecordingException(
                f"row {first} must have {len(self.types)} values, one for each column, got {len(batch.columns)}"
            )
        # Where Ctrl-C has come just after a row was written, the next one has its number, too.
        steps = numbers[1:] - numbers[:-1] - 1
        self.lost += max(0, first - self.next) + int(steps[steps > 0].sum())
        self.next = last + 1
        self.rows += len(batch)
        self.last = int(batch.times[-1])
        for (name, known), values in zip(self.types.items(), batch.columns, strict=True):
            found = type_of_column(values)
            both = found and joined(known, found)
            if both is None:
                raise QMI_RecordingException(f"rows {first} to {last} have a value of another type in column {name}")
            self.types[name] = both
            if both.missing and isinstance(values, list):
                self.absent[name] = self.absent.get(name, 0) + sum(value is None for value in values)


def summary_of(contents: Iterable[RowBatch | object]) -> Summary:
    """Go through what a log has.

    Raises:
        QMI_RecordingException: If it is no log of a run.
    """
    summary: Summary | None = None
    for record in contents:
        if summary is None:
            head = Head.from_record(record)
            summary = Summary(head, {name: ColumnType() for name in head.columns})
        elif isinstance(record, RowBatch):
            summary.take(record)
        elif isinstance(record, dict):
            summary.note(record)
    if summary is None:
        raise QMI_RecordingException("the log is empty")
    return summary
