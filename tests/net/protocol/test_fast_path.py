from __future__ import annotations

import math
import sys
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from cbor2 import dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_ValueNotSendableException
from qmi.messages import Call, QueryLock, Signal, Token, Value
from qmi.net.codec import Codec, Encoded
from qmi.net.limits import Limits, ProtocolError
from qmi.net.protocol import fast_path as shortcuts
from qmi.net.protocol import packets
from qmi.net.protocol.bounds import MAX_INT, MESSAGES, fields_to_wire
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.memory_estimate import count_containers
from qmi.net.protocol.packets import Frame, FrameReader, write_packet
from qmi.net.protocol.undecodable import peek
from tests.support.protocol import pair

CODEC = Codec()


class Level(IntEnum):
    LOW = 1


texts = st.text(max_size=20)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, st.lists(st.integers()))
calls = st.builds(
    Call,
    texts,
    texts,
    st.lists(values, max_size=3).map(tuple),
    st.dictionaries(texts, values, max_size=2),
    st.one_of(st.none(), st.builds(Token, texts, st.booleans())),
    st.lists(texts, max_size=2).map(tuple),
)
signals = st.builds(
    Signal, texts, texts, st.lists(values, max_size=3).map(tuple), st.integers(0, MAX_INT), st.floats(0, 2e9)
)
numbers = st.one_of(st.integers(1, 40), st.integers(1, 1 << 40))


def generally(message: Call | Signal) -> Encoded:
    """What the general way makes of a message."""
    fields = MESSAGES[type(message)]
    plain = [0, *(field.bound.to_wire(getattr(message, field.name)) for field in fields)]
    return CODEC.encode_fields(plain, ["x"] * len(plain))


def body_of(kind: Kind, number: int, encoded: Encoded) -> bytes:
    return packets.head(kind, number) + encoded.payload


@given(st.one_of(calls, signals))
def test_fast_path_writes_what_the_general_way_writes(message: Call | Signal) -> None:
    assert packets.encode_message(CODEC, message) == generally(message)


@given(st.one_of(calls, signals), numbers)
def test_fast_path_reads_again_whatever_is_written(message: Call | Signal, number: int) -> None:
    kind = Kind.REQUEST if isinstance(message, Call) else Kind.SIGNAL
    body = body_of(kind, number, packets.encode_message(CODEC, message))
    for _ in range(2):  # what came before is kept
        *found, payload = packets.read_packet(CODEC, Frame(body))
        assert found == [kind, number]
        if isinstance(message, Call):
            assert packets.read_request(payload, newer=False) == message
        else:
            assert packets.read_signal(payload, newer=False) == message


@pytest.mark.parametrize(
    "message",
    [
        Call("bench", "get", (1, "x", None, 2.5, True)),
        Call("bench", "get", kwargs={"unit": "V"}, token=Token("s", True), chain=("lab.scan",)),
        Call("bench", "get"),
        Call("bench", "get", (7,) * 23),
        Signal("bench", "sig", (1, 2.5), 7, 1.0),
        Signal("bench", "sig", (7,) * 23, 7, 1.0),
    ],
)
def test_fast_path_takes_frequent_packets_in_one_step(message: Call | Signal) -> None:
    encode: Any = shortcuts.encode_call if isinstance(message, Call) else shortcuts.encode_signal
    assert encode(message) == generally(message).payload


@pytest.mark.parametrize(
    "message",
    [
        Call("bench", "get", ("\ud800",)),
        Call("\ud800", "get"),
        Call("bench", "get", kwargs={"x": "\ud800"}),
        Signal("\ud800", "sig", (), 0, 0.0),
    ],
)
def test_fast_path_leaves_values_that_cannot_be_sent_to_the_general_way(message: Call | Signal) -> None:
    encode: Any = shortcuts.encode_call if isinstance(message, Call) else shortcuts.encode_signal
    assert encode(message) is None
    with pytest.raises(QMI_ValueNotSendableException):
        packets.encode_message(CODEC, message)


@pytest.mark.parametrize("args", [("x" * 20_000,), (7,) * 24])
def test_fast_path_leaves_large_values_to_the_general_way(args: tuple[Any, ...]) -> None:
    for message in (Call("bench", "get", args), Signal("bench", "sig", args, 0, 0.0)):
        encode: Any = shortcuts.encode_call if isinstance(message, Call) else shortcuts.encode_signal
        assert encode(message) is None
        assert packets.encode_message(CODEC, message) == generally(message)


