from __future__ import annotations

import json

import pytest

from qmi.proc.status import State, Status, as_json, duration, exit_code, plain


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status("a", "h", State.OFFLINE), "a: OFFLINE"),
        (Status("a", "h", State.STARTED, 12, seconds=1), "a: STARTED (PID=12)"),
        (Status("a", "h", State.RUNNING, 12, "1.0"), "a: RUNNING (PID=12, QMI=1.0)"),
        (Status("a", "h", State.RUNNING, None, "1.0"), "a: RUNNING (QMI=1.0)"),
        (Status("a", "h", State.ALREADY_RUNNING, 12, "1.0"), "a: already running (PID=12, QMI=1.0)"),
        (Status("a", "h", State.ALREADY_RUNNING), "a: already running"),
        (Status("a", "h", State.FAILED, detail="one\ntwo"), "a: FAILED: one\n    two"),
    ],
)
def test_a_status_reads_like_this(status: Status, text: str) -> None:
    assert plain(status) == text


def test_json_has_null_for_what_is_not_known() -> None:
    rows = json.loads(
        as_json([Status("a", "h", State.ALREADY_RUNNING, 1, "2", 0.12345, "x"), Status("b", "h", State.OFFLINE)])
    )
    assert rows == [
        {
            "name": "a",
            "host": "h",
            "state": "already running",
            "pid": 1,
            "version": "2",
            "seconds": 0.123,
            "detail": "x",
        },
        {"name": "b", "host": "h", "state": "OFFLINE", "pid": None, "version": None, "seconds": None, "detail": None},
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.97, "10 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (356400, "4 d 3 h"),
    ],
)
def test_a_duration_reads_like_this(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_the_exit_code_is_the_worst_one() -> None:
    codes = [Status("a", "h", State.FAILED, exit_code=code) for code in (0, 2, 1)]
    assert exit_code(codes) == 2
    assert exit_code([]) == 0


def test_status_is_final_unless_it_goes_on() -> None:
    assert [state.name for state in State if not state.final] == ["WAITING", "STARTING", "STOPPING", "ASKING"]
