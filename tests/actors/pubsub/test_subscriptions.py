from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.pubsub.subscriptions import Subscriptions, Topic
from tests.support.examples import examples

A = Topic("lab", "nsg", "sig_a")
B = Topic("lab", "nsg", "sig_b")
C = Topic("far", "nsg", "sig_a")


def test_subscribers_are_told_in_the_order_in_which_they_came() -> None:
    table: Subscriptions[str] = Subscriptions()
    assert table.add(A, "one")
    assert table.add(A, "two")
    assert not table.add(A, "one")
    assert tuple(table.of(A)) == ("one", "two")
    assert tuple(table.of(B)) == ()


def test_the_last_one_to_leave_is_known() -> None:
    table: Subscriptions[str] = Subscriptions()
    table.add(A, "one")
    table.add(A, "two")
    assert table.remove(A, "one") is False
    assert table.remove(A, "one") is None
    assert table.remove(A, "two") is True
    assert table.remove(A, "two") is None
    assert table.topics() == []


def test_subscribers_that_are_gone_are_dropped_everywhere() -> None:
    table: Subscriptions[str] = Subscriptions()
    for topic in (A, B, C):
        table.add(topic, "gone")
        table.add(topic, "stays")
    table.add(C, "gone too")
    table.drop_subscribers(lambda name: name.startswith("gone"))
    assert [tuple(table.of(topic)) for topic in (A, B, C)] == [("stays",)] * 3


def test_topics_are_found_by_context_and_object_and_dropped_one_by_one() -> None:
    table: Subscriptions[str] = Subscriptions()
    other = Topic("lab", "psu", "sig_a")
    for topic in (A, B, C, other):
        table.add(topic, topic.signal)
    assert table.topics_of("lab") == [A, B, other]
    assert table.topics_of("lab", "nsg") == [A, B]
    assert table.drop_topic(A) == ("sig_a",)
    assert table.drop_topic(A) == ()
    assert table.topics() == [B, C, other]


def test_each_change_is_told_with_its_topic() -> None:
    changed: list[Topic] = []
    table: Subscriptions[str] = Subscriptions(changed.append)
    table.add(A, "one")
    table.add(A, "one")
    table.add(B, "two")
    table.remove(B, "one")
    table.remove(A, "one")
    table.drop_subscribers(lambda name: name == "two")
    table.drop_topic(C)
    assert changed == [A, B, A, B]


@examples(100)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([A, B, C]), st.integers(0, 3))))
def test_any_sequence_agrees_with_plain_sets(steps: list[tuple[bool, Topic, int]]) -> None:
    table: Subscriptions[int] = Subscriptions()
    model: dict[Topic, list[int]] = {A: [], B: [], C: []}
    for adds, topic, who in steps:
        there = who in model[topic]
        if adds:
            assert table.add(topic, who) is not there
            model[topic] += [] if there else [who]
        elif there:
            model[topic].remove(who)
            assert table.remove(topic, who) is (not model[topic])
        else:
            assert table.remove(topic, who) is None
        assert {topic: list(table.of(topic)) for topic in model} == model