def test_a_call_without_arguments_is_checked_once() -> None:
    payload = packets.encode_message(CODEC, Call("bench", "seen")).payload
    first = shortcuts.read_body(packets.head(Kind.REQUEST, 100) + payload)
    again = shortcuts.read_body(packets.head(Kind.REQUEST, 101) + payload)
    assert first is not None
    assert again is not None
    assert (first[1], again[1]) == (100, 101)
    assert first[2] is again[2]


short_values = st.one_of(st.none(), st.booleans(), st.integers(-30, 300), st.floats(), texts)


def read_at_once(data: bytes) -> object:
    """What the reader makes of bytes that came together; None if it leaves them to the general way."""
    reader = FrameReader(Limits())
    reader.open_up()
    reader.get_buffer()[: len(data)] = data
    return reader.read_usual(len(data))


@given(st.sampled_from([Kind.VALUE, Kind.REQUEST, Kind.ITEM]), numbers, st.one_of(short_values, calls))
def test_packet_that_came_alone_is_what_the_general_way_reads(kind: Kind, number: int, value: object) -> None:
    encoded = packets.encode_message(CODEC, value) if isinstance(value, Call) else CODEC.encode(value)
    data = b"".join(write_packet(kind, number, encoded))
    found = read_at_once(data)
    if found is not None:
        (frame,) = FrameReader(Limits(hello=1 << 20)).feed(data)
        expected: Any = CODEC.decode(frame.body)
        if isinstance(found[2], shortcuts.Bare):  # type: ignore[index]
            assert packets.read_request(found[2], newer=False) == value  # type: ignore[index]
        else:
            assert repr(found) == repr(tuple(expected))


@pytest.mark.parametrize("value", [None, True, False, 0, 23, 1.5, -0.0])
def test_short_answer_that_came_alone_is_read_at_once(value: object) -> None:
    (data,) = write_packet(Kind.VALUE, 100, CODEC.encode(value))
    assert repr(read_at_once(bytes(data))) == repr((Kind.VALUE.value, 100, value))


@given(
    st.sampled_from([Kind.VALUE, Kind.REQUEST, Kind.ITEM]), st.integers(0, 60), st.integers(0, 40), st.integers(0, 255)
)
def test_connection_does_the_same_with_bytes_that_came_alone(kind: Kind, number: int, place: int, byte: int) -> None:
    value = CODEC.encode(1.5) if kind is not Kind.REQUEST else packets.encode_message(CODEC, Call("bench", "get"))
    (whole,) = packets.pack(shortcuts.HEAD.pack(0x83, kind, 0x1A, number) + value.payload)
    data = bytearray(whole)
    if place < len(data):
        data[place] = byte
    outcomes = []
    for at_once in (True, False):
        a, _ = pair()
        for _ in range(30):
            a.handed_over(a.send_request(Call("bench", "get"))[0])
        if at_once:
            a.get_buffer()[: len(data)] = data
            events = a.buffer_updated(len(data), 1.0)
        else:
            events = a.receive_data(data, 1.0)
        lost = None if a.lost is None else (a.lost.kind, a.lost.reason)
        outcomes.append(
            (repr(events), lost, b"".join(a.data_to_send()), a.requests.asked_count, a.last_heard, a.is_amid)
        )
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        0,
        -1,
        23,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        -(1 << 63),
        1.5,
        -0.0,
        math.nan,
        math.inf,
        np.float64(1.5),
        np.bool_(True),
        np.int64(3),
        Level.LOW,
    ],
)
def test_short_answer_is_encoded_as_any_other(value: object) -> None:
    a, _ = pair()
    assert a.encode_reply(Value(value)) == (Kind.VALUE, CODEC.encode(value, "result"))


@given(calls)
def test_call_is_encoded_as_any_other_request(call: Call) -> None:
    a, _ = pair()
    assert a.encode_request(call) == packets.encode_message(CODEC, call)


@given(st.integers(0, 40), st.integers(0, 255), st.integers(0, 60))
def test_damaged_packet_that_came_alone_is_left_to_the_general_way(place: int, byte: int, size: int) -> None:
    data = bytearray(b"".join(write_packet(Kind.VALUE, 100, CODEC.encode(1.5))))
    if place < len(data):
        data[place] = byte
    found = read_at_once(bytes(data[:size]))
    if found is not None:
        assert size >= len(data)
        (frame,) = FrameReader(Limits(hello=1 << 20)).feed(bytes(data))
        assert repr(found) == repr(packets.read_packet(CODEC, frame))


