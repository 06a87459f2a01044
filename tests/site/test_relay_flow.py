"""The bytes of a relayed link: every byte once and in order, or the stream is broken; no more under way than agreed."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site.relay_flow import (
    CHUNK,
    WINDOW,
    Ended,
    Flow,
    Opening,
    RelayError,
    read_answer,
    read_opening,
    write_answer,
    write_opening,
)

OPENING = Opening("lab", "0123456789abcdef", "00" * 16)


def test_bytes_come_as_they_were_sent() -> None:
    here, there = Flow(), Flow()
    assert [there.came(here.data(part)) for part in (b"one", b"", b"two")] == [b"one", b"", b"two"]
    assert there.came(here.end()) == Ended("")
    assert here.came(there.data(b"back")) == b"back"
    assert here.came(there.end("no more")) == Ended("no more")


def test_sender_waits_until_what_it_has_sent_is_handed_over() -> None:
    here, there = Flow(), Flow()
    sent = 0
    while (room := here.room) > 0:
        assert room == min(CHUNK, WINDOW - sent)
        sent += room
        assert there.came(here.data(bytes(room))) == bytes(room)
    assert sent == WINDOW
    assert there.hand_over(WINDOW // 4 - 1) == b""
    grant = there.hand_over(1)
    assert here.came(grant) is None
    assert here.room == CHUNK


def test_more_than_there_is_room_for_breaks_the_stream() -> None:
    here, there = Flow(), Flow()
    for _ in range(WINDOW // CHUNK):
        there.came(here.data(bytes(CHUNK)))
    with pytest.raises(RelayError, match="more than it may"):
        there.came(here.data(b"1"))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_message_that_is_lost_breaks_the_stream(lost: int) -> None:
    here, there = Flow(), Flow()
    messages = [here.data(b"one"), here.data(b"two"), here.data(b"three"), here.end()]
    del messages[lost]
    for message in messages[:lost]:
        there.came(message)
    with pytest.raises(RelayError, match="lost something"):
        there.came(messages[lost])


def test_message_that_comes_twice_breaks_the_stream() -> None:
    here, there = Flow(), Flow()
    message = here.data(b"one")
    there.came(message)
    with pytest.raises(RelayError):
        there.came(message)


def test_room_that_was_told_twice_or_lost_does_no_harm() -> None:
    here, there = Flow(), Flow()
    for _ in range(3):
        there.came(here.data(bytes(CHUNK)))
    there.came(here.data(bytes(WINDOW // 4)))
    there.hand_over(WINDOW // 4)  # lost
    grant = there.hand_over(0) or there.hand_over(3 * CHUNK)
    assert grant == b""  # it has time, since so much is free
    assert here.room == CHUNK


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x00\x00\x00", b"\x09" + bytes(8), b"\x01" + b"\xff" * 8])
def test_what_makes_no_sense_breaks_the_stream(message: bytes) -> None:
    with pytest.raises(RelayError):
        Flow().came(message)


def test_reason_is_cut_and_need_not_be_text() -> None:
    flow = Flow()
    assert flow.came(flow.end("x" * 10_000)) == Ended("x" * 500)
    assert flow.came(b"\x02" + bytes(8) + b"\xff") == Ended("�")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, CHUNK), st.integers(0, 2 * CHUNK)), max_size=60))
def test_window_is_never_exceeded_and_opens_again(steps: list[tuple[bool, int, int]]) -> None:
    ends = Flow(), Flow()
    waiting = [0, 0]
    for first, wanted, taken in steps:
        here, there = ends if first else ends[::-1]
        size = min(wanted, here.room)
        there.came(here.data(bytes(size)))
        waiting[first] += size
        assert waiting[first] <= WINDOW
        took = min(taken, waiting[first])
        waiting[first] -= took
        if grant := there.hand_over(took):
            here.came(grant)
    for first in (False, True):
        here, there = ends if first else ends[::-1]
        if grant := there.hand_over(waiting[first]):
            here.came(grant)
        assert here.room == CHUNK


def test_opening_and_answer_are_read_as_written() -> None:
    assert read_opening(write_opening(OPENING)) == OPENING
    assert read_answer(write_answer()) == ""
    assert read_answer(write_answer("it is stopping")) == "it is stopping"


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {"context": "lab"},
        [2, *OPENING],
        [1, *OPENING, 1],
        [1, "la b", *OPENING[1:]],
        [1, 7, *OPENING[1:]],
        [1, "lab", "0123", OPENING.connection],
        [1, "lab", OPENING.incarnation.upper(), OPENING.connection],
        [1, "lab", OPENING.incarnation, "*" * 32],
        [1, "lab", OPENING.incarnation, ">"],
    ],
)
def test_opening_that_makes_no_sense_is_none(plain: object) -> None:
    assert read_opening(cbor2.dumps(plain)) is None


@pytest.mark.parametrize("payload", [b"", b"\xff", cbor2.dumps([1]), cbor2.dumps([2, ""]), cbor2.dumps([1, 5])])
def test_answer_that_makes_no_sense_is_none(payload: bytes) -> None:
    assert read_answer(payload) is None
    assert read_opening(payload) is None
