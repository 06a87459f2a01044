from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.data.index_queries import SCHEMA, put, select, stamp

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def base() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as base:
        for statement in SCHEMA:
            base.execute(statement)
        for hour, (name, state, tag) in enumerate(
            [("one", "done", "a"), ("two", "failed", "b"), ("o[n]e?", "done", "b"), ("one", "running", "ü")]
        ):
            started = stamp(NOON + timedelta(hours=hour))
            base.execute(*put((f"run{hour}", name, started, None, state, 0, "[]", "", f"{hour}.nc")))
            base.execute("INSERT INTO tags VALUES (?, ?)", (f"run{hour}", tag))
        yield base


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, "3210"),
        ({"name": "one"}, "30"),
        ({"name": "o*"}, "320"),
        ({"name": "o[n]e?"}, "2"),
        ({"name": "o?e"}, ""),
        ({"tag": "b"}, "21"),
        ({"tag": "ü"}, "3"),
        ({"tag": "' OR 1=1 --"}, ""),
        ({"state": "done"}, "20"),
        ({"run_id": "run1"}, "1"),
        ({"limit": 2}, "32"),
        ({"name": "one", "limit": 1}, "3"),
        ({"since": NOON + timedelta(hours=1)}, "321"),
        ({"until": NOON + timedelta(hours=1)}, "0"),
        ({"since": "2026-11-26T13:00+00:00", "until": "2026-11-26T15:00Z"}, "21"),
        ({"since": (NOON + timedelta(hours=2)).astimezone(timezone(timedelta(hours=-8)))}, "32"),
        ({"since": timedelta(hours=1)}, "32"),
        ({"since": timedelta(hours=1), "name": "one", "tag": "ü"}, "3"),
    ],
)
def test_select_finds_what_all_conditions_hold_for(
    base: sqlite3.Connection, conditions: dict[str, Any], found: str
) -> None:
    query = select(now=NOON + timedelta(hours=3), **conditions)
    assert "".join(row[0][3:] for row in base.execute(*query)) == found


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"state": "ended"}, "state must be one of 'running', 'done'"),
        ({"since": "yesterday"}, "since must be a time such as .* got 'yesterday'"),
        ({"until": 5}, "until must be a datetime"),
        ({"since": timedelta.max}, "since must be"),
        ({"limit": 0}, "1 or more, got 0"),
        ({"limit": True}, "got True"),
        ({"name": 5}, "name must be a text"),
        ({"tag": ["a"]}, "tag must be a text"),
    ],
)
def test_select_refuses_what_it_cannot_understand(conditions: dict[str, Any], words: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=words):
        select(now=NOON, **conditions)


def test_put_replaces_a_run(base: sqlite3.Connection) -> None:
    base.execute(*put(("run0", "new", stamp(NOON), None, "done", 5, "[]", "", "0.nc")))
    query = select(run_id="run0", now=NOON)
    assert [(row[1], row[5]) for row in base.execute(*query)] == [("new", 5)]
