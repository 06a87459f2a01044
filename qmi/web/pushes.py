"""What happens, to each browser that wants it: the newest value of each topic, and how many it has missed.

However many browsers look at a topic, its source runs once. A source never waits for a browser: each browser has a
place for the newest value of each of its topics, which is overwritten while the browser takes nothing.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import trio

from qmi.errors import QMI_Exception
from qmi.presenting.json_values import dumps

_logger = logging.getLogger("qmi.web")

KEPT_ITEMS = 2000
"""Of topics that are lists (rows, log records), so many of the last items wait for a browser that takes nothing."""
HEARTBEAT = 10.0
"""A browser gets something at least this often, in seconds."""
LINGER = 3.0
"""For how long a source runs that nobody wants any more, in seconds: a page that is loaded again wants it at once."""
RETRY = 2.0
"""After how long a source that has failed is started again, in seconds."""
USUAL_RATE = 20.0
"""So many times a second a browser gets something, at most, unless it says otherwise."""


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

    Args:
        name: Its name.
        hub: The hub.
        is_list: Whether each item counts, and not the newest alone.
    """

    def __init__(self, name: str, hub: Hub, *, is_list: bool) -> None:
        self.name = name
        self.is_list = is_list
        self.kept: deque[Item] = deque(maxlen=KEPT_ITEMS if is_list else 1)
        self.subscriptions: set[Subscription] = set()
        self.scope: trio.CancelScope = trio.CancelScope()
        self.unwanted_since: float = 0.0
        self._hub = hub
        self._head = json.dumps(name)

    def publish(self, value: object) -> None:
        """Tell all who want it. This never waits."""
        self._publish(dumps(value))

    def publish_once(self, value: object) -> None:
        """The same, unless that is what was published last."""
        text = dumps(value)
        if not self.kept or self.kept[-1].text != text:
            self._publish(text)

    def _publish(self, text: str) -> None:
        item = Item(self._hub.next_number(), time.time(), text)
        self.kept.append(item)
        for subscription in self.subscriptions:
            subscription.put(self, item)

    def entry(self, items: Iterable[Item], missed: int) -> str:
        """What a browser gets of this topic, as JSON."""
        listed = list(items)
        value = f"[{','.join(item.text for item in listed)}]" if self.is_list else listed[-1].text
        return f'{{"topic":{self._head},"value":{value},"missed":{missed},"time":{listed[-1].time:.3f}}}'


class Subscription:
    """What one browser wants, and has not got yet."""

    def __init__(self) -> None:
        self._waiting: dict[Topic, deque[Item]] = {}
        self._missed: dict[Topic, int] = {}
        self._woken = trio.Event()

    def put(self, topic: Topic, item: Item) -> None:
        """Have an item wait for the browser; of what waits already, the oldest may be dropped."""
        waiting = self._waiting.get(topic)
        if waiting is None:
            waiting = self._waiting[topic] = deque(maxlen=topic.kept.maxlen)
        elif len(waiting) == waiting.maxlen:
            self._missed[topic] = self._missed.get(topic, 0) + 1
        waiting.append(item)
        self._woken.set()

    async def wait(self) -> None:
        """Wait until something waits."""
        await self._woken.wait()

    def take(self) -> tuple[int, list[str]]:
        """All that waits: the number of the newest, and what the browser gets."""
        waiting, self._waiting = self._waiting, {}
        missed, self._missed = self._missed, {}
        self._woken = trio.Event()
        newest = max((items[-1].number for items in waiting.values()), default=0)
        return newest, [topic.entry(items, missed.get(topic, 0)) for topic, items in waiting.items()]


Source = Callable[[Topic], Coroutine[None, None, None]]


