"""What happens, to each browser that wants it: the newest value of each topic, and how many it has missed.

However many browsers look at a topic, its source runs once and its values become JSON once. A source never waits for a
browser: what is kept is kept for the topic, and each browser is no more than a count of what it has got of it.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import trio

from qmi.config.validators import printable
from qmi.errors import QMI_Exception, QMI_InvalidValueException
from qmi.presenting.json_values import dumps
from qmi.web.large_values import aside

_logger = logging.getLogger("qmi.web")

KEPT_ITEMS = 2000
"""Of topics that are lists (rows, log records), so many of the last items wait for a browser that takes nothing."""
KEPT_CHARACTERS = 1_000_000
"""As far as they are no longer than this together."""
HEARTBEAT = 10.0
"""A browser gets something at least this often, in seconds."""
LINGER = 3.0
"""For how long a source runs that nobody wants any more, in seconds: a page that is loaded again wants it at once."""
RETRY = 2.0
"""After how long a source that has failed is started again, in seconds."""
USUAL_RATE = 20.0
"""So many times a second a browser gets something, at most, unless it says otherwise."""

T = TypeVar("T")

_MAKING = trio.CapacityLimiter(1)  # several at a time would keep Python's lock from the event loop


class Item(NamedTuple):
    """Something that was published.

    Attributes:
        number: Counts what the hub has published.
        time: When, in seconds since the epoch.
        text: What, as JSON.
    """

    number: int
    time: float
    text: str


class Topic:
    """A topic that somebody wants.

    What a browser has not got yet is no more than a difference of two counts: nothing is kept for each browser, and
    what several are sent is made once.

    Args:
        name: Its name.
        hub: The hub.
        is_list: Whether each item counts, and not the newest alone.

    Attributes:
        source: Names what publishes: of a topic that nobody wanted for a while, it is another one.
        published: How many items were published so far.
        kept: The newest of them.
        begun: The number of the last item that the hub had published before.
        dropped: The number of the last item that is not kept any more.
    """

    def __init__(self, name: str, hub: Hub, *, is_list: bool) -> None:
        self.name = name
        self.is_list = is_list
        self.source: str = hub.next_source()
        self.begun: int = hub.number
        self.dropped: int = 0
        self.published: int = 0
        self.kept: deque[Item] = deque()
        self.subscriptions: set[Subscription] = set()
        self.scope: trio.CancelScope = trio.CancelScope()
        self.unwanted_since: float = 0.0
        self._hub = hub
        self._head = json.dumps(name)
        self._events: dict[int, bytes] = {}
        self._length = 0
        self._skipped = 0

    def publish(self, value: object) -> None:
        """Tell all who want it. This never waits."""
        self._publish(dumps(value))

    async def publish_made(self, make: Callable[[], object], of: object) -> None:
        """Tell all who want it what a function makes of a value; in a thread if that is large.

        Args:
            make: The function.
            of: The value.
        """
        self._publish(await aside(lambda: dumps(make()), of, _MAKING))

    async def publish_all(self, make: Callable[[T], object], items: Sequence[T]) -> None:
        """Tell all who want it what a function makes of each of several items, as far as they are kept."""
        self.skip(max(0, len(items) - KEPT_ITEMS))
        items = items[-KEPT_ITEMS:]
        for text in await aside(lambda: [dumps(make(item)) for item in items], items, _MAKING):
            self._publish(text)

    def skip(self, count: int) -> None:
        """Count what did not come here, or is not told since something newer is told next."""
        self._skipped += count
        if count and self.is_list:
            self.dropped = self._hub.next_number()

    def publish_once(self, value: object) -> None:
        """The same, unless that is what was published last."""
        text = dumps(value)
        if not self.kept or self.kept[-1].text != text:
            self._publish(text)

    def _publish(self, text: str) -> None:
        self.kept.append(Item(self._hub.next_number(), time.time(), text))
        self._length += len(text)
        most = KEPT_ITEMS if self.is_list else 1
        while len(self.kept) > most or (self._length > KEPT_CHARACTERS and len(self.kept) > 1):
            oldest = self.kept.popleft()
            self.dropped = oldest.number
            self._length -= len(oldest.text)
        self.published += 1 + self._skipped
        self._skipped = 0
        self._events.clear()
        for subscription in self.subscriptions:
            if subscription.is_idle:
                subscription.wake()

    def event(self, count: int) -> bytes:
        """What a browser gets that lacks the last so many items; made once for all that lack as many."""
        made = self._events.get(count)
        if made is None:
            held = len(self.kept)
            items = list(self.kept)[max(0, held - count) :]
            value = f"[{','.join(item.text for item in items)}]" if self.is_list else items[-1].text
            told = f'{{"topic":{self._head},"value":{value},"missed":{count - len(items)},"time":{items[-1].time:.3f},'
            told += f'"number":{self.published}}}'
            made = self._events[count] = f"event: push\ndata: {told}\n\n".encode()
        return made


class Had(NamedTuple):
    """What a browser has got of a topic.

    Attributes:
        source: The source of the topic.
        number: How many items of it were published until then.
    """

    source: str
    number: int

    @classmethod
    def of(cls, text: str) -> Had | None:
        """What a browser says; None if it has nothing.

        Raises:
            QMI_InvalidValueException: If it says something else.
        """
        source, dot, number = text.rpartition(".")
        if text in ("", "-"):
            return None
        if not dot or not (number.isascii() and number.isdigit() and len(number) < 20) or len(source) > 40:
            wanted = "SOURCE.NUMBER, or - for a topic of which nothing is there"
            raise QMI_InvalidValueException(f"after must be {wanted}, got {printable(text)!r}")
        return cls(source, int(number))


class Subscription:
    """What one browser wants, and how much of it it has got.

    Attributes:
        unknown: The topics of which the browser has something, and nobody knows how much it has missed since.
    """

    def __init__(self) -> None:
        self._got: dict[Topic, int] = {}
        self._woken = trio.Event()
        self.is_idle: bool = False
        self.unknown: list[str] = []

    @property
    def sources(self) -> dict[str, str]:
        """The sources of its topics."""
        return {topic.name: topic.source for topic in self._got}

    def add(self, topic: Topic, after: int | None, had: Had | None = None) -> None:
        """Want a topic.

        Args:
            topic: The topic.
            after: The number of the last item of all topics that the browser has; None if it does not say so.
            had: What it has of this topic; None if it does not say so.
        """
        if had is not None and had.source == topic.source and had.number <= topic.published:
            self._got[topic] = had.number
            return
        waiting = sum(1 for item in topic.kept if after is None or item.number > after)
        self._got[topic] = topic.published - waiting
        if had is not None or (after is not None and max(topic.begun, topic.dropped) > after):
            self.unknown.append(topic.name)

    def wake(self) -> None:
        """Say that something waits, or that no more comes."""
        self._woken.set()

    async def wait(self) -> None:
        """Wait until something waits."""
        if any(topic.published != got for topic, got in self._got.items()):
            return
        self._woken = trio.Event()
        self.is_idle = True
        try:
            await self._woken.wait()
        finally:
            self.is_idle = False

    def take(self) -> list[bytes]:
        """The events of all that waits."""
        events = []
        for topic, got in self._got.items():
            published = topic.published
            if published != got:
                events.append(topic.event(published - got))
                self._got[topic] = published
        return events


Source = Callable[[Topic], Coroutine[None, None, None]]


class Hub:
    """Runs a source for each topic that somebody wants.

    Args:
        find: The source of a topic, and whether the topic is a list. It raises an error for a name that is none.

    Attributes:
        number: The number of the last item that was published.
        epoch: Another one for each hub.
        ending: Is set when all streams shall end.
    """

    def __init__(self, find: Callable[[str], tuple[Source, bool]]) -> None:
        self._find = find
        self._topics: dict[str, Topic] = {}
        self._nursery: trio.Nursery | None = None
        self.number: int = 0
        self._sources = 0
        self._subscriptions: set[Subscription] = set()
        self.epoch: str = secrets.token_hex(4)
        self.ending: trio.Event = trio.Event()

    def check(self, name: str) -> None:
        """See whether there is a topic of that name.

        Raises:
            QMI_Exception: If not.
        """
        self._find(name)

    def next_number(self) -> int:
        """The number of the next item."""
        self.number += 1
        return self.number

    def next_source(self) -> str:
        """The name of the source of another topic."""
        self._sources += 1
        return f"{self.epoch}{self._sources:x}"

    @property
    def browsers(self) -> int:
        """How many browsers want something."""
        return len(self._subscriptions)

    @property
    def topics(self) -> int:
        """For how many topics a source runs."""
        return len(self._topics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run sources, for the length of the block."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._end_unwanted)
            nursery.start_soon(self._wake_at_the_end)
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    @contextmanager
    def subscribed(
        self, names: Iterable[str], after: int | None = None, had: Mapping[str, Had] = MappingProxyType({})
    ) -> Iterator[Subscription]:
        """Have what happens wait for a browser, for the length of the block.

        Args:
            names: The topics.
            after: The number of the last item that the browser has; None if it does not say so.
            had: What it has of each topic, as far as it says so.

        Raises:
            QMI_Exception: If one is none.
        """
        found = [(name, *self._find(name)) for name in dict.fromkeys(names)]
        subscription = Subscription()
        self._subscriptions.add(subscription)
        wanted = [self._wanted(*each) for each in found]
        try:
            for topic in wanted:
                subscription.add(topic, after, had.get(topic.name))
                topic.subscriptions.add(subscription)
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            for topic in wanted:
                topic.subscriptions.discard(subscription)
                topic.unwanted_since = trio.current_time()

    def _wanted(self, name: str, source: Source, is_list: bool) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, self, is_list=is_list)
            if self._nursery is not None:
                self._nursery.start_soon(self._run, topic, source)
        return topic

    async def _run(self, topic: Topic, source: Source) -> None:
        with topic.scope:
            while True:
                try:
                    await source(topic)
                    return  # there will be no more; what there was stays
                except QMI_Exception as error:
                    topic.publish_once({"error": {"type": type(error).__name__, "message": str(error)}})
                except Exception as error:  # ends neither the other sources nor the server
                    _logger.exception("What is pushed of %s has failed", topic.name)
                    told = {"type": type(error).__name__, "message": "the server failed; its log says why"}
                    topic.publish_once({"error": told})
                await trio.sleep(RETRY)

    async def _wake_at_the_end(self) -> None:
        await self.ending.wait()
        for subscription in self._subscriptions:
            subscription.wake()

    async def _end_unwanted(self) -> None:
        while True:
            await trio.sleep(LINGER / 2)
            now = trio.current_time()
            for name, topic in list(self._topics.items()):
                if not topic.subscriptions and now - topic.unwanted_since > LINGER:
                    topic.scope.cancel()
                    del self._topics[name]

    # One browser

    async def events(
        self, names: list[str], last_event_id: str, rate: float, had: Mapping[str, Had] = MappingProxyType({})
    ) -> AsyncGenerator[bytes, None]:
        """What one browser gets, as server-sent events.

        Args:
            names: The topics.
            last_event_id: Of the last event that it has; empty if it has none.
            rate: How many times a second it gets something, at most.
            had: What it has of each topic, as far as it says so.
        """
        after, away = self._resumed(last_event_id)
        with self.subscribed(names, after, had) as subscription:
            unknown = subscription.unknown if after is not None or not last_event_id else names
            hello = {
                "topics": names, "away": away, "resumed": after is not None, "beat": HEARTBEAT,
                "sources": subscription.sources, "unknown": unknown,
            }  # fmt: skip
            yield self._event("hello", json.dumps(hello), self.number if after is None else after, retry=True)
            while not self.ending.is_set():
                with trio.move_on_after(HEARTBEAT) as waited:
                    await subscription.wait()
                if waited.cancelled_caught:
                    yield self._event("beat", "{}", self.number)
                elif events := subscription.take():
                    # One piece, whatever comes: the number stands at its end, so that all of it has come with that.
                    events[-1] = self._identifier(self.number) + events[-1]
                    yield b"".join(events)
                    await self._next_turn(rate)

    async def _next_turn(self, rate: float) -> None:
        """Wait until a browser may get something again.

        All that get as much as often get it at the same moments, so that they are served in one go, and what comes at
        this very rate is not left out: a browser that got something between two of these moments waits for the next.
        """
        turn = math.floor(trio.current_time() * rate + 1e-6) + 1
        with trio.move_on_at(turn / rate):
            await self.ending.wait()

    def _event(self, kind: str, data: str, number: int, *, retry: bool = False) -> bytes:
        head = "retry: 1000\n" if retry else ""
        return head.encode() + self._identifier(number) + f"event: {kind}\ndata: {data}\n\n".encode()

    def _identifier(self, number: int) -> bytes:
        return f"id: {self.epoch}-{number}-{int(time.time() * 1000)}\n".encode()

    def _resumed(self, last_event_id: str) -> tuple[int | None, float | None]:
        """After which number a browser goes on, and for how long it was away, in seconds; None if it is new."""
        epoch, _, rest = last_event_id.partition("-")
        number, _, since = rest.partition("-")
        if not (number.isascii() and number.isdigit() and since.isascii() and since.isdigit() and len(since) < 20):
            return None, None
        away = max(0.0, round(time.time() - int(since) / 1000, 3))
        return (int(number) if epoch == self.epoch and len(number) < 20 else None), away
