"""Where what is pushed comes from: a function for each kind of topic.

A new kind is a function that takes the topic and what stands behind the colon in its name, and a row of
:data:`Sources.kinds`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import trio

from qmi.actors.future import call_async
from qmi.actors.pubsub.receiver import QMI_SignalReceiver, ReceivedSignal
from qmi.contexts.site_logs import read_site_log
from qmi.core.context import LogBatch
from qmi.data import follow
from qmi.data.rows import Row
from qmi.errors import (
    QMI_Exception,
    QMI_InvalidValueException,
    QMI_TimeoutException,
    QMI_UnknownRpcException,
)
from qmi.messages import Call
from qmi.names import CONTEXT_OBJECT_NAME, Address, is_valid_name, nearest, parse_address, parse_member
from qmi.presenting.places import Place, find_places
from qmi.presenting.published import publishing
from qmi.presenting.seen import as_json
from qmi.web.display import shown, shown_fields, shown_items
from qmi.web.large_values import is_large, json_lazily
from qmi.web.lock_requests import LockRequests
from qmi.web.pushes import Source, Topic
from qmi.web.scans import list_queues, list_scans
from qmi.web.site import Site
from qmi.web.traffic import publish_records, publish_traffic

_LOG_WAIT = 20.0
_QUEUE = 1000
_MOST_OBJECTS = 1000
SCANS_EVERY = 1.0
"""How often the progress of scans is asked for while somebody looks at it, in seconds."""


READINGS_EVERY = 1.0
"""How often it is looked for values that were read and of which no signal tells, in seconds."""


Kind = Callable[[Topic, str], Coroutine[None, None, None]]
"""The source of a kind of topics: it takes the topic, and what stands behind the colon in its name."""


class Sources:
    """The sources of all topics.

    Args:
        site: The contexts.
        locks: The locks of users of the pages.
    """

    def __init__(self, site: Site, locks: LockRequests) -> None:
        self._site = site
        self._locks = locks
        self._readings = _Readings(site)
        self.kinds: dict[str, tuple[Kind, bool]] = {
            "site": (self._of_site, False),
            "status": (self._of_status, False),
            "value": (self._of_value, False),
            "signal": (self._of_signal, False),
            "rows": (self._of_rows, True),
            "scans": (self._of_scans, False),
            "queues": (self._of_queues, False),
            "log": (self._of_log, True),
            "traffic": (self._of_traffic, True),
            "locks": (self._of_locks, False),
        }

    def find(self, name: str) -> tuple[Source, bool]:
        """The source of a topic, and whether it is a list.

        Raises:
            QMI_InvalidValueException: If it is none.
        """
        kind, colon, rest = name.partition(":")
        if kind not in self.kinds:
            near = nearest(kind, self.kinds)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(self.kinds)}"
            raise QMI_InvalidValueException(f"there is no topic {kind!r}: {hint}")
        if (kind in _WITHOUT_NAME) == bool(rest) or bool(colon) != bool(rest):
            raise QMI_InvalidValueException(f"topic must be {_FORMS[kind]}, got {name!r}")
        if kind in ("value", "signal"):
            parse_member(rest)
        if kind in ("status", "log") and not is_valid_name(rest):
            raise QMI_InvalidValueException(f"topic must be {_FORMS[kind]}, got {name!r}")
        if kind == "traffic":
            parse_address(rest)
        source, is_list = self.kinds[kind]
        return partial(_run, source, rest), is_list

    # The site

    async def _of_site(self, topic: Topic, _: str) -> None:
        with self._site.watched():
            while True:
                topic.publish_once([as_json(seen) for seen in self._site.seen()])
                await self._site.news()

    async def _of_status(self, topic: Topic, name: str) -> None:
        with self._site.watched():
            topic.publish(as_json(await self._site.look_at(name)))
            while True:
                await self._site.news()
                topic.publish_once(as_json(self._site.find(name)))

    async def _of_locks(self, topic: Topic, _: str) -> None:
        locks = self._locks
        while True:
            requests, changed = locks.all(), locks.changed
            topic.publish_once([request.to_plain() for request in requests])
            if all(request.taken for request in requests):
                await changed.wait()
                continue
            # The programs are asked only while somebody asks for a lock, which may end without anybody saying so here.
            with self._site.watched():
                await _wait_for_one(changed.wait, self._site.news)
            locks.drop_ended(self._site.seen())

    # Objects

    async def _of_value(self, topic: Topic, member: str) -> None:
        address, path = parse_member(member)
        await self._site.connect(address.context)
        proxy = await self._site.context.get_rpc_object(str(address))
        (place,) = find_places(proxy, address, path)
        heads = publishing(place, {signal.name for signal in proxy.__rpc_interface__.signals})
        receiver = QMI_SignalReceiver(_QUEUE, report_gaps=True)
        try:
            for name in heads:
                await self._site.context.subscribe_signal(address.context, address.object, name, receiver)
            value = _Value(topic, place)
            ended: QMI_Exception | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish_read, value)
                try:
                    async for signal in receiver:
                        if signal.is_gap:
                            topic.publish({"gap": signal.gap})
                            continue
                        head = heads.get(signal.signal_name, ())
                        if signal.args[: len(head)] == head and len(signal.args) > len(head):
                            await value.publish(signal.args[len(head)], signal.timestamp)
                except QMI_Exception as error:  # the object was removed, say; a nursery would make a group of it
                    ended = error
                nursery.cancel_scope.cancel()
            if ended is not None:
                raise ended
        finally:
            await self._unsubscribe(address, heads, receiver)

    async def _publish_read(self, value: _Value) -> None:
        """Publish what was read or set, by whomever and without a signal that tells it; the object is not asked."""
        address = value.place.address
        while True:
            try:
                readings = await self._readings.of(address)
            except QMI_Exception:  # its program has gone, for now or for ever
                readings = {}
            if value.place.path in readings:
                await value.publish_newer(*readings[value.place.path])
            await trio.sleep(READINGS_EVERY)

    async def _of_signal(self, topic: Topic, member: str) -> None:
        address, name = parse_member(member)
        await self._site.connect(address.context)
        receiver = QMI_SignalReceiver(_QUEUE, report_gaps=True)
        try:
            await self._site.context.subscribe_signal(address.context, address.object, name, receiver)
            async for signal in receiver:
                topic.skip(signal.missing)
                if receiver.has_signal_ready() and is_large(signal.args) and not signal.is_gap and not signal.gap:
                    topic.skip(1)  # what comes after it is newer, and here already
                else:
                    await topic.publish_made(partial(_told, signal), signal.args)
        finally:
            await self._unsubscribe(address, [name], receiver)

    async def _unsubscribe(self, address: Address, names: Any, receiver: QMI_SignalReceiver) -> None:
        with trio.move_on_after(2.0, shield=True):
            for name in names:
                try:
                    await self._site.context.unsubscribe_signal(address.context, address.object, name, receiver)
                except QMI_Exception:  # it has gone, and the subscription with it
                    continue

    # Runs and scans

    async def _of_rows(self, topic: Topic, run: str) -> None:
        context, _, name = run.rpartition("/")
        async with follow(name, context=context or None) as follower:
            while rows := await follower.read_async():
                await topic.publish_all(_row, rows)

    async def _of_scans(self, topic: Topic, _: str) -> None:
        with self._site.watched():
            while True:
                topic.publish_once(await list_scans(self._site))
                await trio.sleep(SCANS_EVERY)

    async def _of_queues(self, topic: Topic, _: str) -> None:
        with self._site.watched():
            while True:
                topic.publish_once(await list_queues(self._site))
                await trio.sleep(SCANS_EVERY)

    # Logs

    async def _of_log(self, topic: Topic, name: str) -> None:
        after: int | None = None
        run = ""
        while True:
            batch = await read_log(self._site, name, after=after, limit=200, wait=_LOG_WAIT, run=run)
            publish_records(topic, batch)
            after, run = batch.last, batch.run

    async def _of_traffic(self, topic: Topic, name: str) -> None:
        await publish_traffic(self._site, topic, parse_address(name))


async def _wait_for_one(*waits: Callable[[], Awaitable[None]]) -> None:
    """Wait until one of several things happens."""
    async with trio.open_nursery() as nursery:

        async def wait(wait_for: Callable[[], Awaitable[None]]) -> None:
            await wait_for()
            nursery.cancel_scope.cancel()

        for each in waits:
            nursery.start_soon(wait, each)


_WITHOUT_NAME = ("site", "scans", "queues", "locks")
_FORMS = {
    "site": "site", "status": "status:CONTEXT", "value": "value:CONTEXT.OBJECT.NAME",
    "signal": "signal:CONTEXT.OBJECT.NAME", "rows": "rows:RUN, or rows:CONTEXT/RUN", "scans": "scans",
    "queues": "queues", "log": "log:CONTEXT", "traffic": "traffic:CONTEXT.OBJECT",
    "locks": "locks",
}  # fmt: skip


async def _run(source: Kind, rest: str, topic: Topic) -> None:
    await source(topic, rest)


def _row(row: Row) -> dict[str, object]:
    return {"number": row.number, "time": row.time, "values": shown_fields(row)}


def _told(signal: ReceivedSignal) -> dict[str, object]:
    if signal.is_gap:
        return {"gap": signal.gap}
    gap = {"gap": signal.gap} if signal.gap else {}
    return {"args": shown_items(signal.args), "number": signal.seqnr, "time": signal.timestamp, **gap}


def told_of(place: Place, value: object) -> dict[str, object]:
    """A value of a place, and what belongs to it, for :func:`qmi.web.large_values.json_parts`."""
    told = place.as_json(value)
    return {**told, "value": json_lazily(told["value"])}


def shown_of(place: Place, value: object) -> dict[str, object]:
    """The same, with what is large in the value reduced."""
    told = place.as_json(value)
    return {**told, "value": shown(told["value"])}


async def read_values(site: Site, address: Address) -> dict[str, tuple[object, float]]:
    """The last values of the parameters of an object, each with its time; the object is not asked.

    Raises:
        QMI_Exception: If its context does not answer.
    """
    call = Call(CONTEXT_OBJECT_NAME, "get_readings", (address.object,))
    try:
        found = await call_async(site.context.request(Address(address.context, CONTEXT_OBJECT_NAME), call))
    except QMI_UnknownRpcException:  # of an older version
        return {}
    return {
        name: (entry[0], float(entry[1]))
        for name, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[1], int | float)
    }


class _Readings:
    """The last values of objects: of each object they are asked for once, however many of its values are wanted.

    Args:
        site: The contexts.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[Address, tuple[float, dict[str, tuple[object, float]]]] = {}
        self._asking: dict[Address, trio.Lock] = {}

    async def of(self, address: Address) -> dict[str, tuple[object, float]]:
        """The last values of an object, as they were a moment ago.

        Raises:
            QMI_Exception: If its context does not answer.
        """
        async with self._asking.setdefault(address, trio.Lock()):
            known = self._known.get(address)
            if known is None or trio.current_time() - known[0] > READINGS_EVERY * 0.8:
                if len(self._known) > _MOST_OBJECTS:
                    self._known.clear()
                known = self._known[address] = trio.current_time(), await read_values(self._site, address)
            return known[1]


