"""How subscriptions are made, here and with peers, and made again when a peer comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from qmi.actors.actor import Actor
from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.pubsub.broker import Broker, PeerSubscriber
from qmi.actors.pubsub.history import History, Joiner, Past
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Topic
from qmi.actors.registry import Registry
from qmi.errors import QMI_CancelledCallException, QMI_NotDeliveredException, QMI_SignalSubscriptionException
from qmi.messages import Origin, Signal, Subscribe, Unsubscribe
from qmi.names import Address, nearest
from qmi.net.io.fan_out import Publication
from qmi.peers.connections import Connections
from qmi.peers.rpc_client import ask
from qmi.runtime.wakeup import Loop

if TYPE_CHECKING:
    from qmi.net.io.link import Link

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
    loop: Loop

    def check_running(self) -> None:
        """Raise if the context does not run."""

    def find_actor(self, address: Address) -> Actor | None:
        """The object if it lives here, None if it lives in another context."""

    def link_to(self, name: str) -> Link:
        """The link to another context."""

    def run(self, function: Callable[..., Awaitable[None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function until the context ends."""


class Site(Protocol):
    """What is needed of a site, by which signals come that do not come by links."""

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""

    @property
    def following(self) -> SiteSignals:
        """What comes by it."""

    @property
    def publishing(self) -> SiteListeners:
        """What goes out by it."""


class SiteListeners(Protocol):
    """Contexts that get large signals by links."""

    def drop_listener(self, incarnation: str) -> None:
        """A context is gone."""


class SiteSignals(Protocol):
    """The signals that come by a site."""

    def follows(self, topic: Topic) -> bool:
        """Whether the signals of a topic come by the site."""

    def follow(self, topic: Topic) -> None:
        """Let the signals of a topic come by the site."""

    def unfollow(self, topic: Topic) -> None:
        """Let them come no more."""

    async def ask(self, topic: Topic) -> None:
        """Ask the publisher for a topic that is followed."""

    async def history(self, topic: Topic, wanted: History) -> tuple[list[Past], int]:
        """What was published before, and the number of the next signal."""

    def take_from_link(self, signals: Sequence[Signal], context: str) -> list[Signal]:
        """Signals came by a link: those are returned that do not come by the site."""

    def link_there(self, context: str) -> None:
        """There is a link to a context."""

    def link_lost(self, context: str) -> None:
        """The link to a context is gone."""


