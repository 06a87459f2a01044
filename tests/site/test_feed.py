from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.site import feed as feed_module
from qmi.site.envelope import Envelope, Form, join_incarnations
from qmi.site.feed import AskWho, Ended, Feed, Missing, Read, Step, Tell, TellLarge, in_order

OWN, A, B, C = "00" * 8, "aa" * 8, "bb" * 8, "cc" * 8


def sig(number: int, incarnation: str = A, form: Form = Form.PLAIN, body: bytes = b"") -> Envelope:
    return Envelope(form, incarnation, number, 0.0, number + 100, body)


def large(number: int, to: str = OWN) -> Envelope:
    return sig(number, form=Form.LARGE, body=join_incarnations([B, to]))


def begun(due: int = 0) -> Feed[str]:
    feed: Feed[str] = Feed(OWN)
    assert feed.begin(A, due, 50) == []
    return feed


def short(steps: list[Step[str]]) -> list[object]:
    """Steps as a test writes them: numbers for signals."""
    return [step.envelope.number if isinstance(step, Tell) else step for step in steps]


def test_signals_are_told_from_where_the_publisher_says() -> None:
    feed: Feed[str] = Feed(OWN)
    assert feed.live(sig(3)) == feed.live(sig(4)) == feed.live(sig(5)) == []
    assert short(feed.begin(A, 4, 7)) == [4, 5]
    assert short(feed.live(sig(6))) == [6]


def test_signal_that_comes_twice_is_told_once() -> None:
    feed = begun()
    assert [short(feed.live(sig(number))) for number in (0, 1, 0, 1, 2)] == [[0], [1], [], [], [2]]


def test_missing_signals_are_read_from_the_stream_before_what_came_meanwhile() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.live(sig(3)) == [Read(101)]
    assert feed.live(sig(4)) == []
    assert feed.needs == 3
    assert short(feed.read([sig(0), sig(2), sig(1), sig(3)])) == [1, 2, 3, 4]
    assert short(feed.live(sig(5))) == [5]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], [Missing("dropped", 2), 3, 4]),
        ([1], [1, Missing("dropped", 1), 3, 4]),
        ([2, 3], [Missing("dropped", 1), 2, 3, 4]),
        ([0, 1, 3], [1, Missing("dropped", 1), 3, 4]),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
    ],
)
def test_what_the_stream_does_not_have_is_told_as_dropped(found: list[int], told: list[object]) -> None:
    feed = begun()
    feed.live(sig(0))
    feed.live(sig(3))
    feed.live(sig(4))
    assert short(feed.read([sig(number) for number in found])) == told


def test_gap_among_what_was_held_back_is_read_as_well() -> None:
    feed = begun()
    feed.live(sig(2))
    feed.live(sig(5))
    assert short(feed.read([sig(0), sig(1), sig(2)])) == [0, 1, 2, Read(103)]
    assert short(feed.read([sig(3), sig(4)])) == [3, 4, 5]


def test_servers_that_were_away_are_asked_for_what_was_missed() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.look_back(A, 1) == []  # nothing
    assert feed.look_back(A, 3) == [Read(101)]
    assert feed.needs == 2
    assert feed.live(sig(3)) == []
    assert short(feed.read([sig(1), sig(2)])) == [1, 2, 3]
    assert feed.look_back() == [Read(104)]  # the publisher is not back yet
    assert feed.needs == -1
    assert short(feed.read([])) == []
    assert short(feed.live(sig(4))) == [4]


def test_publisher_that_was_started_again_is_told_with_what_was_missed() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.live(sig(0, B)) == [AskWho(A)]
    assert feed.live(sig(1, B)) == []
    assert short(feed.answered(is_there=False)) == [Missing("restarted"), 0, 1]
    assert short(feed.live(sig(2, B))) == [2]
    assert feed.live(sig(1, A)) == []  # it comes late


def test_publisher_that_was_started_again_is_read_from_its_begin() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.live(sig(2, B)) == [AskWho(A)]
    assert feed.answered(is_there=False) == [Read(101)]
    assert short(feed.read([sig(1), sig(0, B), sig(2, B)])) == [1, Missing("restarted"), 0, Missing("dropped", 1), 2]


def test_another_context_of_the_same_name_is_not_heard() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.live(sig(0, B)) == [AskWho(A)]
    assert feed.live(sig(1)) == []
    assert short(feed.answered(is_there=True)) == [1]
    assert feed.live(sig(1, B)) == []
    assert feed.live(sig(3)) == [Read(102)]
    assert short(feed.read([sig(0, B), sig(2), sig(1, B), sig(3), sig(0, C)])) == [2, 3]


