from __future__ import annotations

import math
from datetime import date
from enum import Enum
from typing import Any

import numpy
import pytest
from cbor2 import CBORSimpleValue, CBORTag, dumps, undefined
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_ValueNotSendableException
from qmi.messages import Acquire, Call, Origin, Signal, Token
from qmi.net.codec import Codec
from qmi.net.codec.tags import Own
from qmi.net.limits import ProtocolError
from qmi.net.protocol import bounds, packets, plain
from qmi.net.protocol.bounds import Field, OutOfBounds, describe_value, fields_to_wire
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import Connected, Event, HelloReceived, PeerLost
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.link_ends import LossKind, Role
from qmi.net.protocol.packets import Frame, pack
from tests.support.extremes import HUGE, ODD, beyond, messages, within

FIELDS = [
    *((cls.__name__, field) for cls, fields in bounds.MESSAGES.items() for field in fields),
    *(("Hello", field) for field in bounds.HELLO),
    *(("Question", field) for field in bounds.QUESTION),
    *(("Answer", field) for field in bounds.ANSWER),
    *((kind.name, Field("payload", bound)) for kind, bound in bounds.PAYLOADS.items()),
    *(("packet", Field(name, bound)) for name, bound in (("kind", bounds.KIND), ("number", bounds.NUMBER))),
]
IDS = [f"{owner}.{field.name}" for owner, field in FIELDS]


@pytest.mark.parametrize(("owner", "field"), FIELDS, ids=IDS)
def test_bounds_are_read_at_both_ends_and_not_beyond(owner: str, field: Field) -> None:
    for value in within(field.bound):
        field.read(value)
    for value in beyond(field.bound):
        with pytest.raises(OutOfBounds, match=rf"^{field.name}: expected .+, got .+$") as caught:
            field.read(value)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_describing_a_value_is_always_short_and_safe(value: Any) -> None:
    text = describe_value(value)
    assert len(text) < 100
    assert text.isprintable()


def test_describing_an_instance_of_a_class_does_not_run_its_code() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

        __str__ = __repr__

    assert describe_value(Loud()) == "a value of type Loud"
    assert describe_value(type("x" * 1000, (), {})()) == "a value of type " + "x" * 255


def test_describing_a_text_does_not_show_it() -> None:
    assert describe_value("s3cret") == "str of length 6"


@pytest.mark.parametrize("newer", [False, True])
def test_messages_out_of_bounds_are_protocol_errors(newer: bool) -> None:
    for name, kind, payload in messages(beyond):
        if newer and name == "request kind":
            continue
        read: Any = packets.read_signal if kind is Kind.SIGNAL else packets.read_request
        with pytest.raises(ProtocolError):
            read(payload, newer=newer)


def test_messages_at_their_bounds_are_read() -> None:
    for name, kind, payload in messages(within):
        if name == "request kind":
            continue
        read: Any = packets.read_signal if kind is Kind.SIGNAL else packets.read_request
        found = read(payload, newer=False)
        fields_to_wire(found)


@pytest.mark.parametrize("kind", [-1, 256, 2**64, HUGE, -HUGE], ids=describe_value)
@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64, HUGE, -HUGE], ids=describe_value)
def test_head_of_a_packet_out_of_bounds_is_a_protocol_error(kind: int, number: int) -> None:
    codec = Codec()
    for content in ([kind, 1, None], [5, number or -1, None], [kind, number, None]):
        body = codec.encode(content).payload
        with pytest.raises(ProtocolError, match=r"has kind .* and number|a frame cannot be decoded"):
            packets.read_packet(codec, Frame(body))


FAR = "x" * 256
OWN: dict[str, Any] = {
    "object": Call(FAR, "get"),
    "object of a signal": Signal(FAR, "told", (), 0, 1.0),
    "method": Call("bench", FAR),
    "name of an argument": Call("bench", "get", (), {FAR: 1}),
    "name of an argument with a list": Call("bench", "get", ([],), {FAR: 1}),
    "token": Call("bench", "get", (), {}, Token("x" * 5000)),
    "chain": Call("bench", "get", (), {}, None, ("a.b",) * 1025),
    "timeout": Acquire("bench", Token("x"), math.nan),
    "timeout below 0": Acquire("bench", Token("x"), -1.0),
    "sequence number": Signal("bench", "told", (), 2**63, 1.0),
    "sequence number below 0": Signal("bench", "told", ([],), -1, 1.0),
    "timestamp": Signal("bench", "told", (), 1, math.inf),
    "timestamp in the far future": Signal("bench", "told", (), 1, 1e12),
}


