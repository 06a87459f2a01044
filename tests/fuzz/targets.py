"""What must hold for any bytes that reach a parser: one function for each parser, which raises if it does not hold.

``make fuzz`` looks for inputs that break one of these, ``tests/corpus`` keeps what was found.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import trio
from cbor2 import CBORTag, dumps

from qmi.config.loader import parse_config
from qmi.errors import QMI_ConfigurationException, QMI_ValueNotSendableException
from qmi.messages import Call, Value
from qmi.names import Address, HostPort
from qmi.net.codec import Codec
from qmi.net.codec.tags import Own
from qmi.net.discovery.packets import Question, read_answer, read_question, reply_to
from qmi.net.limits import Limits, ProtocolError
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import Event, HelloReceived, PeerLost, ReplyReceived, RequestReceived
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import LossKind, Role
from qmi.net.protocol.packets import Frame, FrameReader, pack
from qmi.proc.helper_protocol import (
    BadLineError,
    Err,
    Ok,
    clean,
    format_command,
    format_reply,
    parse_already_running,
    parse_command,
    parse_reply,
)
from tests.support.extremes import odd_packets
from tests.support.living import living as living_context
from tests.support.raw import client, server

LIMITS = Limits(body=1 << 16, frame=1 << 20, segments=64)
_SEGMENT = b"\xff--\xff"
_ODD = [b"".join(map(bytes, buffers)) for _, buffers in odd_packets()]
_EXCEPTION = dumps(CBORTag(Own.EXCEPTION, None))[:-1]


def frames(data: bytes) -> None:
    """Whole, cut at random and byte by byte: the same frames, and the same end."""
    outcomes = [_read_frames(chunks) for chunks in _ways(data)]
    assert outcomes[0] == outcomes[1] == outcomes[2], outcomes


def codec(data: bytes) -> None:
    """A value or a protocol error; a value survives being sent on."""
    payload, *segments = data.split(_SEGMENT)
    coder = Codec(LIMITS)
    try:
        value = coder.decode(payload, [bytearray(segment) for segment in segments if segment])
    except ProtocolError as error:
        _check_text(str(error))
        return
    try:
        encoded = coder.encode(value)
    except QMI_ValueNotSendableException as error:
        _check_text(str(error))  # decoding allows some nesting more than encoding
        return
    again = coder.encode(coder.decode(encoded.payload, [bytearray(part) for part in encoded.segments]))
    # Sets have no order, so only the size is sure to stay; an exception that is sent on says so in its traceback.
    assert len(again.payload) == len(encoded.payload) or _EXCEPTION in encoded.payload


def handshake(data: bytes) -> None:
    """The first frame of a stranger: a hello, or an end with a reason that can be shown."""
    for role in Role:
        for body in (data, b"\x83\x00\x00" + data, b"\x83\x01\x00" + data):
            peer = _peer(role)
            peer.data_to_send()
            if body:
                _check_events(peer, peer.receive_data(b"".join(map(bytes, pack(body))), 1.0))
            _drain(peer)


def peer(data: bytes) -> None:
    """What a peer that was let in sends: the same events however it is cut, and each request ends once."""
    stream = data[1:]
    if data[:1] == b"\x01":
        stream = _framed(stream)
    outcomes = [_talk(chunks) for chunks in _ways(stream)]
    assert outcomes[0] == outcomes[1] == outcomes[2], outcomes


def living(data: bytes) -> None:
    """What a client or a server sends to a context that runs: no link but its own ends, and nothing is a fault.

    The first byte says which side sends. Then, again and again: a byte below 128 is the length of what follows and is
    sent as it is; two bytes from 128 on are the number of a packet that is made from the table of bounds.
    """
    parts: list[bytes] = []
    rest = data[1:]
    while rest and len(parts) < 8:
        if rest[0] < 128:
            parts.append(rest[1 : 1 + rest[0]])
            rest = rest[1 + rest[0] :]
        else:
            parts.append(_ODD[int.from_bytes(rest[:2]) % len(_ODD)])
            rest = rest[2:]
    trio.run(_live, client if data[:1] < b"\x80" else server, parts)


async def _live(side: Any, parts: list[bytes]) -> None:
    with trio.fail_after(10):
        async with living_context() as lab:
            async with side(lab.context) as raw:
                link = lab.context.connections.link_to("raw")
                if side is server:
                    lab.context.request(Address("raw", "bench"), Call("bench", "get"))
                with suppress(trio.BrokenResourceError):
                    for part in parts:
                        await raw.send([part])
            # A peer may well lock the instrument: until its link has ended, and with a token of its own beyond that.
            if link is not None:
                await link.ended.wait()
            await lab.bench.force_unlock()
            await lab.check()
            assert not lab.faults(), lab.faults()


def discovery(data: bytes) -> None:
    """No packet raises anything, and no answer is larger than its question."""
    question = read_question(data)
    answer = reply_to(
        data, asker_host="127.0.0.1", name="nsg", workgroup="lab", host="127.0.0.1", port=40001, version="1.0", pid=7
    )
    if answer is not None:
        assert question is not None
        assert len(answer) <= len(data)
        assert read_answer(answer, source_host="127.0.0.1", question=question) is not None
    found = read_answer(data, source_host="10.0.0.1", question=question or Question(7, "lab"))
    if found is not None:
        assert isinstance(found.address, HostPort)
        assert all(text.isprintable() for text in (found.name, found.workgroup, found.host, found.version))


def server_lines(data: bytes) -> None:
    """A line is a command, an answer, or refused in words that can be shown; what was read can be written."""
    for line in data.split(b"\n"):
        try:
            command = parse_command(line)
            if command is not None:
                assert parse_command(format_command(command)) == command
        except BadLineError as error:
            _check_text(str(error))
        try:
            reply = parse_reply(line)
        except BadLineError as error:
            _check_text(str(error))
            continue
        assert isinstance(reply, Ok | Err)
        assert parse_reply(format_reply(reply)) == reply or isinstance(reply, Err)
        if isinstance(reply, Err):
            assert clean(reply.message) == reply.message
            parse_already_running(reply.message)


def config(data: bytes) -> None:
    """A text is a configuration, or refused with faults that can be shown."""
    text = data.decode("utf-8", "replace")
    faults: Iterable[str] = ()
    try:
        parse_config(text)
    except QMI_ConfigurationException as error:
        faults = error.faults or ("",)
    for fault in faults:
        _check_text(fault, limit=20_000)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (frames, codec, handshake, peer, living, discovery, server_lines, config)
}


def _ways(data: bytes) -> Iterable[list[bytes]]:
    yield [data]
    source = random.Random(len(data))
    cuts = sorted(source.randint(0, len(data)) for _ in range(5))
    yield [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    yield [data[index : index + 1] for index in range(len(data))]


def _read_frames(chunks: list[bytes]) -> tuple[list[Any], str]:
    reader = FrameReader(LIMITS, allocator=bytearray)
    reader.open_up()
    found: list[Frame] = []
    end = ""
    try:
        for chunk in chunks:
            for frame in reader.feed(chunk):
                found.append(frame)
    except ProtocolError as error:
        end = str(error)
        _check_text(end)
    return [(bytes(frame.body), [bytes(part) for part in frame.segments]) for frame in found], end


def _framed(stream: bytes) -> bytes:
    """Read "length, body" again and again and make frames of it, so that what lies behind the header is reached."""
    parts = []
    while stream:
        body, stream = stream[1 : 1 + stream[0]], stream[1 + stream[0] :]
        body, *segments = body.split(_SEGMENT)
        parts += pack(body, [memoryview(segment) for segment in segments if segment])
    return b"".join(map(bytes, parts))


def _peer(role: Role) -> Connection:
    hello = Hello(context="srv", incarnation="1", workgroup="lab")
    return Connection(role, hello, now=0.0, expected="cli" if role is Role.CONNECTING else None, limits=LIMITS)


def _talk(chunks: list[bytes]) -> list[str]:
    ours = _peer(Role.LISTENING)
    theirs = Connection(Role.CONNECTING, Hello(context="cli", incarnation="2", workgroup="lab"), now=0.0, limits=LIMITS)
    events = list(ours.receive_data(b"".join(map(bytes, theirs.data_to_send())), 0.0))
    assert isinstance(events[0], HelloReceived)
    ours.accept(0.0)
    numbers = []
    for name in ("a", "b", "c"):
        number, _ = ours.send_request(Call("o", name))
        ours.handed_over(number)
        numbers.append(number)
    seen: list[Event] = []
    for chunk in chunks:
        seen += ours.receive_data(chunk, 1.0)
    _check_events(ours, seen)
    for event in list(seen):
        if isinstance(event, RequestReceived) and event.number % 2 and ours.lost is None:
            ours.send_reply(event.number, Value(None))
    seen += ours.close()
    ended = [event.number for event in seen if isinstance(event, ReplyReceived)]
    assert len(ended) == len(set(ended)), "a request ended twice"
    assert ours.requests.asked_count == ours.requests.served_count == 0
    assert [isinstance(event, PeerLost) for event in seen].count(True) == 1
    assert isinstance(seen[-1], PeerLost)
    _drain(ours)
    return [_shown(event) for event in seen]


def _shown(event: Event) -> str:
    text = f"{type(event).__name__} {getattr(event, 'number', '')}"
    if isinstance(event, PeerLost):
        text += f" {event.kind} {event.reason}"
    return text


def _check_events(peer: Connection, events: list[Event]) -> None:
    lost = [event for event in events if isinstance(event, PeerLost)]
    assert len(lost) <= 1
    for event in lost:
        assert event is events[-1]
        assert event.kind in (LossKind.PROTOCOL, LossKind.REFUSED, LossKind.GOODBYE), event
        _check_text(event.reason)
    theirs = peer.theirs
    if theirs is not None:
        assert str(theirs).isprintable()
    assert peer.title.isprintable()


def _drain(peer: Connection) -> None:
    """What is said in answer is small, and can be read by the other side's reader."""
    data = b"".join(map(bytes, peer.data_to_send()))
    assert len(data) < 1 << 20
    reader = FrameReader(LIMITS)
    reader.open_up()
    coder = Codec(LIMITS)
    for frame in reader.feed(data):
        coder.decode(frame.body, frame.segments)


def _check_text(text: str, limit: int = 12_000) -> None:
    """Fit for one line of a log: printable, not endless, and no lone surrogate."""
    assert text, "an error without words"
    assert len(text) <= limit, f"{len(text)} characters: {text[:100]!r}"
    text.encode()
    assert text.isprintable(), repr(text[:300])
