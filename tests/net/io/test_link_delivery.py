from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from qmi.messages import Acquire, Call, Reply, Signal, Subscribe, Token, Unsubscribe, Value
from qmi.net.io.delivery import Delivery
from qmi.net.io.receivers import is_for_the_loop
from qmi.net.protocol.events import (
    CancelReceived,
    Connected,
    CreditReceived,
    Event,
    HelloReceived,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import LossKind

HELLO = Hello(context="far", incarnation="1", workgroup="lab")
SIGNALS = [Signal("nsg", "sig", (), 0, 1.0)]
LOST = PeerLost(LossKind.DISCONNECTED, "gone")


class Listener:
    """A sink and an owner that note what they are told."""

    number = 0

    def __init__(self) -> None:
        self.told: list[Any] = []

    def reply(self, reply: Reply) -> None:
        self.told.append(reply)

    def item(self, value: Any) -> None:
        self.told.append(value)

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.told.append((name, *args))


class FakeLink:
    title = "peer 'far'"


LINK: Any = FakeLink()


def make() -> tuple[Delivery[Any], Listener, Listener, list[str]]:
    """Somebody waits for the answer to request 1."""
    owner, sink, faults = Listener(), Listener(), list[str]()
    delivery = Delivery(LINK, owner, lambda doing, error: faults.append(f"{doing}: {error!r}"))
    delivery.sinks[1] = sink
    return delivery, owner, sink, faults


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (RequestReceived(5, Call("x", "y")), ("request", LINK, 5, Call("x", "y"))),
        (SignalsReceived(SIGNALS), ("signals", LINK, SIGNALS)),
        (CancelReceived(5), ("cancel", LINK, 5)),
        (CreditReceived(5, 3), ("credit", LINK, 5)),
        (HelloReceived(HELLO), ("hello", LINK, HELLO)),
        (Connected(HELLO), ("connected", LINK, HELLO)),
        (LOST, ("lost", LINK, LOST)),
    ],
)
def test_the_owner_hears_of_all_but_answers_and_of_nothing_after_the_loss(event: Event, told: Any) -> None:
    delivery, owner, sink, faults = make()
    delivery.deliver(event)
    assert owner.told == [told]
    if event is not LOST:
        delivery.deliver(LOST)
    del owner.told[:]
    delivery.deliver(event)
    assert owner.told == []
    assert (sink.told, faults) == ([], [])


def test_an_answer_finds_its_sink_once_also_after_the_loss() -> None:
    delivery, owner, sink, _ = make()
    delivery.deliver(LOST)
    for _ in range(2):
        delivery.deliver(ReplyReceived(1, Value(7)))
    delivery.deliver(ReplyReceived(2, Value(8)))
    assert sink.told == [Value(7)]
    assert owner.told == [("lost", LINK, LOST)]


def test_a_stream_keeps_its_sink_until_it_ends() -> None:
    delivery, _, sink, _ = make()
    for event in (StreamOpened(1), ItemReceived(1, "a"), ItemReceived(2, "b"), StreamEnded(1), ItemReceived(1, "c")):
        delivery.deliver(event)
    assert sink.told == [("stream_opened",), "a", ("stream_ended",)]


def test_a_sink_that_waits_no_more_is_told_nothing_and_freed() -> None:
    delivery, _, sink, _ = make()
    freed = weakref.ref(sink)
    delivery.forget(1)
    delivery.forget(1)
    delivery.deliver(ReplyReceived(1, Value(7)))
    assert sink.told == []
    del sink
    gc.collect()
    assert freed() is None


def test_a_fault_of_who_is_told_is_the_end_of_the_link_and_not_of_the_program() -> None:
    class Broken(Listener):
        def reply(self, reply: Reply) -> None:
            raise RuntimeError("no")

    delivery, _, _, faults = make()
    delivery.sinks[2] = Broken()
    delivery.deliver(ReplyReceived(2, Value(7)))
    assert faults == ["passing on ReplyReceived: RuntimeError('no')"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (RequestReceived(1, Call("x", "y")), False),
        (RequestReceived(1, Acquire("x", Token("t"))), False),
        (RequestReceived(1, Subscribe("x", "y")), True),
        (RequestReceived(1, Unsubscribe("x", "y")), True),
        (ReplyReceived(1, Value(None)), False),
        (SignalsReceived(SIGNALS), False),
        (CancelReceived(1), False),
        (HelloReceived(HELLO), True),
        (Connected(HELLO), True),
        (LOST, True),
    ],
)
def test_delivery_leaves_links_and_subscriptions_to_the_loop(event: Event, expected: bool) -> None:
    assert is_for_the_loop(event) is expected