@pytest.mark.parametrize(
    "body",
    [
        packets.head(Kind.REQUEST, 100) + generally(Call("bench", "get", (1,))).payload,
        packets.head(Kind.REQUEST, 100) + packets.encode_message(CODEC, QueryLock("bench")).payload,
        packets.head(Kind.VALUE, 100) + generally(Call("bench", "get")).payload,  # a value that looks like a call
        packets.head(Kind.REQUEST, 100) + b"\xf6",  # a request that looks like an answer
        packets.head(Kind.REQUEST, 100) + dumps([True, "bench", "get", [], {}, None, []]),
        packets.head(Kind.REQUEST, 100) + dumps([0, "bench", 1, [], {}, None, []]),
        packets.head(Kind.REQUEST, 100) + b"\xff\x80\xa0\xf6\x80",
        packets.head(Kind.REQUEST, 100) + dumps([0, "b" * 300, "get", [], {}, None, []]),
        packets.head(Kind.VALUE, 1 << 40) + b"\xf6",
        packets.head(Kind.VALUE, 5) + b"\xf6",
        b"",
    ],
)
def test_everything_else_goes_the_general_way(body: bytes) -> None:
    assert shortcuts.read_body(body) is None


def test_a_value_that_looks_like_a_call_is_a_value() -> None:
    fields = [0, "bench", "get", [], {}, None, []]
    assert packets.read_packet(CODEC, Frame(packets.head(Kind.VALUE, 100) + dumps(fields))) == (6, 100, fields)


def test_segments_that_nobody_asked_for_are_an_error_also_behind_an_answer_without_a_value() -> None:
    (data,) = write_packet(Kind.VALUE, 100)
    frame = Frame(bytes(data)[21:], [bytearray(20_000)])
    with pytest.raises(ProtocolError):
        packets.read_packet(CODEC, frame)


@pytest.mark.parametrize("fields", [[0] * 7, [0, "a", "b", [], {}, None], [0, "a", "b", [], 0, 0.0], [0] * 6])
def test_fields_of_other_types_are_looked_at_by_the_general_way(fields: list[Any]) -> None:
    assert shortcuts.read_call(fields) is None
    if fields[:3] != [0, "a", "b"] or len(fields) != 6 or fields[4] != 0:
        assert shortcuts.read_signal(fields) is None


few = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts)
nested = st.recursive(
    few, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(few, inner, max_size=3), st.tuples(inner))
)


@given(st.one_of(nested, st.lists(few, min_size=120, max_size=135), st.dictionaries(texts, few)))
def test_a_result_of_scalars_is_written_as_the_encoder_writes_it(value: Any) -> None:
    encoder = CODEC._encoder()
    assert CODEC.encode(value) == CODEC._write(encoder.lower(value, 0), encoder, "value", lambda: value)


@given(
    st.builds(Call, texts, texts, st.lists(nested, max_size=3).map(tuple), st.dictionaries(texts, nested, max_size=2))
)
def test_fields_of_a_call_are_those_that_the_bounds_give(call: Call) -> None:
    assert shortcuts.list_fields(call) == fields_to_wire(call)
    assert packets.encode_message(CODEC, call) == generally(call)


@pytest.mark.parametrize(
    "call",
    [
        Call("o" * 256, "m"), Call("o", "m" * 256), Call("\ud800", "m"), Call("o", "m", kwargs={"k" * 256: []}),
        Call("o", "m", kwargs={1: []}),  # type: ignore[dict-item]
        Call("o", "m", [1]), Call("o", "m", token=Token("secret")), Call("o", "m", chain=("a.b",)),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_fields_of_an_unusual_call_are_left_to_the_bounds(call: Call) -> None:
    assert shortcuts.list_fields(call) is None


@given(st.integers(0, 255), st.integers(0, 1 << 60), st.binary(max_size=30))
def test_kind_and_number_are_seen_as_they_are_decoded(kind: int, number: int, rest: bytes) -> None:
    body = dumps([kind, number, rest])
    assert peek(body) == (kind, number)
    assert peek(body[:1] + body) is None


@pytest.mark.parametrize("body", [bytes(range(256)) * 20, b"\x80" * 5000, b"\x7f\xc0\xbf" * 2000, bytes(range(256))])
def test_containers_are_counted_alike_with_numpy_and_without(body: bytes) -> None:
    expected = sum(0x80 <= byte < 0xC0 for byte in body)
    pytest.importorskip("numpy")
    assert count_containers(body) == count_containers(bytearray(body)) == expected
    with pytest.MonkeyPatch.context() as patched:
        patched.delitem(sys.modules, "numpy")
        assert count_containers(body) == expected
