"""Memory is asked for as it arrives; where there is none, that ends one request, or one link, and nothing else."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_NotDeliveredException, QMI_ValueNotSendableException
from qmi.messages import Call, Failure, Signal, Undecodable, Value
from qmi.net.codec import Encoded
from qmi.net.limits import Limits
from qmi.net.limits import ProtocolError as Fault
from qmi.net.protocol import connection as peer_module
from qmi.net.protocol import packets as packets_module
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import (
    Event,
    ItemReceived,
    LargeFrameReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
)
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.memory_estimate import CHEAP, LARGE_BODY, Cost, costs_of, foresee, is_affordable
from qmi.net.protocol.packets import (
    HEADER,
    MAGIC,
    MAJOR,
    MINOR,
    Arrivals,
    Frame,
    FrameReader,
    MissingSegments,
    head,
    pack,
)
from qmi.net.protocol.request_memory import RequestMemory
from qmi.net.protocol.requests import OpenRequests
from tests.support.protocol import ask, give, pair, raw

ARRAY = np.zeros(100_000)
NO_MEMORY = [
    MemoryError(), OSError(12, "Cannot allocate memory"), ValueError("array is too big"), OverflowError("too large")
]  # fmt: skip


def inline(size: int) -> list[Any]:
    """A text that is no segment, since it is among many scalars."""
    return ["x" * size, *range(20)]


def without_memory(peer: Connection, error: Exception | None = None) -> None:
    def allocator(size: int) -> Any:
        raise error or MemoryError

    peer._reader._allocator = allocator


def error_in(events: list[Event]) -> BaseException:
    """The error in the only event, which is an answer."""
    (event,) = events
    assert isinstance(event, ReplyReceived)
    assert isinstance(event.reply, Failure)
    return event.reply.error


def still_works(a: Connection, b: Connection) -> None:
    number = ask(a, b)
    assert give(a, b.send_reply(number, Value(7))) == [ReplyReceived(number, Value(7))]


@pytest.mark.parametrize(
    ("cause", "cut"), [*((error, 1 << 20) for error in NO_MEMORY), *((MemoryError(), cut) for cut in (1, 1000, 65536))]
)
def test_request_without_memory_for_its_array_is_refused_and_the_link_goes_on(cause: Exception, cut: int) -> None:
    a, b = pair()
    allocator = b._reader._allocator
    without_memory(b, cause)
    number, buffers = a.send_request(Call("bench", "echo", (ARRAY[:: 8 if cut == 1 else 1].copy(), bytes(20_000))))
    a.handed_over(number)
    data = raw(buffers)
    for begin in range(0, len(data), cut):
        assert b.receive_data(data[begin : begin + cut], 0.0) == []
    assert b.lost is None
    error = error_in(give(a, b.data_to_send()))
    assert type(error) is QMI_NotDeliveredException
    assert "bench.echo was not carried out, repeating it later is safe: there is no memory" in str(error)
    b._reader._allocator = allocator
    still_works(a, b)


def test_result_without_memory_for_its_array_fails_its_call() -> None:
    a, b = pair()
    number = ask(a, b)
    allocator = a._reader._allocator
    without_memory(a)
    error = error_in(give(a, b.send_reply(number, Value({"x": ARRAY}))))
    assert isinstance(error, QMI_ValueNotSendableException)
    assert "there is no memory for arrays of 800000 bytes" in str(error)
    a._reader._allocator = allocator
    still_works(a, b)


def test_item_without_memory_for_its_array_ends_its_stream() -> None:
    a, b = pair()
    number = ask(a, b)
    give(a, b.open_stream(number))
    give(b, a.send_credit(number, 2))
    without_memory(a)
    assert "there is no memory" in str(error_in(give(a, b.send_item(number, ARRAY))))
    assert give(a, b.send_item(number, ARRAY)) == []
    assert not any(isinstance(event, ItemReceived) for event in give(b, a.data_to_send()))


def test_signal_without_memory_for_its_array_is_dropped() -> None:
    a, b = pair()
    without_memory(a)
    (event,) = give(a, b.send_signal(Signal("bench", "frame", (ARRAY,), 3, 1.0)))
    assert isinstance(event, SignalsReceived)
    assert type(event.signals[0].args) is Undecodable


def test_second_array_without_memory_frees_the_first() -> None:
    given: list[int] = []

    def allocator(size: int) -> bytearray:
        given.append(size)
        if len(given) == 2:
            raise MemoryError
        return bytearray(size)

    reader = FrameReader(Limits(), allocator=allocator)
    reader.open_up()
    parts = [memoryview(bytes(size)) for size in (20_000, 30_000, 40_000)]
    data = raw(pack(b"body", parts)) + raw(pack(b"next", []))
    first, second = reader.feed(data)
    assert isinstance(first.segments, MissingSegments)
    assert first.segments.size == 90_000
    assert first.segments, "or it would be taken for a frame without segments"
    assert (second.body, second.segments) == (b"next", ())
    assert given == [20_000, 30_000], "memory is asked for one segment after the other"


def test_memory_is_not_asked_for_before_the_bytes_in_front_of_it_are_there() -> None:
    given: list[int] = []
    reader = FrameReader(Limits(), allocator=lambda size: given.append(size) or bytearray(size))  # type: ignore[func-returns-value]
    reader.open_up()
    sizes = [16384] * 4000
    head = HEADER.pack(MAGIC, MAJOR, MINOR, 4, len(sizes), sum(sizes)) + struct.pack(f">{len(sizes)}Q", *sizes)
    assert list(reader.feed(head)) == []
    assert given == []
    assert list(reader.feed(b"body")) == []
    assert given == [16384]
    assert list(reader.feed(bytes(16384 * 10))) == []
    assert given == [16384] * 11


def test_body_without_memory_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scarce(bytearray):
        def __init__(self, size: int = 0) -> None:
            if size > 1000:
                raise MemoryError
            super().__init__(size)

    reader = FrameReader(Limits())
    reader.open_up()
    monkeypatch.setattr(packets_module, "bytearray", Scarce, raising=False)
    with pytest.raises(Fault, match="there is no memory for a message of 100000 bytes"):
        list(reader.feed(HEADER.pack(MAGIC, MAJOR, MINOR, 100_000, 0, 0) + bytes(10)))


def test_large_body_that_cannot_be_decoded_for_want_of_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair()
    monkeypatch.setattr(peer_module, "is_affordable", lambda size: size < LARGE_BODY)
    number, buffers = a.send_request(Call("bench", "echo", (inline(100_000),)))
    a.handed_over(number)
    assert give(b, buffers) == []
    assert "there is no memory for a message of 1000" in str(error_in(give(a, b.data_to_send())))


def test_arrivals_leave_room_for_modest_ones() -> None:
    arrivals = Arrivals(300 << 20)
    one, two, three = object(), object(), object()
    assert arrivals.begin(one, 200 << 20)
    assert not arrivals.begin(two, 200 << 20)
    assert arrivals.begin(three, 64 << 20)
    arrivals.end(one)
    assert arrivals.begin(two, 200 << 20)
    arrivals.end(one)


def test_arrival_ends_with_its_frame_and_with_its_link() -> None:
    a, b = pair()
    arrivals = b._reader._arrivals
    number, buffers = a.send_request(Call("bench", "echo", (ARRAY,)))
    a.handed_over(number)
    data = raw(buffers)
    b.receive_data(data[:-1], 0.0)
    assert len(arrivals._announced) == 1
    b.receive_data(data[-1:], 0.0)
    assert arrivals._announced == {}
    b.receive_data(data[:-1], 0.0)
    b.lose("gone")
    assert arrivals._announced == {}


# The bytes of open requests

SMALL = Limits(request_bytes=1 << 20)


def test_requests_beyond_the_bytes_of_a_peer_are_refused() -> None:
    a, b = pair(SMALL)
    text = inline(40_000)  # may be 680,000 bytes of memory, as far as this side knows before it looks
    message = Call("bench", "echo", (text,))
    numbers = []
    events: list[Any] = []
    for _ in range(3):
        number, buffers = a.send_request(message)
        a.handed_over(number)
        numbers.append(number)
        events += give(b, buffers)
    assert [type(event) for event in events] == [RequestReceived]
    replies = give(a, b.data_to_send())
    assert [reply.number for reply in replies if isinstance(reply, ReplyReceived)] == numbers[1:]
    for reply in replies:
        error = error_in([reply])
        assert type(error) is QMI_NotDeliveredException
        assert "take up more than 1 MiB" in str(error)
    give(a, b.send_reply(numbers[0], Value(None)))
    number, buffers = a.send_request(message)
    a.handed_over(number)
    assert [type(event) for event in give(b, buffers)] == [RequestReceived]


def test_request_of_any_size_is_allowed_if_it_is_the_only_one() -> None:
    requests = OpenRequests(10, 1000)
    assert requests.has_room_to_ask(5000)
    number = requests.ask("x", 5000)
    assert not requests.has_room_to_ask(1)
    assert requests.has_room_to_ask(0), "small ones do not count"
    assert requests.lacks_room
    requests.queued.discard(number)
    requests.answered(number)
    assert [requests.lacks_room] == [False]
    assert requests.has_room_to_ask(5000)


@pytest.mark.parametrize("end", ["answer", "cancel in time", "stream", "loss"])
def test_bytes_of_a_request_are_free_when_it_ends(end: str) -> None:
    requests = OpenRequests(10, 1000)
    number = requests.ask("x", 900)
    assert not requests.has_room_to_ask(900)
    if end == "cancel in time":
        requests.cancel(number)
    elif end == "loss":
        requests.lose_all("peer", "gone")
    else:
        requests.queued.discard(number)
        requests.stream_opened(number) if end == "stream" else requests.answered(number)
    assert not requests.lacks_room
    assert requests.has_room_to_ask(900)


def test_bytes_of_a_cancelled_request_are_free_when_the_other_side_says_so() -> None:
    requests = OpenRequests(10, 1000)
    number = requests.ask("x", 900)
    requests.queued.discard(number)
    requests.cancel(number)
    assert not requests.has_room_to_ask(900)
    requests.answered(number)
    assert requests.has_room_to_ask(900)


@given(st.binary(max_size=3000), st.integers(1, 1 << 40))
def test_cost_of_a_request_is_for_its_sender_at_least_what_it_is_for_its_receiver(payload: bytes, number: int) -> None:
    a, _ = pair()
    body = head(Kind.REQUEST, number) + payload
    theirs = costs_of(foresee(body, 0)).total if len(body) > CHEAP else 0
    assert a.cost_of(Encoded(payload, [])) >= theirs


# The bytes of the requests on all links


def shared(count: int, values: int = 1 << 22) -> tuple[RequestMemory, list[tuple[Connection, Connection]]]:
    """Links of one context: each with its client."""
    memory = RequestMemory(values, 1 << 22)
    pairs = [pair() for _ in range(count)]
    for _, server in pairs:
        server._share.memory = memory
    return memory, pairs


def request(client: Connection, value: Any) -> tuple[int, bytes]:
    number, buffers = client.send_request(Call("bench", "echo", (value,)))
    client.handed_over(number)
    return number, raw(buffers)


LARGE_VALUES = {
    "text": inline(150_000),
    "array": np.zeros(300_000),
    "numbers": [1.5] * 60_000,
    "scalars": [np.uint8(1)] * 60_000,
}


@pytest.mark.parametrize("kind", LARGE_VALUES)
@pytest.mark.parametrize("end", ["answer", "failure", "stream", "loss"])
def test_requests_of_many_peers_are_refused_beyond_what_they_may_take_up_together(kind: str, end: str) -> None:
    memory, pairs = shared(4)
    accepted = []
    for client, server in pairs:
        number, data = request(client, LARGE_VALUES[kind])
        events = server.receive_data(data, 0.0)
        if events:
            accepted.append((server, number))
            continue
        error = error_in(give(client, server.data_to_send()))
        assert type(error) is QMI_NotDeliveredException
        assert "requests of all peers that have no answer yet take up too much memory" in str(error)
    assert len(accepted) in (1, 2)
    for server, number in accepted:
        if end == "loss":
            server.lose("gone")
        elif end == "stream":
            server.open_stream(number)
        else:
            server.send_reply(number, Value(None) if end == "answer" else Failure(ValueError()))
    assert memory.used == Cost()
    client, server = pairs[-1]
    assert server.receive_data(request(client, LARGE_VALUES[kind])[1], 0.0)


def test_little_is_left_for_every_peer() -> None:
    _, pairs = shared(30)
    for client, server in pairs:
        _, data = request(client, inline(50_000))
        assert [type(event) for event in server.receive_data(data, 0.0)] == [RequestReceived]


def test_large_request_waits_for_memory_of_others() -> None:
    memory, ((one, first), (two, second)) = shared(2)
    number, data = request(one, inline(200_000))
    first.receive_data(data, 0.0)
    second.defers_large = True
    second.receive_data(request(two, inline(200_000))[1], 0.0)
    woken: list[bool] = []
    assert not second.reserve(lambda: woken.append(True))
    first.send_reply(number, Value(None))
    assert woken == [True]
    assert second.reserve(lambda: woken.append(True))
    frame = second.large_frame
    assert frame is not None
    assert [type(event) for event in second.decoded(second.decode(frame), 0.0)] == [RequestReceived]
    second.lose("gone")
    assert memory.used == Cost()


@pytest.mark.parametrize("moment", ["before it is decoded", "while it is decoded"])
def test_memory_is_free_when_the_link_of_a_large_frame_is_lost(moment: str) -> None:
    memory, ((client, server),) = shared(1)
    server.defers_large = True
    server.receive_data(request(client, inline(200_000))[1], 0.0)
    frame = server.large_frame
    assert frame is not None
    assert server.reserve(lambda: None)
    found = server.decode(frame) if moment == "while it is decoded" else None
    server.lose("gone")
    if found is None:
        server.cancel_reservation()
    else:
        assert server.decoded(found, 0.0) == []
    assert memory.used == Cost()


@pytest.mark.parametrize("what", ["nonsense", "too many requests", "unknown tag"])
def test_memory_is_free_when_a_request_is_refused(what: str) -> None:
    memory, ((_, server),) = shared(1)
    if what == "too many requests":
        server.requests.limit = 0
    body = (
        head(Kind.REQUEST, 1)
        + {
            "nonsense": b"\xff" * 2000,
            "unknown tag": b"\x87\x00\x65bench\x64echo\x81\xd9\xff\xff\x59\x07\xd0" + bytes(2000) + b"\xa0\xf6\x80",
            "too many requests": b"\x87\x00\x65bench\x64echo\x81\x59\x07\xd0" + bytes(2000) + b"\xa0\xf6\x80",
        }[what]
    )
    give(server, pack(body, []))
    assert (server.lost is not None) == (what == "nonsense")
    assert memory.used == Cost()


def test_packed_lists_count_what_they_become() -> None:
    a, b = pair()
    for value, least in (([np.uint8(1)] * 100_000, 33), ([1.5] * 100_000, 32), (["abc"] * 100_000, 60)):
        encoded = a.encode_request(Call("bench", "echo", (value,)))
        assert a.cost_of(encoded) > 100_000 * least
        assert b.decode(Frame(head(Kind.REQUEST, 1) + encoded.payload, encoded.segments))


@pytest.mark.parametrize(
    "value",
    [
        [np.uint8(1)] * 600_000,
        [True] * 600_000,
        ["a", None] * 200_000,
        [(1, 2)] * 9000,
        [ValueError()] * 101,
        inline(70_000),
        "x" * (5 << 20),
        [{"a": 1}] * 9000,
    ],
    ids=["scalars", "bools", "mixed", "tuples", "errors", "text", "long text", "dicts"],
)
def test_frame_that_takes_long_is_decoded_beside_the_loop(value: Any) -> None:
    client, server = pair()
    server.defers_large = True
    assert server.receive_data(request(client, value)[1], 0.0) == [LargeFrameReceived()]


@pytest.mark.parametrize(
    "value",
    [
        [(number * 0.37, number, f"n{number}") for number in range(200)],
        {f"key {number}": number * 0.37 for number in range(300)},
        [number * 0.37 if number % 10 else None for number in range(1000)],
        [number * 0.37 for number in range(1000)],
        {f"setting {number}": {"value": number * 0.37, "limits": (0.0, 10.0)} for number in range(100)},
        bytes(range(256)) * 40,
        "x" * 1_000_000,
    ],
    ids=["rows", "dict", "gaps", "floats", "settings", "bytes", "text"],
)
def test_frame_of_few_items_is_decoded_by_whoever_reads_it(value: Any) -> None:
    client, server = pair()
    server.defers_large = True
    (event,) = server.receive_data(request(client, value)[1], 0.0)
    assert isinstance(event, RequestReceived)


@given(st.lists(st.sampled_from([0.5, 7, "abc", None]), max_size=8), st.integers(80, 110), st.integers(1, 1 << 40))
def test_cost_is_no_less_for_its_sender_where_it_has_few_items_and_many_at_its_receiver(
    some: list[Any], size: int, number: int
) -> None:
    a, _ = pair()
    encoded = a.encode_request(Call("bench", "echo", (["x" * 1100, *some], [1, "x"] * (size // 2), [(1, 2)] * 5)))
    body = head(Kind.REQUEST, number) + encoded.payload
    assert a.cost_of(encoded) >= costs_of(foresee(body, 0)).total


# Large messages


def test_large_frame_waits_to_be_decoded_and_keeps_its_place() -> None:
    a, b = pair()
    b.defers_large = True
    data = b""
    for value in (1, inline(100_000), 2, inline(100_000), 3):
        number, buffers = a.send_request(Call("bench", "echo", (value,)))
        a.handed_over(number)
        data += raw(buffers)
    events: list[Any] = [*b.receive_data(data, 0.0)]
    assert events == [RequestReceived(1, events[0].message), LargeFrameReceived()]
    events.pop()
    decoded = 0
    while (frame := b.large_frame) is not None:
        assert b.reserve(lambda: None)
        found = b.decode(frame)
        events += b.decoded(found, 0.0)
        decoded += 1
    assert [event.number for event in events] == [1, 2, 3, 4, 5]
    assert decoded == 2


def test_peer_that_waits_for_its_large_frame_is_not_silent_and_gives_a_sign_of_life() -> None:
    a, b = pair()
    b.defers_large = True
    number, buffers = a.send_request(Call("bench", "echo", (inline(100_000),)))
    a.handed_over(number)
    b.receive_data(raw(buffers), 0.0)
    for now in range(1, 60):
        assert b.tick(float(now)) == []
        assert b.next_deadline() <= now + b.limits.silence
    assert b.data_to_send(), "or the other side would think that this one is gone"
    assert b.lost is None


def test_large_frame_that_makes_no_sense_ends_the_link() -> None:
    _, b = pair()
    b.defers_large = True
    assert b.receive_data(raw(pack(b"\xff" * 100_000, [])), 0.0) == [LargeFrameReceived()]
    frame = b.large_frame
    assert frame is not None
    events = b.decoded(b.decode(frame), 0.0)
    assert isinstance(events[-1], PeerLost)
    assert b.large_frame is None
    assert b.decoded(Fault("late"), 0.0) == []


def test_modest_message_needs_modest_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Map:
        def __init__(self, _: int, size: int) -> None:
            asked.append(size)

        def close(self) -> None: ...

    monkeypatch.setattr("qmi.net.protocol.memory_estimate.mmap.mmap", Map)
    assert is_affordable(20_000)
    assert is_affordable(4 << 20)
    assert asked[0] < 2 << 20
    assert asked[1] > 100 << 20
