from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

import pytest

from qmi.actors.pubsub.broker import Broker, PeerSubscriber
from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.exceptions import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.messages import Origin, Signal
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
        self.subscriber = PeerSubscriber(self.origin, self.send)

    def send(self, signal: Signal, encoded: dict[Any, Any]) -> None:
        if self.broken:
            raise QMI_NotDeliveredException("not today")
        self.sent.append(signal)
        encoded["times"] = encoded.get("times", 0) + 1
        self.shared.append(encoded["times"])


def numbers(receiver: QMI_SignalReceiver) -> list[int]:
    return [receiver.get_next_signal().args[0] for _ in range(receiver.get_queue_length())]


def test_broker_delivers_to_all_subscribers_here_and_elsewhere() -> None:
    exchange, peer = Broker[object]("lab"), Peer("far")
    receivers = [QMI_SignalReceiver() for _ in range(2)]
    for receiver in receivers:
        assert exchange.subscribe(TOPIC, receiver)
    assert not exchange.subscribe(TOPIC, receivers[0])
    exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    for number in range(3):
        exchange.publish("nsg", "sig", (number,))
    exchange.publish("nsg", "other", (9,))
    assert [numbers(receiver) for receiver in receivers] == [[0, 1, 2]] * 2
    assert [(signal.args, signal.seqnr) for signal in peer.sent] == [((0,), 0), ((1,), 1), ((2,), 2)]
    assert peer.sent[0].timestamp <= peer.sent[2].timestamp


def test_peers_share_what_was_computed_for_one_of_them_and_for_one_signal() -> None:
    exchange, one, two = Broker[object]("lab"), Peer("one"), Peer("two")
    for peer in (one, two):
        exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    exchange.publish("nsg", "sig", ())
    exchange.publish("nsg", "sig", ())
    assert (one.shared, two.shared) == ([1, 1], [2, 2])


def test_signals_are_counted_also_while_nobody_listens() -> None:
    exchange, receiver = Broker[object]("lab"), QMI_SignalReceiver()
    exchange.publish("nsg", "sig", ())
    exchange.publish("nsg", "sig", ())
    exchange.subscribe(TOPIC, receiver)
    exchange.publish("nsg", "sig", ())
    assert receiver.get_next_signal().seqnr == 2


def test_an_outlet_knows_who_listens_whoever_came_first_and_goes_on_counting() -> None:
    exchange, peer = Broker[object]("lab"), Peer("far")
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    exchange.subscribe(TOPIC, one)
    exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    outlet = exchange.outlet("nsg", "sig")
    assert exchange.outlet("nsg", "sig") is outlet
    assert (outlet.receivers, outlet.peers) == ((one,), (peer.subscriber,))
    exchange.subscribe(TOPIC, two)
    outlet.publish((1,))
    exchange.drop_peer(peer.origin)
    exchange.publish("nsg", "sig", (2,))
    exchange.drop_object("nsg")
    assert (outlet.receivers, outlet.peers) == ((), ())
    outlet.publish((3,))
    exchange.subscribe(TOPIC, one)
    outlet.publish((4,))
    assert [(s.args[0], s.seqnr) for s in (one.get_next_signal() for _ in range(3))] == [(1, 0), (2, 1), (4, 3)]
    assert numbers(two) == [1, 2]
    assert len(peer.sent) == 1


def test_broker_delivers_nothing_after_unsubscription() -> None:
    exchange, peer = Broker[object]("lab"), Peer("far")
    one, two = QMI_SignalReceiver(), QMI_SignalReceiver()
    exchange.subscribe(TOPIC, one)
    exchange.subscribe(TOPIC, two)
    exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    assert exchange.unsubscribe(TOPIC, one) is False
    assert exchange.unsubscribe(TOPIC, one) is None
    assert exchange.unsubscribe(TOPIC, two) is True
    exchange.unsubscribe_peer("nsg", "sig", peer.subscriber)
    exchange.publish("nsg", "sig", (1,))
    assert not one.has_signal_ready()
    assert peer.sent == []


@pytest.mark.fault(7)
def test_peer_that_takes_no_signals_harms_no_other_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange, bad, good = Broker[object]("lab"), Peer("bad"), Peer("good")
    for peer in (bad, good):
        exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    bad.broken = True
    for number in range(100):
        exchange.publish("nsg", "sig", (number,))
    assert len(good.sent) == 100
    assert [record.getMessage() for record in caplog.records] == [
        "Signal nsg.sig was not sent to context 'bad': not today"
    ]
    bad.broken = False
    exchange.publish("nsg", "sig", (100,))
    bad.broken = True
    exchange.publish("nsg", "sig", (101,))
    assert len(caplog.records) == 2
    exchange.drop_peer(bad.origin)
    exchange.publish("nsg", "sig", (102,))
    assert len(caplog.records) == 2
    assert exchange._failing == set()


def test_a_peer_that_turns_out_to_be_gone_while_it_is_sent_to_can_be_dropped_there() -> None:
    exchange, good = Broker[object]("lab"), Peer("good")
    gone = Origin("gone", "1")

    def send(signal: Signal, encoded: dict[Any, Any]) -> None:
        exchange.drop_peer(gone)

    exchange.subscribe_peer("nsg", "sig", PeerSubscriber(gone, send))
    exchange.subscribe_peer("nsg", "sig", good.subscriber)
    in_thread(partial(exchange.publish, "nsg", "sig", (1,))).wait(10)
    assert len(good.sent) == 1


