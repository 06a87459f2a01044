from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qmi.actors.pubsub.broker import Broker
from qmi.actors.pubsub.history import History, Joiner, Past, wanted_history
from qmi.actors.pubsub.receiver import Delivered, QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_SignalSubscriptionException, QMI_UsageException
from qmi.messages import Signal

FAR = Topic("far", "nsg", "sig")


class Nobody:
    """There are no peers."""

    def begin(self, peers: int) -> None:
        pass

    def finish(self, publication: None) -> None:
        pass


def told(number: int) -> Delivered:
    return (*FAR, (), number, 0.0)


def numbers(receiver: QMI_SignalReceiver) -> list[object]:
    found = [receiver.get_next_signal() for _ in range(receiver.get_queue_length())]
    return [(one.gap, one.missing) if one.is_gap else one.seqnr for one in found]


def arrive(broker: Broker[None], *which: int) -> None:
    broker.arrived([Signal("nsg", "sig", (), number, 0.0) for number in which], "far")


@pytest.mark.parametrize(
    ("last", "since", "history"),
    [
        (False, None, None),
        (True, None, History()),
        (False, 10, History(seconds=10.0)),
        (True, 0.5, History(seconds=0.5)),
        (False, timedelta(minutes=1), History(seconds=60.0)),
        (False, datetime(2026, 1, 1, tzinfo=UTC), History(begin=1767225600.0)),
    ],
)
def test_history_is_wanted_as_it_is_written(last: bool, since: object, history: History | None) -> None:
    assert wanted_history(last, since) == history


@pytest.mark.parametrize(
    ("last", "since", "text"),
    [
        (1, None, "last must be True or False, got 1"),
        (False, -1, ">= 0 seconds, got -1"),
        (False, float("nan"), ">= 0 seconds, got nan"),
        (False, timedelta(seconds=-1), "got datetime.timedelta"),
        (False, "1 h", "got '1 h'"),
        (False, datetime(2026, 1, 1), "with a timezone"),
    ],
)
def test_history_refuses_what_is_none(last: object, since: object, text: str) -> None:
    with pytest.raises(QMI_UsageException, match=text):
        wanted_history(last, since)


@pytest.mark.parametrize(
    ("past", "during", "due", "expected"),
    [
        ([], [], 0, []),
        ([1, 2], [], 3, [1, 2]),
        ([1, 2], [3, 4], 5, [1, 2, 3, 4]),
        ([1, 2, 3, 4], [3, 4], 5, [1, 2, 3, 4]),
        ([1, 2, 3, 4], [], 3, [1, 2]),  # what comes is read already
        ([], [3, 4], 5, [3, 4]),
    ],
)
def test_past_and_what_comes_meanwhile_fit_together(
    past: list[int], during: list[int], due: int, expected: list[int]
) -> None:
    broker, receiver = Broker("lab", Nobody()), QMI_SignalReceiver(report_gaps=True)
    joiner = Joiner(receiver)
    broker.subscribe(FAR, joiner)
    arrive(broker, *during)
    assert receiver.get_queue_length() == 0
    broker.join(FAR, joiner, [Past(told(number)) for number in past], due)
    arrive(broker, due)
    assert numbers(receiver) == [*expected, due]


def test_gaps_keep_their_places() -> None:
    broker, receiver = Broker("lab", Nobody()), QMI_SignalReceiver(report_gaps=True)
    joiner = Joiner(receiver)
    broker.subscribe(FAR, joiner)
    arrive(broker, 8)
    broker.report(FAR, "lost")
    arrive(broker, 10)
    broker.join(FAR, joiner, [Past(told(9), False), Past(told(6), True, "restarted"), Past(told(7))], 11)
    assert numbers(receiver) == [9, ("restarted", 0), 6, 7, 8, ("lost", 0), ("dropped", 1), 10]


def test_receiver_that_unsubscribes_meanwhile_gets_nothing() -> None:
    broker, receiver = Broker("lab", Nobody()), QMI_SignalReceiver()
    joiner = Joiner(receiver)
    broker.subscribe(FAR, joiner)
    assert broker.has(FAR, receiver)
    assert broker.unsubscribe(FAR, receiver) is True
    broker.join(FAR, joiner, [Past(told(0))], 1)
    assert numbers(receiver) == []
    assert not broker.has(FAR)


def test_receiver_whose_topic_ends_meanwhile_has_what_came() -> None:
    broker, receiver = Broker("lab", Nobody()), QMI_SignalReceiver(report_gaps=True)
    broker.subscribe(FAR, Joiner(receiver))
    arrive(broker, 4)
    broker.drop_topic(FAR, "it was removed")
    assert numbers(receiver) == [4, ("ended", 0)]
    with pytest.raises(QMI_SignalSubscriptionException, match="it was removed"):
        receiver.get_next_signal(None)
