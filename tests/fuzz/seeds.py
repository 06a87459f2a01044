"""What fuzzing starts from: well-formed inputs of each parser, made by its counterpart."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy

from qmi.messages import Acquire, Call, Failure, Signal, Subscribe, Token, Value
from qmi.net.codec import Codec
from qmi.net.discovery.packets import Answer, Question, write_answer, write_question
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import RequestReceived
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import Role
from qmi.net.protocol.packets import pack
from qmi.proc.helper_protocol import Err, Ok, Start, Stop, already_running, format_command, format_reply
from tests.support.extremes import odd_packets

VALUES = (
    None, True, 1, -1, 2**70, -(2**70), 1.5, 2j, "text", b"bytes", bytearray(b"x"), [1, [2]], (1, 2), {1, 2},
    frozenset({"a"}), {"a": 1, 2: "b", (1, 2): None}, datetime.datetime(2024, 1, 2, 3, 4, 5, 6, datetime.UTC),
    datetime.date(2024, 1, 2), datetime.time(1, 2), datetime.timedelta(1, 2, 3), Decimal("1.5"), Fraction(1, 3),
    UUID(int=7), range(1, 9, 2), slice(1, None), numpy.arange(6.0).reshape(2, 3), numpy.float32(1), KeyError("a", 1),
    ValueError("x"), numpy.zeros(0),
)  # fmt: skip


def codec() -> Iterator[bytes]:
    """One input for each kind of value."""
    for value in VALUES:
        yield Codec().encode(value).payload
    large = Codec().encode([b"x" * 20_000, numpy.zeros(5000)])
    yield b"\xff--\xff".join((large.payload, *(bytes(segment)[:40] for segment in large.segments)))


def frames() -> Iterator[bytes]:
    """With and without segments, and several in a row."""
    yield b"".join(map(bytes, pack(b"body") + pack(b"other", [memoryview(b"seg"), memoryview(b"ment")])))
    yield b"".join(map(bytes, pack(b"x")))


def handshake() -> Iterator[bytes]:
    """A hello, a refusal, and both as frames."""
    hello = Hello(context="cli", incarnation="2", workgroup="lab", library="1.0", pid=7, address="127.0.0.1:40001")
    yield Codec().encode(hello.to_wire()).payload
    yield Codec().encode("no such context").payload


def peer() -> Iterator[bytes]:
    """Everything that a peer says, as a stream and as bodies."""
    stream = b"".join(_conversation())
    yield b"\x00" + stream
    bodies = [body[21:] for body in _conversation()]
    odd = [b"".join(map(bytes, buffers))[21:] for _, buffers in odd_packets()]
    bodies += odd[::23]
    yield b"\x01" + b"".join(bytes((len(body),)) + body for body in bodies if len(body) < 256)
    for body in bodies:
        if len(body) < 256:
            yield b"\x01" + bytes((len(body),)) + body


def _conversation() -> Iterator[bytes]:
    theirs = Connection(Role.CONNECTING, Hello(context="cli", incarnation="2", workgroup="lab"), now=0.0)
    other = Connection(Role.LISTENING, Hello(context="srv", incarnation="1", workgroup="lab"), now=0.0)
    other.receive_data(b"".join(map(bytes, theirs.data_to_send())), 0.0)
    other.accept(0.0)
    theirs.receive_data(b"".join(map(bytes, other.data_to_send())), 0.0)
    requests = b""
    for name in ("a", "b", "c"):
        requests += b"".join(map(bytes, other.send_request(Call("o", name))[1]))
    numbers = [event.number for event in theirs.receive_data(requests, 0.0) if isinstance(event, RequestReceived)]
    for message in (Call("nsg", "get", (1, "a"), {"k": 2.0}, Token("s", False), ("a.b",)),
                    Acquire("nsg", Token("s", True), 1.0), Subscribe("nsg", "sig")):  # fmt: skip
        yield b"".join(map(bytes, theirs.send_request(message)[1]))
    yield b"".join(map(bytes, theirs.send_signal(Signal("nsg", "sig", (1,), 1, 0.0))))
    yield b"".join(map(bytes, theirs.send_reply(numbers[0], Value({"a": [1, 2]}))))
    yield b"".join(map(bytes, theirs.send_reply(numbers[1], Failure(KeyError("x")))))
    yield b"".join(map(bytes, theirs.open_stream(numbers[2])))
    yield b"".join(map(bytes, theirs.end_stream(numbers[2])))
    theirs.close("bye")
    yield from (bytes(part) for part in theirs.data_to_send())


def living() -> Iterator[bytes]:
    """What a peer says in good order, and packets from the table of bounds, to a server and to a client."""
    stream = b"".join(bytes((len(part),)) + part for part in _conversation() if len(part) < 128)
    for side in (b"\x00", b"\xff"):
        yield side + stream
        yield side + b"".join((0x8000 + 97 * number).to_bytes(2) for number in range(6))


def discovery() -> Iterator[bytes]:
    """A question and an answer."""
    yield write_question(Question(7, "lab", "n*"))
    yield write_answer(Answer(7, "nsg", "lab", "127.0.0.1", 40001, "1.0", 7), 700) or b""


def server_lines() -> Iterator[bytes]:
    """Commands and answers."""
    yield format_command(Start("nsg")) + format_command(Stop("nsg", 7)) + format_command(Stop("nsg"))
    yield format_reply(Ok(7)) + format_reply(Err("x")) + format_reply(Err(already_running(7, "1.0")))


def config() -> Iterator[bytes]:
    """A file that uses every kind of value, and what may stand between them."""
    yield (
        b'# lab\n{ "workgroup": "lab", // c\n "log_dir": \'${qmi_home}/x\', /* d */ "contexts": { "srv": {\n'
        b'"host": "10.0.0.1", "tcp_server_port": 40001, "enabled": true, "connect_to_peers": ["a", "b",] } },\n'
        b'"logging": {"loglevel": "INFO", "loglevels": {"qmi": "DEBUG"}, "rate_limit": 1.5, "max_bytes": 0x10 },\n'
        b'"process_management": {"hosts": {"a": {"ssh_user": "u"}}}, "limits": {}, "discovery": {"timeout": .5}}'
    )
    yield b'{a: 1, a: 2, "\\ud83d\\ude00": Infinity, b: [-1e3, NaN, null]}'


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    maker.__name__: maker for maker in (frames, codec, handshake, peer, living, discovery, server_lines, config)
}