def test_a_handler_of_the_log_may_publish_itself(caplog: pytest.LogCaptureFixture) -> None:
    exchange, bad, receiver = Broker[object]("lab"), Peer("bad"), QMI_SignalReceiver()
    bad.broken = True
    exchange.subscribe_peer("nsg", "sig", bad.subscriber)
    exchange.subscribe(Topic("lab", "log", "line"), receiver)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            exchange.publish("log", "line", (record.getMessage(),))

    handler = Handler()
    logging.getLogger("qmi.core.pubsub").addHandler(handler)
    try:
        in_thread(partial(exchange.publish, "nsg", "sig", (1,))).wait(10)
    finally:
        logging.getLogger("qmi.core.pubsub").removeHandler(handler)
    assert "not today" in receiver.get_next_signal().args[0]


def test_signals_of_another_context_go_to_its_subscribers_with_its_numbers() -> None:
    exchange, far, near = Broker[object]("lab"), QMI_SignalReceiver(), QMI_SignalReceiver()
    exchange.subscribe(FAR, far)
    exchange.subscribe(TOPIC, near)
    exchange.arrived([Signal("nsg", "sig", ("x",), 41, 12.5)], "far")
    signal = far.get_next_signal()
    assert (signal.publisher_context, signal.args, signal.seqnr, signal.timestamp) == ("far", ("x",), 41, 12.5)
    assert not near.has_signal_ready()
    assert exchange.topics_of("far") == [FAR]


def test_signals_that_come_together_keep_their_order_and_find_their_own_subscribers() -> None:
    exchange, both, one = Broker[object]("lab"), QMI_SignalReceiver(), QMI_SignalReceiver()
    exchange.subscribe(FAR, both)
    exchange.subscribe(FAR._replace(signal="other"), both)
    exchange.subscribe(FAR, one)
    names = ["sig", "sig", "other", "sig", "unheard", "other", "sig"]
    exchange.arrived((Signal("nsg", name, (), number, 0.0) for number, name in enumerate(names)), "far")

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

    exchange, receiver = Broker[object]("lab"), Counting()
    exchange.subscribe(FAR, receiver)
    exchange.arrived([Signal("nsg", "sig", (), number, 0.0) for number in range(100)], "far")
    assert receiver.get_queue_length() == 100
    assert receiver.deliveries == 1


def test_a_gap_is_marked_for_those_who_were_there() -> None:
    exchange, before, after = Broker[object]("lab"), QMI_SignalReceiver(), QMI_SignalReceiver()
    exchange.subscribe(FAR, before)
    exchange.mark_gap(FAR, "resumed")
    exchange.subscribe(FAR, after)
    exchange.arrived([Signal("nsg", "sig", (), 7, 0.0)], "far")
    assert before.get_next_signal().gap == "resumed"
    assert after.get_next_signal().gap is None


@pytest.mark.parametrize(
    ("end", "topic", "why"),
    [
        (lambda exchange: exchange.drop_object("nsg"), TOPIC, "lab.nsg was removed"),
        (lambda exchange: exchange.drop_context("far", "it was unplugged"), FAR, "it was unplugged"),
        (lambda exchange: exchange.stop(), TOPIC, "context 'lab' has stopped"),
    ],
)
def test_the_end_of_what_is_listened_to_reaches_receivers(end: object, topic: Topic, why: str) -> None:
    exchange, peer = Broker[object]("lab"), Peer("far")
    receiver, bystander = QMI_SignalReceiver(report_gaps=True), QMI_SignalReceiver()
    other = Topic("third", "nsg", "sig")
    exchange.subscribe(topic, receiver)
    exchange.subscribe(other, bystander)
    exchange.subscribe_peer("nsg", "sig", peer.subscriber)
    assert callable(end)
    end(exchange)
    assert receiver.get_next_signal().gap == "ended"
    assert receiver._ended == why
    assert exchange.unsubscribe(topic, receiver) is None
    if why != "context 'lab' has stopped":
        with pytest.raises(QMI_TimeoutException):
            bystander.get_next_signal(timeout=0.001)
    exchange.publish("nsg", "sig", ())
    assert len(peer.sent) == (0 if "removed" in why else 1)


def test_broker_serves_many_publishers_and_changing_subscribers() -> None:
    exchange = Broker[object]("lab")
    steady = QMI_SignalReceiver(max_queue_length=100_000)
    for index in range(4):
        exchange.subscribe(Topic("lab", f"p{index}", "sig"), steady)
    stop = threading.Event()

    def come_and_go() -> int:
        count = 0
        while not stop.is_set():
            receiver = QMI_SignalReceiver()
            for index in range(4):
                exchange.subscribe(Topic("lab", f"p{index}", "sig"), receiver)
            for index in range(4):
                assert exchange.unsubscribe(Topic("lab", f"p{index}", "sig"), receiver) is False
            found: dict[str, int] = {}
            for _ in range(receiver.get_queue_length()):
                signal = receiver.get_next_signal()
                assert signal.seqnr == found.get(signal.publisher_name, signal.seqnr)
                found[signal.publisher_name] = signal.seqnr + 1
            count += 1
        return count

    def publish(name: str) -> None:
        for number in range(1000):
            exchange.publish(name, "sig", (number,))

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
