from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.data.plot_ticks import number_ticks, spread, time_ticks

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-9, 1e12),
    st.integers(1, 12),
)
def test_ticks_are_within_the_axis_and_not_too_many(low: float, length: float, most: int) -> None:
    high = low + length
    if not high > low * (1 + 1e-9) + 1e-12:
        return
    ticks = number_ticks(low, high, most)
    assert len(ticks) <= most
    slack = 1e-6 * (high - low) + 1e-9 * abs(high)
    assert all(low - slack <= value <= high + slack for value, _ in ticks)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 10, 6, ["0", "2", "4", "6", "8", "10"]),
        (-1, 1, 5, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (0.0127, 0.0133, 3, ["0.0128", "0.0130", "0.0132"]),
        (0, 3e7, 4, ["0", "1e+07", "2e+07", "3e+07"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, expected: list[str]) -> None:
    assert [label for _, label in number_ticks(low, high, most)] == expected


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (0.004, 5, ["12:00:00.000", "12:00:00.001", "12:00:00.002", "12:00:00.003", "12:00:00.004"]),
        (10, 6, ["12:00:00", "12:00:02", "12:00:04", "12:00:06", "12:00:08", "12:00:10"]),
        (3600, 5, ["12:00", "12:15", "12:30", "12:45", "13:00"]),
        (3 * 86400, 4, ["27 Nov", "28 Nov", "29 Nov"]),
        (1e12, 1, []),
    ],
)
def test_times_are_round(seconds: float, most: int, expected: list[str]) -> None:
    try:
        ticks = time_ticks(NOON, NOON + seconds, most, UTC)
    except (OverflowError, ValueError, OSError):
        assert not expected
        return
    assert [label for _, label in ticks] == expected


def test_times_are_round_in_their_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    assert [label for _, label in time_ticks(NOON, NOON + 3600, 3, zone)] == ["17:30", "18:00", "18:30"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([(0, "0.0"), (10, "0.5"), (20, "1.0")], "0.0      0.5       1.0"),
        ([(0, "0.0"), (2, "0.5"), (10, "1.0")], "0.0      1.0"),
        ([(5, "much too long for this line")], ""),
    ],
)
def test_labels_do_not_touch_each_other(labels: list[tuple[int, str]], expected: str) -> None:
    line = spread(labels, 22)
    assert line.rstrip() == expected
    assert len(line) <= 22
