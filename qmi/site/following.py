"""The signals of other contexts that come by the site: in order, each once, and nothing missing without being told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, Final, NamedTuple, Protocol

import cbor2
import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.pubsub.history import History, Past
from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_Exception, QMI_NotDeliveredException, QMI_SignalSubscriptionException, QMI_TimeoutException
from qmi.messages import NO_MORE_SIGNALS, Args, Origin, Signal, Undecodable
from qmi.net.codec import Codec
from qmi.net.limits import ProtocolError
from qmi.net.protocol.packets import read_signal
from qmi.runtime.wakeup import Loop
from qmi.site.client import SiteClient, Subscription
from qmi.site.envelope import Envelope, Form, from_bytes, split_segments
from qmi.site.feed import AskWho, Ended, Feed, Missing, Read, Step, Tell, TellLarge, in_order
from qmi.site.stream import Stream
from qmi.site.subjects import ask_subject, escape, signal_subject
from qmi.site.wire import Message

_logger = logging.getLogger("qmi.core.site")

ASK_TIME: Final = 30.0
"""Seconds that a publisher has to say whether there is such a signal: it may still be making the object."""
_WHO_TIME: Final = 2.0
_READINGS: Final = 20
_LATE: Final = 0.05
"""How often, and after how many seconds, the stream is read again that has not got the newest signals yet."""
_LATER: Final = 0.25
_MOVING: Final = 5.0
"""Seconds that a context may take to come to another server."""
_PATIENCE: Final = 60.0
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0
_AT_ONCE: Final = 500
"""So many signals of a publisher are asked for together."""


class FollowingBroker(Protocol):
    """What is needed of the broker."""

    @property
    def mutex(self) -> AbstractContextManager[object]:
        """Held while a signal is told."""

    def arrived(self, signals: Sequence[Signal], context: str) -> None:
        """Signals of another context have come."""

    def mark_gap(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Signals may be missing."""

    def report(self, topic: Topic, gap: str) -> None:
        """Something happened."""

    def drop_topic(self, topic: Topic, why: str) -> None:
        """Nothing more will come."""


