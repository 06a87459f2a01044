"""A context at its site: what it publishes, what it has subscribed to, and what others ask it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final, Protocol

import cbor2

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.pubsub.broker import PeerSubscriber, Publisher
from qmi.errors import QMI_Exception
from qmi.messages import Origin, Subscribe
from qmi.names import is_valid_name
from qmi.net.codec import Codec
from qmi.site.client import SiteClient
from qmi.site.following import Following, FollowingBroker, FollowingServices
from qmi.site.publishing import Publishing, PublishingServices
from qmi.site.stream import Stream
from qmi.site.subjects import ask_subject, escape, inbox_root, stream_name
from qmi.site.wire import Message

_logger = logging.getLogger("qmi.core.site")

_MOST_TOPICS: Final = 10_000
_SITE: Final = Origin("the site", "")


class EngineBroker(FollowingBroker, Protocol):
    """What is needed of the broker."""

    def publish_at(self, site: PeerSubscriber[Any]) -> None:
        """Have something get all signals of this context."""

    def publisher_of(self, publisher: str, signal: str) -> Publisher[Any]:
        """The way out for a signal of an object of this context."""

    def published(self, publisher: str, signal: str) -> int:
        """How often an object of this context has published a signal."""


class EngineServices(FollowingServices, PublishingServices, Protocol):
    """What is needed of the context."""

    @property
    def origin(self) -> Origin:
        """How others know it."""

    @property
    def broker(self) -> EngineBroker:
        """Where its signals go out, and those of others find their receivers."""

    def published(self, name: str, signal: str) -> int:
        """How often a signal of this context was published."""

    def ask_for_signal(self, message: Subscribe, answer: QMI_RpcFuture[None]) -> None:
        """Whether an object of this context declares a signal; one that is to come is waited for."""


class SiteEngine:
    """What a context does at its site.

    Args:
        services: The context.
        client: The connection.
        codec: Encodes and decodes arguments.
        workgroup: The workgroup of the site.

    Attributes:
        client: The connection.
        following: What this context has subscribed to.
        publishing: What it publishes.
    """

    def __init__(self, services: EngineServices, client: SiteClient, codec: Codec, workgroup: str) -> None:
        self._services = services
        self._broker = services.broker
        self._inbox = inbox_root(workgroup)
        self.client: SiteClient = client
        stream = Stream(client, stream_name(workgroup))
        self.publishing: Publishing = Publishing(services, client, codec, workgroup)
        self.following: Following = Following(services, client, stream, codec, workgroup)
        asked = ask_subject(workgroup, services.origin.context)
        client.subscribe(asked, self._asked)
        client.subscribe(f"{asked}.{escape(services.origin.incarnation)}", self._asked)
        self._broker.publish_at(PeerSubscriber(_SITE, self.publishing.send))

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""
        return self.client.up.is_set()

    def context_here(self, context: str, incarnation: str) -> None:
        """A context has come to the site, or is there again. On the loop."""
        self.following.publisher_here(context, incarnation)

    def context_gone(self, context: str, incarnation: str) -> None:
        """A context is gone. On the loop."""
        self.publishing.drop_listener(incarnation)
        self.following.publisher_gone(context, incarnation)

    # What others ask, on the loop

    def _asked(self, message: Message) -> None:
        question = _question(message.payload)
        if question is None or not message.reply.startswith(self._inbox):
            return
        kind, incarnation, topics = question
        if kind == "state":
            for name, signal in topics:
                self.publishing.add_listener(name, signal, incarnation)
            self._answer(message.reply, topics)
        elif kind == "subscribe" and len(topics) == 1:
            answer: QMI_RpcFuture[None] = QMI_RpcFuture("a subscription")
            answer.add_done_callback(partial(self._checked, message.reply, incarnation, topics, answer))
            self._services.ask_for_signal(Subscribe(*topics[0]), answer)

    def _checked(
        self, reply: str, incarnation: str, topics: list[tuple[str, str]], answer: QMI_RpcFuture[None]
    ) -> None:
        if (error := answer.error()) is not None:
            text = str(error) if isinstance(error, QMI_Exception) else f"{type(error).__name__}: {error}"
            self.client.publish(reply.encode(), cbor2.dumps(["refused", text]))
            return
        self._services.loop.now_or_soon(self.publishing.add_listener, *topics[0], incarnation)
        self._answer(reply, topics)

    def _answer(self, reply: str, topics: list[tuple[str, str]]) -> None:
        # With the mutex, the answer goes out behind the last signal that it counts, and before the next.
        with self._broker.mutex:
            numbers = [self._broker.published(name, signal) for name, signal in topics]
            pending = self.publishing.pending(topics)
            plain = ["ok", self._services.origin.incarnation, numbers, self.client.stored, pending]
            self.client.publish(reply.encode(), cbor2.dumps(plain))


def _question(payload: bytes) -> tuple[str, str, list[tuple[str, str]]] | None:
    try:
        kind, incarnation, topics = cbor2.loads(payload)
        pairs = [(name, signal) for name, signal in topics]
        is_fine = (
            type(kind) is str
            and type(incarnation) is str
            and len(bytes.fromhex(incarnation)) == 8
            and len(pairs) <= _MOST_TOPICS
            and all(type(name) is str and type(signal) is str and signal.isidentifier() for name, signal in pairs)
            and all(is_valid_name(name.removeprefix("$")) for name, _ in pairs)
        )
    except Exception:  # noqa: BLE001 - whatever somebody has sent
        return None
    return (kind, incarnation, pairs) if is_fine else None
