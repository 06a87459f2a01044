"""Two peers joined end to end in memory: whatever happens in whatever order, each request ends exactly once."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from qmi.errors import QMI_NotDeliveredException, QMI_OutcomeUnknownException
from qmi.messages import Call, Failure, Value
from qmi.net.limits import Buffer, Limits
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import (
    CancelReceived,
    CreditReceived,
    Event,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import LossKind, Role
from tests.support.examples import examples


class Side:
    """A peer, its queue towards the other side, and what its owner knows."""

    def __init__(self, peer: Connection) -> None:
        self.peer = peer
        self.queue: list[tuple[int | None, bytes]] = []
        self.wire = b""
        self.texts: dict[int, str] = {}
        self.ended: dict[int, str] = {}
        self.given_up: set[int] = set()
        self.serving: dict[int, str] = {}
        self.served: set[str] = set()
        self.streams: set[int] = set()
        self.items: dict[int, list[int]] = {}
        self.is_lost = False

    def put(self, buffers: list[Buffer], number: int | None = None) -> None:
        data = b"".join(bytes(part) for part in buffers)
        if data:
            self.queue.append((number, data))

    def handle(self, events: list[Event]) -> None:
        for event in events:
            assert not self.is_lost, "an event came after the loss"
            self.handle_one(event)

    def handle_one(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert isinstance(event.message, Call)
            text = event.message.args[0]
            assert isinstance(text, str)
            assert text not in self.served, "served twice"
            self.served.add(text)
            self.serving[event.number] = text
        elif isinstance(event, ReplyReceived):
            if isinstance(event.reply, Value):
                assert event.reply.value == self.texts[event.number], "a reply met another request"
                self.end(event.number, "value")
            else:
                self.end(event.number, type(event.reply.error).__name__)
        elif isinstance(event, StreamEnded):
            self.end(event.number, "stream")
        elif isinstance(event, StreamOpened):
            assert event.number not in self.given_up
            self.items[event.number] = []
        elif isinstance(event, ItemReceived):
            assert event.number not in self.given_up
            assert isinstance(event.value, int)
            self.items[event.number].append(event.value)
            assert self.items[event.number] == list(range(len(self.items[event.number])))
        elif isinstance(event, PeerLost):
            self.is_lost = True
            assert event.kind is not LossKind.PROTOCOL, event
        else:
            assert isinstance(event, (CancelReceived, CreditReceived))

    def end(self, number: int, how: str) -> None:
        assert number not in self.ended, "a request ended twice"
        assert number not in self.given_up, "an abandoned request ended"
        self.ended[number] = how


class Joined(RuleBasedStateMachine):
    asked = Bundle("asked")

    @initialize()
    def connect(self) -> None:
        limits = Limits(open_requests=12)
        hellos = [Hello(context=name, incarnation=name, workgroup="lab") for name in "ab"]
        a = Connection(Role.CONNECTING, hellos[0], now=0.0, limits=limits)
        b = Connection(Role.LISTENING, hellos[1], now=0.0, limits=limits)
        b.receive_data(b"".join(map(bytes, a.data_to_send())), 0.0)
        b.accept(0.0)
        a.receive_data(b"".join(map(bytes, b.data_to_send())), 0.0)
        self.sides = [Side(a), Side(b)]
        self.count = 0
        self.now = 0.0

    @rule(target=asked, who=st.integers(0, 1))
    def ask(self, who: int) -> tuple[int, int]:
        side = self.sides[who]
        self.count += 1
        text = f"request {self.count}"
        try:
            number, buffers = side.peer.send_request(Call("o", "m", (text,)))
        except QMI_NotDeliveredException:
            assert side.is_lost or side.peer.requests.asked_count == 12
            return who, 0
        assert number not in side.texts, "a number was used twice"
        side.texts[number] = text
        side.put(buffers, number)
        return who, number

    @rule(request=consumes(asked))
    def give_up(self, request: tuple[int, int]) -> None:
        who, number = request
        side = self.sides[who]
        if number == 0 or number in side.ended:
            return
        side.given_up.add(number)
        buffers = side.peer.cancel_request(number)
        if not buffers:
            side.queue = [(other, data) for other, data in side.queue if other != number]
        side.put(buffers)

    @rule(who=st.integers(0, 1), seed=st.integers(0, 99), how=st.sampled_from(["value", "failure", "stream"]))
    def answer(self, who: int, seed: int, how: str) -> None:
        side = self.sides[who]
        waiting = [number for number in side.serving if number not in side.streams]
        if not waiting:
            return
        number = waiting[seed % len(waiting)]
        if how == "stream":
            side.put(side.peer.open_stream(number))
            side.streams.add(number)
            side.items.pop(-number, None)
            return
        text = side.serving.pop(number)
        side.put(side.peer.send_reply(number, Value(text) if how == "value" else Failure(KeyError(text))))

    @rule(who=st.integers(0, 1), seed=st.integers(0, 99), end=st.booleans())
    def stream_on(self, who: int, seed: int, end: bool) -> None:
        side = self.sides[who]
        if not side.streams:
            return
        number = sorted(side.streams)[seed % len(side.streams)]
        if end:
            side.streams.discard(number)
            side.serving.pop(number)
            side.put(side.peer.end_stream(number))
        elif side.peer.credit(number):
            sent = side.items.setdefault(-number, [])
            side.put(side.peer.send_item(number, len(sent)))
            sent.append(0)

    @rule(request=asked, count=st.integers(1, 3))
    def credit(self, request: tuple[int, int], count: int) -> None:
        side = self.sides[request[0]]
        side.put(side.peer.send_credit(request[1], count))

    @rule(who=st.integers(0, 1), frames=st.integers(1, 4), seed=st.integers(0, 10**6))
    def carry(self, who: int, frames: int, seed: int) -> None:
        side, other = self.sides[who], self.sides[1 - who]
        if side.is_lost and not side.queue:
            return
        side.put(side.peer.data_to_send())
        for number, data in side.queue[:frames]:
            if number is not None:
                side.peer.handed_over(number)
            side.wire += data
        del side.queue[:frames]
        cut = random.Random(seed).randint(0, len(side.wire))
        chunk, side.wire = side.wire[:cut], side.wire[cut:]
        self.now += 0.01
        other.handle(other.peer.receive_data(chunk, self.now))

    @rule(seconds=st.floats(0.0, 30.0), who=st.integers(0, 1))
    def tick(self, seconds: float, who: int) -> None:
        self.now += seconds
        self.sides[who].handle(self.sides[who].peer.tick(self.now))

    @rule(who=st.integers(0, 1), rare=st.integers(0, 9))
    def lose(self, who: int, rare: int) -> None:
        if rare == 0:
            self.sides[who].handle(self.sides[who].peer.receive_eof(self.now))

    @invariant()
    def counts_agree(self) -> None:
        for side in getattr(self, "sides", []):
            if side.is_lost:
                assert side.peer.requests.asked_count == side.peer.requests.served_count == 0
                assert set(side.ended) | side.given_up == set(side.texts)
            else:
                assert side.peer.requests.served_count == len(side.serving)

    def teardown(self) -> None:
        for side in getattr(self, "sides", []):
            unsent = {number for number, _ in side.queue if number is not None}
            before = set(side.ended)
            side.handle(side.peer.close("the end"))
            assert set(side.ended) | side.given_up == set(side.texts)
            for number in set(side.ended) - before:
                expected: Any = QMI_NotDeliveredException if number in unsent else QMI_OutcomeUnknownException
                assert side.ended[number] == expected.__name__


Joined.TestCase.settings = examples(60, stateful_step_count=40)
test_each_request_ends_exactly_once = Joined.TestCase
