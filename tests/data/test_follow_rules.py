from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_RecordingException
from qmi.data.column_values import MISSING, encoded, joined, type_of_plain, value_of, values_of_file
from qmi.data.follow_rules import LONGEST, SHORTEST, LogRows, Pace
from qmi.data.log_contents import Head
from qmi.data.record_format import MAGIC, frame

STARTED = int(datetime(2026, 11, 26, tzinfo=UTC).timestamp()) * 10**9
HEAD = Head("id", "cooldown", {"x": "V"}, {"x": {"delay": ("s", encoded([0.0, 1.0], "").plain)}}, ["x"], STARTED, {})


def row(number: int) -> bytes:
    return frame(cbor2.dumps([number, number * 1000, float(number)]))


def log(*numbers: int, end: bool = True) -> bytes:
    parts = [MAGIC, frame(cbor2.dumps(HEAD.to_record())), *map(row, numbers)]
    parts.append(frame(cbor2.dumps({"event": "end", "time": 5, "state": "done"})) if end else b"")
    return b"".join(parts)


def followed(rows: LogRows, content: bytes, cuts: list[int]) -> list[int]:
    """The numbers of the rows of a log that is read in parts."""
    found: list[int] = []
    lengths = iter(cuts)
    while rows.offset < len(content):
        at = rows.offset
        found += [each.number for each in rows.feed(content[at : at + max(1, next(lengths, 50))])]
    return found


@given(st.lists(st.integers(1, 60)), st.integers(0, 6))
def test_rows_of_a_log_do_not_depend_on_where_its_bytes_are_cut(cuts: list[int], first: int) -> None:
    rows = LogRows(first)
    assert followed(rows, log(*range(5)), cuts) == list(range(first, 5))
    assert rows.finish() == []
    assert rows.end is not None
    assert rows.next == max(5, first)


def test_head_of_a_log_says_what_its_columns_are() -> None:
    rows = LogRows()
    (only,) = rows.feed(log(0))
    head = rows.head
    assert head is not None
    assert (head.run_id, head.name, head.columns, head.coordinates) == ("id", "cooldown", {"x": "V"}, ("x",))
    assert (head.axes["x"]["delay"][0], list(head.axes["x"]["delay"][1])) == ("s", [0.0, 1.0])
    assert (only.x, only.time) == (0.0, datetime(2026, 11, 26, tzinfo=UTC))


@given(st.integers(1, 40), st.lists(st.integers(1, 60)))
def test_rows_after_bytes_that_were_taken_back_are_not_missed(torn: int, cuts: list[int]) -> None:
    # A row was written in part, read, and taken back; another one stands there now.
    rows = LogRows()
    before = log(0, 1, end=False)
    bad = frame(cbor2.dumps([2, 7, "x" * 60]))[:torn]
    found = followed(rows, before + bad, cuts)
    found += followed(rows, log(0, 1, 2, 3, 4), [])
    while (last := rows.finish()) is None:
        found += followed(rows, log(0, 1, 2, 3, 4), [])
    assert [*found, *(each.number for each in last)] == [0, 1, 2, 3, 4]
    assert rows.end is not None


def test_rows_of_a_damaged_log_come_once_and_have_the_numbers_of_the_file() -> None:
    rows = LogRows()
    content = bytearray(log(0, 1, 2, 3))
    content[content.index(row(1)) + 14] ^= 0xFF
    found = followed(rows, bytes(content), [])
    while (last := rows.finish()) is None:
        found += followed(rows, bytes(content), [])
    assert [*found, *(each.number for each in last)] == [0, 1, 2]


def test_two_rows_with_the_number_of_one_are_two() -> None:
    rows = LogRows()
    assert followed(rows, log(0, 1, 1, 2), []) == [0, 1, 2, 3]


def test_log_of_something_else_is_refused() -> None:
    with pytest.raises(QMI_RecordingException, match="a log begins with a record of the format"):
        LogRows().feed(MAGIC + frame(cbor2.dumps({"format": "other"})))


@pytest.mark.parametrize(
    ("quiet", "delay"), [(0.0, SHORTEST), (0.001, SHORTEST), (0.04, 0.01), (0.2, 0.05), (10.0, LONGEST)]
)
def test_pace_is_a_share_of_the_time_in_which_nothing_came(quiet: float, delay: float) -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    now[0] += quiet
    assert pace.delay() == pytest.approx(delay)
    assert pace.quiet == pytest.approx(quiet)
    pace.arrived()
    assert (pace.delay(), pace.quiet) == (SHORTEST, 0.0)


@pytest.mark.parametrize("gap", [0.01, 0.1, 1.0, 60.0])
def test_pace_looks_seldom_and_is_late_by_a_quarter_at_most(gap: float) -> None:
    now, looks = [0.0], 0
    pace = Pace(lambda: now[0])
    while now[0] < gap:
        now[0] += pace.delay()
        looks += 1
    assert now[0] - gap <= max(SHORTEST, min(LONGEST, gap / 4)) + 1e-9
    assert looks <= 25 + gap / LONGEST


WHEN = datetime(2026, 11, 26, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        [1.5, None, float("nan"), float("inf")],
        [1, None, -(1 << 40)],
        [1, 2],
        [1, 2.5, None],
        [True, None, False],
        [True, False],
        [1 + 2j, None, complex(float("nan"), 1)],
        ["a", None, "ü"],
        ["", "a"],
        [WHEN, None, WHEN + timedelta(microseconds=7)],
        [None, None],
        [[1.0, 2.0], None, [3.0, float("nan")]],
        [[1, 2], None],
        [[True, False], None],
        [["a", "b"], None, ["", "c"]],
        [[WHEN, WHEN], None],
        [[1j, 2j], None],
        [numpy.arange(3, dtype="u1"), numpy.ones(3, "u1")],
        [numpy.ones((2, 3), "f4"), None],
    ],
    ids=repr,
)
def test_values_are_the_same_from_the_log_and_from_the_file(values: list[Any]) -> None:
    from qmi.data.column_values import ColumnType, convert

    plains = [encoded(value, "x").plain for value in values]
    plains = [value_or_loaded(plain) for plain in plains]
    kind: ColumnType | None = ColumnType()
    for plain in plains:
        assert kind is not None
        kind = joined(kind, type_of_plain(plain))
    assert kind is not None
    live = [value_of(plain) for plain in plains]
    stored = values_of_file(convert(plains, kind), kind)
    for one, other, given_ in zip(live, stored, values, strict=True):
        numpy.testing.assert_array_equal(one, other)
        assert (one is None) == (other is None) == (given_ is None)
        assert isinstance(other, numpy.ndarray) == isinstance(one, numpy.ndarray)
        if isinstance(one, numpy.ndarray):
            assert one.dtype.kind == other.dtype.kind
            assert one.flags.writeable


def value_or_loaded(plain: object) -> object:
    complete = getattr(plain, "complete", None)
    return cbor2.loads(cbor2.dumps(plain if complete is None else complete()))


def test_none_is_nan_for_others_who_read_the_file() -> None:
    assert numpy.isnan(numpy.array([MISSING])).all()
