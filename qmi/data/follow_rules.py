"""What following a run means, without any files or waiting: rows from the bytes of its log, and how often to look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmi.data.column_values import time_of, value_of
from qmi.data.log_contents import Event, Head
from qmi.data.record_format import RecordReader, decoded
from qmi.data.rows import Row
from qmi.errors import QMI_RecordingException

if TYPE_CHECKING:
    from qmi.data.column_values import Array

SHORTEST: Final = 0.001
LONGEST: Final = 0.1
_SHARE: Final = 0.25


class Pace:
    """How long to wait before the next look at a file that another program writes.

    It is a quarter of the time for which nothing has come, within bounds: what comes often is seen soon, and a file
    that is quiet costs little.

    Args:
        clock: Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def arrived(self) -> None:
        """Something was there."""
        self._last = self._clock()

    @property
    def quiet(self) -> float:
        """For how long nothing was there, in seconds."""
        return self._clock() - self._last

    def delay(self) -> float:
        """How long to wait now, in seconds."""
        return min(LONGEST, max(SHORTEST, self.quiet * _SHARE))


@dataclass(frozen=True)
class RunHead:
    """What is known of a run from its beginning.

    Attributes:
        run_id: Its id.
        name: Its name.
        started: When it began, in nanoseconds since 1970 in UTC.
        columns: Units of the columns by their names.
        coordinates: The columns that are coordinates.
        axes: For columns of arrays: the names of the axes, each with its unit and its values.
    """

    run_id: str
    name: str
    started: int
    columns: dict[str, str]
    coordinates: tuple[str, ...]
    axes: dict[str, dict[str, tuple[str, Array]]]


class LogRows:
    """Makes rows of the bytes of a log, from :attr:`offset` on, in parts of any size.

    Where the writer has taken back the bytes of a record that was not whole, they may have been read before: then what
    follows makes no sense, and :attr:`offset` is 0 again, once. So is it where the log is damaged. No row comes twice.

    Args:
        first: The number of the first row that is wanted.
        run_id: The run, for messages.

    Attributes:
        offset: Where the next bytes are to be read.
        head: What is known of the run; None before its first record.
        end: What was noted at the end of the run; None before.
        next: The number of the next row.
    """

    def __init__(self, first: int = 0, run_id: str = "") -> None:
        self._run_id = run_id
        self.offset: int = 0
        self.head: RunHead | None = None
        self.end: Event | None = None
        self.next: int = first
        self._names: tuple[str, ...] = ()
        self._begun_again = False
        self._begin()

    def _begin(self) -> None:
        self.offset = 0
        self._reader = RecordReader()
        self._count = 0  # of rows, wanted or not
        self._expected = 0  # the number that the next one has in the log
        self._began = False

    def feed(self, data: bytes) -> list[Row]:
        """Take the next bytes, and return the rows that are whole now and are wanted.

        Raises:
            QMI_RecordingException: If it is no log of a run.
        """
        self.offset += len(data)
        return self._rows(self._reader.feed(data))

    def finish(self) -> list[Row] | None:
        """There is no more: the rows that are whole behind damage; None if all is to be read again."""
        rows = self._rows(self._reader.finish())
        if (self._reader.torn or self._reader.skipped) and not self._begun_again and not rows:
            self._begun_again = True
            self._begin()
            return None
        return rows

    def check(self) -> None:
        """See at the end that it was the log of a run.

        Raises:
            QMI_RecordingException: If not.
        """
        if self.head is None:
            raise QMI_RecordingException(f"the log of run {self._run_id} has not even its first record")

    def _rows(self, payloads: Iterable[bytes]) -> list[Row]:
        rows: list[Row] = []
        try:
            return self._rows_into(rows, payloads)
        except Exception as error:
            raise QMI_RecordingException(
                f"the log of run {self._run_id} makes no sense: {type(error).__name__}: {error}"
            ) from error

    def _rows_into(self, rows: list[Row], payloads: Iterable[bytes]) -> list[Row]:
        for payload in payloads:
            record = decoded(payload)
            if not self._began:
                self._began = True
                self._take_head(record)
            elif isinstance(record, list):
                if record[0] > self._expected and not self._begun_again:
                    self._begun_again = True
                    self._begin()
                    return rows
                self._take_row(record, rows)
            elif isinstance(record, dict) and record.get("event") == "end":
                self.end = record
        return rows

    def _take_head(self, record: object) -> None:
        if self.head is None:
            self.head = head_of(Head.from_record(record))
            self._names = tuple(self.head.columns)

    def _take_row(self, record: list[Any], rows: list[Row]) -> None:
        if self.head is None:
            raise QMI_RecordingException("a row comes before the head")
        number, self._count = self._count, self._count + 1
        # Where Ctrl-C has come just after a row was written, the next one has its number, too.
        self._expected = record[0] + 1
        if number != self.next:
            return
        self.next += 1
        values = zip(self._names, map(value_of, record[2:]), strict=True)
        rows.append(Row(dict(values), number, time_of(self.head.started + record[1])))


def head_of(head: Head) -> RunHead:
    """What followers know of a run, from the head of its log."""
    axes = {
        column: {axis: (unit, value_of(plain)) for axis, (unit, plain) in of_column.items()}
        for column, of_column in head.axes.items()
    }
    return RunHead(head.run_id, head.name, head.started, dict(head.columns), tuple(head.coordinates), axes)
