"""How subscriptions are made, here and with peers, and made again when a peer comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import trio

from qmi.actors.actor import Actor
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.pubsub.broker import Broker, PeerSubscriber
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Topic
from qmi.actors.registry import Registry
from qmi.errors import QMI_CancelledCallException, QMI_SignalSubscriptionException
from qmi.messages import Origin, Subscribe, Unsubscribe
from qmi.names import Address, nearest
from qmi.net.io.fan_out import Publication
from qmi.net.io.link import Link
from qmi.peers.connections import Connections
from qmi.peers.rpc_client import ask

_logger = logging.getLogger("qmi.core.pubsub")

RENEWAL_PATIENCE: Final = 60.0
"""How many seconds an object may come later than its program that was started again, before its subscriptions end."""
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0


class SubscriptionServices(Protocol):
    """What is needed of the context."""

    name: str
    registry: Registry
    connections: Connections

    def check_running(self) -> None:
        """Raise if the context does not run."""

    def find_actor(self, address: Address) -> Actor | None:
        """The object if it lives here, None if it lives in another context."""

    def link_to(self, name: str) -> Link:
        """The link to another context."""

    def run(self, function: Callable[..., Awaitable[None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function until the context ends."""


class Signalling:
    """The subscriptions of a context, with whatever has to be told to peers.

    Args:
        services: The context.
        exchange: Where signals find their receivers.
    """

    def __init__(self, services: SubscriptionServices, broker: Broker[Publication]) -> None:
        self._services = services
        self.broker = broker
        # Peers must hear of the first and the last subscriber in the order in which they came and went.
        self._order = threading.Lock()

    def check(self, actor: Actor, signal: str) -> None:
        """Refuse a signal that an object does not declare.

        Raises:
            QMI_SignalSubscriptionException: With the nearest name that there is.
        """
        names = [info.name for info in actor.interface.signals]
        if signal not in names:
            near = nearest(signal, names)
            hint = f". Did you mean {near!r}?" if near else ""
            raise QMI_SignalSubscriptionException(f"{actor.address} has no signal {signal!r}{hint}")

    def subscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """Have each signal of an object put into a receiver. Never blocks; every error comes with the future."""
        topic = Topic(*address, signal)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {address}.{signal}")
        try:
            actor = self._services.find_actor(address)
            if actor is not None:
                self.check(actor, signal)
            if actor is not None:
                self.broker.subscribe(topic, receiver)
                done.set_result(None)
                return done
            link = self._services.link_to(address.context)
            with self._order:
                new = self.broker.subscribe(topic, receiver)
                # Also if somebody here listens already: whoever subscribes is to learn whether that is possible.
                done = ask(link, done.what, Subscribe(address.object, signal))
        except QMI_SignalSubscriptionException as error:
            done.fail(error)
        except Exception as error:  # goes to the caller
            done.fail(QMI_SignalSubscriptionException(f"Cannot subscribe to {address}.{signal}: {error}"))
        else:
            if new:
                done.add_done_callback(partial(self._undo, topic, receiver, done))
        return done

    def _undo(self, topic: Topic, receiver: QMI_SignalReceiver, done: QMI_RpcFuture[None]) -> None:
        # What was asked for and then given up, the peer may have done already; it must not send signals to nobody.
        error = done.error()
        if error is None:
            return
        with self._order:
            last = self.broker.unsubscribe(topic, receiver)
            link = self._services.connections.link_to(topic.context)
            if last and link is not None and isinstance(error, QMI_CancelledCallException):
                ask(link, done.what, Unsubscribe(topic.object, topic.signal))

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription. Never blocks; every error comes with the future."""
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the end of the subscription to {address}.{signal}")
        with self._order:
            last = self.broker.unsubscribe(Topic(*address, signal), receiver)
            link = self._services.connections.link_to(address.context)
            if last and link is not None:
                return ask(link, done.what, Unsubscribe(address.object, signal))
        done.set_result(None)  # also if it was not subscribed: then there is nothing to end
        return done

    def publish(self, publisher_name: str, signal_name: str, *args: object) -> None:
        """Publish a signal on behalf of an object of this context; never waits for those who listen.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_SignalSubscriptionException: If it declares no such signal.
            QMI_UsageException: If the arguments are not those that were declared, and the signal is strict.
        """
        self._services.check_running()
        actor = self._services.registry.get(publisher_name)
        if actor is None:
            raise self._services.registry.unknown(publisher_name)
        self.check(actor, signal_name)
        owners = (type(actor.object), type(getattr(actor.object, "task", None)))
        signals = [getattr(owner, signal_name) for owner in owners if hasattr(owner, signal_name)]
        signals[0].check(publisher_name, args)
        self.broker.publish(publisher_name, signal_name, args)

    # For peers

    def serve(self, message: Subscribe | Unsubscribe, origin: Origin, link: Link) -> QMI_RpcFuture[None]:
        """A peer subscribes to an object of this context, or ends that."""
        future: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {message.object}.{message.signal}")
        peer: PeerSubscriber[Publication] = PeerSubscriber(origin, link.send_signal)
        try:
            if isinstance(message, Subscribe):
                actor = self._services.registry.get(message.object)
                if actor is None:
                    raise QMI_SignalSubscriptionException(str(self._services.registry.unknown(message.object)))
                self.check(actor, message.signal)
                self.broker.subscribe_peer(message.object, message.signal, peer)
            else:
                self.broker.unsubscribe_peer(message.object, message.signal, peer)
        except QMI_SignalSubscriptionException as error:
            future.fail(error)
        else:
            future.set_result(None)
        return future

    def renew(self, context: str, link: Link, restarted: bool) -> None:
        """A peer has come back: what was subscribed to there is subscribed to again."""
        for topic in self.broker.topics_of(context):
            self.broker.mark_gap(topic, "restarted" if restarted else "resumed")
            again = self._ask_again(topic, link)
            again.add_done_callback(partial(self._look_at_renewal, topic, link, restarted, again))

    def _ask_again(self, topic: Topic, link: Link) -> QMI_RpcFuture[None]:
        return ask(link, f"the subscription to {topic.object}.{topic.signal}", Subscribe(*topic[1:]))

    def _look_at_renewal(self, topic: Topic, link: Link, restarted: bool, future: QMI_RpcFuture[None]) -> None:
        error = future.error()
        if error is None:
            return
        if restarted and isinstance(error, QMI_SignalSubscriptionException):
            self._services.run(self._renew_later, topic, link, error)
        else:
            self._not_renewed(topic, error)

    def _not_renewed(self, topic: Topic, error: BaseException) -> None:
        _logger.warning("The subscription to %s.%s was not made again: %s", topic.object, topic.signal, error)
        if isinstance(error, QMI_SignalSubscriptionException):  # the object is gone; else the link is lost anew
            self.broker.drop_topic(topic, str(error))

    async def _renew_later(self, topic: Topic, link: Link, error: BaseException | None) -> None:
        """A program that starts has its port before it has its objects: ask until the object is there."""
        delay, end = _FIRST_DELAY, trio.current_time() + RENEWAL_PATIENCE
        while isinstance(error, QMI_SignalSubscriptionException) and trio.current_time() < end:
            await trio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
            # With the mutex, so that whoever unsubscribes meanwhile is either seen here, or asks after this.
            with self._order:
                if self._services.connections.link_to(topic.context) is not link:
                    return  # whoever makes the next one renews what is subscribed to then
                if topic not in self.broker.topics_of(topic.context):
                    return
                again = self._ask_again(topic, link)
            await again.ended()
            error = again.error()
        if error is None:
            self.broker.mark_gap(topic, "restarted")  # what came since the first one, nobody here has got
        else:
            self._not_renewed(topic, error)

    def peer_gone(self, origin: Origin, reason: str, for_good: bool) -> None:
        """A peer is gone; for good, if nobody tries to reach it again."""
        self.broker.drop_peer(origin)
        if for_good:
            self.broker.drop_context(origin.context, f"the link to context {origin.context!r} is gone: {reason}")
            return
        for topic in self.broker.topics_of(origin.context):
            self.broker.mark_gap(topic, "lost")