@pytest.mark.parametrize("name", OWN)
def test_sender_refuses_what_the_receiver_would_refuse(name: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException, match=r"(Call|Acquire|Signal) cannot be sent: .* expected"):
        packets.encode_message(Codec(), OWN[name])


HELLO = Hello(context="cli", incarnation="1", workgroup="lab").to_wire()
SERVER = Hello(context="srv", incarnation="2", workgroup="lab")


def first_words(role: Role, body: bytes, segments: Any = ()) -> list[Event]:
    """What becomes of the first frame that a stranger sends."""
    restored: list[Any] = []
    peer = Connection(role, SERVER, now=0.0, restore=restored.append)
    peer.data_to_send()
    events = peer.receive_data(b"".join(map(bytes, pack(body, segments))), 0.0)
    assert not restored
    assert isinstance(events[-1], HelloReceived | Connected) or b"".join(map(bytes, peer.data_to_send()))
    return events


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("field", bounds.HELLO, ids=lambda field: field.name)
def test_hello_with_a_field_out_of_bounds_is_refused(field: Field, role: Role) -> None:
    for value in beyond(field.bound):
        encoded = Codec().encode([0, 0, {**HELLO, field.name: value}])
        (lost,) = first_words(role, encoded.payload, encoded.segments)
        assert isinstance(lost, PeerLost)
        assert lost.kind is LossKind.PROTOCOL
    missing = {name: value for name, value in HELLO.items() if name != field.name}
    (lost,) = first_words(role, Codec().encode([0, 0, missing]).payload)
    assert isinstance(lost, PeerLost)
    assert lost.kind is LossKind.PROTOCOL
    assert f"hello.{field.name}: expected" in lost.reason


class Colour(Enum):
    RED = 1


NOT_PLAIN: dict[str, Any] = {
    "enum": Colour.RED, "error": KeyError("x"), "named tuple": Origin("a", "b"), "array": numpy.zeros(3),
    "scalar": numpy.float64(1), "tuple": (1,), "set": {1}, "date": date(2024, 1, 1), "large integer": 2**64,
    "complex": 1j, "bytearray": bytearray(b"x"), "proxy": CBORTag(Own.PERSISTENT, ["proxy", ["a", "b"], []]),
    "shared": CBORTag(28, [1]), "regular expression": CBORTag(35, "x"), "keys that are no text": {(1, 2): 3},
}  # fmt: skip


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("where", ["in a field", "in a new field", "as the hello", "in a refusal", "as the number"])
@pytest.mark.parametrize("name", NOT_PLAIN)
def test_hello_is_read_without_making_anything_of_tags(name: str, where: str, role: Role) -> None:
    value, gap = NOT_PLAIN[name], "@gap@"
    payload = dumps(value) if isinstance(value, CBORTag) else Codec().encode(value).payload
    packet = {
        "in a field": [0, 0, {**HELLO, "library": gap}],
        "in a new field": [0, 0, {**HELLO, "colour": [gap]}],
        "as the hello": [0, 0, gap],
        "in a refusal": [1, 0, gap],
        "as the number": [0, gap, HELLO],
    }[where]
    (lost,) = first_words(role, dumps(packet).replace(dumps(gap), payload))
    assert isinstance(lost, PeerLost)
    assert lost.kind is LossKind.PROTOCOL


def test_hello_of_a_newer_version_may_have_more_plain_fields() -> None:
    more = {"colour": ["red", 1, 2.5, None, True, b"x"], "more": {"x": {"y": 1}}}
    (event,) = first_words(Role.LISTENING, dumps([0, 0, {**HELLO, **more}]))
    assert isinstance(event, HelloReceived)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"\x9f\xff", b"\xa2\x61x\x01\x61x\x02", b"\x81" * 9 + b"\x01", b"\x01\x01"]
)
def test_plain_values_that_are_none_are_protocol_errors(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        plain.decode(payload)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_plain_value_or_a_protocol_error(payload: bytes) -> None:
    for padded in (False, True):
        try:
            value = plain.decode(payload, padded=padded)
        except ProtocolError:
            continue
        assert is_plain(value)


def is_plain(value: Any) -> bool:
    if type(value) is list:
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(map(is_plain, (*value, *value.values())))
    return value is None or type(value) in (bool, int, float, str, bytes, CBORSimpleValue, type(undefined), tuple)
