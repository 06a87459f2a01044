"""A value that cannot be rebuilt ends its own call; the link goes on."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from cbor2 import CBORTag, dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.pubsub.broker import Broker
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_ValueNotSendableException
from qmi.messages import Call, Failure, Signal, Undecodable, Value
from qmi.net.codec import Codec, UndecodableValue
from qmi.net.codec.budget import NotWellFormed, is_well_formed, is_within, weigh
from qmi.net.codec.tags import Own
from qmi.net.io.fan_out import FanOut
from qmi.net.limits import Limits, ProtocolError
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import (
    CancelReceived,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    SignalsReceived,
    StreamOpened,
)
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.link_ends import Role
from qmi.net.protocol.packets import head, pack
from tests.support.protocol import ask, give, make, pair, raw

BAD = [
    CBORTag(1234, 1),
    CBORTag(Own.FRACTION, [1, 0]),
    CBORTag(258, [[1]]),
    {1: CBORTag(Own.DATE, [2020, 13, 1])},
    [CBORTag(Own.BYTES, CBORTag(Own.SEGMENT, 0))],
    CBORTag(Own.DICT, [CBORTag(Own.TUPLE, [CBORTag(Own.DATACLASS, ["m", "q", "x", []])]), 1]),
    CBORTag(Own.EXCEPTION, [1]),
    CBORTag(Own.ARRAY, ["|O", b""]),
]  # fmt: skip


def packet(kind: Kind, number: int, payload: bytes) -> bytes:
    return raw(pack(head(kind, number) + payload))


def still_works(a: Connection, b: Connection) -> None:
    number = ask(a, b)
    assert give(a, b.send_reply(number, Value(7))) == [ReplyReceived(number, Value(7))]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_undecodable_arguments_are_answered_by_an_error_and_the_link_goes_on(bad: Any) -> None:
    a, b = pair()
    number, _ = a.send_request(Call("nsg", "get"))
    a.handed_over(number)
    request = dumps([0, "nsg", "get", [bad], {}, None, []])
    assert b.receive_data(packet(Kind.REQUEST, number, request), 0.0) == []
    (reply,) = give(a, b.data_to_send())
    assert isinstance(reply, ReplyReceived)
    assert isinstance(reply.reply, Failure)
    assert type(reply.reply.error) is QMI_ValueNotSendableException
    assert str(reply.reply.error).startswith("The arguments of nsg.get cannot be rebuilt there: ")
    assert (b.requests.served_count, a.requests.asked_count) == (0, 0)
    still_works(a, b)


@pytest.mark.parametrize("kind", [Kind.VALUE, Kind.FAILURE])
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_undecodable_result_is_the_error_of_its_call(bad: Any, kind: Kind) -> None:
    a, b = pair()
    number = ask(a, b)
    b.send_reply(number, Value(None))
    (reply,) = a.receive_data(packet(kind, number, dumps(bad)), 0.0)
    assert isinstance(reply, ReplyReceived)
    assert isinstance(reply.reply, Failure)
    assert type(reply.reply.error) is QMI_ValueNotSendableException
    assert "nsg.get" in str(reply.reply.error)
    assert "cannot be rebuilt here" in str(reply.reply.error)
    still_works(a, b)


def test_undecodable_result_of_a_cancelled_call_is_dropped() -> None:
    a, b = pair()
    number = ask(a, b)
    give(b, a.cancel_request(number))
    assert a.receive_data(packet(Kind.VALUE, number, dumps(BAD[0])), 0.0) == []
    assert a.requests.asked_count == 0


def test_undecodable_item_ends_its_stream_on_both_sides() -> None:
    a, b = pair()
    number = ask(a, b)
    assert give(a, b.open_stream(number)) == [StreamOpened(number)]
    give(b, a.send_credit(number, 3))
    assert give(a, b.send_item(number, 1)) == [ItemReceived(number, 1)]
    (reply,) = a.receive_data(packet(Kind.ITEM, number, dumps(BAD[0])), 0.0)
    assert isinstance(reply, ReplyReceived)
    assert "An item of nsg.get cannot be rebuilt here" in str(reply.reply.error)  # type: ignore[union-attr]
    assert give(b, a.data_to_send()) == [CancelReceived(number)]
    assert a.receive_data(packet(Kind.ITEM, number, dumps(BAD[0])), 0.0) == []
    assert give(a, b.end_stream(number)) == []
    still_works(a, b)


def test_undecodable_signal_is_marked_and_the_next_one_arrives() -> None:
    a, b = pair()
    good = Signal("nsg", "sig", (1,), 4, 2.0)
    bad = dumps([0, "nsg", "sig", [BAD[0]], 3, 1.0])
    (event,) = b.receive_data(packet(Kind.SIGNAL, 0, bad) + raw(a.send_signal(good)), 0.0)
    assert isinstance(event, SignalsReceived)
    first, second = event.signals
    assert (first.object, first.signal, type(first.args), second) == ("nsg", "sig", Undecodable, good)
    still_works(a, b)


def test_undecodable_signal_counts_as_dropped_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    broker, receiver = Broker("lab", FanOut(lambda watch: False)), QMI_SignalReceiver()
    broker.subscribe(Topic("far", "nsg", "sig"), receiver)
    undecodable = Undecodable()
    undecodable.reason = "no such tag"
    bad = Signal("nsg", "sig", undecodable, 0, 0.0)
    for args in ((1,), (2,)):
        broker.arrived([bad, Signal("nsg", "sig", args, 0, 0.0)], "far")
    broker.arrived([Signal("nsg", "unheard", undecodable, 0, 0.0)], "far")
    found = [receiver.get_next_signal() for _ in range(2)]
    assert [(signal.args, signal.receiver_seqnr) for signal in found] == [((1,), 1), ((2,), 3)]
    assert receiver.dropped == 2
    assert [record.getMessage() for record in caplog.records] == [
        "Signals of nsg.sig of context 'far' are dropped, since they cannot be rebuilt here: no such tag"
    ]


@pytest.mark.parametrize(
    "data",
    [
        packet(Kind.GOODBYE, 0, dumps(BAD[0])),
        packet(Kind.CREDIT, 1, dumps(BAD[0])),
        packet(Kind.VALUE, 99, dumps(BAD[0])),
        packet(Kind.SIGNAL, 0, dumps(BAD[0])),
        packet(Kind.SIGNAL, 0, dumps([0, "nsg"]) + b"\x00"),
        packet(Kind.VALUE, 1, b"\x82\x01"),
        raw(pack(dumps([BAD[0], 1, 2]))),
        raw(pack(dumps([int(Kind.VALUE), 1, BAD[0], 4]))),
    ],
)
def test_nonsense_about_the_link_itself_ends_it(data: bytes) -> None:
    a, b = pair()
    ask(a, b)
    assert isinstance(a.receive_data(data, 0.0)[-1], PeerLost)


def test_undecodable_value_before_the_handshake_ends_the_link() -> None:
    listening = make(Role.LISTENING, "b")
    assert isinstance(listening.receive_data(packet(Kind.REQUEST, 1, dumps(BAD[0])), 0.0)[-1], PeerLost)


# -- the budget


CODEC = Codec()
MIB = 1 << 20
BOMBS = {
    "lists": b"\x80",
    "dicts": b"\xa0",
    "nested lists": b"\x81\x80",
    "sets": dumps(CBORTag(258, [])),
    "frozensets": dumps(CBORTag(Own.FROZENSET, [])),
    "tuples of lists": dumps(CBORTag(Own.TUPLE, [[]])),
    "exceptions": dumps(CBORTag(Own.EXCEPTION, ["m", "q", "", "", [], {}])),
    "arrays": dumps(CBORTag(64, b"a")),
    "raw arrays": dumps(CBORTag(Own.ARRAY, ["<f8", b""])),
    "dataclasses": dumps(CBORTag(Own.DATACLASS, ["m", "q"])),
    "enums": dumps(CBORTag(Own.ENUM, ["m", "q", "n", 1])),
    "named tuples": dumps(CBORTag(Own.NAMED_TUPLE, ["m", "q", "a", 1])),
    "proxies": dumps(CBORTag(Own.PERSISTENT, [])),
    "dates": dumps(CBORTag(Own.DATE, [2020, 1, 1])),
    "bytearrays": dumps(CBORTag(Own.BYTEARRAY, b"")),
    "wide tags": b"\xdb" + (258).to_bytes(8) + b"\x80",
    "texts": b"\x62ab",
}


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(item, id=name, marks=() if number % 4 == 0 else pytest.mark.slow)
        for number, (name, item) in enumerate(BOMBS.items())
    ],
)
def test_a_body_of_small_items_does_not_become_a_hundred_times_its_size(item: bytes) -> None:
    # An eighth of the default limits, so that it is done quickly.
    size = MIB // 2
    codec = Codec(Limits(body=size, objects=Limits().objects // 8), restore=lambda plain: [plain] * 50)
    count = (size - 16) // len(item)
    payload = b"\x9a" + count.to_bytes(4) + item * count
    refused = ""
    tracemalloc.start()
    try:
        assert len(codec.decode(payload)) == count
    except UndecodableValue as error:
        refused = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not refused or "too many objects" in refused
    assert peak < 20 * MIB


def test_more_objects_than_the_limit_are_refused_by_the_sender_with_the_place() -> None:
    codec = Codec(Limits(objects=100_000))
    with pytest.raises(QMI_ValueNotSendableException, match=r"result\[.*\] has too many lists, dicts or named values"):
        codec.encode([[[1]] for _ in range(70_000)], "result")
    with pytest.raises(QMI_ValueNotSendableException, match=r"result has too many objects: the limit is 100000"):
        codec.encode([KeyError(number) for number in range(2_000)], "result")
    with pytest.raises(QMI_ValueNotSendableException, match="result has more items than may be sent at once"):
        codec.encode([1.5] * 200_000, "result")
    encoded = codec.encode([[] for _ in range(10_000)], "result")
    assert codec.decode(encoded.payload, encoded.segments) == [[]] * 10_000


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.binary(max_size=300)),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.builds(CBORTag, st.integers(0, 70_000), inner)
    ),
    max_leaves=20,
)


@given(plain, st.binary(max_size=3))
def test_the_scan_walks_exactly_one_item(value: Any, rest: bytes) -> None:
    data = dumps(value)
    assert is_well_formed(data)
    assert not is_well_formed(data + rest) or not rest
    assert not is_well_formed(data[:-1])
    weight = weigh(data)
    assert is_within(data, weight)
    assert weight == 0 or not is_within(data, weight - 1)


@given(st.binary(max_size=40))
def test_the_scan_never_accepts_what_the_decoder_calls_cut_off(data: bytes) -> None:
    try:
        weigh(data)
    except NotWellFormed:
        with pytest.raises(ProtocolError):
            CODEC.decode(data)


def test_large_bodies_of_numbers_and_texts_need_no_second_look() -> None:
    limits = Limits()
    texts = dumps(["plain text of some length"] * 100_000)
    assert is_within(texts, limits.objects)
    floats = dumps(np.random.default_rng(1).random(400_000).tolist())
    assert is_within(floats, limits.objects)
