"""The way of a signal from its publisher to receivers here and on links to other contexts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from qmi.actors.pubsub.history import Joiner, Past
from qmi.actors.pubsub.receiver import Delivered, QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Subscriptions, Topic
from qmi.errors import QMI_Exception, QMI_NotDeliveredException
from qmi.messages import NO_MORE_SIGNALS, Origin, Signal, Undecodable

_logger = logging.getLogger("qmi.core.pubsub")

E = TypeVar("E")
"""What peers share of a signal; the modules that know links say what that is."""
_TOPIC = itemgetter(slice(3))


class PeerSubscriber(NamedTuple, Generic[E]):
    """A peer that has subscribed.

    Attributes:
        origin: Which context.
        send: Sends a signal to it, or puts it into its queue; never waits.
    """

    origin: Origin
    send: Callable[[Signal, E], None]


class FanOut(Protocol[E]):
    """How a signal gets to several peers."""

    def begin(self, peers: int, /) -> E:
        """A signal is about to be given to so many peers; returns what they share of it."""

    def finish(self, publication: E, /) -> None:
        """It was given to all of them; never waits. Always called after :meth:`begin`."""


class Publisher(Generic[E]):
    """The way out for one signal of one object: what a publisher needs is looked up once, not for each signal.

    Args:
        exchange: Where it belongs.
        topic: The object and its signal.

    Attributes:
        receivers: Who listens here.
        peers: Who listens elsewhere.
    """

    __slots__ = ("_exchange", "_mutex", "_seqnr", "_topic", "peers", "receivers")

    def __init__(self, broker: Broker[E], topic: Topic) -> None:
        self._exchange = broker
        self._mutex = broker.mutex
        self._topic = topic
        self._seqnr = 0
        self.receivers: tuple[QMI_SignalReceiver, ...] = ()
        self.peers: tuple[PeerSubscriber[E], ...] = ()

    @property
    def published(self) -> int:
        """How often it was published."""
        return self._seqnr

    def publish(self, args: tuple[object, ...]) -> None:
        """Tell everybody who has subscribed."""
        with self._mutex:
            seqnr = self._seqnr
            self._seqnr = seqnr + 1
            now = time.time()
            context, publisher, signal = self._topic
            if self.receivers:
                told = ((context, publisher, signal, args, seqnr, now),)
                for receiver in self.receivers:
                    receiver.deliver(told)
            if self.peers:
                self._exchange.send(self.peers, self._topic, Signal(publisher, signal, args, seqnr, now))


class Broker(Generic[E]):
    """The subscriptions of one context. Safe for threads.

    Signals of one publisher arrive everywhere in the order in which they were published.

    Args:
        context: Name of the context.
        fan_out: How signals get to peers.

    Attributes:
        mutex: Held while a signal is told, and while subscribers change.
    """

    def __init__(self, context: str, fan_out: FanOut[E]) -> None:
        self._context = context
        self._fan_out = fan_out
        # Sending to a peer may reveal that it is gone, or write a line to the log: whatever that leads to in the same
        # thread, even another signal, must find its way in.
        self.mutex: threading.RLock = threading.RLock()
        self._receivers: Subscriptions[QMI_SignalReceiver] = Subscriptions(self._changed)
        self._peers: Subscriptions[PeerSubscriber[E]] = Subscriptions(self._changed)
        self._publishers: dict[Topic, Publisher[E]] = {}
        self._site: tuple[PeerSubscriber[E], ...] = ()
        self._failing: set[tuple[Topic, Origin]] = set()
        self._undecodable: set[Topic] = set()
        # Of topics of other contexts, the number of the signal that is due. A peer leaves out what finds no room on its
        # link, so that a number that is left out is a gap.
        self._due: dict[tuple[str, ...], int] = {}

    # Publishing

    def publisher_of(self, publisher: str, signal: str) -> Publisher[E]:
        """The way out for a signal of an object of this context; always the same one, since it counts."""
        topic = Topic(self._context, publisher, signal)
        with self.mutex:
            if topic not in self._publishers:
                self._publishers[topic] = Publisher(self, topic)
                self._changed(topic)
            return self._publishers[topic]

    def published(self, publisher: str, signal: str) -> int:
        """How often an object of this context has published a signal."""
        found = self._publishers.get(Topic(self._context, publisher, signal))
        return 0 if found is None else found.published

    def _changed(self, topic: Topic) -> None:
        # Called with the mutex.
        publisher_of = self._publishers.get(topic)
        if publisher_of is not None:
            publisher_of.receivers = self._receivers.of(topic)
            publisher_of.peers = self._peers.of(topic) + self._site

    def publish_at(self, site: PeerSubscriber[E]) -> None:
        """Have something get all signals of this context, beside those who have subscribed."""
        with self.mutex:
            self._site = (site,)
            for topic in self._publishers:
                self._changed(topic)

    def publish(self, publisher: str, signal: str, args: tuple[object, ...]) -> None:
        """Tell everybody who has subscribed to a signal of an object of this context."""
        self.publisher_of(publisher, signal).publish(args)

    def send(self, peers: Sequence[PeerSubscriber[E]], topic: Topic, signal: Signal) -> None:
        """Send a signal to peers. Called with the mutex."""
        publication = self._fan_out.begin(len(peers))
        try:
            for peer in peers:
                try:
                    peer.send(signal, publication)
                except QMI_NotDeliveredException:
                    # The link is gone, with or without order. Whoever notices that says so, and drops this subscriber.
                    pass
                except QMI_Exception as error:  # not sendable: one subscriber's trouble is nobody else's
                    self._note_failure(topic, peer.origin, error)
                else:
                    if self._failing:
                        self._failing.discard((topic, peer.origin))
        finally:
            self._fan_out.finish(publication)

    def _note_failure(self, topic: Topic, origin: Origin, error: QMI_Exception) -> None:
        if (topic, origin) not in self._failing:  # said once, not for each signal
            self._failing.add((topic, origin))
            what = f"{topic.object}.{topic.signal}"
            _logger.warning("Signal %s was not sent to context %r: %s", what, origin.context, error)

    def arrived(self, signals: Iterable[Signal], context: str) -> None:
        """Signals of another context have come, in this order. Those of one topic in a row are told together."""
        signals = list(signals)
        for signal in signals:
            if type(signal.args) is Undecodable:
                self._missed(Topic(context, signal.object, signal.signal), signal.args.reason)
        told = [
            (context, signal.object, signal.signal, signal.args, signal.seqnr, signal.timestamp)
            for signal in signals
            if type(signal.args) is not Undecodable
        ]
        with self.mutex:
            for topic, row in groupby(told, _TOPIC):
                together = list(row)
                receivers = self._receivers.of(Topic(*topic))
                if not receivers:
                    continue
                if together[-1][4] == NO_MORE_SIGNALS:
                    together.pop()
                    self._deliver_last(Topic(*topic), receivers, together)
                    continue
                first, last = together[0][4], together[-1][4]
                due = self._due.get(topic, first)
                self._due[topic] = last + 1
                if first == due and last - first == len(together) - 1:
                    for receiver in receivers:
                        receiver.deliver(together)
                else:
                    self._deliver_with_gaps(Topic(*topic), receivers, together, due)

    def _deliver_last(self, topic: Topic, receivers: tuple[QMI_SignalReceiver, ...], told: list[Delivered]) -> None:
        # The peer has ended the subscription already, and sends nothing until it is made again.
        self._deliver_with_gaps(topic, receivers, told, self._due.get(topic, told[0][4] if told else 0))
        self._end([topic], f"{topic.context}.{topic.object} was removed")

    @staticmethod
    def _deliver_with_gaps(
        topic: Topic, receivers: tuple[QMI_SignalReceiver, ...], told: list[Delivered], due: int
    ) -> None:
        for one in told:
            for receiver in receivers:
                if one[4] > due:
                    receiver.mark_gap(topic, "dropped", one[4] - due)
                receiver.deliver((one,))
            due = one[4] + 1

    def _missed(self, topic: Topic, reason: str) -> None:
        """A signal came whose arguments could not be rebuilt: its receivers count it as dropped."""
        with self.mutex:
            receivers = self._receivers.of(topic)
            for receiver in receivers:
                receiver.miss()
            if not receivers or topic in self._undecodable:
                return
            self._undecodable.add(topic)  # said once for each topic, which somebody here has subscribed to
        what = f"{topic.object}.{topic.signal} of context {topic.context!r}"
        _logger.warning("Signals of %s are dropped, since they cannot be rebuilt here: %s", what, reason)

    # Subscribing

    def subscribe(self, topic: Topic, receiver: QMI_SignalReceiver) -> bool:
        """Add a receiver; False if it was there before."""
        with self.mutex:
            if not self._receivers.of(topic):
                self._due.pop(topic, None)
            new = self._receivers.add(topic, receiver)
            if new:
                receiver.add_source()
            return new

    def unsubscribe(self, topic: Topic, receiver: QMI_SignalReceiver) -> bool | None:
        """Take a receiver away; True if it was the topic's last, None if it was none."""
        with self.mutex:
            last = self._receivers.remove(topic, self._stands_for(topic, receiver))
            if last:
                self._due.pop(topic, None)
            if last is not None:
                receiver.remove_source(topic)
            return last

    def _stands_for(self, topic: Topic, receiver: QMI_SignalReceiver) -> QMI_SignalReceiver:
        for subscriber in self._receivers.of(topic):
            if isinstance(subscriber, Joiner) and subscriber.receiver is receiver:
                return subscriber
        return receiver

    def has(self, topic: Topic, receiver: QMI_SignalReceiver | None = None) -> bool:
        """Whether a receiver, or any, has subscribed to a topic."""
        with self.mutex:
            subscribers = self._receivers.of(topic)
            return bool(subscribers) if receiver is None else self._stands_for(topic, receiver) in subscribers

    def join(self, topic: Topic, joiner: Joiner, past: Iterable[Past], due: int) -> None:
        """A receiver gets what was published before, and from now on what is published.

        Args:
            topic: The topic.
            joiner: What has stood in for the receiver; if it is not there any more, nothing happens.
            past: What was published before.
            due: The number of the signal that comes next, of a topic of another context.
        """
        with self.mutex:
            if joiner not in self._receivers.of(topic):
                return
            if topic.context == self._context:
                due = self.publisher_of(topic.object, topic.signal).published
            joiner.join(topic, past, due)
            self._receivers.replace(topic, joiner, joiner.receiver)

    def subscribe_peer(self, name: str, signal: str, peer: PeerSubscriber[E]) -> None:
        """A peer listens to an object of this context."""
        with self.mutex:
            self._peers.add(Topic(self._context, name, signal), peer)

    def unsubscribe_peer(self, name: str, signal: str, peer: PeerSubscriber[E]) -> None:
        """A peer listens no more."""
        with self.mutex:
            self._peers.remove(Topic(self._context, name, signal), peer)

    def peer_topics(self) -> list[Topic]:
        """What peers listen to."""
        with self.mutex:
            return self._peers.topics()

    def counts(self) -> list[tuple[Topic, int, int, int]]:
        """Of each signal of this context: how often it was published, and how many receivers and peers it has.

        Without the mutex, since whoever publishes may hold it for a while; copying a dictionary is one step.
        """
        return [
            (topic, publisher.published, len(publisher.receivers), len(publisher.peers) - len(self._site))
            for topic, publisher in list(self._publishers.items())
        ]

    def receivers_dropped(self) -> int:
        """How many signals the receivers have dropped that are subscribed now; without the mutex, too."""
        return sum(receiver.dropped for receiver in self._receivers.everybody())

    # Comings and goings

    def drop_peer(self, origin: Origin) -> None:
        """A peer is gone, with what it had subscribed to."""
        with self.mutex:
            self._peers.drop_subscribers(lambda peer: peer.origin == origin)
            self._failing = {key for key in self._failing if key[1] != origin}

    def drop_object(self, name: str) -> None:
        """An object of this context is gone."""
        with self.mutex:
            for topic in self._peers.topics_of(self._context, name):
                end = Signal(name, topic.signal, (), NO_MORE_SIGNALS, time.time())
                self.send(tuple(self._peers.drop_topic(topic)), topic, end)
            for topic in [topic for topic in self._publishers if topic.object == name] if self._site else ():
                end = Signal(name, topic.signal, (), NO_MORE_SIGNALS, time.time())
                self.send(self._site, topic, end)
            self._end(self._receivers.topics_of(self._context, name), f"{self._context}.{name} was removed")

    def drop_context(self, context: str, why: str) -> None:
        """Another context is gone for good: its signals will not come any more."""
        with self.mutex:
            self._end(self._receivers.topics_of(context), why)

    def drop_topic(self, topic: Topic, why: str) -> None:
        """Nothing will come of a topic of another context any more."""
        with self.mutex:
            self._end([topic], why)

    def stop(self) -> None:
        """This context has stopped: nothing comes any more."""
        with self.mutex:
            self._end(self._receivers.topics(), f"context {self._context!r} has stopped")

    def _end(self, topics: list[Topic], why: str) -> None:
        for topic in topics:
            self._due.pop(topic, None)
            for receiver in self._receivers.drop_topic(topic):
                receiver.remove_source(topic, why)

    def topics_of(self, context: str) -> list[Topic]:
        """What is listened to in another context."""
        with self.mutex:
            return self._receivers.topics_of(context)

    def mark_gap(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Signals of a topic may be missing, so many if that is known."""
        with self.mutex:
            self._due.pop(topic, None)
            for receiver in self._receivers.of(topic):
                receiver.mark_gap(topic, gap, missing)

    def report(self, topic: Topic, gap: str) -> None:
        """Tell receivers with ``report_gaps`` what happened; no signals are missing."""
        with self.mutex:
            for receiver in self._receivers.of(topic):
                receiver.report(topic, gap)
