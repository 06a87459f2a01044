"""Scans whose rows are kept in a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import qmi.data
from qmi.core.exceptions import QMI_InvalidValueException
from qmi.scan import Scan, readable, scan, settable

X = settable(lambda value: None, name="x", unit="mm")


def made(measure: Callable[[], object] = lambda: 2.5, **run: str) -> Scan:
    return scan(X, 0, 2, 3, **run).measure(readable(measure, name="y", unit="V"))


def ended(found: Scan, state: str, rows: int) -> qmi.data.RunInfo:
    (info,) = qmi.data.runs()
    assert (info.state, info.rows, info.name) == (state, rows, "iv")
    assert len(found.rows) == rows
    data = qmi.data.load(info.run_id)
    assert "x" in data.coords
    assert [float(value) for value in data.x.values] == [0.0, 1.0, 2.0][:rows]
    assert data.y.attrs["units"] == "V"
    return info


def test_scan_makes_a_run_of_its_columns() -> None:
    found = made(run="iv")
    found.run()
    info = ended(found, "done", 3)
    assert isinstance(found.recorder, qmi.data.Run)
    assert found.recorder.run_id == info.run_id


async def test_scan_of_a_trio_program_makes_a_run() -> None:
    found = made(run="iv")
    await found.run_async()
    ended(found, "done", 3)


def test_stopped_scan_ends_its_run_and_says_so() -> None:
    found = made(lambda: found.stop() or 1.0, run="iv")  # type: ignore[func-returns-value]
    found.run()
    assert "The scan was ended after 1 of 3 points" in ended(found, "done", 1).comment


def test_scan_that_is_left_ends_its_run() -> None:
    found = made(run="iv")
    for _ in found:
        break
    ended(found, "done", 1)


def test_failed_scan_ends_its_run_as_failed() -> None:
    def fail() -> float:
        if found.rows:
            raise ValueError("it is hot")
        return 1.0

    found = made(fail, run="iv")
    with pytest.raises(ValueError, match="it is hot"):
        found.run()
    ended(found, "failed", 1)


def test_interrupted_scan_keeps_its_rows() -> None:
    def interrupt() -> float:
        if found.rows:
            raise KeyboardInterrupt
        return 1.0

    found = made(interrupt, run="iv")
    with pytest.raises(KeyboardInterrupt):
        found.run()
    ended(found, "failed", 1)


def test_name_of_a_run_is_checked_before_the_scan() -> None:
    with pytest.raises(QMI_InvalidValueException):
        made(run="")
