from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from qmi.data.rows import Row
from qmi.scan import Row as ScanRow

WHEN = datetime(2026, 11, 26, 14, tzinfo=UTC)


@pytest.mark.parametrize("cls", [Row, ScanRow])
def test_row_has_values_by_name_a_number_and_a_time(cls: type[Row]) -> None:
    row = cls({"T": 4.2, "mode": "fast"}, 3, WHEN)
    assert (row.T, row["mode"], dict(row), len(row)) == (4.2, "fast", {"T": 4.2, "mode": "fast"}, 2)
    assert (row.number, row.time, repr(row)) == (3, WHEN, "Row(T=4.2, mode='fast')")
    assert {"T", "mode", "number", "time"} <= set(dir(row))
    with pytest.raises(AttributeError, match="The row has no column 'V'; it has T, mode"):
        _ = row.V


def test_row_columns_that_are_called_like_its_attributes_are_reached_with_brackets() -> None:
    row = Row({"time": 1.0, "number": 2.0}, 7, WHEN)
    assert (row["time"], row["number"], row.time, row.number) == (1.0, 2.0, WHEN, 7)


@pytest.mark.parametrize("cls", [Row, ScanRow])
@pytest.mark.parametrize("remake", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
def test_row_can_be_copied_and_pickled(cls: type[Row], remake: object) -> None:
    row = cls({"T": 4.2}, 3, WHEN)
    other = remake(row)  # type: ignore[operator]
    assert (type(other), other, other.number, other.time) == (cls, row, 3, WHEN)


def test_row_that_is_not_made_yet_has_no_columns() -> None:
    with pytest.raises(AttributeError):
        _ = Row.__new__(Row).T


def test_row_without_a_time_is_of_now() -> None:
    assert abs(Row({}).time - datetime.now(UTC)) < timedelta(minutes=1)