def test_publisher_known_to_be_started_again_is_told_at_once() -> None:
    feed = begun()
    feed.live(sig(0))
    assert feed.restarted(A) == []
    assert feed.restarted(B) == [Missing("restarted")]
    assert feed.restarted(B) == []
    assert short(feed.live(sig(0, B))) == [0]


def test_restart_that_is_known_while_somebody_asks_is_told_once() -> None:
    feed = begun()
    feed.live(sig(0, B))
    assert short(feed.restarted(B)) == [Missing("restarted"), 0]
    assert feed.answered(is_there=False) == []


def test_large_signal_comes_by_the_link_in_its_turn() -> None:
    feed = begun()
    feed.has_link = True
    assert feed.live(large(0)) == feed.live(sig(1)) == []
    assert feed.large(0, "picture")[0] == TellLarge("picture")
    assert short(feed.live(sig(2))) == [2]
    assert feed.large(3, "next") == []  # before its marker
    assert feed.live(large(3)) == [TellLarge("next")]
    assert short(feed.live(sig(4))) == [4]


def test_large_signal_comes_by_the_link_although_the_servers_were_away() -> None:
    feed = begun()
    feed.has_link = True
    feed.live(large(0))
    feed.live(sig(1))
    assert feed.look_back(A, 3) == [Read(101)]
    assert feed.read([large(0), sig(1), sig(2)]) == []
    assert short(feed.large(0, "picture")) == [TellLarge("picture"), 1]
    assert short(feed.live(sig(3))) == [Read(102)]
    assert short(feed.read([sig(1), sig(2), sig(3)])) == [2, 3]


def test_large_signal_that_its_link_lost_is_dropped() -> None:
    feed = begun()
    feed.has_link = True
    feed.live(large(0))
    feed.live(sig(1))
    assert short(feed.link_lost()) == [Missing("dropped", 1), 1]
    assert feed.link_lost() == []


@pytest.mark.parametrize(("has_link", "to"), [(False, OWN), (True, C)])
def test_large_signal_that_was_not_sent_here_is_dropped(has_link: bool, to: str) -> None:
    feed = begun()
    feed.has_link = has_link
    assert feed.live(large(0, to)) == [Missing("dropped", 1)]
    assert short(feed.live(sig(1))) == [1]


def test_large_signal_in_the_stream_is_dropped() -> None:
    feed = begun()
    feed.has_link = True
    feed.live(sig(2))
    assert short(feed.read([large(0), sig(1), sig(2)])) == [Missing("dropped", 1), 1, 2]


def test_object_that_was_removed_ends_its_feed() -> None:
    feed = begun()
    assert short(feed.live(sig(0, form=Form.END))) == [Ended()]
    feed = begun()
    feed.live(sig(1))
    assert short(feed.read([sig(0), sig(1, form=Form.END)])) == [0, Ended()]


def test_what_finds_no_room_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "HELD", 2)
    feed = begun()
    for number in (1, 2, 3, 4):
        feed.live(sig(number))
    assert short(feed.read([sig(0), sig(1)])) == [0, 1, 2, Read(103)]
    assert short(feed.read([sig(3), sig(4)])) == [3, 4]


def test_stream_is_put_in_order() -> None:
    found = [sig(1), sig(2), sig(0, B), sig(1), sig(0), sig(1, B)]
    assert [(one.incarnation, one.number) for one in in_order(found)] == [(A, 0), (A, 1), (A, 2), (B, 0), (B, 1)]


@given(st.data())
def test_everything_is_told_in_order_or_counted_as_dropped(data: st.DataObject) -> None:
    """Any signals may fail to come live, or to be kept; readings may be late."""
    count = data.draw(st.integers(1, 25))
    comes = [*data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), True]
    kept = [*data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), True]
    feed = begun()
    done: list[Step[str]] = []
    is_reading = False
    for number in range(count + 1):
        steps = feed.live(sig(number)) if comes[number] else []
        if data.draw(st.booleans(), "the servers were away"):
            steps += feed.look_back()
        while True:
            done += steps
            is_reading = is_reading or any(isinstance(step, Read) for step in steps)
            if not is_reading or not (data.draw(st.booleans(), "the stream was read") or number == count):
                break
            is_reading = False
            steps = feed.read([sig(one) for one in range(number + 1) if kept[one]])
    told = [step.envelope.number for step in done if isinstance(step, Tell)]
    assert all(one < other for one, other in pairwise(told))
    assert {number for number in range(count + 1) if kept[number]} <= set(told)
    missing = sum(step.number for step in done if isinstance(step, Missing))
    assert missing == count + 1 - len(told)
    assert not feed.is_waiting
