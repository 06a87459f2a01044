"""What waits when the other side reads slowly, and whose memory it is."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import trio
import trio.testing

from qmi.actors.interface import Placement
from qmi.config.schema import CfgSecurity
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_NotDeliveredException
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.tools.certs import make_ca, make_certificate
from tests.support.chaos import ChaosProxy
from tests.support.lab import make_context
from tests.support.waiting import wait_until

BIG = 2 << 20
"""More than twice what the sockets between the two contexts take, so that a link that is full stays so."""
_WINDOW = 1 << 16


class Camera(QMI_Instrument):
    """Fills one buffer again and again."""

    frame = QMI_Signal([numpy.ndarray])

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        plain = numpy.zeros(BIG, "u1")
        self.buffers: dict[str, Any] = {
            "array": plain,
            "columns": numpy.zeros((1024, BIG // 1024), "u1", order="F"),
            "part": numpy.zeros((2 * BIG // 1024, 1024), "u1")[::2],
            "wide": numpy.zeros(BIG // 8, ">f8"),
            "structured": numpy.zeros(BIG // 16, [("a", "<f8"), ("b", "<i4"), ("c", "S4")]),
            "bytearray": bytearray(BIG),
        }
        self.done = 0
        self.received: list[Any] = []
        self.gate = threading.Event()
        self.ended = threading.Event()
        self.sizes: list[int] = []

    def _fill(self, kind: str, number: int) -> Any:
        buffer = self.buffers[kind]
        if kind == "structured":
            buffer["a"] = buffer["b"] = number
            buffer["c"] = str(number).encode()
        elif kind == "bytearray":
            buffer[:] = bytes((number,)) * BIG
        else:
            buffer[...] = number
        return buffer

    @rpc_method
    def take(self, kind: str, number: int) -> Any:
        self.done += 1
        return self._fill(kind, number)

    @rpc_method
    async def take_async(self, kind: str, number: int) -> Any:
        return self.take(kind, number)

    @rpc_method
    def take_several(self, kind: str, number: int) -> Any:
        return {"now": [self.take(kind, number)], "text": "x"}

    @rpc_method
    def stream(self, kind: str, count: int) -> Iterator[Any]:
        for number in range(count):
            yield self.take(kind, number)
        self.ended.set()

    @rpc_method
    def publish(self, kind: str, count: int) -> None:
        for number in range(count):
            self.frame.publish(self._fill(kind, number))
        self.ended.set()

    @rpc_method
    def keep(self, value: Any) -> None:
        self.received.append(value)

    @rpc_method
    def size(self, value: Any = b"") -> int:
        self.sizes.append(len(value))
        return len(value)

    @rpc_method
    def wait(self) -> None:
        self.gate.wait(10)


class Bench:
    """A server with a camera, and a client that reads and writes when the test says so."""

    def __init__(self, server: QMI_Context, client: QMI_Context, proxy: ChaosProxy, camera: Camera) -> None:
        self.server, self.client, self.proxy, self.camera = server, client, proxy, camera
        self.remote = client.get_instrument("srv.camera")
        link = server.async_context.connections.link_to("here")
        assert link is not None
        self.link = link
        for sender in (link, client.async_context.connections.link_to("srv")):
            assert sender is not None
            with socket.socket(fileno=os.dup(sender.descriptor())) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WINDOW)

    def is_idle(self) -> bool:
        """Whether the camera does nothing, and may fill its buffer again."""
        actor = self.server.async_context.registry.get("camera")
        return actor is not None and actor.mailbox.current is None

    def wait_until_held(self, count: int) -> None:
        """Wait until the link has no room any more for the results of so many calls, and none of them runs."""
        wait_until(self.link.is_full)  # from now on, until the proxy goes on, no call begins
        actor = self.server.async_context.registry.get("camera")
        assert actor is not None
        # All have come; one that came before the link was full has ended, too.
        wait_until(lambda: self.is_idle() and self.camera.done + len(actor.mailbox) == count)


@pytest.fixture
def limits() -> dict[str, Any]:
    return {}


@pytest.fixture
def bench(limits: dict[str, Any]) -> Iterator[Bench]:
    with (
        make_context("srv", **limits) as server,
        make_context("here", **limits) as client,
        ChaosProxy(server.get_tcp_server_port(), _WINDOW) as proxy,
    ):
        server.make_instrument("camera", Camera)
        actor = server.async_context.registry.get("camera")
        assert actor is not None
        client.connect_to_peer("srv", proxy.address)
        yield Bench(server, client, proxy, actor.object)
        actor.object.gate.set()
        proxy.back.go_on()
        proxy.there.go_on()


def numbers_in(value: Any) -> set[int]:
    """Which measurements a value is mixed of."""
    if isinstance(value, dict):
        value = value["now"][0]
    if isinstance(value, bytearray):
        return set(value)
    if value.dtype.names:
        assert {int(text) for text in numpy.unique(value["c"])} == set(value["b"].tolist())
        return set(numpy.unique(value["a"]).astype(int).tolist()) | set(numpy.unique(value["b"]).tolist())
    return set(numpy.unique(value).astype(int).tolist())


KINDS = ["array", "columns", "part", "wide", "structured", "bytearray"]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *(("take", kind) for kind in KINDS),
        ("take_async", "array"),
        ("take_async", "bytearray"),
        ("take_several", "array"),
    ],
)
def test_fault_45_result_is_what_the_driver_returned_although_it_fills_its_buffer_again(
    bench: Bench, method: str, kind: str
) -> None:
    bench.proxy.back.stall()
    futures = [getattr(bench.remote.rpc_nonblocking, method)(kind, number) for number in (1, 2, 3)]
    wait_until(lambda: bench.camera.done == 3 and bench.is_idle())
    bench.camera._fill(kind, 9)
    bench.proxy.back.go_on()
    assert [numbers_in(future.wait(20)) for future in futures] == [{1}, {2}, {3}]


@pytest.mark.parametrize("kind", ["array", "bytearray", "structured"])
def test_item_of_a_stream_is_what_the_driver_yielded(bench: Bench, kind: str) -> None:
    bench.proxy.back.stall()
    future = bench.remote.rpc_nonblocking.stream(kind, 3)
    bench.proxy.back.go_on()
    stream = future.wait(20)
    bench.proxy.back.stall()
    first = stream._source.next(None)
    wait_until(lambda: bench.camera.ended.is_set() and bench.is_idle())
    bench.camera._fill(kind, 9)
    bench.proxy.back.go_on()
    assert numbers_in(first.wait(20)) == {0}
    assert [numbers_in(item) for item in stream] == [{1}, {2}]


@pytest.mark.parametrize("kind", ["array", "columns"])
def test_signal_says_what_was_published(bench: Bench, kind: str) -> None:
    receiver = QMI_SignalReceiver()
    bench.remote.frame.subscribe(receiver)
    bench.proxy.back.stall()
    future = bench.remote.rpc_nonblocking.publish(kind, 4)
    wait_until(lambda: bench.camera.ended.is_set() and bench.is_idle())
    bench.camera._fill(kind, 9)
    bench.proxy.back.go_on()
    future.wait(20)
    assert [numbers_in(receiver.get_next_signal(20).args[0]) for _ in range(4)] == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("kind", ["array", "bytearray", "structured"])
def test_fault_45_argument_is_what_the_caller_gave(bench: Bench, kind: str) -> None:
    own = Camera(bench.client, "own")
    bench.proxy.there.stall()
    futures = [bench.remote.rpc_nonblocking.keep(own._fill(kind, number)) for number in (1, 2, 3)]
    own._fill(kind, 9)
    bench.proxy.there.go_on()
    for future in futures:
        future.wait(20)
    assert [numbers_in(value) for value in bench.camera.received] == [{1}, {2}, {3}]


# Back pressure


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": BIG}])
def test_fault_46_results_wait_for_a_client_that_reads_later(bench: Bench) -> None:
    bench.proxy.back.stall()
    futures = [bench.remote.rpc_nonblocking.take("array", number) for number in range(16)]
    bench.wait_until_held(16)
    assert bench.camera.done < 8, "calls whose results have no room are not begun"
    local = bench.server.get_instrument("camera")
    assert local.size(b"xyz") == 3, "others use the object meanwhile"
    bench.proxy.back.go_on()
    assert [numbers_in(future.wait(30)) for future in futures] == [{number} for number in range(16)]


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": BIG}])
def test_call_that_is_held_can_be_cancelled(bench: Bench) -> None:
    bench.proxy.back.stall()
    futures = [bench.remote.rpc_nonblocking.take("array", number) for number in range(16)]
    bench.wait_until_held(16)
    begun = bench.camera.done
    for future in futures[begun:]:
        future.cancel()
    bench.proxy.back.go_on()
    assert [numbers_in(future.wait(30)) for future in futures[:begun]] == [{number} for number in range(begun)]
    assert bench.remote.size(b"abc") == 3
    assert bench.camera.done == begun


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": BIG}])
def test_calls_that_are_held_are_forgotten_with_their_link(bench: Bench) -> None:
    bench.proxy.back.stall()
    for number in range(16):
        bench.remote.rpc_nonblocking.take("array", number)
    wait_until(bench.link.is_full)
    bench.proxy.reset()
    wait_until(lambda: not bench.server.has_peer_context("here"))
    wait_until(lambda: len(bench.server.async_context.registry.get("camera").mailbox) == 0)  # type: ignore[union-attr]
    assert bench.server.get_instrument("camera").size(b"xyz") == 3


@pytest.mark.parametrize("report", [False, True])
@pytest.mark.parametrize("limits", [{"max_unsent_bytes": 2 * BIG}])
def test_fault_46_signals_that_have_no_room_are_dropped_and_the_receiver_is_told(bench: Bench, report: bool) -> None:
    receiver = QMI_SignalReceiver(report_gaps=report)
    bench.remote.frame.subscribe(receiver)
    bench.proxy.back.stall()
    bench.server.get_instrument("camera").publish("array", 16)
    assert bench.link.dropped_signals > 4
    bench.proxy.back.go_on()
    wait_until(lambda: not bench.link.is_full())
    bench.server.get_instrument("camera").publish("array", 1)
    got = [receiver.get_next_signal(20)]
    while got[-1].seqnr != 16:
        got.append(receiver.get_next_signal(20))
    assert len([signal for signal in got if not signal.is_gap]) == 17 - bench.link.dropped_signals
    gaps = [index for index, signal in enumerate(got) if signal.gap is not None]
    assert [got[index].gap for index in gaps] == ["dropped"]
    assert gaps == [len(got) - (2 if report else 1)], "the gap is told where the signals are missing"


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": BIG}])
def test_fault_46_calls_with_large_arguments_wait_for_room(bench: Bench) -> None:
    bench.proxy.there.stall()
    sent = threading.Event()
    futures: list[Any] = []

    def call() -> None:
        futures.extend(bench.remote.rpc_nonblocking.size(bytes(BIG + number)) for number in range(16))
        sent.set()

    thread = threading.Thread(target=call)
    thread.start()
    link = bench.client.async_context.connections.link_to("srv")
    assert link is not None
    wait_until(link.is_full)
    assert not sent.is_set()
    with pytest.raises(QMI_NotDeliveredException, match=r"MiB wait for peer 'srv'.*repeating it is safe"):
        bench.remote.size(b"xyz", rpc_timeout=0.05)
    bench.proxy.there.go_on()
    thread.join(30)
    assert [future.wait(30) for future in futures] == [BIG + number for number in range(16)]


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": BIG}])
def test_awaited_calls_with_large_arguments_wait_for_room(bench: Bench) -> None:
    sizes: list[int] = []
    late: list[str] = []

    async def call(camera: Any, number: int) -> None:
        sizes.append(await camera.size(bytes(BIG + number)))

    async def call_briefly(camera: Any) -> None:
        try:
            await camera.size(b"xyz", rpc_timeout=0.05)
        except QMI_NotDeliveredException as error:
            late.append(str(error))

    async def main() -> None:
        camera = await bench.client.async_context.get_instrument("srv.camera")
        bench.proxy.there.stall()
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(call, camera, number)
            await trio.testing.wait_all_tasks_blocked()
            await call_briefly(camera)
            bench.proxy.there.go_on()

    bench.client.async_context.run(main).wait(30)
    assert sorted(sizes) == [BIG + number for number in range(16)]
    assert len(late) == 1
    assert "was not sent within 0.05 s" in late[0]


@pytest.mark.parametrize("limits", [{"max_unsent_bytes": 1_000_000, "unsent_timeout": 0.5}])
def test_call_that_waits_for_room_ends_with_the_link(bench: Bench) -> None:
    bench.proxy.there.stall()
    bench.remote.rpc_nonblocking.size(bytes(BIG))
    with pytest.raises(QMI_NotDeliveredException, match=r"nothing could be written for 0\.5 s"):
        bench.remote.size(b"xyz")


def test_fault_47_calls_of_another_program_wait_for_one_call_only(bench: Bench) -> None:
    with make_context("other") as other:
        other.connect_to_peer("srv", f"127.0.0.1:{bench.server.get_tcp_server_port()}")
        bench.remote.rpc_nonblocking.wait()
        futures = [bench.remote.rpc_nonblocking.size(bytes(number)) for number in range(500)]
        mailbox = bench.server.async_context.registry.get("camera").mailbox  # type: ignore[union-attr]
        wait_until(lambda: len(mailbox) == 500)
        theirs = [other.get_instrument("srv.camera").rpc_nonblocking.size(bytes(1000 + number)) for number in range(3)]
        wait_until(lambda: len(mailbox) == 503)
        bench.camera.gate.set()
        assert [future.wait(10) for future in theirs] == [1000, 1001, 1002]
        assert [future.wait(10) for future in futures] == list(range(500))
    assert bench.camera.sizes == [0, 1000, 1, 1001, 2, 1002, *range(3, 500)]


@pytest.mark.parametrize("placement", [Placement.THREAD, Placement.CALLER])
def test_result_is_encoded_before_the_next_turn_may_change_it(bench: Bench, placement: Placement) -> None:
    class Log(QMI_Instrument):
        def __init__(self, context: QMI_Context, name: str) -> None:
            super().__init__(context, name)
            self.lines: list[int] = []

        @rpc_method
        def add(self, line: int) -> list[int]:
            self.lines.append(line)
            return self.lines

    Log._rpc_placement = placement
    log = bench.server.make_instrument("log", Log)
    encode, seen = bench.link._connection.encode_reply, []

    def encode_late(reply: Any) -> Any:
        if isinstance(getattr(reply, "value", None), list):
            later = log.rpc_nonblocking.add(2)
            seen.append(later.done())
        return encode(reply)

    bench.link._connection.encode_reply = encode_late  # type: ignore[method-assign]
    assert bench.client.get_instrument("srv.log").add(1) == [1]
    assert seen == [False]


def test_fault_45_result_over_tls_is_what_the_driver_returned(tmp_path: Path) -> None:
    make_ca(tmp_path)
    for name in ("srv", "here"):
        make_certificate(tmp_path, name)

    def security(name: str) -> CfgSecurity:
        return CfgSecurity(
            ca=str(tmp_path / "ca.pem"), certificate=str(tmp_path / f"{name}.pem"), key=str(tmp_path / f"{name}.key")
        )

    with (
        make_context("srv", security=security("srv"), max_unsent_bytes=2 * BIG) as server,
        make_context("here", security=security("here")) as client,
        ChaosProxy(server.get_tcp_server_port(), _WINDOW) as proxy,
    ):
        server.make_instrument("camera", Camera)
        actor = server.async_context.registry.get("camera")
        assert actor is not None
        client.connect_to_peer("srv", proxy.address)
        bench = Bench(server, client, proxy, actor.object)
        proxy.back.stall()
        futures = [bench.remote.rpc_nonblocking.take("array", number) for number in range(1, 9)]
        bench.wait_until_held(8)
        bench.camera._fill("array", 9)
        proxy.back.go_on()
        assert [numbers_in(future.wait(30)) for future in futures] == [{number} for number in range(1, 9)]
