from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cbor2 import dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import (
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
    QMI_ValueNotSendableException,
)
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    Failure,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
    Signal,
    Subscribe,
    Token,
    Unsubscribe,
    Value,
)
from qmi.net.limits import Limits
from qmi.net.protocol.connection import HEARTBEAT
from qmi.net.protocol.events import (
    CancelReceived,
    CreditReceived,
    Event,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.handshake import Identity
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.link_ends import LossKind, Role
from qmi.net.protocol.packets import MINOR, head, pack
from tests.support.examples import examples
from tests.support.protocol import GET, ask, give, make, pair, raw

CALL = Call("nsg", "get", (1, 2.5), {"x": "y"})


def body(kind: int, number: int, payload: Any) -> bytes:
    return raw(pack(head(Kind.PING, number)[:1] + bytes([kind]) + head(Kind.PING, number)[2:] + dumps(payload)))


def test_handshake_makes_both_sides_know_each_other() -> None:
    a, b = pair()
    assert a.is_ready
    assert b.is_ready
    assert a.theirs is not None
    assert b.theirs is not None
    assert (a.theirs.context, b.theirs.context, b.theirs.wanted) == ("b", "a", "b")
    assert a.title == "peer 'b'"


@pytest.mark.parametrize(
    "message",
    [
        CALL,
        Call("o", "m", token=Token("secret", True), chain=("a.b", "c.d")),
        Acquire("o", Token("t"), 2.5),
        Acquire("o", Token("t"), 3),
        Release("o", None),
        Release("o", Token("t"), "ctx"),
        ForceRelease("o"),
        QueryLock("o"),
        QueryStatistics("o"),
        Describe("o"),
        Subscribe("o", "sig"),
        Unsubscribe("o", "sig"),
    ],
)
def test_every_request_arrives_as_it_was_sent_and_is_answered(message: Request) -> None:
    a, b = pair()
    number = ask(a, b, message)
    assert give(a, b.send_reply(number, Value((1, "x")))) == [ReplyReceived(number, Value((1, "x")))]
    assert (a.requests.asked_count, b.requests.served_count) == (0, 0)


def test_signals_that_come_in_a_row_are_one_event() -> None:
    a, b = pair()
    number = ask(a, b)
    signals = [Signal("nsg", "sig", (index,), index, 5.0) for index in range(4)]
    said = [b.send_signal(signal) for signal in signals]
    said.insert(3, b.send_reply(number, Value(7)))
    assert give(a, [buffer for buffers in said for buffer in buffers]) == [
        SignalsReceived(signals[:3]),
        ReplyReceived(number, Value(7)),
        SignalsReceived(signals[3:]),
    ]


def test_signals_and_arrays_arrive() -> None:
    a, b = pair()
    signal = Signal("nsg", "sig", (1,), 3, 5.0)
    assert give(a, b.send_signal(signal)) == [SignalsReceived([signal])]
    array = np.arange(50_000.0)
    number, buffers = a.send_request(Call("nsg", "put", (array,)))
    assert len(buffers) == 2
    left, events = raw(buffers), []
    while left:
        view = b.get_buffer()
        size = min(len(view), len(left))
        view[:size], left = left[:size], left[size:]
        events += b.buffer_updated(size, 1.0)
    assert isinstance(events[0], RequestReceived)
    assert isinstance(events[0].message, Call)
    (received,) = events[0].message.args
    assert isinstance(received, np.ndarray)
    assert np.array_equal(received, array)
    assert number == 1


def test_large_bytes_arrive_as_what_they_were() -> None:
    a, b = pair()
    args = (b"x" * 50_000, bytearray(b"y" * 50_000), "z" * 50_000)
    (event,) = give(b, a.send_request(Call("o", "m", args))[1])
    assert isinstance(event, RequestReceived)
    assert isinstance(event.message, Call)
    assert event.message.args == args
    assert [type(arg) for arg in event.message.args] == [bytes, bytearray, str]


def test_fault_10_an_unsendable_argument_fails_the_call_and_nothing_else() -> None:
    a, b = pair()
    with pytest.raises(QMI_ValueNotSendableException, match=r"args\[0\]: threading.Lock"):
        a.send_request(Call("o", "m", (threading.Lock(),)))
    with pytest.raises(QMI_ValueNotSendableException, match=r"kwargs\['k'\]: a generator"):
        a.send_request(Call("o", "m", (), {"k": (x for x in [1])}))
    assert a.requests.asked_count == 0
    ask(a, b)


def test_fault_10_an_unsendable_result_becomes_the_error_of_that_call() -> None:
    a, b = pair()
    number = ask(a, b)
    (event,) = give(a, b.send_reply(number, Value([1, threading.Lock()])))
    assert isinstance(event, ReplyReceived)
    assert isinstance(event.reply, Failure)
    assert isinstance(event.reply.error, QMI_ValueNotSendableException)
    assert "result[1]: threading.Lock cannot be sent" in str(event.reply.error)
    ask(a, b)


def test_a_reply_after_a_cancellation_is_ignored_and_frees_the_number() -> None:
    a, b = pair()
    number = ask(a, b)
    assert give(b, a.cancel_request(number)) == [CancelReceived(number)]
    assert a.cancel_request(number) == []
    assert a.requests.asked_count == 1
    assert give(a, b.send_reply(number, Value(1))) == []
    assert a.requests.asked_count == 0
    assert ask(a, b) == number + 1


def test_a_cancel_that_crosses_the_reply_is_harmless() -> None:
    a, b = pair()
    number = ask(a, b)
    reply = b.send_reply(number, Value(1))
    assert give(b, a.cancel_request(number)) == []
    assert give(a, reply) == []


def test_a_request_that_was_not_handed_over_is_withdrawn() -> None:
    a, _ = pair()
    number, _ = a.send_request(GET)
    assert a.cancel_request(number) == []
    assert a.requests.asked_count == 0


def lost_error(events: list[Event], number: int) -> BaseException:
    found = [event.reply for event in events if isinstance(event, ReplyReceived) and event.number == number]
    assert len(found) == 1
    assert isinstance(found[0], Failure)
    return found[0].error


def test_connection_that_is_closed_before_the_hello_may_have_been_for_tls() -> None:
    reason = make(Role.CONNECTING, "a", expected="b").receive_eof(1.0)[-1]
    assert isinstance(reason, PeerLost)
    assert reason.reason.startswith("it closed the connection before it said who it is")
    assert "only one side uses TLS: both need a security section, or neither" in reason.reason
    assert make(Role.LISTENING, "b").receive_eof(1.0)[-1] == PeerLost(
        LossKind.DISCONNECTED, "the connection was closed between two messages"
    )


def test_fault_01_and_02_loss_tells_unknown_outcomes_from_what_was_never_sent() -> None:
    a, b = pair(where="10.0.0.5:1")
    sent, queued, cancelled = ask(a, b), a.send_request(Acquire("nsg", Token("s")))[0], ask(a, b)
    a.cancel_request(cancelled)
    events = a.receive_eof(1.0)
    unknown, undelivered = lost_error(events, sent), lost_error(events, queued)
    assert type(unknown) is QMI_OutcomeUnknownException
    assert "peer 'b' at 10.0.0.5:1 during nsg.get (the connection was closed between two messages)" in str(unknown)
    assert type(undelivered) is QMI_NotDeliveredException
    assert "nsg.lock was not delivered to peer 'b'" in str(undelivered)
    assert len(events) == 3
    assert events[-1] == PeerLost(LossKind.DISCONNECTED, "the connection was closed between two messages")
    with pytest.raises(QMI_NotDeliveredException, match=r"nsg\.get was not delivered .* between two messages"):
        a.send_request(GET)
    assert a.receive_eof(2.0) == a.close() == a.tick(99.0) == a.receive_data(b"x", 3.0) == []
    assert a.next_deadline() == float("inf")
    assert a.send_credit(sent, 3) == []


def test_loss_cancels_what_is_being_served() -> None:
    a, b = pair()
    first, second = ask(a, b), ask(a, b)
    give(b, a.cancel_request(first))
    assert b.lose("reset") == [CancelReceived(second), PeerLost(LossKind.DISCONNECTED, "reset")]
    assert (
        b.send_reply(second, Value(1)) == b.open_stream(second) == b.send_item(second, 1) == b.end_stream(second) == []
    )
    assert b.credit(second) == 0


@pytest.mark.parametrize("cut", range(1, 54, 7))
def test_fault_06_the_end_inside_a_frame_is_told_and_frames_before_it_are_served(cut: int) -> None:
    a, b = pair()
    first, second = a.send_request(CALL)[1], a.send_request(CALL)[1]
    events = b.receive_data(raw(first) + raw(second)[:cut], 0.0)
    assert [type(event) for event in events] == [RequestReceived]
    assert b.receive_eof(0.0)[-1] == PeerLost(
        LossKind.DISCONNECTED, "the connection was closed in the middle of a message"
    )


def test_a_goodbye_brings_its_reason() -> None:
    a, b = pair()
    number = ask(a, b)
    assert b.close("context 'b' has stopped") == [
        CancelReceived(number),
        PeerLost(LossKind.CLOSED, "context 'b' has stopped"),
    ]
    events = give(a, b.data_to_send())
    assert events[-1] == PeerLost(LossKind.GOODBYE, "closed by the other side: context 'b' has stopped")
    assert type(lost_error(events, number)) is QMI_OutcomeUnknownException


def test_a_stream_flows_as_fast_as_its_consumer() -> None:
    a, b = pair()
    number = ask(a, b)
    with pytest.raises(QMI_RuntimeException, match="no credit"):
        b.send_item(number, 1)
    with pytest.raises(QMI_RuntimeException, match="is no stream"):
        b.end_stream(number)
    assert a.send_credit(number, 1) == []
    assert give(a, b.open_stream(number)) == [StreamOpened(number)]
    assert b.credit(number) == 0
    assert give(b, a.send_credit(number, 2)) == [CreditReceived(number, 2)]
    assert give(a, b.send_item(number, "one")) == [ItemReceived(number, "one")]
    with pytest.raises(QMI_ValueNotSendableException, match=r"item: threading\.Lock"):
        b.send_item(number, threading.Lock())
    assert b.credit(number) == 1
    assert give(a, b.send_item(number, "two")) == [ItemReceived(number, "two")]
    with pytest.raises(QMI_RuntimeException, match="no credit"):
        b.send_item(number, "three")
    for wrong in (0, -1, 1 << 30):
        with pytest.raises(QMI_RuntimeException, match="expected 1 to 1048576"):
            a.send_credit(number, wrong)
    with pytest.raises(QMI_RuntimeException, match="ends by end_stream"):
        b.send_reply(number, Value(1))
    assert give(a, b.end_stream(number)) == [StreamEnded(number)]
    assert a.requests.asked_count == b.requests.served_count == 0
    with pytest.raises(QMI_RuntimeException, match="not open"):
        b.send_reply(number, Value(1))


def test_a_consumer_that_leaves_gets_no_more_items() -> None:
    a, b = pair()
    number = ask(a, b)
    give(a, b.open_stream(number))
    give(b, a.send_credit(number, 5))
    late, credit = b.send_item(number, 1), a.send_credit(number, 1)
    cancel = a.cancel_request(number)
    assert give(a, late) == []
    assert give(b, credit + cancel) == [CreditReceived(number, 1), CancelReceived(number)]
    assert b.credit(number) == 0
    assert b.send_item(number, 2) == []
    assert give(b, pack(head(Kind.CREDIT, number) + b"\x01")) == []
    assert give(a, b.end_stream(number)) == []
    assert a.requests.asked_count == 0
    other = ask(a, b)
    stream = b.open_stream(other)
    a.cancel_request(other)
    assert give(a, stream) == []
    give(a, b.send_reply(other, Failure(ValueError("x"))))
    assert a.requests.asked_count == 0


def test_too_many_open_requests_are_refused_on_both_sides() -> None:
    a, b = pair(Limits(open_requests=2))
    for _ in range(2):
        ask(a, b)
    with pytest.raises(QMI_NotDeliveredException, match="2 requests to it have no answer yet, which is the limit"):
        a.send_request(GET)
    generous, strict = make(Role.CONNECTING, "a"), make(Role.LISTENING, "b", limits=Limits(open_requests=0))
    give(strict, generous.data_to_send())
    strict.accept(0.0)
    give(generous, strict.data_to_send())
    number, buffers = generous.send_request(GET)
    generous.handed_over(number)
    assert give(strict, buffers) == []
    (event,) = give(generous, strict.data_to_send())
    assert "0 requests of this peer have no answer yet" in str(lost_error([event], number))


def test_pings_are_answered_and_silence_means_death() -> None:
    a, b = pair()
    assert a.tick(1.0) == []
    assert a.data_to_send() == []
    assert a.tick(a.next_deadline()) == []
    assert give(b, a.data_to_send(), 4.0) == []
    assert give(a, b.data_to_send(), 4.0) == []
    assert a.next_deadline() == 8.0
    while a.lost is None:
        events = a.tick(a.next_deadline())
    [lost] = events
    assert isinstance(lost, PeerLost)
    assert lost.kind is LossKind.SILENT
    for part in ("no sign of life for 14 s", "limits.peer_timeout is 15 s", "holds the interpreter"):
        assert part in lost.reason
    assert a.next_deadline() == float("inf")
    assert give(b, a.data_to_send(), 18.0)[-1] == PeerLost(LossKind.GOODBYE, f"closed by the other side: {lost.reason}")


def test_fault_16_a_late_tick_does_not_kill_the_link() -> None:
    a, _ = pair()
    assert a.tick(1000.0) == []
    assert a.receive_data(HEARTBEAT, 1000.1) == []
    assert a.next_deadline() == pytest.approx(1004.1)


def test_connection_that_receives_a_long_frame_sends_heartbeats() -> None:
    a, b = pair()
    data = raw(a.send_request(CALL)[1])
    b.receive_data(data[:10], 3.0)
    assert b.next_deadline() == 4.0
    b.tick(4.0)
    assert b.data_to_send() == [HEARTBEAT]
    b.receive_data(data[10:12], 6.0)
    b.receive_data(data[12:], 6.0)
    assert b.next_deadline() == 10.0


def test_the_handshake_must_be_done_in_time() -> None:
    b = make(Role.LISTENING, "b")
    assert b.next_deadline() == 5.0
    assert b.tick(4.9) == []
    assert b.tick(5.0) == [PeerLost(LossKind.SILENT, "the handshake was not done within 5 s")]
    assert b.accept(6.0) == b.refuse("late") == []


@pytest.mark.parametrize(
    ("options_a", "options_b", "text"),
    [
        ({"workgroup": "x"}, {}, "context 'a' belongs to workgroup 'x', context 'b' to workgroup 'lab'"),
        ({"expected": "c"}, {}, "expected context 'c' here, but this is context 'b'"),
        ({}, {"certified": Identity("z", "lab")}, "its certificate is for context 'z'"),
    ],
)
def test_fault_35_a_refusal_is_seen_on_both_sides(
    options_a: dict[str, Any], options_b: dict[str, Any], text: str
) -> None:
    a, b = make(Role.CONNECTING, "a", **options_a), make(Role.LISTENING, "b", **options_b)
    (at_b,) = give(b, a.data_to_send())
    (at_a,) = give(a, b.data_to_send())
    assert isinstance(at_a, PeerLost)
    assert isinstance(at_b, PeerLost)
    assert (at_a.kind, at_b.kind) == (LossKind.REFUSED, LossKind.REFUSED)
    assert text in at_b.reason
    assert text in at_a.reason


def test_fault_22_the_context_can_refuse_a_name_that_is_in_use() -> None:
    a, b = make(Role.CONNECTING, "a"), make(Role.LISTENING, "b")
    with pytest.raises(QMI_NotDeliveredException, match="the link is not ready yet"):
        a.send_request(GET)
    with pytest.raises(QMI_NotDeliveredException):
        a.send_signal(Signal("o", "s", (), 0, 0.0))
    assert a.title == "peer"
    give(b, a.data_to_send())
    assert b.refuse("'a' is in use by host:1, pid 3")[-1] == PeerLost(
        LossKind.REFUSED, "'a' is in use by host:1, pid 3"
    )
    assert "in use by host:1, pid 3" in str(give(a, b.data_to_send()))


def test_fault_34_another_major_version_is_refused_with_both_versions() -> None:
    a, b = make(Role.CONNECTING, "a"), make(Role.LISTENING, "b")
    hello = bytearray(raw(a.data_to_send()))
    hello[3:5] = 3, 1
    (event,) = b.receive_data(bytes(hello), 0.0)
    assert isinstance(event, PeerLost)
    assert f"version 3.1 of the protocol, this side 1.{MINOR}" in event.reason
    assert "version 3.1" in str(give(a, b.data_to_send()))


def test_fault_34_a_newer_minor_version_may_say_more() -> None:
    a, b = pair()
    for data, number in (
        (body(20, 0, {"new": 1}), 0),
        (body(5, 1, [55, "what"]), 1),
        (body(5, 2, [4, "nsg", "new"]), 2),
    ):
        newer = bytearray(data)
        newer[4] = MINOR + 1
        events = b.receive_data(bytes(newer), 0.0)
        assert events == ([RequestReceived(2, QueryLock("nsg"))] if number == 2 else [])
    (answer,) = b.data_to_send()
    number, _ = a.send_request(GET)
    a.handed_over(number)
    assert type(lost_error(a.receive_data(bytes(answer), 0.0), number)) is QMI_UnknownRpcException


WRONG: list[Callable[[int], bytes]] = [
    lambda n: body(20, 0, None),
    lambda n: body(6, 77, 1),
    lambda n: body(6, n + 1, 1),
    lambda n: body(7, n, "no exception"),
    lambda n: body(11, n, 1),
    lambda n: body(12, n, 1),
    lambda n: body(13, n, 1),
    lambda n: body(10, n, None) + body(10, n, None),
    lambda n: body(10, n, None) + body(6, n, 1),
    lambda n: body(10, n, None) + body(12, n, 1),
    lambda n: body(8, 5, None),
    lambda n: body(11, 0, 1),
    lambda n: body(5, 1, [4, "o"]) + body(11, 1, 0),
    lambda n: body(5, 1, [4, "o"]) + body(11, 1, 1),
    lambda n: body(5, 1, [4, "o"]) + body(5, 1, [4, "o"]),
    lambda n: body(5, 1, []),
    lambda n: body(5, 1, ["x"]),
    lambda n: body(5, 1, [99]),
    lambda n: body(5, 1, [4, 3]),
    lambda n: body(5, 1, [4, "o", "extra"]),
    lambda n: body(5, 1, [0, "o", "m", "args", {}, None, []]),
    lambda n: body(5, 1, [0, "o", "m", [], [], None, []]),
    lambda n: body(5, 1, [0, "o", "m", [], {b"k": 1}, None, []]),
    lambda n: body(5, 1, [0, "o", "m", [], {}, ["t"], []]),
    lambda n: body(5, 1, [0, "o", "m", [], {}, None, [1]]),
    lambda n: body(5, 1, [1, "o", ["t", False], "long"]),
    lambda n: body(5, 1, [1, "o", None, 1.0]),
    lambda n: body(9, 0, [0, "o", "s", [], True, 1.0]),
    lambda n: body(9, 0, "x"),
    lambda n: body(4, 0, 3),
    lambda n: body(0, 0, {}),
    lambda n: raw(pack(dumps([1, 2]))),
    lambda n: raw(pack(dumps(["x", 0, None]))),
    lambda n: b"garbage",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_fault_08_malformed_frame_ends_the_link_after_the_good_frames(wrong: Callable[[int], bytes]) -> None:
    a, b = pair()
    number = ask(a, b)
    signal = Signal("nsg", "sig", (), 0, 1.0)
    data = raw(b.send_signal(signal)) + wrong(number)
    events = a.receive_data(data, 0.0)
    assert events[0] == SignalsReceived([signal])
    assert isinstance(events[-1], PeerLost)
    assert events[-1].kind is LossKind.PROTOCOL
    assert type(lost_error(events, number)) is QMI_OutcomeUnknownException
    assert give(b, a.data_to_send())[-1] == PeerLost(LossKind.GOODBYE, f"closed by the other side: {events[-1].reason}")


def test_fault_34_packets_but_a_hello_are_not_handled_before_the_handshake() -> None:
    b = make(Role.LISTENING, "b")
    (event,) = b.receive_data(body(5, 1, [4, "o"]), 0.0)
    assert isinstance(event, PeerLost)
    assert "before the handshake was done" in event.reason


def conversation() -> bytes:
    a, _ = pair()
    data = b"".join(raw(a.send_request(m)[1]) for m in (CALL, QueryLock("o"), Call("o", "m", (np.arange(3000.0),))))
    return data + raw(a.send_signal(Signal("o", "s", ([1],), 0, 1.0)))


TALK = conversation()


def fed(chunks: list[bytes]) -> list[str]:
    _, b = pair()
    return [str(event) for chunk in chunks for event in b.receive_data(chunk, 0.0)]


@examples(60)
@given(
    st.lists(st.tuples(st.integers(0, len(TALK) - 1), st.integers(0, 255)), max_size=3),
    st.lists(st.integers(0, len(TALK)), max_size=6),
)
def test_fault_08_events_do_not_depend_on_how_bytes_arrive(changes: list[tuple[int, int]], cuts: list[int]) -> None:
    data = bytearray(TALK)
    for place, byte in changes:
        data[place] = byte
    places = [0, *sorted(cuts), len(data)]
    whole = fed([bytes(data)])
    assert fed([bytes(data[x:y]) for x, y in pairwise(places)]) == whole
    ends = [event for event in whole if event.startswith("PeerLost")]
    assert len(ends) <= 1
    if not changes:
        assert len(whole) == 4
        assert fed([bytes(data[n : n + 1]) for n in range(len(data))]) == whole


@examples(100)
@given(st.binary(min_size=1, max_size=80))
def test_fault_08_any_body_gives_an_event_or_a_protocol_error(data: bytes) -> None:
    _, b = pair()
    events = b.receive_data(raw(pack(data)), 0.0)
    assert len([event for event in events if isinstance(event, PeerLost)]) <= 1


def test_numbers_of_every_size_fit() -> None:
    assert [head(Kind.VALUE, n) for n in (5, 23)] == [b"\x83\x06\x05", b"\x83\x06\x17"]
    assert head(Kind.VALUE, 1 << 20) == b"\x83\x06\x1a" + struct.pack(">I", 1 << 20)
    assert head(Kind.VALUE, 1 << 40) == b"\x83\x06\x1b" + struct.pack(">Q", 1 << 40)
