from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

import pytest

from qmi.actors.pubsub.broker import Broker, PeerSubscriber
from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.exceptions import (
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_ValueNotSendableException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.messages import NO_MORE_SIGNALS, Origin, Signal
from tests.support.tasks import in_thread

TOPIC = Topic("lab", "nsg", "sig")
FAR = Topic("far", "nsg", "sig")


class Peer:
    """A peer that notes what it is sent, or does not take it."""

    def __init__(self, name: str, incarnation: str = "1") -> None:
        self.sent: list[Signal] = []
        self.shared: list[int] = []
        self.origin = Origin(name, incarnation)
        self.broken = False
        self.error: QMI_Exception = QMI_ValueNotSendableException("not today")
        self.subscriber = PeerSubscriber(self.origin, self.send)

    def send(self, signal: Signal, encoded: dict[Any, Any]) -> None:
        if self.broken:
            raise self.error
        self.sent.append(signal)
        encoded["times"] = encoded.get("times", 0) + 1
        self.shared.append(encoded["times"])


class Dicts:
    """What peers share of a signal is a dictionary."""

    def begin(self, peers: int) -> dict[Any, Any]:
        return {}

    def finish(self, publication: dict[Any, Any]) -> None:
        pass


def numbers(receiver: QMI_SignalReceiver) -> list[int]:
    return [receiver.get_next_signal().args[0] for _ in range(receiver.get_queue_length())]


def test_broker_delivers_to_all_subscribers_here_and_elsewhere() -> None:
    broker, peer = Broker("lab", Dicts()), Peer("far")
    receivers = [QMI_SignalReceiver() for _ in range(2)]
    for receiver in receivers:
        assert broker.subscribe(TOPIC, receiver)
    assert not broker.subscribe(TOPIC, receivers[0])
    broker.subscribe_peer("nsg", "sig", peer.subscriber)
    broker.subscribe_peer("nsg", "sig", peer.subscriber)
    for number in range(3):
        broker.publish("nsg", "sig", (number,))
    broker.publish("nsg", "other", (9,))
    assert [numbers(receiver) for receiver in receivers] == [[0, 1, 2]] * 2
    assert [(signal.args, signal.seqnr) for signal in peer.sent] == [((0,), 0), ((1,), 1), ((2,), 2)]
    assert peer.sent[0].timestamp <= peer.sent[2].timestamp


def test_peers_share_what_was_computed_for_one_of_them_and_for_one_signal() -> None:
    broker, one, two = Broker("lab", Dicts()), Peer("one"), Peer("two")
    for peer in (one, two):
        broker.subscribe_peer("nsg", "sig", peer.subscriber)
    broker.publish("nsg", "sig", ())
    broker.publish("nsg", "sig", ())
    assert (one.shared, two.shared) == ([1, 1], [2, 2])


def test_signals_are_counted_also_while_nobody_listens() -> None:
    broker, receiver = Broker("lab", Dicts()), QMI_SignalReceiver()
    broker.publish("nsg", "sig", ())
    broker.publish("nsg", "sig", ())
    broker.subscribe(TOPIC, receiver)
    broker.publish("nsg", "sig", ())
    assert receiver.get_next_signal().seqnr == 2


def test_an_outlet_knows_who_listens_whoever_came_first_and_goes_on_counting() -> None:
    broker, peer = Broker("lab", Dicts()), Peer("far")
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    broker.subscribe(TOPIC, one)
    broker.subscribe_peer("nsg", "sig", peer.subscriber)
    publisher_of = broker.publisher_of("nsg", "sig")
    assert broker.publisher_of("nsg", "sig") is publisher_of
    assert (publisher_of.receivers, publisher_of.peers) == ((one,), (peer.subscriber,))
    broker.subscribe(TOPIC, two)
    publisher_of.publish((1,))
    broker.drop_peer(peer.origin)
    broker.publish("nsg", "sig", (2,))
    broker.drop_object("nsg")
    assert (publisher_of.receivers, publisher_of.peers) == ((), ())
    publisher_of.publish((3,))
    broker.subscribe(TOPIC, one)
    publisher_of.publish((4,))
    assert [(s.args[0], s.seqnr) for s in (one.get_next_signal() for _ in range(3))] == [(1, 0), (2, 1), (4, 3)]
    assert numbers(two) == [1, 2]
    assert len(peer.sent) == 1


def test_broker_delivers_nothing_after_unsubscription() -> None:
    broker, peer = Broker("lab", Dicts()), Peer("far")
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    broker.subscribe(TOPIC, one)
    broker.subscribe(TOPIC, two)
    broker.subscribe_peer("nsg", "sig", peer.subscriber)
    assert broker.unsubscribe(TOPIC, one) is False
    assert broker.unsubscribe(TOPIC, one) is None
    assert broker.unsubscribe(TOPIC, two) is True
    broker.unsubscribe_peer("nsg", "sig", peer.subscriber)
    broker.publish("nsg", "sig", (1,))
    assert not one.has_signal_ready()
    assert peer.sent == []


@pytest.mark.fault(7)
def test_peer_that_takes_no_signals_harms_no_other_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, bad, good = Broker("lab", Dicts()), Peer("bad"), Peer("good")
    for peer in (bad, good):
        broker.subscribe_peer("nsg", "sig", peer.subscriber)
    bad.broken = True
    for number in range(100):
        broker.publish("nsg", "sig", (number,))
    assert len(good.sent) == 100
    assert [record.getMessage() for record in caplog.records] == [
        "Signal nsg.sig was not sent to context 'bad': not today"
    ]
    bad.broken = False
    broker.publish("nsg", "sig", (100,))
    bad.broken = True
    broker.publish("nsg", "sig", (101,))
    assert len(caplog.records) == 2
    broker.drop_peer(bad.origin)
    broker.publish("nsg", "sig", (102,))
    assert len(caplog.records) == 2
    assert broker._failing == set()


def test_peer_whose_link_is_gone_is_no_trouble_of_the_signal(caplog: pytest.LogCaptureFixture) -> None:
    broker, gone, good = Broker("lab", Dicts()), Peer("gone"), Peer("good")
    gone.error = QMI_NotDeliveredException("the context has stopped")
    for peer in (gone, good):
        broker.subscribe_peer("nsg", "sig", peer.subscriber)
    gone.broken = True
    broker.publish("nsg", "sig", (1,))
    assert len(good.sent) == 1
    assert caplog.records == []


def test_a_peer_that_turns_out_to_be_gone_while_it_is_sent_to_can_be_dropped_there() -> None:
    broker, good = Broker("lab", Dicts()), Peer("good")
    gone = Origin("gone", "1")

    def send(signal: Signal, encoded: dict[Any, Any]) -> None:
        broker.drop_peer(gone)

    broker.subscribe_peer("nsg", "sig", PeerSubscriber(gone, send))
    broker.subscribe_peer("nsg", "sig", good.subscriber)
    in_thread(partial(broker.publish, "nsg", "sig", (1,))).wait(10)
    assert len(good.sent) == 1


def test_a_handler_of_the_log_may_publish_itself(caplog: pytest.LogCaptureFixture) -> None:
    broker, bad, receiver = Broker("lab", Dicts()), Peer("bad"), QMI_SignalReceiver()
    bad.broken = True
    broker.subscribe_peer("nsg", "sig", bad.subscriber)
    broker.subscribe(Topic("lab", "log", "line"), receiver)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            broker.publish("log", "line", (record.getMessage(),))

    handler = Handler()
    logging.getLogger("qmi.core.pubsub").addHandler(handler)
    try:
        in_thread(partial(broker.publish, "nsg", "sig", (1,))).wait(10)
    finally:
        logging.getLogger("qmi.core.pubsub").removeHandler(handler)
    assert "not today" in receiver.get_next_signal().args[0]


def test_signals_of_another_context_go_to_its_subscribers_with_its_numbers() -> None:
    broker, far, near = Broker("lab", Dicts()), QMI_SignalReceiver(), QMI_SignalReceiver()
    broker.subscribe(FAR, far)
    broker.subscribe(TOPIC, near)
    broker.arrived([Signal("nsg", "sig", ("x",), 41, 12.5)], "far")
    signal = far.get_next_signal()
    assert (signal.publisher_context, signal.args, signal.seqnr, signal.timestamp) == ("far", ("x",), 41, 12.5)
    assert not near.has_signal_ready()
    assert broker.topics_of("far") == [FAR]


def test_signals_that_come_together_keep_their_order_and_find_their_own_subscribers() -> None:
    broker, both, one = Broker("lab", Dicts()), QMI_SignalReceiver(), QMI_SignalReceiver()
    broker.subscribe(FAR, both)
    broker.subscribe(FAR._replace(signal="other"), both)
    broker.subscribe(FAR, one)
    names = ["sig", "sig", "other", "sig", "unheard", "other", "sig"]
    broker.arrived((Signal("nsg", name, (), number, 0.0) for number, name in enumerate(names)), "far")

    def found(receiver: QMI_SignalReceiver) -> list[int]:
        return [receiver.get_next_signal().seqnr for _ in range(receiver.get_queue_length())]

    assert found(both) == [0, 1, 2, 3, 5, 6]
    assert found(one) == [0, 1, 3, 6]


def test_a_row_of_signals_is_one_delivery_for_each_receiver() -> None:
    class Counting(QMI_SignalReceiver):
        deliveries = 0

        def deliver(self, told: Any) -> None:
            self.deliveries += 1
            super().deliver(told)

    broker, receiver = Broker("lab", Dicts()), Counting()
    broker.subscribe(FAR, receiver)
    broker.arrived([Signal("nsg", "sig", (), number, 0.0) for number in range(100)], "far")
    assert receiver.get_queue_length() == 100
    assert receiver.deliveries == 1


def test_a_gap_is_marked_for_those_who_were_there() -> None:
    broker, before, after = Broker("lab", Dicts()), QMI_SignalReceiver(), QMI_SignalReceiver()
    broker.subscribe(FAR, before)
    broker.mark_gap(FAR, "resumed")
    broker.subscribe(FAR, after)
    broker.arrived([Signal("nsg", "sig", (), 7, 0.0)], "far")
    assert before.get_next_signal().gap == "resumed"
    assert after.get_next_signal().gap is None


@pytest.mark.parametrize(
    ("end", "topic", "why"),
    [
        (lambda broker: broker.drop_object("nsg"), TOPIC, "lab.nsg was removed"),
        (lambda broker: broker.drop_context("far", "it was unplugged"), FAR, "it was unplugged"),
        (lambda broker: broker.stop(), TOPIC, "context 'lab' has stopped"),
    ],
)
def test_the_end_of_what_is_listened_to_reaches_receivers(end: object, topic: Topic, why: str) -> None:
    broker, peer = Broker("lab", Dicts()), Peer("far")
    receiver, bystander = QMI_SignalReceiver(report_gaps=True), QMI_SignalReceiver()
    other = Topic("third", "nsg", "sig")
    broker.subscribe(topic, receiver)
    broker.subscribe(other, bystander)
    broker.subscribe_peer("nsg", "sig", peer.subscriber)
    assert callable(end)
    end(broker)
    assert receiver.get_next_signal().gap == "ended"
    assert receiver._ended == why
    assert broker.unsubscribe(topic, receiver) is None
    if why != "context 'lab' has stopped":
        with pytest.raises(QMI_TimeoutException):
            bystander.get_next_signal(timeout=0.001)
    broker.publish("nsg", "sig", ())
    (told,) = peer.sent
    assert (told.seqnr == NO_MORE_SIGNALS) == ("removed" in why)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("together", [True, False])
def test_receivers_of_an_object_elsewhere_are_told_of_its_end(before: int, together: bool) -> None:
    broker, receiver = Broker("lab", Dicts()), QMI_SignalReceiver(report_gaps=True)
    bystander = QMI_SignalReceiver()
    broker.subscribe(FAR, receiver)
    broker.subscribe(Topic("far", "nsg", "other"), bystander)
    last = Signal("nsg", "sig", (), NO_MORE_SIGNALS, 0.0)
    signals = [*(Signal("nsg", "sig", (number,), number, 0.0) for number in range(before)), last]
    for part in [signals] if together else [[signal] for signal in signals]:
        broker.arrived(part, "far")
    assert [receiver.get_next_signal().args for _ in range(before)] == [(number,) for number in range(before)]
    assert receiver.get_next_signal().gap == "ended"
    with pytest.raises(QMI_SignalSubscriptionException, match=r"far\.nsg was removed"):
        receiver.get_next_signal(timeout=1.0)
    assert broker.topics_of("far") == [Topic("far", "nsg", "other")]
    broker.arrived([last], "far")  # also if nobody listens any more
    broker.subscribe(FAR, receiver)
    broker.arrived([Signal("nsg", "sig", (), 0, 0.0)], "far")
    assert receiver.get_next_signal().gap is None


def test_broker_serves_many_publishers_and_changing_subscribers() -> None:
    broker = Broker("lab", Dicts())
    steady = QMI_SignalReceiver(max_queue_length=100_000)
    for index in range(4):
        broker.subscribe(Topic("lab", f"p{index}", "sig"), steady)
    stop = threading.Event()

    def come_and_go() -> int:
        count = 0
        while not stop.is_set():
            receiver = QMI_SignalReceiver()
            for index in range(4):
                broker.subscribe(Topic("lab", f"p{index}", "sig"), receiver)
            for index in range(4):
                assert broker.unsubscribe(Topic("lab", f"p{index}", "sig"), receiver) is False
            found: dict[str, int] = {}
            for _ in range(receiver.get_queue_length()):
                signal = receiver.get_next_signal()
                assert signal.seqnr == found.get(signal.publisher_name, signal.seqnr)
                found[signal.publisher_name] = signal.seqnr + 1
            count += 1
        return count

    def publish(name: str) -> None:
        for number in range(1000):
            broker.publish(name, "sig", (number,))

    others = [in_thread(come_and_go) for _ in range(2)]
    publishers = [in_thread(partial(publish, f"p{index}")) for index in range(4)]
    for future in publishers:
        future.wait(30)
    stop.set()
    assert all(future.wait(30) > 0 for future in others)
    last: dict[str, int] = {}
    for _ in range(4000):
        signal = steady.get_next_signal()
        assert signal.args[0] == signal.seqnr == last.get(signal.publisher_name, -1) + 1
        last[signal.publisher_name] = signal.seqnr
    assert not steady.has_signal_ready()


@pytest.mark.parametrize("report_gaps", [False, True])
def test_signals_that_are_left_out_are_counted(report_gaps: bool) -> None:
    broker, receiver = Broker("lab", Dicts()), QMI_SignalReceiver(report_gaps=report_gaps)
    broker.subscribe(FAR, receiver)
    for number in (0, 1, 5):
        broker.arrived([Signal("nsg", "sig", (), number, 0.0)], "far")
    found = [receiver.get_next_signal() for _ in range(receiver.get_queue_length())]
    assert [(one.gap, one.missing) for one in found if one.gap] == [("dropped", 3)]
    assert found[-1].seqnr == 5


def test_gaps_in_a_row_are_counted_together() -> None:
    broker, receiver = Broker("lab", Dicts()), QMI_SignalReceiver()
    broker.subscribe(FAR, receiver)
    broker.mark_gap(FAR, "dropped", 2)
    broker.mark_gap(FAR, "dropped", 3)
    broker.arrived([Signal("nsg", "sig", (), 7, 0.0)], "far")
    assert receiver.get_next_signal().missing == 5


def test_report_is_for_those_who_want_it_and_marks_no_gap() -> None:
    broker, reported, plain = Broker("lab", Dicts()), QMI_SignalReceiver(report_gaps=True), QMI_SignalReceiver()
    for receiver in (reported, plain):
        broker.subscribe(FAR, receiver)
    broker.report(FAR, "lost")
    broker.arrived([Signal("nsg", "sig", (), 7, 0.0)], "far")
    assert [reported.get_next_signal().gap for _ in range(2)] == ["lost", None]
    assert plain.get_next_signal().gap is None


def test_what_is_published_goes_to_the_site_besides_all_others() -> None:
    broker, sent = Broker("lab", Dicts()), list[object]()
    broker.publish("nsg", "sig", (0,))
    broker.publish_at(
        PeerSubscriber(Origin("the site", ""), lambda signal, _: sent.append((signal.args, signal.seqnr)))
    )
    broker.publish("nsg", "sig", (1,))
    broker.publish("nsg", "other", (2,))
    assert sent == [((1,), 1), ((2,), 0)]
    assert [row[1:] for row in broker.counts()] == [(2, 0, 0), (1, 0, 0)]
    assert (broker.published("nsg", "sig"), broker.published("nsg", "never")) == (2, 0)
    broker.drop_object("nsg")
    assert sent[2:] == [((), NO_MORE_SIGNALS)] * 2
