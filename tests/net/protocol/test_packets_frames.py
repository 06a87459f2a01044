from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.net.io.transport import drop_sent, total_size
from qmi.net.limits import SEGMENT_THRESHOLD, Buffer, Limits, ProtocolError, VersionError
from qmi.net.protocol.packets import HEADER, MAGIC, MAJOR, MINOR, FrameReader, allocate, pack
from tests.support.examples import examples

LIMITS = Limits(hello=4096, body=1 << 16, frame=1 << 20, segments=8)
Outcome = list[tuple[bytes, list[bytes]] | str]


def reader(*, opened: bool = True, limits: Limits = LIMITS) -> FrameReader:
    made = FrameReader(limits)
    if opened:
        made.open_up()
    return made


def collect(made: FrameReader, chunks: Iterator[Buffer] | list[bytes]) -> Outcome:
    found: Outcome = []
    try:
        for chunk in chunks:
            for frame in made.feed(chunk):
                found.append((bytes(frame.body), [bytes(segment) for segment in frame.segments]))
    except ProtocolError as error:
        found.append(f"error: {error}")
    return found


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def joined(frames: list[tuple[bytes, list[bytes]]]) -> bytes:
    return b"".join(bytes(part) for body, segs in frames for part in pack(body, [memoryview(s) for s in segs]))


bodies = st.binary(min_size=1, max_size=300)
frames_strategy = st.lists(st.tuples(bodies, st.lists(st.binary(min_size=1, max_size=400), max_size=4)), max_size=5)


@examples(60)
@given(frames_strategy, st.lists(st.integers(0, 5000), max_size=8))
def test_frames_come_back_however_their_bytes_are_cut(frames: list[tuple[bytes, list[bytes]]], cuts: list[int]) -> None:
    data = joined(frames)
    expected: Outcome = list(frames)
    assert collect(reader(), [data]) == expected
    assert collect(reader(), split(data, cuts)) == expected
    assert collect(reader(), [data[n : n + 1] for n in range(len(data))]) == expected


@examples(60)
@given(
    frames_strategy, st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 255)), min_size=1, max_size=3), st.data()
)
def test_fault_08_flipped_bits_give_the_same_outcome_however_cut(
    frames: list[tuple[bytes, list[bytes]]], flips: list[tuple[int, int]], data: st.DataObject
) -> None:
    raw = bytearray(joined([*frames, (b"x", [])]))
    for place, mask in flips:
        raw[place % len(raw)] ^= mask
    whole = collect(reader(), [bytes(raw)])
    assert collect(reader(), split(bytes(raw), data.draw(st.lists(st.integers(0, 5000), max_size=8)))) == whole
    assert collect(reader(), [bytes(raw[n : n + 1]) for n in range(len(raw))]) == whole


def test_fault_08_good_frames_before_a_malformed_one_are_delivered() -> None:
    found = collect(reader(), [joined([(b"one", []), (b"two", [b"seg"])]) + b"GET / HTTP/1.1\r\n"])
    assert found[:2] == [(b"one", []), (b"two", [b"seg"])]
    assert "b'GET'" in str(found[2])


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ((MAGIC, MAJOR, MINOR, 0, 0, 0), "no body"),
        ((MAGIC, MAJOR, MINOR, (1 << 16) + 1, 0, 0), "a body of 65537 bytes, the limit is 65536"),
        ((MAGIC, MAJOR, MINOR, 1, 9, 100), "9 segments, the limit is 8"),
        ((MAGIC, MAJOR, MINOR, 1, 1, 1 << 40), "the limit is 1048576"),
        ((MAGIC, MAJOR, MINOR, 1, 0, 5), "but no segment"),
        ((b"XMI", MAJOR, MINOR, 1, 0, 0), r"no frame of QMI: it begins with b'XMI'\Z"),
        ((b"\x16\x03\x01", MAJOR, MINOR, 1, 0, 0), "as TLS does: both sides need a security section, or neither"),
        ((b"\x15\x03\x03", MAJOR, MINOR, 1, 0, 0), "as TLS does"),
    ],
)
def test_fault_09_a_header_alone_is_enough_to_refuse_a_frame(
    head: tuple[bytes, int, int, int, int, int], text: str
) -> None:
    with pytest.raises(ProtocolError, match=text):
        list(reader().feed(HEADER.pack(*head)))


