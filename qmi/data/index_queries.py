"""The index of runs as SQL: its table, and which rows a question means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from qmi.errors import QMI_InvalidValueException

SCHEMA: Final = (
    (
        "CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, "
        "ended TEXT, state TEXT NOT NULL, rows INTEGER NOT NULL, tags TEXT NOT NULL, comment TEXT NOT NULL, "
        "file TEXT NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS runs_started ON runs (started)",
    "CREATE INDEX IF NOT EXISTS runs_name ON runs (name)",
    "CREATE TABLE IF NOT EXISTS tags (run_id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (tag, run_id))",
)
COLUMNS: Final = ("run_id", "name", "started", "ended", "state", "rows", "tags", "comment", "file")
STATES: Final = ("running", "done", "failed", "interrupted")


class Query(NamedTuple):
    """A statement of SQL and the values for its question marks."""

    sql: str
    values: tuple[object, ...]


def put(values: Sequence[object]) -> Query:
    """Enter a run, or replace what was entered of it; the values in the order of :data:`COLUMNS`."""
    marks = ", ".join("?" * len(COLUMNS))
    return Query(f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({marks})", tuple(values))


def select(
    *,
    run_id: str | None = None,
    name: str | None = None,
    tag: str | None = None,
    since: str | datetime | timedelta | None = None,
    until: str | datetime | timedelta | None = None,
    state: str | None = None,
    limit: int | None = None,
    now: datetime,
) -> Query:
    """The runs that all of the conditions hold for, oldest first; with a limit, the latest ones.

    Args:
        run_id: The id.
        name: The name; ``*`` stands for anything.
        tag: A tag that it has.
        since: When it began at the earliest: a time, its text in ISO 8601, or how long before now.
        until: Likewise, at the latest; that time itself is not included.
        state: "running", "done", "failed" or "interrupted".
        limit: How many at most.
        now: The present time.

    Raises:
        QMI_InvalidValueException: If a condition cannot be understood.
    """
    if state is not None and state not in STATES:
        raise QMI_InvalidValueException(f"state must be one of {', '.join(map(repr, STATES))}, got {state!r}")
    given: list[tuple[str, object, Callable[[], str]]] = [
        ("run_id = ?", run_id, lambda: _text(run_id, "run_id")),
        ("name GLOB ?", name, lambda: _text(name, "name").replace("[", "[[]").replace("?", "[?]")),
        ("run_id IN (SELECT run_id FROM tags WHERE tag = ?)", tag, lambda: _text(tag, "tag")),
        ("started >= ?", since, lambda: stamp(moment(since, "since", now))),
        ("started < ?", until, lambda: stamp(moment(until, "until", now))),
        ("state = ?", state, lambda: _text(state, "state")),
    ]
    wanted = [(condition, value()) for condition, argument, value in given if argument is not None]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise QMI_InvalidValueException(f"limit must be a whole number of 1 or more, got {limit!r}")
    sql = f"SELECT {', '.join(COLUMNS)} FROM runs"
    if wanted:
        sql += f" WHERE {' AND '.join(condition for condition, _ in wanted)}"
    sql += " ORDER BY started DESC, run_id DESC"
    if limit is not None:
        sql += f" LIMIT {limit}"
    return Query(sql, tuple(value for _, value in wanted))


def _text(value: object, argument: str) -> str:
    if not isinstance(value, str):
        raise QMI_InvalidValueException(f"{argument} must be a text, got {value!r}")
    return value


def moment(value: object, argument: str, now: datetime) -> datetime:
    """The time that is meant; one without a time zone is in local time.

    Raises:
        QMI_InvalidValueException: If it is none.
    """
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value).astimezone(UTC)
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        if isinstance(value, timedelta):
            return now.astimezone(UTC) - value
    except (ValueError, OverflowError) as error:
        raise QMI_InvalidValueException(
            f"{argument} must be a time such as '2026-11-26 14:00', got {value!r}"
        ) from error
    raise QMI_InvalidValueException(
        f"{argument} must be a datetime, a text such as '2026-11-26 14:00', or a timedelta before now; got {value!r}"
    )


def stamp(time: datetime) -> str:
    """A time as the index has it: such texts are in the order of their times."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