class Signalling:
    """The subscriptions of a context, with whatever has to be told to peers.

    Args:
        services: The context.
        exchange: Where signals find their receivers.

    Attributes:
        site: The site that the context is at; None without one.
    """

    def __init__(self, services: SubscriptionServices, broker: Broker[Publication]) -> None:
        self._services = services
        self.broker = broker
        # Peers must hear of the first and the last subscriber in the order in which they came and went.
        self._order = threading.Lock()
        self.site: Site | None = None

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

    def subscribe(
        self, address: Address, signal: str, receiver: QMI_SignalReceiver, history: History | None = None
    ) -> QMI_RpcFuture[None]:
        """Have each signal of an object put into a receiver. Never blocks; every error comes with the future.

        Args:
            address: The object.
            signal: The signal.
            receiver: Where it is put.
            history: What is wanted of what was published before; for that, there has to be a site.
        """
        topic = Topic(*address, signal)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {address}.{signal}")
        try:
            actor = self._services.find_actor(address)
            if actor is not None:
                self.check(actor, signal)
            if history is not None or (actor is None and self._goes_by_site(topic)):
                return self._subscribe_by_site(topic, receiver, history)
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
            if last and self.site is not None:
                self.site.following.unfollow(topic)
            link = self._services.connections.link_to(topic.context)
            if last and link is not None and isinstance(error, QMI_CancelledCallException):
                ask(link, done.what, Unsubscribe(topic.object, topic.signal))

    def unsubscribe(self, address: Address, signal: str, receiver: QMI_SignalReceiver) -> QMI_RpcFuture[None]:
        """End a subscription. Never blocks; every error comes with the future."""
        topic = Topic(*address, signal)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the end of the subscription to {address}.{signal}")
        with self._order:
            last = self.broker.unsubscribe(topic, receiver)
            if last and self.site is not None and self.site.following.follows(topic):
                self.site.following.unfollow(topic)
                last = False
            link = self._services.connections.link_to(address.context)
            if last and link is not None:
                return ask(link, done.what, Unsubscribe(address.object, signal))
        done.set_result(None)  # also if it was not subscribed: then there is nothing to end
        return done

    # By the site

    def _goes_by_site(self, topic: Topic) -> bool:
        """Whether to ask at the site. What comes by a link already goes on to do so, lest anything comes twice."""
        site = self.site
        return site is not None and (site.following.follows(topic) or (site.is_up and not self.broker.has(topic)))

    def _subscribe_by_site(
        self, topic: Topic, receiver: QMI_SignalReceiver, history: History | None
    ) -> QMI_RpcFuture[None]:
        site = self.site
        if site is None:
            raise QMI_SignalSubscriptionException(
                "last and since need a site, which keeps what was published: the configuration has no site.servers"
            )
        if not site.is_up and not site.following.follows(topic):
            raise QMI_SignalSubscriptionException("last and since need a site, and none of its servers is reached now")
        is_here = topic.context == self._services.name
        if not is_here and not self._goes_by_site(topic):
            raise QMI_SignalSubscriptionException(
                "last and since are for signals that come by the site, and this one comes by a link already; "
                "unsubscribe all receivers from it, and subscribe again"
            )
        with self._order:
            if not is_here:
                site.following.follow(topic)
            new = not self.broker.has(topic, receiver)
            joiner = Joiner(receiver) if new and history is not None else None
            self.broker.subscribe(topic, joiner or receiver)
        done: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {'.'.join(topic)}")
        begun = self._services.run(self._begin_at_site, topic, site, joiner, history)
        done.follow(begun)
        if new:
            done.add_done_callback(partial(self._undo, topic, receiver, done))
        return done

    async def _begin_at_site(self, topic: Topic, site: Site, joiner: Joiner | None, history: History | None) -> None:
        try:
            if topic.context != self._services.name:
                try:
                    await site.following.ask(topic)
                except QMI_NotDeliveredException as error:
                    if history is not None:
                        raise QMI_NotDeliveredException(f"context {topic.context!r} is not at the site") from error
                    await self._subscribe_by_link(topic, site)
            if joiner is not None and history is not None:
                past, due = await site.following.history(topic, history)
                self.broker.join(topic, joiner, past, due)
        except QMI_SignalSubscriptionException:
            raise
        except Exception as error:  # goes to the caller
            raise QMI_SignalSubscriptionException(f"Cannot subscribe to {'.'.join(topic)}: {error}") from error

    async def _subscribe_by_link(self, topic: Topic, site: Site) -> None:
        """The publisher is not at the site."""
        link = self._services.link_to(topic.context)
        await call_async(ask(link, f"the subscription to {topic.object}.{topic.signal}", Subscribe(*topic[1:])))
        site.following.unfollow(topic)

    def _by_links(self, context: str) -> list[Topic]:
        """What is subscribed to in a context, and does not come by the site."""
        topics = self.broker.topics_of(context)
        site = self.site
        return topics if site is None else [topic for topic in topics if not site.following.follows(topic)]

    def arrived(self, signals: Sequence[Signal], context: str) -> None:
        """Signals of another context have come by a link. In any thread."""
        if self.site is not None and (large := [one for one in signals if self._is_by_site(one, context)]):
            self._services.loop.now_or_soon(self.site.following.take_from_link, large, context)
            signals = [one for one in signals if not self._is_by_site(one, context)]
        self.broker.arrived(signals, context)

    def _is_by_site(self, signal: Signal, context: str) -> bool:
        return self.site is not None and self.site.following.follows(Topic(context, signal.object, signal.signal))

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

    def serve(self, message: Subscribe | Unsubscribe, origin: Origin, link: Link | None) -> QMI_RpcFuture[None]:
        """A peer subscribes to an object of this context, or ends that; without a link, it asks whether it could."""
        future: QMI_RpcFuture[None] = QMI_RpcFuture(f"the subscription to {message.object}.{message.signal}")
        peer: PeerSubscriber[Publication] | None = None if link is None else PeerSubscriber(origin, link.send_signal)
        try:
            if isinstance(message, Subscribe):
                actor = self._services.registry.get(message.object)
                if actor is None:
                    raise QMI_SignalSubscriptionException(str(self._services.registry.unknown(message.object)))
                self.check(actor, message.signal)
                if peer is None:  # it gets them by the site; from now on they are counted, if they were not before
                    self.broker.publisher_of(message.object, message.signal)
                else:
                    self.broker.subscribe_peer(message.object, message.signal, peer)
            elif peer is not None:
                self.broker.unsubscribe_peer(message.object, message.signal, peer)
        except QMI_SignalSubscriptionException as error:
            future.fail(error)
        else:
            future.set_result(None)
        return future

    def peer_connected(self, context: str, link: Link, restarted: bool | None) -> None:
        """There is a link to a peer; ``restarted`` is None at the first time."""
        if self.site is not None:
            self.site.following.link_there(context)
        if restarted is not None:
            self.renew(context, link, restarted)

    def renew(self, context: str, link: Link, restarted: bool) -> None:
        """A peer has come back: what was subscribed to there is subscribed to again."""
        for topic in self._by_links(context):
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
        if self.site is not None:
            self.site.publishing.drop_listener(origin.incarnation)
            self.site.following.link_lost(origin.context)
        why = f"the link to context {origin.context!r} is gone: {reason}"
        for topic in self._by_links(origin.context):
            if for_good:
                self.broker.drop_topic(topic, why)
            else:
                self.broker.mark_gap(topic, "lost")