class _Value:
    """A value as it is published: what a signal tells at once, and what was read without any when it is seen.

    Args:
        topic: Where it is published.
        place: The value.
    """

    def __init__(self, topic: Topic, place: Place) -> None:
        self._topic = topic
        self._time = 0.0
        self._turn = trio.Lock()  # a large value is made in a thread, and the next one comes after it
        self.place: Place = place

    async def publish(self, value: object, when: float) -> None:
        """Publish what it was at a time."""
        async with self._turn:
            await self._publish(value, when)

    async def publish_newer(self, value: object, when: float) -> None:
        """The same, unless that was published, or something newer."""
        async with self._turn:
            if when > self._time:
                await self._publish(value, when)

    async def _publish(self, value: object, when: float) -> None:
        self._time = when
        await self._topic.publish_made(lambda: {**shown_of(self.place, value), "time": when}, value)


async def read_log(site: Site, name: str, **request: Any) -> LogBatch:
    """A part of the log of a context: as the site has it, or else as the context tells it.

    Raises:
        QMI_Exception: If it does not answer.
    """
    batch = await read_site_log(site.context, name, **request)
    if batch is not None:
        return batch
    await site.connect(name)
    call = Call(CONTEXT_OBJECT_NAME, "read_log", (), request)
    with trio.move_on_after(_LOG_WAIT + 10):
        found = await call_async(site.context.request(Address(name, CONTEXT_OBJECT_NAME), call))
        return LogBatch.from_plain(found)
    raise QMI_TimeoutException(f"context {name!r} has not told its log within {_LOG_WAIT + 10:g} s")
