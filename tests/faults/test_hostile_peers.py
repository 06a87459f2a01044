"""Whatever a peer sends, as a client or as a server: its own link ends at most, and the context lives."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from itertools import groupby
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_ConnectionException, QMI_RuntimeException
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    ForceRelease,
    LockAnswer,
    LockInfo,
    QueryLock,
    Release,
    Subscribe,
    Token,
    Unsubscribe,
)
from qmi.names import Address
from qmi.net.codec import Codec
from qmi.net.limits import Buffer
from qmi.net.protocol import bounds
from qmi.net.protocol.bounds import Field
from qmi.net.protocol.events import RequestReceived
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.link_ends import LossKind, Role
from qmi.net.protocol.packets import pack
from qmi.peers.answer_types import ANSWERS
from tests.support.devices import Bench
from tests.support.examples import examples
from tests.support.extremes import HUGE, ODD, bad_packets, beyond, odd_packets, packet
from tests.support.living import Living, living
from tests.support.raw import Raw, client, server


@pytest.fixture
async def lab() -> AsyncIterator[Living]:
    """What is attacked; it works at the end."""
    async with living() as lab:
        yield lab
        await lab.check()


BAD = {name: [packet for _, packet in group] for name, group in groupby(bad_packets(), key=lambda pair: pair[0])}


def from_both_sides(names: Iterable[Any], of: Callable[[Any], str] = str) -> list[Any]:
    """Each name with each side; a usual run has every second name, with one of them."""
    sides = {"client": client, "server": server}
    return [
        pytest.param(name, side, id=f"{of(name)}-{what}", marks=() if number % 4 == 2 * place else pytest.mark.slow)
        for number, name in enumerate(names)
        for place, (what, side) in enumerate(sides.items())
    ]


@pytest.mark.parametrize(("name", "side"), from_both_sides(BAD))
async def test_fault_41_packet_out_of_bounds_ends_its_own_link_alone(
    name: str, side: Any, caplog: pytest.LogCaptureFixture, lab: Living
) -> None:
    caplog.set_level(logging.WARNING)

    for number, buffers in enumerate(BAD[name]):
        async with side(lab.context, f"raw{number}") as raw:
            await raw.send(buffers)
            lost = await raw.read_to_the_end()
            # It says why, unless some of what it did not read made the system cut the connection.
            assert lost.kind in (LossKind.GOODBYE, LossKind.DISCONNECTED), lost
            if lost.kind is LossKind.GOODBYE:
                assert "fault of this program" not in lost.reason
    assert not lab.faults()
    assert "fault of this program" not in caplog.text


@pytest.mark.parametrize(("field", "side"), from_both_sides(bounds.HELLO, lambda field: field.name))
async def test_fault_41_hello_out_of_bounds_ends_its_own_connection_alone(
    field: Field, side: Any, caplog: pytest.LogCaptureFixture, lab: Living
) -> None:
    async def as_client(lab: Living, buffers: list[Buffer]) -> None:
        async with client(lab.context, ready=False) as raw:
            await raw.send(buffers)
            lost = await raw.read_to_the_end()
            assert lost.kind in (LossKind.REFUSED, LossKind.DISCONNECTED)

    async def as_server(lab: Living, buffers: list[Buffer]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        where = f"127.0.0.1:{listener.socket.getsockname()[1]}"

        async def connect() -> None:
            with pytest.raises(QMI_ConnectionException, match="cannot be connected"):
                await lab.context.connect_to_peer("raw", where)

        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            async with await listener.accept() as stream:
                await Raw(stream, Role.LISTENING, "raw").send(buffers)

    hello = Hello(context="raw", incarnation="1", workgroup="default").to_wire()
    for value in beyond(field.bound):
        encoded = Codec().encode([0, 0, {**hello, field.name: value}])
        await (as_client if side is client else as_server)(lab, pack(encoded.payload, encoded.segments))
    assert not lab.faults()
    assert "fault of this program" not in caplog.text


REQUESTS: dict[str, Any] = {
    cls.__name__: make
    for cls, make in {
        Acquire: Acquire("bench", Token("t"), 0.0),
        Release: Release("bench", None),
        ForceRelease: ForceRelease("bench"),
        QueryLock: QueryLock("bench"),
        Describe: Describe("bench"),
        Subscribe: Subscribe("bench", "told"),
        Unsubscribe: Unsubscribe("bench", "told"),
    }.items()
}
ODD_ANSWERS: tuple[Any, ...] = (
    *ODD,
    LockInfo("x", HUGE, 1.0),  # type: ignore[arg-type]
    LockInfo("x", "y", math.nan),
    LockInfo(None, "y", 1.0),  # type: ignore[arg-type]
    LockAnswer.GRANTED,
)


@pytest.mark.parametrize("name", REQUESTS)
async def test_fault_41_answer_of_another_type_is_an_error_of_its_own_request(name: str, lab: Living) -> None:
    message = REQUESTS[name]
    bound = ANSWERS[type(message)]

    async with server(lab.context) as raw:
        for value in ODD_ANSWERS:
            future = lab.context.request(Address("raw", "bench"), message)
            while not any(isinstance(event, RequestReceived) for event in raw.events):
                await raw.read()
            (request,) = [event for event in raw.events if isinstance(event, RequestReceived)]
            raw.events.clear()
            await raw.send(packet(Kind.VALUE, request.number, value))
            await future.ended()
            if bound.accepts(value):
                assert future.error() is None
            else:
                assert isinstance(future.error(), QMI_RuntimeException)
                assert f"expected {bound.expected}" in str(future.error())
        await lab.check()
        assert lab.context.has_peer_context("raw")


@pytest.mark.parametrize("name", ["a stream", "items", "an end"])
@pytest.mark.parametrize("message", [QueryLock("bench"), Call("bench", "get")], ids=["query", "call"])
async def test_fault_41_stream_that_nobody_asked_for_harms_nobody(name: str, message: Any, lab: Living) -> None:
    async with server(lab.context) as raw:
        future = lab.context.request(Address("raw", "bench"), message)
        while not any(isinstance(event, RequestReceived) for event in raw.events):
            await raw.read()
        (request,) = [event for event in raw.events if isinstance(event, RequestReceived)]
        kinds = {"a stream": [Kind.STREAM], "items": [Kind.STREAM, Kind.ITEM], "an end": [Kind.STREAM, Kind.END]}
        for kind in kinds[name]:
            await raw.send(packet(kind, request.number, None))
        await future.ended()
        await lab.check()


@pytest.mark.parametrize("side", [client, server], ids=["client", "server"])
async def test_fault_41_any_mixture_of_odd_packets_harms_nobody(side: Any, lab: Living) -> None:
    everything = [part for _, part in odd_packets()]
    mixtures = st.lists(st.sampled_from(everything), min_size=1, max_size=6)

    count = 0

    async def send(mixture: list[list[Buffer]]) -> None:
        nonlocal count
        count += 1
        async with side(lab.context, f"raw{count}") as raw:
            if side is server:
                lab.context.request(Address(f"raw{count}", "bench"), Call("bench", "get"))
            with suppress(trio.BrokenResourceError):
                for buffers in mixture:
                    await raw.send(buffers)
        assert await lab.remote.echo(count) == count

    @examples(60)
    @given(mixtures)
    def check(mixture: list[list[Buffer]]) -> None:
        trio.from_thread.run(send, mixture)

    await trio.to_thread.run_sync(check)
    assert not lab.faults()


LISTS: tuple[Any, ...] = (
    None, 1, HUGE, "x", [1], [HUGE], [None], [[1, 2, 3, 4]], [["a.b", HUGE, "c", "d"]], [("a.b", "c", "d", "e", HUGE)],
    [["a.b"] * 9], [{}], {"a": 1}, [["a.b", "x", "y", "z"], 7],
)  # fmt: skip


async def test_fault_41_list_of_objects_that_makes_no_sense_hides_nobody_else(
    caplog: pytest.LogCaptureFixture, lab: Living
) -> None:
    async def answer(raw: Raw, value: Any) -> None:
        while True:
            while not any(isinstance(event, RequestReceived) for event in raw.events):
                await raw.read()
            for event in raw.events:
                if isinstance(event, RequestReceived):
                    await raw.send(packet(Kind.VALUE, event.number, value))
            raw.events.clear()

    await lab.other.make_instrument("mine", Bench)
    for number, value in enumerate(LISTS):
        async with server(lab.context, f"raw{number}") as raw, trio.open_nursery() as nursery:
            nursery.start_soon(answer, raw, value)
            found = [address for address, _ in await lab.context.list_rpc_objects("instrument")]
            assert found == ["srv.bench", "good.mine"]
            nursery.cancel_scope.cancel()
    assert caplog.text.count("cannot be listed") == len(LISTS)
