from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2
import numpy
import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st

from qmi.data.column_values import TAG_ARRAY, TAG_TIME, ColumnType, convert, encoded, type_of_column, type_of_plain
from qmi.data.record_format import MAGIC, RecordReader, decoded, frame
from qmi.data.row_batches import RowBatch, batches
from qmi.data.row_format import RowLayout, row_parts

VALUES: dict[str, list[Any]] = {
    "float": [0.5, -1e300, 3.25],
    "float and nan": [0.5, float("nan"), float("inf")],
    "int": [5, 100, -7, 70_000, 1 << 40, -(1 << 63), (1 << 63) - 1],
    "long int": [1 << 40, (1 << 40) + 1, (1 << 63) - 1],
    "negative": [-(1 << 40), -(1 << 63)],
    "bool": [True, False],
    "none": [None],
    "missing": [1.5, None],
    "complex": [1 + 2j, 3 - 4j],
    "text": ["a", "", "longer"],
    "same length": ["abc", "def"],
    "time": [datetime(2026, 1, 2, tzinfo=UTC), datetime(1950, 1, 1, tzinfo=UTC)],
    "late time": [datetime(2026, 1, 2, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)],
    "array": [numpy.arange(3.0), numpy.ones(3)],
    "grid": [numpy.arange(6, dtype="i2").reshape(2, 3), numpy.ones((2, 3), "i2")],
    "large array": [numpy.arange(300.0), numpy.ones(300)],
    "larger array": [numpy.arange(9000.0), numpy.ones(9000)],
    "complex array": [numpy.arange(2, dtype="c8")],
    "bools": [numpy.array([True, False])],
    "times": [numpy.array(["2026-01-02", "NaT"], "M8[ns]")],
    "texts": [numpy.array(["a", "bc"])],
    "big-endian": [numpy.arange(400, dtype=">i4")],
    "strided": [numpy.arange(2000.0)[::3], numpy.arange(2000.0)[::-3]],
    "Fortran": [numpy.arange(1000.0).reshape(10, 100).T],
}
KINDS = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4)


def payloads_of(kinds: list[str], rows: int, choose: Any, first: int = 0) -> list[bytes]:
    found = []
    for number in range(first, first + rows):
        row = [encoded(choose(VALUES[kind]), kind) for kind in kinds]
        found.append(b"".join(row_parts(number, 5_000_000_000 + number * 1_000_000, row)))
    return found


def log_of(payloads: list[bytes]) -> bytes:
    return MAGIC + b"".join(map(frame, payloads))


def batches_of(log: bytes, part: int = 1 << 22) -> list[Any]:
    reader = RecordReader()

    def blocks() -> Any:
        for at in range(0, len(log), part):
            yield from reader.feed_blocks(log[at : at + part])
        yield from reader.finish_blocks()

    return list(batches(blocks()))


def assert_same(found: list[Any], payloads: list[bytes]) -> None:
    """That batches have what the records have, one by one."""
    rows = [decoded(payload) for payload in payloads]
    numbers: list[int] = []
    for batch in found:
        assert isinstance(batch, RowBatch)
        assert len(batch) == len(batch.times) == len(batch.columns[0])
        for column, values in enumerate(batch.columns):
            plain = [row[2 + column] for row in rows[len(numbers) : len(numbers) + len(batch)]]  # type: ignore[index]
            kind = type_of_column(values)
            assert kind == type_of_column(plain)
            assert kind is not None
            numpy.testing.assert_array_equal(convert(values, kind), convert(plain, kind))
        assert batch.times.tolist() == [row[1] for row in rows[len(numbers) : len(numbers) + len(batch)]]  # type: ignore[index]
        numbers += batch.numbers.tolist()
    assert numbers == [row[0] for row in rows]  # type: ignore[index]


@pytest.mark.parametrize("kind", VALUES)
def test_row_in_parts_is_what_cbor_makes_of_it(kind: str) -> None:
    for value in VALUES[kind]:
        row = [encoded(1.5, "x"), encoded(value, "y"), encoded("end", "z")]
        whole = cbor2.dumps([7, 123456789, *(one.complete() for one in row)])
        assert b"".join(row_parts(7, 123456789, row)) == whole


@pytest.mark.parametrize("columns", [1, 21, 22, 40, 300])
def test_row_of_many_columns_in_parts_is_what_cbor_makes_of_it(columns: int) -> None:
    row = [encoded(numpy.arange(300.0), "x"), *[encoded(1, "y")] * (columns - 1)]
    whole = cbor2.dumps([1 << 33, 0, *(one.complete() for one in row)])
    assert b"".join(row_parts(1 << 33, 0, row)) == whole


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("rows", [1, 15, 16, 40])
def test_rows_of_one_kind_are_read_in_batches(kind: str, rows: int) -> None:
    numbers = iter(range(rows * 10))
    payloads = payloads_of([kind, "float"], rows, lambda values: values[next(numbers) % len(values)], first=250)
    assert_same(batches_of(log_of(payloads)), payloads)