class Hub:
    """Runs a source for each topic that somebody wants.

    Args:
        find: The source of a topic, and whether the topic is a list. It raises an error for a name that is none.
    """

    def __init__(self, find: Callable[[str], tuple[Source, bool]]) -> None:
        self._find = find
        self._topics: dict[str, Topic] = {}
        self._nursery: trio.Nursery | None = None
        self._number = 0
        self.epoch: str = secrets.token_hex(4)
        self.browsers: int = 0
        self.ending: trio.Event = trio.Event()

    def check(self, name: str) -> None:
        """See whether there is a topic of that name.

        Raises:
            QMI_Exception: If not.
        """
        self._find(name)

    def next_number(self) -> int:
        """The number of the next item."""
        self._number += 1
        return self._number

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
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    @contextmanager
    def subscribed(self, names: Iterable[str], after: int | None = None) -> Iterator[Subscription]:
        """Have what happens wait for a browser, for the length of the block.

        Args:
            names: The topics.
            after: The number of the last item that the browser has; None if it has none.

        Raises:
            QMI_Exception: If one is none.
        """
        found = [(name, *self._find(name)) for name in dict.fromkeys(names)]
        subscription = Subscription()
        self.browsers += 1
        wanted = [self._wanted(*each) for each in found]
        try:
            for topic in wanted:
                for item in topic.kept:
                    if after is None or item.number > after:
                        subscription.put(topic, item)
                topic.subscriptions.add(subscription)
            yield subscription
        finally:
            self.browsers -= 1
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
                await trio.sleep(RETRY)

    async def _end_unwanted(self) -> None:
        while True:
            await trio.sleep(LINGER / 2)
            now = trio.current_time()
            for name, topic in list(self._topics.items()):
                if not topic.subscriptions and now - topic.unwanted_since > LINGER:
                    topic.scope.cancel()
                    del self._topics[name]

    # One browser

    async def events(self, names: list[str], last_event_id: str, rate: float) -> AsyncGenerator[bytes, None]:
        """What one browser gets, as server-sent events.

        Args:
            names: The topics.
            last_event_id: Of the last event that it has; empty if it has none.
            rate: How many times a second it gets something, at most.
        """
        after, away = self._resumed(last_event_id)
        with self.subscribed(names, after) as subscription:
            hello = {"topics": names, "away": away, "resumed": after is not None, "beat": HEARTBEAT}
            yield self._event("hello", json.dumps(hello), self._number if after is None else after, retry=True)
            while not self.ending.is_set():
                with trio.move_on_after(HEARTBEAT) as waited:
                    await _first(subscription.wait, self.ending.wait)
                if waited.cancelled_caught:
                    yield self._event("beat", "{}", self._number)
                    continue
                number, entries = subscription.take()
                if entries:
                    # One piece, whatever comes: the number stands at its end, so that all of it has come with that.
                    pushes = "".join(f"event: push\ndata: {entry}\n\n" for entry in entries[:-1])
                    yield pushes.encode() + self._event("push", entries[-1], number)
                    await trio.sleep(1.0 / rate)

    def _event(self, kind: str, data: str, number: int, *, retry: bool = False) -> bytes:
        head = "retry: 1000\n" if retry else ""
        return f"{head}id: {self.epoch}-{number}-{int(time.time() * 1000)}\nevent: {kind}\ndata: {data}\n\n".encode()

    def _resumed(self, last_event_id: str) -> tuple[int | None, float | None]:
        """After which number a browser goes on, and for how long it was away, in seconds; None if it is new."""
        epoch, _, rest = last_event_id.partition("-")
        number, _, since = rest.partition("-")
        if not (number.isascii() and number.isdigit() and since.isascii() and since.isdigit() and len(since) < 20):
            return None, None
        away = max(0.0, round(time.time() - int(since) / 1000, 3))
        return (int(number) if epoch == self.epoch and len(number) < 20 else None), away


async def _first(*functions: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for the first of several."""
    async with trio.open_nursery() as nursery:

        async def one(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
            await function()
            nursery.cancel_scope.cancel()

        for function in functions:
            nursery.start_soon(one, function)
