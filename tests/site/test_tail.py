"""A file that grows elsewhere: what comes of it live, and when it is to be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site.tail import HELD_BYTES, LOOK, OVERHEAD, Tail, write_chunk

FILE = bytes(range(256)) * 2


def tail(begin: int, *chunks: tuple[int, int]) -> Tail:
    made = Tail("run")
    made.begin(begin)
    for first, last in chunks:
        made.put(write_chunk(first, FILE[first:last]))
    return made


@pytest.mark.parametrize(
    ("begin", "chunks", "offset", "expected"),
    [
        (0, [], 0, b""),  # nothing yet
        (10, [], 0, None),  # what was before it began
        (10, [], 10, b""),
        (10, [], 12, b""),  # whoever has asked has read further
        (0, [(0, 4)], 0, FILE[:4]),
        (0, [(0, 4)], 2, FILE[2:4]),  # some of it was read
        (0, [(0, 4)], 4, b""),
        (0, [(0, 4), (4, 6)], 4, FILE[4:6]),
        (0, [(0, 4), (0, 4)], 4, b""),  # twice
        (0, [(4, 6)], 0, None),  # a hole
        (0, [(4, 6)], 4, FILE[4:6]),
        (0, [(4, 6), (0, 4)], 0, FILE[:4]),
        (0, [(6, 6)], 4, None),  # a sign of life says that more is there
        (0, [(4, 4)], 4, b""),
    ],
)
def test_tail_gives_what_follows_or_says_that_it_is_to_be_asked_for(
    begin: int, chunks: list[tuple[int, int]], offset: int, expected: bytes | None
) -> None:
    assert tail(begin, *chunks).take(offset) == expected


@pytest.mark.parametrize(
    "message", [b"", b"{}", b'{"type":"an answer of the server"}', b"\x02" + bytes(8), b"\x01" + b"\xfe" * 8]
)
def test_tail_ignores_what_is_no_chunk(message: bytes) -> None:
    made = tail(0)
    made.put(message)
    assert (made.take(0), made.is_disturbed) == (b"", False)


def test_tail_that_is_disturbed_gives_what_it_has_and_is_asked_then() -> None:
    made = tail(0, (0, 4))
    made.put(LOOK)
    assert [made.take(0), made.take(4), made.is_disturbed] == [FILE[:4], None, True]


def test_tail_holds_so_much_and_no_more() -> None:
    made, chunk = tail(0), bytes(1 << 18)
    for offset in range(0, HELD_BYTES + 1, len(chunk)):
        made.put(write_chunk(offset, chunk))
    assert made.take(0) is None
    assert made.take(HELD_BYTES + len(chunk)) == b""


@pytest.mark.parametrize(
    ("message", "offset", "is_woken"),
    [
        (write_chunk(0, b"x"), 0, True),
        (write_chunk(9, b""), 0, True),
        (LOOK, 0, True),
        (write_chunk(0, b""), 0, True),  # whoever follows is told that there is nothing
        (b"nothing", 0, False),
    ],
)
def test_tail_wakes_whoever_waits_once(message: bytes, offset: int, is_woken: bool) -> None:
    made, woken = tail(0), [0]
    made.call_at_next(offset, lambda: woken.append(1))
    for _ in range(2):
        made.put(message)
    assert sum(woken) == is_woken


def test_tail_wakes_at_once_where_something_has_come_since_the_last_look() -> None:
    woken: list[int] = []
    for number, message in enumerate([write_chunk(0, b"x"), write_chunk(9, b""), LOOK]):
        made = tail(0)
        assert made.take(0) == b""
        made.put(message)
        made.call_at_next(0, lambda number=number: woken.append(number))  # type: ignore[misc]
    assert woken == [0, 1, 2]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    begin=st.integers(0, 60),
    fates=st.lists(st.sampled_from(["comes", "is lost", "comes twice", "is held up"]), min_size=12, max_size=12),
    looks=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_tail_and_questions_give_the_whole_file(
    sizes: list[int], begin: int, fates: list[str], looks: list[bool]
) -> None:
    made = Tail()
    begin = min(begin, sizes[0])
    made.begin(begin)
    end, read, held = begin, b"", b""

    def follow() -> None:
        nonlocal read
        while (data := made.take(len(read))) != b"":
            read += FILE[len(read) : end] if data is None else data

    for size, fate, look in zip(sizes, fates, looks, strict=False):
        message = write_chunk(end, FILE[end : end + size])
        end += size
        for sent in {"comes": [message], "is lost": [], "comes twice": [message] * 2, "is held up": []}[fate]:
            made.put(sent)
        if held:
            made.put(held)
        held = message if fate == "is held up" else b""
        if look:
            follow()
            assert FILE.startswith(read)
    made.put(write_chunk(end, b""))
    follow()
    assert read == FILE[:end]


def test_chunk_costs_few_bytes() -> None:
    assert len(write_chunk(5, b"abc")) == OVERHEAD + 3
