from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.data.record_format import MAGIC, PAGE, SYNC, RecordReader, decoded, frame, frame_into, padding

PAYLOADS = st.lists(
    st.binary(max_size=40).filter(lambda payload: not payload.startswith(b"\xa2eeventcpad")), max_size=8
)


def read(log: bytes, part: int = 1 << 20) -> tuple[list[bytes], RecordReader]:
    reader = RecordReader()
    found: list[bytes] = []
    for at in range(0, len(log), part):
        found += reader.feed(log[at : at + part])
    found += reader.finish()
    return found, reader


def log_of(payloads: list[bytes]) -> bytes:
    return MAGIC + b"".join(map(frame, payloads))


@given(PAYLOADS, st.integers(1, 50))
def test_records_are_read_in_parts_of_any_size(payloads: list[bytes], part: int) -> None:
    log = log_of(payloads)
    found, reader = read(log, part)
    assert found == payloads
    assert (reader.whole, reader.skipped, reader.torn) == (len(log), 0, 0)


@given(PAYLOADS, st.data())
def test_torn_tail_costs_the_last_record_alone(payloads: list[bytes], data: st.DataObject) -> None:
    log = log_of(payloads)
    cut = data.draw(st.integers(0, len(log)))
    found, reader = read(log[:cut], data.draw(st.integers(1, 60)))
    assert found == payloads[: len(found)]
    assert len(log_of(payloads[: len(found) + 1])) > cut or found == payloads
    assert reader.whole + reader.torn == cut
    assert reader.skipped == 0


@pytest.mark.parametrize("payload", [b"", b"x", b"x" * 5000, SYNC, frame(b"x")])
@pytest.mark.parametrize("part", [1, 7, 1 << 20])
@pytest.mark.parametrize("where", ["mark", "size", "larger", "checksum", "payload"])
def test_damage_in_the_middle_costs_that_record_alone(payload: bytes, part: int, where: str) -> None:
    before, broken = log_of([b"first"]), bytearray(frame(payload + b"!"))
    at = {"mark": 0, "size": 4, "larger": 6, "checksum": 8, "payload": 12 + len(payload)}[where]
    broken[at] ^= 0x01
    found, reader = read(before + broken + frame(b"last"), part)
    assert found[0] == b"first"
    assert found[-1] == b"last"
    assert set(found[1:-1]) <= {b"x"}  # a whole record that was the user's data
    assert reader.skipped > 0
    assert reader.torn == 0


@pytest.mark.parametrize("bit", range(32))
def test_damaged_size_keeps_nobody_waiting_for_more_of_the_log(bit: int) -> None:
    broken = bytearray(frame(b"x" * 100))
    broken[4 + bit // 8] ^= 1 << bit % 8
    reader = RecordReader()
    log = log_of([b"first"]) + broken + frame(b"last")
    assert list(reader.feed(log)) == [b"first", b"last"]
    assert list(reader.feed(frame(b"next"))) == [b"next"]
    assert (reader.skipped, reader.whole) == (len(broken), len(log) + len(frame(b"next")))


def frame_of_version_1(payload: bytes) -> bytes:
    return b"\xd7QR\n" + frame(payload)[4:]


@given(PAYLOADS, st.integers(1, 50))
def test_log_of_an_earlier_version_is_read(payloads: list[bytes], part: int) -> None:
    log = b"QMIRUN1\n" + b"".join(map(frame_of_version_1, payloads))
    assert read(log, part)[0] == payloads
    assert read(log[len(MAGIC) :], part)[0] == payloads  # its beginning is damaged


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\xff" * 100, SYNC, SYNC * 10, frame(b"x")[:-1], b"\xd7"])
def test_whatever_stands_at_the_end_is_no_record(tail: bytes) -> None:
    found, reader = read(log_of([b"a", b"b"]) + tail, 13)
    assert found == [b"a", b"b"]
    assert reader.torn == len(tail)


@pytest.mark.parametrize("log", [b"", MAGIC[:3], MAGIC, b"\0" * 20, b"something else"])
def test_log_without_a_record_has_none(log: bytes) -> None:
    assert read(log)[0] == []


@given(st.binary(max_size=200))
def test_any_bytes_are_read(log: bytes) -> None:
    found, reader = read(log)
    assert reader.whole + reader.torn == len(log)
    assert found == read(log, 3)[0]


@given(PAYLOADS, st.integers(1, 50), st.integers(0, 3))
def test_blocks_have_the_same_records(payloads: list[bytes], part: int, times: int) -> None:
    payloads = [payload for payload in payloads for _ in range(times)]
    log = log_of(payloads)
    reader = RecordReader()
    found: list[bytes] = []
    for at in range(0, len(log), part):
        for block in reader.feed_blocks(log[at : at + part]):
            found += [block.payload(index) for index in range(block.count)]
    for block in reader.finish_blocks():
        found += [block.payload(index) for index in range(block.count)]
    assert found == payloads
    assert (reader.whole, reader.skipped, reader.torn) == (len(log), 0, 0)


@given(PAYLOADS)
def test_record_in_parts_is_the_same_as_in_one(payloads: list[bytes]) -> None:
    buffer = memoryview(bytearray(1000))
    size = frame_into(buffer, [memoryview(payload) for payload in payloads])
    assert buffer[:size] == frame(b"".join(payloads))


@pytest.mark.parametrize("end", [8, 4096, 4097, 5000, 8191, 123_456_789])
@pytest.mark.parametrize("before", [0, 12, 60, 4000, 4095])
def test_padding_ends_before_a_page_and_is_no_record(end: int, before: int) -> None:
    pad = padding(end, before)
    assert (end + len(pad) + before) % PAGE == 0
    assert len(pad) < 2 * PAGE
    assert read(MAGIC + frame(b"a") + pad + frame(b"b"), 100)[0] == [b"a", b"b"]
    assert decoded(pad[12:])["event"] == "pad"  # type: ignore[index]


def test_long_record_that_comes_in_many_parts_is_copied_once() -> None:
    log = log_of([b"x" * 100_000])
    reader = RecordReader()
    found: list[bytes] = []
    for at in range(0, len(log), 10):
        found += reader.feed(log[at : at + 10])
        assert len(reader._buffer) < 100 or found
    assert found == [b"x" * 100_000]


def test_reader_that_is_left_in_a_block_goes_on_with_the_next_record() -> None:
    log = log_of([b"a", b"b", b"c"])
    reader = RecordReader()
    assert next(reader.feed(log)) == b"a"
    assert reader.whole == len(log_of([b"a"]))
    assert list(reader.feed(b"")) == [b"b", b"c"]
