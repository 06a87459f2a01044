from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qmi.net.io.log_limit import LineLimit


def test_line_limit_admits_one_line_a_second_with_the_count_of_the_others() -> None:
    limit = LineLimit()
    assert [limit.admit(now) for now in (0.0, 0.1, 0.9, 1.0, 1.5, 2.0)] == [0, None, None, 2, None, 1]
    assert limit.flush(2.5) == 0
    assert limit.admit(2.6) is None
    assert limit.flush(2.9) == 0
    assert limit.flush(3.0) == 1
    assert limit.flush(9.0) == 0
    assert limit.held == 0


def test_line_limit_admits_a_burst_after_a_silence() -> None:
    limit = LineLimit(burst=3)
    assert [limit.admit(0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert [limit.admit(100.0) for _ in range(4)] == [2, 0, 0, None]


def test_line_limit_is_not_confused_by_a_clock_that_stands_or_goes_back() -> None:
    limit = LineLimit()
    assert [limit.admit(now) for now in (10.0, 5.0, 10.0, 11.0)] == [0, None, None, 2]


@given(st.lists(st.floats(0, 100), max_size=60).map(sorted), st.integers(1, 5))
def test_every_line_is_written_or_counted_and_no_more_than_allowed(times: list[float], burst: int) -> None:
    limit = LineLimit(burst=burst)
    outcomes = [(now, limit.admit(now)) for now in times]
    written = [(now, count) for now, count in outcomes if count is not None]
    assert len(written) + sum(count for _, count in written) + limit.held == len(times)
    for index, (first, _) in enumerate(written):
        for further, (last, _) in enumerate(written[index:], 1):
            assert further <= burst + (last - first) + 1e-6