@settings(max_examples=60)
@given(KINDS, st.data())
def test_rows_of_any_kinds_are_read_in_batches(kinds: list[str], data: st.DataObject) -> None:
    random = data.draw(st.randoms(use_true_random=False))
    payloads = payloads_of(
        kinds, data.draw(st.integers(1, 90)), random.choice, first=data.draw(st.sampled_from([0, 9]))
    )
    part = data.draw(st.sampled_from([100, 3000, 1 << 22]))
    assert_same(batches_of(log_of(payloads), part), payloads)


def test_rows_of_floats_are_one_batch_without_copies() -> None:
    payloads = payloads_of(["float", "array"], 200, lambda values: values[0], first=1000)
    (batch,) = batches_of(log_of(payloads))
    assert [type(column) for column in batch.columns] == [numpy.ndarray, numpy.ndarray]
    assert not any(column.flags.owndata for column in batch.columns)


def test_events_among_rows_keep_their_place() -> None:
    rows = payloads_of(["float"], 60, lambda values: values[0], first=300)
    event = cbor2.dumps({"event": "comment", "text": "x", "time": 1})
    found = batches_of(log_of([event, *rows[:5], event, *rows[5:50], event, *rows[50:]]))
    assert [len(part) if isinstance(part, RowBatch) else part["event"] for part in found] == [
        "comment",
        5,
        "comment",
        45,
        "comment",
        10,
    ]


@pytest.mark.parametrize("damaged", [0, 1, 30, 58, 59])
def test_damage_among_rows_costs_one_row(damaged: int) -> None:
    payloads = payloads_of(["float", "int"], 60, lambda values: values[1], first=300)
    log = bytearray(log_of(payloads))
    size = len(frame(payloads[0]))
    log[len(MAGIC) + damaged * size + size - 3] ^= 4
    assert_same(batches_of(bytes(log)), payloads[:damaged] + payloads[damaged + 1 :])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\x9f\x01\x02\x03\xff",
        cbor2.dumps([1, 2]),
        cbor2.dumps([1.5, 2, 3]),
        cbor2.dumps(["a", 2, 3]),
        cbor2.dumps({"a": 1}),
        cbor2.dumps([1, 2, "text"]),
        cbor2.dumps([1, 2, [3]]),
        cbor2.dumps([1, 2, CBORTag(5, 6)]),
        cbor2.dumps([1, 2, CBORTag(TAG_TIME, -5)]),
        cbor2.dumps([1, 2, CBORTag(TAG_ARRAY, ["U", [1], ["a"]])]),
        cbor2.dumps([1, 2, CBORTag(TAG_ARRAY, ["<f8", [2], b"short"])]),
        cbor2.dumps([1, 2, CBORTag(TAG_ARRAY, ["odd", [1], b"12345678"])]),
        cbor2.dumps([1, 2, CBORTag(TAG_ARRAY, ["O", [1], b"12345678"])]),
        cbor2.dumps([1, 2, 3.5])[:-1],
        cbor2.dumps([1, 2, 3.5]) + b"\0",
    ],
)
def test_payload_that_has_no_layout_is_said_to_have_none(payload: bytes) -> None:
    assert RowLayout.of(payload) is None


@given(st.binary(max_size=60))
def test_any_payload_is_looked_at(payload: bytes) -> None:
    RowLayout.of(payload)
    RowLayout.of(b"\x83\x18\x20\x18\x20" + payload)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, None], ColumnType("float", (), missing=True)),
        ([None], ColumnType(missing=True)),
        ([1, 2.5, 1j], ColumnType("complex", ())),
        ([1, "a"], None),
        ([True, 1], None),
        ([1.0, CBORTag(TAG_TIME, 5)], None),
        (numpy.ones((4, 2), "f4"), ColumnType("float", (2,), dtype="<f4")),
        (numpy.ones(4, ">f8"), ColumnType("float", ())),
        (numpy.ones(4, "M8[ns]"), ColumnType("time", ())),
    ],
)
def test_type_of_a_column_is_what_all_its_values_have(values: Any, expected: ColumnType | None) -> None:
    assert type_of_column(values) == expected
    if isinstance(values, list) and len(values) == 1:
        assert type_of_plain(values[0]) == expected
