"""The index of all runs in a folder: an SQLite file, which can be made anew from the files of the runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from qmi.data.index_queries import SCHEMA, Query, put, select, stamp
from qmi.errors import QMI_RecordingException

NAME: Final = "index.sqlite"
_BUSY_TIMEOUT: Final = 10.0


@dataclass(frozen=True)
class RunInfo:
    """A run in the index; a row of :func:`runs`.

    Attributes:
        run_id: Its id, which no other run has.
        name: Its name.
        started: When it began.
        ended: When it ended; None while it lasts. For one that was interrupted, when its last row came.
        state: "running", "done", "failed" (an exception ended it) or "interrupted" (its program ended, and left it).
        rows: How many rows it has; 0 while it lasts.
        tags: Its tags.
        comment: Its comments, a line each.
        file: The netCDF file; it is there when the run has ended.
    """

    run_id: str
    name: str
    started: datetime
    ended: datetime | None
    state: str
    rows: int
    tags: tuple[str, ...]
    comment: str
    file: Path

    def __str__(self) -> str:
        tags = f"  [{', '.join(self.tags)}]" if self.tags else ""
        return f"{self.run_id}  {self.state}  {self.rows} rows{tags}"


class RunIndex:
    """The index of a folder.

    Args:
        folder: The folder of the runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME

    def put(self, info: RunInfo) -> None:
        """Enter a run, or what has become of it.

        Raises:
            QMI_RecordingException: If the index cannot be written.
        """
        ended = None if info.ended is None else stamp(info.ended)
        tags = json.dumps(info.tags, ensure_ascii=False)
        file = info.file.relative_to(self._folder).as_posix()
        values = (info.run_id, info.name, stamp(info.started), ended, info.state, info.rows, tags, info.comment, file)
        with self._open("writable") as base, base:
            for statement in SCHEMA:
                base.execute(statement)
            base.execute(*put(values))
            base.execute("DELETE FROM tags WHERE run_id = ?", (info.run_id,))
            base.executemany(
                "INSERT OR IGNORE INTO tags (run_id, tag) VALUES (?, ?)", [(info.run_id, tag) for tag in info.tags]
            )

    def drop(self, run_id: str) -> None:
        """Take a run out, of which there is nothing."""
        with self._open("writable") as base, base:
            base.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            base.execute("DELETE FROM tags WHERE run_id = ?", (run_id,))

    def find(self, **conditions: Any) -> list[RunInfo]:
        """The runs that all conditions of :func:`~qmi.data.index_queries.select` hold for, oldest first.

        Raises:
            QMI_InvalidValueException: If a condition cannot be understood.
            QMI_RecordingException: If the index cannot be read.
        """
        query = select(now=datetime.now(UTC), **conditions)
        if not self._path.exists():
            return []
        with self._open("read-only") as base:
            return [self._info(row) for row in self._rows(base, query)][::-1]

    def _rows(self, base: sqlite3.Connection, query: Query) -> list[tuple[Any, ...]]:
        if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone() is None:
            return []  # another program is making it now
        return base.execute(query.sql, query.values).fetchall()

    def _info(self, row: tuple[Any, ...]) -> RunInfo:
        run_id, name, started, ended, state, rows, tags, comment, file = row
        return RunInfo(
            run_id,
            name,
            datetime.fromisoformat(started),
            None if ended is None else datetime.fromisoformat(ended),
            state,
            rows,
            tuple(json.loads(tags)),
            comment,
            self._folder / file,
        )

    @contextmanager
    def _open(self, how: str) -> Iterator[sqlite3.Connection]:
        mode = "rwc" if how == "writable" else "ro"
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        try:
            with closing(sqlite3.connect(uri, timeout=_BUSY_TIMEOUT, uri=True)) as base:
                yield base
        except sqlite3.Error as error:
            raise QMI_RecordingException(
                f"The index of runs, {self._path}, is not {'written' if mode == 'rwc' else 'read'}: {error}. If it is "
                "damaged, delete it and call qmi.data.recover(), which makes it anew from the files of the runs"
            ) from error


def info_of(attributes: Mapping[str, Any], file: Path) -> RunInfo:
    """The entry of a run that has ended, from the attributes of its file."""
    return RunInfo(
        str(attributes["run_id"]),
        str(attributes["title"]),
        datetime.fromisoformat(attributes["started"]),
        datetime.fromisoformat(attributes["ended"]),
        str(attributes["state"]),
        int(attributes["rows"]),
        tuple(json.loads(attributes["tags"])),
        str(attributes["comment"]),
        file,
    )