class FollowingServices(Protocol):
    """What is needed of the context."""

    @property
    def origin(self) -> Origin:
        """How others know this context."""

    @property
    def broker(self) -> FollowingBroker:
        """Where signals find their receivers."""

    @property
    def loop(self) -> Loop:
        """Its loop."""

    def run(self, function: Callable[..., Awaitable[None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function until the context ends."""

    def has_link(self, context: str) -> bool:
        """Whether there is a link to a context."""

    def published(self, name: str, signal: str) -> int:
        """How often a signal of this context was published."""


class _Followed:
    """A topic that somebody here has subscribed to."""

    def __init__(self, topic: Topic, subject: str, feed: Feed[Signal]) -> None:
        self.topic = topic
        self.subject = subject
        self.feed = feed
        self.subscription: Subscription
        self.readings = 0
        self.is_lost = False


class Following:
    """What this context has subscribed to at its site. On the loop, but for what says otherwise.

    Args:
        services: The context.
        client: The connection.
        stream: What the servers have kept.
        codec: Decodes arguments.
        workgroup: The workgroup of the site.
    """

    def __init__(
        self, services: FollowingServices, client: SiteClient, stream: Stream, codec: Codec, workgroup: str
    ) -> None:
        self._services = services
        self._broker = services.broker
        self._client = client
        self._stream = stream
        self._codec = codec
        self._workgroup = workgroup
        self._incarnation = services.origin.incarnation
        # Which topics are followed, which any thread may ask and change; their feeds are for the loop alone.
        self._mutex = threading.Lock()
        self._followed: dict[Topic, _Followed] = {}
        client.on_up.append(self._came_back)
        client.on_down.append(self._went_away)

    # From any thread

    def follows(self, topic: Topic) -> bool:
        """Whether the signals of a topic come by the site."""
        return topic in self._followed

    def follow(self, topic: Topic) -> None:
        """Let the signals of a topic come by the site."""
        with self._mutex:
            if topic in self._followed:
                return
            subject = signal_subject(self._workgroup, *topic)
            followed = _Followed(topic, subject, Feed(self._incarnation))
            followed.subscription = self._client.subscribe(subject, lambda message: self._came(followed, message))
            self._followed[topic] = followed
        # On the loop, since that is where links come and go: none of it is missed, or taken for what it was before.
        self._services.loop.now_or_soon(self._look_for_link, followed)

    def _look_for_link(self, followed: _Followed) -> None:
        followed.feed.has_link = self._services.has_link(followed.topic.context)

    def unfollow(self, topic: Topic) -> None:
        """Let them come no more."""
        with self._mutex:
            followed = self._followed.pop(topic, None)
        if followed is not None:
            self._client.unsubscribe(followed.subscription)

    def _of(self, context: str) -> list[_Followed]:
        with self._mutex:
            return [one for one in self._followed.values() if one.topic.context == context]

    def _is_on(self, followed: _Followed) -> bool:
        return self._followed.get(followed.topic) is followed

    # Signals

    def _came(self, followed: _Followed, message: Message) -> None:
        # With headers, it is no signal: a server has put an answer there, since somebody had it sent there.
        envelope = None if message.head else from_bytes(message.payload)
        if envelope is None or not self._is_on(followed):
            return
        if envelope.incarnation == followed.feed.incarnation:
            self._here_again(followed)
        self._do(followed, followed.feed.live(envelope))

    def _do(self, followed: _Followed, steps: Sequence[Step[Signal]]) -> None:
        signals: list[Signal] = []
        for step in steps:
            if isinstance(step, Tell):
                signals.append(self._signal(followed.topic, step.envelope))
                continue
            if isinstance(step, TellLarge):
                signals.append(step.signal)
                continue
            self._tell(followed.topic, signals)
            signals = []
            if isinstance(step, Missing):
                self._broker.mark_gap(followed.topic, step.gap, step.number)
                if step.gap == "restarted":
                    followed.is_lost = False
                    self._services.run(self._renew, followed)
            elif isinstance(step, Read):
                self._begin_reading(followed, step.sequence)
            elif isinstance(step, AskWho):
                self._services.run(self._ask_who, followed, step.incarnation)
            elif isinstance(step, Ended):
                self.unfollow(followed.topic)
                _, name, signal = followed.topic
                self._tell(followed.topic, [Signal(name, signal, (), NO_MORE_SIGNALS, 0.0)])
        self._tell(followed.topic, signals)

    def _tell(self, topic: Topic, signals: list[Signal]) -> None:
        if signals:
            self._broker.arrived(signals, topic.context)

    def _signal(self, topic: Topic, envelope: Envelope) -> Signal:
        return Signal(topic.object, topic.signal, self._args(envelope), envelope.number, envelope.timestamp)

    def _args(self, envelope: Envelope) -> Args:
        try:
            if envelope.form is Form.SEGMENTS:
                parts = split_segments(envelope.body)
                if parts is None:
                    raise ProtocolError("its large buffers are cut off")
                return read_signal(self._codec.decode(*parts), newer=True).args
            return read_signal(self._codec.decode(envelope.body), newer=True).args
        except ProtocolError as error:
            args = Undecodable()
            args.reason = str(error)
            return args

    # Links, of which large signals come

    def take_from_link(self, signals: Sequence[Signal], context: str) -> list[Signal]:
        """Signals came by a link: those are returned that do not come by the site. On the loop."""
        others = []
        for signal in signals:
            followed = self._followed.get(Topic(context, signal.object, signal.signal))
            if followed is None or signal.seqnr == NO_MORE_SIGNALS:
                others.append(signal)
            else:
                self._do(followed, followed.feed.large(signal.seqnr, signal))
        return others

    def link_there(self, context: str) -> None:
        """There is a link to a context."""
        for followed in self._of(context):
            followed.feed.has_link = True

    def link_lost(self, context: str) -> None:
        """The link to a context is gone."""
        for followed in self._of(context):
            self._do(followed, followed.feed.link_lost())
        if self._of(context):
            self._services.run(self._look_after, context)

    async def _look_after(self, context: str) -> None:
        """Is the context still at the site? Nobody says so without presence."""
        for incarnation in {one.feed.incarnation for one in self._of(context)} - {""}:
            if self._client.is_up and not await self._is_there(context, incarnation):
                self.publisher_gone(context, incarnation)

    # Publishers come and go

    def publisher_gone(self, context: str, incarnation: str) -> None:
        """A context has left the site."""
        for followed in self._of(context):
            if followed.feed.incarnation == incarnation:
                self._lose(followed)

    def publisher_here(self, context: str, incarnation: str) -> None:
        """A context is at the site, maybe again."""
        for followed in self._of(context):
            if incarnation == followed.feed.incarnation:
                self._here_again(followed)
            else:
                self._do(followed, followed.feed.restarted(incarnation))

    def _lose(self, followed: _Followed) -> None:
        if not followed.is_lost:
            followed.is_lost = True
            self._broker.report(followed.topic, "lost")

    def _here_again(self, followed: _Followed) -> None:
        if followed.is_lost:
            followed.is_lost = False
            self._broker.report(followed.topic, "resumed")

    async def _is_there(self, context: str, incarnation: str) -> bool:
        subject = f"{ask_subject(self._workgroup, context)}.{escape(incarnation)}"
        try:
            await self._client.request(subject, _question("state", self._incarnation, []), timeout=_WHO_TIME)
        except (QMI_NotDeliveredException, QMI_TimeoutException):
            return False
        return True

    async def _ask_who(self, followed: _Followed, incarnation: str) -> None:
        is_there = await self._is_there(followed.topic.context, incarnation)
        if self._is_on(followed) and self._client.is_up:
            self._do(followed, followed.feed.answered(is_there))

    async def _renew(self, followed: _Followed) -> None:
        """A program that starts is at the site before it has its objects: ask until the object is there."""
        delay, end = _FIRST_DELAY, trio.current_time() + _PATIENCE
        while self._is_on(followed):
            try:
                await self.ask(followed.topic)
            except (QMI_NotDeliveredException, QMI_TimeoutException):
                return  # whoever comes next is asked then
            except QMI_SignalSubscriptionException as error:
                if trio.current_time() > end:
                    _logger.warning("The subscription to %s.%s was not made again: %s", *followed.topic[1:], error)
                    self.unfollow(followed.topic)
                    self._broker.drop_topic(followed.topic, str(error))
                    return
            else:
                return
            await trio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    # Servers come and go

    def _went_away(self, reason: str) -> None:
        for followed in list(self._followed.values()):
            self._lose(followed)

    def _came_back(self) -> None:
        by_context: dict[str, list[_Followed]] = {}
        for followed in list(self._followed.values()):
            by_context.setdefault(followed.topic.context, []).append(followed)
        for context, some in by_context.items():
            for begin in range(0, len(some), _AT_ONCE):
                self._services.run(self._look_back, context, some[begin : begin + _AT_ONCE])

    async def _look_back(self, context: str, some: list[_Followed]) -> None:
        incarnation, numbers = "", [-1] * len(some)
        question = _question("state", self._incarnation, [list(one.topic[1:]) for one in some])
        try:
            subject = ask_subject(self._workgroup, context)
            answer = _answer(await self._client.request(subject, question, timeout=_WHO_TIME))
            if len(answer.numbers) == len(some):
                incarnation, numbers = answer.incarnation, answer.numbers
        except (QMI_NotDeliveredException, QMI_TimeoutException, QMI_SignalSubscriptionException):
            pass  # it is not back yet, but what it published may be in the stream
        for followed, number in zip(some, numbers, strict=True):
            if not self._is_on(followed) or not followed.feed.incarnation:
                continue
            if incarnation:
                self._here_again(followed)
            self._do(followed, followed.feed.look_back(incarnation, number))
            if incarnation and not followed.feed.is_waiting:
                self._do(followed, followed.feed.restarted(incarnation))

    # Reading the stream

    def _begin_reading(self, followed: _Followed, sequence: int) -> None:
        followed.readings += 1
        self._services.run(self._read, followed, sequence, followed.readings)

    async def _read(self, followed: _Followed, sequence: int, reading: int) -> None:
        found: list[Envelope] = []
        feed = followed.feed
        begun, is_last = trio.current_time(), False
        for attempt in count(1):
            try:
                found = await self._stream.read(followed.subject, sequence=sequence)
            except (QMI_NotDeliveredException, QMI_TimeoutException) as error:
                if not self._client.is_up:
                    return  # once it is, it is looked back
                _logger.warning("What was missed of %s cannot be read: %s", followed.subject, error)
            if not self._is_on(followed) or followed.readings != reading:
                return
            if is_last or _is_complete(found, feed):
                break
            if attempt >= _READINGS or (_reached(found, feed.incarnation) >= feed.needs and feed.needs >= feed.due):
                is_last = not await self._is_on_its_way(followed, trio.current_time() - begun)
            # What is published is told before it is kept; and a stream that was made anew counts from 1 again.
            sequence = sequence if found else 1
            await trio.sleep(_LATE if attempt < _READINGS else _LATER)
        if self._is_on(followed) and followed.readings == reading:
            self._do(followed, feed.read(found))

    async def _is_on_its_way(self, followed: _Followed, waited: float) -> bool:
        """Whether the servers will still get what is missing: they refuse signals while they agree on a leader."""
        if waited > _PATIENCE:
            return False
        context, name, signal = followed.topic
        subject = f"{ask_subject(self._workgroup, context)}.{escape(followed.feed.incarnation)}"
        question = _question("state", self._incarnation, [[name, signal]])
        try:
            pending = _answer(await self._client.request(subject, question, timeout=_WHO_TIME)).pending
        except (QMI_NotDeliveredException, QMI_TimeoutException, QMI_SignalSubscriptionException):
            # It is gone; or it was at the server that is lost, and is on its way to another one.
            return self._client.is_cluster and waited < _MOVING
        return bool(pending) and 0 <= pending[0] <= followed.feed.needs

    # Subscribing

    async def ask(self, topic: Topic) -> None:
        """Ask the publisher for a topic that is followed.

        Raises:
            QMI_NotDeliveredException: If it is not at the site.
            QMI_SignalSubscriptionException: If there is no such signal, or no answer.
        """
        context, name, signal = topic
        subject = ask_subject(self._workgroup, context)
        try:
            question = _question("subscribe", self._incarnation, [[name, signal]])
            message = await self._client.request(subject, question, timeout=ASK_TIME)
        except QMI_TimeoutException as error:
            raise QMI_SignalSubscriptionException(
                f"Context {context!r} has not answered within {ASK_TIME:g} s whether there is {name}.{signal}"
            ) from error
        incarnation, numbers, stored, _ = _answer(message)
        followed = self._followed.get(topic)
        if followed is not None and numbers:
            self._do(followed, followed.feed.begin(incarnation, numbers[0], stored))

    async def history(self, topic: Topic, wanted: History) -> tuple[list[Past], int]:
        """What was published before, and the number of the next signal.

        Raises:
            QMI_NotDeliveredException: If there is no connection to the site, or it keeps nothing.
            QMI_TimeoutException: If the site does not answer.
        """
        subject = signal_subject(self._workgroup, *topic)
        found: list[Envelope] = []
        is_kept = False
        for _ in range(_READINGS):
            incarnation, due = self._state(topic)
            found = await self._kept(subject, wanted, incarnation)
            if is_kept or _reached(found, incarnation) >= due - 1:
                break
            last = None if found else await self._stream.last(subject)
            if last is not None and last.incarnation == incarnation and last.number >= due - 1:
                is_kept = True  # by now: if the next reading finds nothing, it is older than what is wanted
            else:
                await trio.sleep(_LATE)
        incarnation, due = self._state(topic)
        past = list(self._past(topic, found, incarnation))
        return (past[-1:] if wanted == History() else past), due

    def _state(self, topic: Topic) -> tuple[str, int]:
        followed = self._followed.get(topic)
        if followed is not None:
            return followed.feed.incarnation, followed.feed.due
        return self._incarnation, self._services.published(topic.object, topic.signal)

    async def _kept(self, subject: str, wanted: History, incarnation: str) -> list[Envelope]:
        if wanted.begin is not None:
            return in_order(await self._stream.read(subject, begin=wanted.begin))
        if wanted.seconds is not None:
            return in_order(await self._stream.read(subject, begin=await self._stream.now() - wanted.seconds))
        last = await self._stream.last(subject)
        if last is not None and last.form in (Form.PLAIN, Form.SEGMENTS) and last.incarnation == incarnation:
            return [last]
        return in_order(await self._stream.read(subject))

    def _past(self, topic: Topic, found: Sequence[Envelope], incarnation: str) -> list[Past]:
        past: list[Past] = []
        before: Envelope | None = None
        for envelope in found:
            gap, missing = "", 0
            if before is not None and before.incarnation != envelope.incarnation:
                gap = "restarted"
            elif before is not None and envelope.number > before.number + 1:
                gap, missing = "dropped", envelope.number - before.number - 1
            args = Undecodable() if envelope.form in (Form.LARGE, Form.END) else self._args(envelope)
            if type(args) is Undecodable:
                continue
            told = (*topic, args, envelope.number, envelope.timestamp)
            past.append(Past(told, envelope.incarnation == incarnation, gap, missing))
            before = envelope
        return past


def _reached(found: Sequence[Envelope], incarnation: str) -> int:
    return max((one.number for one in found if one.incarnation == incarnation), default=-1)


def _is_complete(found: Sequence[Envelope], feed: Feed[Signal]) -> bool:
    """Whether nothing is missing of what is due."""
    numbers = {one.number for one in found if one.incarnation == feed.incarnation}
    return _reached(found, feed.incarnation) >= feed.needs and numbers.issuperset(range(feed.due, feed.needs + 1))


class _Answer(NamedTuple):
    incarnation: str
    numbers: list[int]
    stored: int
    pending: list[int]


def _question(kind: str, incarnation: str, topics: list[list[str]]) -> bytes:
    return cbor2.dumps([kind, incarnation, topics])


def _answer(message: Message) -> _Answer:
    """What a publisher says: its incarnation, the next numbers of its signals, what was stored, what is still to be.

    Raises:
        QMI_SignalSubscriptionException: If it refuses, or makes no sense.
    """
    try:
        plain: Any = cbor2.loads(message.payload)
        if plain[0] == "refused":
            raise QMI_SignalSubscriptionException(str(plain[1]))
        incarnation, numbers, stored = plain[1], plain[2], plain[3]
        if plain[0] == "ok" and len(bytes.fromhex(incarnation)) == 8 and all(type(one) is int for one in numbers):
            return _Answer(
                incarnation, list(numbers), int(stored), [int(one) for one in (plain[4] if len(plain) > 4 else ())]
            )
    except QMI_Exception:
        raise
    except Exception as error:
        raise QMI_SignalSubscriptionException(f"The publisher's answer makes no sense: {error}") from error
    raise QMI_SignalSubscriptionException("The publisher's answer makes no sense")