def test_fault_09_oversize_frames_take_no_memory() -> None:
    limits = Limits()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        with pytest.raises(ProtocolError):
            list(reader(limits=limits).feed(HEADER.pack(MAGIC, MAJOR, MINOR, 1, 1, limits.frame + 1)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024


def test_an_announced_segment_takes_no_memory_before_its_bytes_come() -> None:
    size = 512 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = reader(limits=Limits())
    start = HEADER.pack(MAGIC, MAJOR, MINOR, 1, 1, size) + size.to_bytes(8) + b"x" + b"y" * 100
    assert list(made.feed(start)) == []
    assert len(made.get_buffer()) == size - 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


def test_frames_before_the_handshake_are_small() -> None:
    closed = reader(opened=False)
    assert len(list(closed.feed(pack(b"x" * 4096)[0]))) == 1
    with pytest.raises(ProtocolError, match="limit is 4096"):
        list(closed.feed(pack(b"x" * 4097)[0]))
    with pytest.raises(ProtocolError, match="1 segments, the limit is 0"):
        list(reader(opened=False).feed(pack(b"x", [memoryview(b"y")])[0]))


@pytest.mark.parametrize(("sizes", "total", "text"), [((3, 4), 8, "its table says 7"), ((0, 8), 8, "an empty segment")])
def test_the_table_of_segments_is_checked(sizes: tuple[int, int], total: int, text: str) -> None:
    table = b"".join(size.to_bytes(8) for size in sizes)
    with pytest.raises(ProtocolError, match=text):
        list(reader().feed(HEADER.pack(MAGIC, MAJOR, MINOR, 1, 2, total) + table))


def test_fault_34_another_major_version_is_named_before_anything_is_decoded() -> None:
    data = bytearray(pack(b"from the future")[0])
    data[3:5] = 9, 4
    for chunks in ([bytes(data)], [data[n : n + 1] for n in range(len(data))], [bytes(data[:5])]):
        made = reader(opened=False)
        with pytest.raises(VersionError, match=rf"version 9\.4 of the protocol, this side {MAJOR}\.{MINOR}"):
            list(chain.from_iterable(map(made.feed, chunks)))


def test_fault_34_a_newer_minor_version_passes_and_is_known() -> None:
    data = bytearray(pack(b"body")[0])
    data[4] = MINOR + 1
    made = reader()
    assert [frame.body for frame in made.feed(bytes(data))] == [b"body"]
    assert made.minor == MINOR + 1


@pytest.mark.parametrize("step", [1000, 70_000, 10_000_000])
def test_a_large_segment_is_received_into_its_final_memory(step: int) -> None:
    array: Any = np.arange(200_000.0)
    made = reader(limits=Limits())
    data = b"".join(bytes(part) for part in pack(b"head", [memoryview(array).cast("B"), memoryview(b"z" * 20_000)]))
    data += pack(b"next")[0]
    found, direct = [], 0
    while data:
        view = made.get_buffer()
        size = min(len(view), len(data), step)
        view[:size] = data[:size]
        direct += size if len(view) != 65536 else 0
        found += list(made.buffer_updated(size))
        data = data[size:]
    assert [bytes(frame.body) for frame in found] == [b"head", b"next"]
    assert np.array_equal(np.frombuffer(found[0].segments[0]), array)
    assert bytes(found[0].segments[1]) == b"z" * 20_000
    assert direct >= array.nbytes - 70_000
    assert made.between_frames


def test_the_end_of_the_stream_inside_a_frame_is_seen() -> None:
    data = pack(b"body", [memoryview(b"segment")])
    whole = b"".join(bytes(part) for part in data)
    for cut in range(1, len(whole)):
        made = reader()
        assert list(made.feed(whole[:cut])) == []
        assert not made.between_frames


def test_packing_does_not_copy_segments() -> None:
    array: Any = np.zeros(SEGMENT_THRESHOLD, "u1")
    buffers = pack(b"x", [memoryview(array)])
    array[5] = 77
    assert len(buffers) == 2
    assert buffers[1][5] == 77
    assert total_size(buffers) == HEADER.size + 8 + 1 + SEGMENT_THRESHOLD


@examples(50)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=6), st.lists(st.integers(0, 30), max_size=20))
def test_partial_writes_lose_nothing(parts: list[bytes], writes: list[int]) -> None:
    buffers: list[Buffer] = list(parts)
    written = b""
    for size in [*writes, 1000]:
        chunk = b"".join(bytes(part) for part in buffers)[:size]
        written += chunk
        drop_sent(buffers, len(chunk))
    assert written == b"".join(parts)
    assert buffers == []


def test_memory_comes_from_numpy_only_where_the_program_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(allocate(100), np.ndarray)
    monkeypatch.delitem(sys.modules, "numpy")
    assert type(allocate(100)) is bytearray
    large = allocate(1 << 20)
    assert memoryview(large).nbytes == 1 << 20
    assert not memoryview(large).readonly
