"""Logs at a site: what is published, what is made of it, and what is missing; rules without a server."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.runtime.log_ring import LogEntry, LogPart
from qmi.site import followed_log
from qmi.site.followed_log import FollowedLog
from qmi.site.log_batch import LogPiece, read_piece, write_piece


def entry(number: int, level: int = 20, text: str = "") -> LogEntry:
    return LogEntry(number, 1.5, level, "lab.psu", "lab", text or f"record {number}", "")


def piece(after: int, last: int, *, lost: int = 0, run: str = "one") -> LogPiece:
    return LogPiece(run, after, last, lost, 100.0, tuple(entry(number) for number in range(after + lost + 1, last + 1)))


def numbers(log: FollowedLog, run: str = "one", after: int | None = 0, level: int = 0, limit: int = 99) -> list[int]:
    return [found.number for found in log.part(run, after, level, limit).part.entries]


def test_piece_travels() -> None:
    data, written = write_piece(piece(3, 9, lost=2), 1000)
    assert read_piece(data) == written == piece(3, 9, lost=2)


def test_piece_without_records_travels() -> None:
    empty = LogPiece("one", 3, 9, 6, 1.0, ())
    assert read_piece(write_piece(empty, 1000)[0]) == empty


@pytest.mark.parametrize(("room", "last"), [(100_000, 8), (300, 4), (10, 1)])
def test_piece_is_as_large_as_there_is_room(room: int, last: int) -> None:
    data, written = write_piece(piece(0, 8), room)
    assert (written.last, len(written.entries)) == (last, last)
    assert len(data) <= room or last == 1


@pytest.mark.parametrize(
    "change",
    [
        {"run": ""}, {"run": 3}, {"run": None}, {"now": 3}, {"now": float("nan")}, {"after": -1}, {"after": 5},
        {"last": 3}, {"last": 1 << 60}, {"lost": 9}, {"lost": True}, {"entries": None}, {"entries": [[1, 2]]},
        {"entries": [list(entry(5)), list(entry(5))]}, {"entries": [[5, 1.0, 20, "a", "b", "c", 7]]},
        {"entries": [[5, 1.0, "INFO", "a", "b", "c", ""]]},
    ],
)  # fmt: skip
def test_piece_that_makes_no_sense_is_none(change: dict[str, Any]) -> None:
    plain = {**piece(3, 5)._asdict(), "entries": [list(one) for one in piece(3, 5).entries]}
    assert read_piece(cbor2.dumps(plain)) is not None
    assert read_piece(cbor2.dumps({**plain, "more": "of a newer version"})) is not None
    assert read_piece(cbor2.dumps({**plain, **change})) is None


@pytest.mark.parametrize("data", [b"", b'{"error": 3}', cbor2.dumps(3), cbor2.dumps(["run"]), bytes(range(256))])
def test_other_bytes_are_no_piece(data: bytes) -> None:
    assert read_piece(data) is None


def test_log_is_put_together_and_read_on() -> None:
    log = FollowedLog()
    assert (log.is_known, numbers(log)) == (False, [])
    assert log.take(piece(0, 3))
    assert log.take(piece(3, 4))
    assert log.take(piece(2, 4))  # sent again
    assert (log.is_known, numbers(log), numbers(log, after=2)) == (True, [1, 2, 3, 4], [3, 4])
    assert (numbers(log, after=None, limit=2), numbers(log, limit=2)) == ([3, 4], [1, 2])
    assert log.part("one", 0, 0, 2).is_more


def test_part_of_the_log_that_is_missing_is_waited_for_and_told_at_last() -> None:
    log = FollowedLog()
    log.take(piece(0, 2))
    assert not log.take(piece(5, 6))
    assert numbers(log) == [1, 2]
    assert log.take(piece(5, 6), is_last_chance=True)
    found = log.part("one", 0, 0, 99).part
    assert ([one.number for one in found.entries], found.lost, found.last) == ([1, 2, 6], 3, 6)
    assert log.part("one", 5, 0, 99).part.lost == 0


@pytest.mark.parametrize(("after", "lost"), [(0, 2), (1, 1), (2, 0), (9, 0)])
def test_what_the_publisher_has_lost_is_told_once(after: int, lost: int) -> None:
    log = FollowedLog()
    log.take(piece(0, 5, lost=2))
    assert log.part("one", after, 0, 99).part.lost == lost


def test_log_of_the_next_program_follows_that_of_the_one_before() -> None:
    log = FollowedLog()
    log.take(piece(0, 2))
    log.take(piece(0, 3, run="two"))
    assert numbers(log, run="one", after=1) == [2]
    assert log.part("one", 1, 0, 99).is_more
    found = log.part("one", 2, 0, 99)
    assert (found.run, [one.number for one in found.part.entries]) == ("two", [1, 2, 3])
    assert log.part("", None, 0, 99).run == "two"  # the newest ones
    assert log.part("", 0, 0, 99).run == "one"  # all that is known
    assert log.part("elsewhere", 7, 0, 99)[:2] == log.part("two", 0, 0, 99)[:2]


def test_beginning_of_the_log_of_a_program_may_be_missing_too() -> None:
    log = FollowedLog()
    assert not log.take(piece(3, 4))
    log.take(piece(3, 4), is_last_chance=True)
    assert log.part("", 0, 0, 99).part.lost == 3


def test_so_much_of_a_log_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_log, "MOST_RECORDS", 4)
    log = FollowedLog()
    log.take(piece(0, 3))
    log.take(piece(4, 5), is_last_chance=True)
    log.take(piece(5, 7))
    found = log.part("one", 0, 0, 99).part
    assert ([one.number for one in found.entries], found.lost) == ([3, 5, 6, 7], 3)
    log.take(piece(0, 4, run="two"))
    assert numbers(log, run="two") == [1, 2, 3, 4]
    assert log.part("", 0, 0, 99)[:2] == ("one", LogPart([], 7, 7))


@pytest.mark.parametrize(("level", "woken"), [(0, 3), (30, 1), (40, 0)])
def test_whoever_waits_is_woken_by_records_of_a_level_and_by_what_keeps_them_away(level: int, woken: int) -> None:
    log, calls = FollowedLog(), list[int]()
    end = log.listen(level, lambda: calls.append(1))
    log.take(LogPiece("one", 0, 3, 0, 1.0, (entry(1, 10), entry(2, 30), entry(3, 20))))
    assert len(calls) == woken
    log.fail("gone")
    log.fail("gone")
    assert (len(calls), log.fault) == (woken + 1, "gone")
    end()
    log.fail("")
    assert len(calls) == woken + 1


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=10),
    fates=st.lists(st.booleans(), min_size=10, max_size=10),
    limit=st.integers(1, 9),
)
def test_records_and_what_is_missing_add_up(sizes: list[tuple[int, int]], fates: list[bool], limit: int) -> None:
    log, after, newest = FollowedLog(), 0, 0
    for (lost, count), comes in zip(sizes, fates, strict=False):
        if lost + count == 0:
            continue
        if comes:
            log.take(piece(after, after + lost + count, lost=lost), is_last_chance=True)
            newest = after + lost + count
        after += lost + count
    read, told, at = list[int](), 0, 0
    while at < newest:
        found = log.part("one", at, 0, limit).part
        read += [one.number for one in found.entries]
        told, at = told + found.lost, found.last
    assert read == sorted(set(read))
    assert len(read) + told == newest
