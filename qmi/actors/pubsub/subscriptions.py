"""Who listens to what: the rule by which a published signal finds its subscribers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from qmi.records import NamedTuple

S = TypeVar("S")


class Topic(NamedTuple):
    """What can be listened to.

    Attributes:
        context: Name of the publisher's context.
        object: Name of the publisher.
        signal: Name of the signal.
    """

    context: str
    object: str
    signal: str


class Subscriptions(Generic[S]):
    """The subscribers (``S``) of every topic, in the order in which they came. Not safe for threads.

    Subscribing twice is like subscribing once.

    Args:
        changed: Called with each topic whose subscribers are others now.
    """

    __slots__ = ("_changed", "_topics")

    def __init__(self, changed: Callable[[Topic], object] = lambda topic: None) -> None:
        self._changed = changed
        self._topics: dict[Topic, dict[S, None]] = {}

    def add(self, topic: Topic, subscriber: S) -> bool:
        """Subscribe; False if it was subscribed before."""
        subscribers = self._topics.setdefault(topic, {})
        if subscriber in subscribers:
            return False
        subscribers[subscriber] = None
        self._changed(topic)
        return True

    def remove(self, topic: Topic, subscriber: S) -> bool | None:
        """Unsubscribe; True if the topic has no subscribers any more, None if this was not one."""
        subscribers = self._topics.get(topic)
        if subscribers is None or subscriber not in subscribers:
            return None
        del subscribers[subscriber]
        if not subscribers:
            del self._topics[topic]
        self._changed(topic)
        return not subscribers

    def replace(self, topic: Topic, old: S, new: S) -> None:
        """Put a subscriber in the place of one that is there."""
        subscribers = self._topics[topic]
        self._topics[topic] = {new if one == old else one: None for one in subscribers}
        self._changed(topic)

    def of(self, topic: Topic) -> tuple[S, ...]:
        """The subscribers of a topic."""
        return tuple(self._topics.get(topic, ()))

    def drop_subscribers(self, gone: Callable[[S], bool]) -> None:
        """Unsubscribe those who are gone from everything."""
        for topic in list(self._topics):
            for subscriber in self.of(topic):
                if gone(subscriber):
                    self.remove(topic, subscriber)

    def drop_topic(self, topic: Topic) -> Iterable[S]:
        """Nothing more will come: unsubscribe everybody, and return who that was."""
        subscribers = tuple(self._topics.pop(topic, ()))
        if subscribers:
            self._changed(topic)
        return subscribers

    def everybody(self) -> set[S]:
        """Who has subscribed to anything; may be asked while another thread changes that."""
        return {subscriber for subscribers in list(self._topics.values()) for subscriber in list(subscribers)}

    def topics_of(self, context: str, name: str | None = None) -> list[Topic]:
        """What is listened to in a context, or of one object in it."""
        return [topic for topic in self._topics if topic.context == context and name in (None, topic.object)]

    def topics(self) -> list[Topic]:
        """What is listened to."""
        return list(self._topics)
