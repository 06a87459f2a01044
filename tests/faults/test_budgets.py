"""What one peer may cost the program, and the others: memory and time."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest
from cbor2 import CBORTag, dumps

from qmi.actors.interface_plain import interface_from_plain
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_ConnectionException, QMI_NotDeliveredException
from qmi.messages import Call
from qmi.net.codec import Codec
from qmi.net.codec.budget import weigh
from qmi.net.codec.tags import SET, Own
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.memory_estimate import LARGE_BODY
from qmi.net.protocol.packets import HEADER, MAGIC, MAJOR, MINOR, head, small_frame
from qmi.runtime.gc_pause import gc_paused
from tests.support.devices import Bench
from tests.support.lab import SERVER, address, make_context
from tests.support.programs import Program
from tests.support.raw_peer import RawPeer, call
from tests.support.waiting import wait_until

MIB = 1 << 20


class Remote:
    """A server in another process, as :class:`RawPeer` wants it."""

    def __init__(self, program: Program, limits: str = "") -> None:
        program.run(SERVER)
        program.run(f"c = make_context('srv'{limits})\nc.start()")
        program.run("for name in ('bench', 'good'):\n    c.make_instrument(name, Bench)")
        self.port: int = program.run("c.get_tcp_server_port()")
        self.process = psutil.Process(program.run("__import__('os').getpid()"))
        self.address = f"127.0.0.1:{self.port}"

    def get_tcp_server_port(self) -> int:
        return self.port


class Machine:
    """For how long other programs keep this one from running: a call waits for that, too, whoever serves it."""

    HANDOVERS = 5
    """From thread to thread, in a call there and back."""

    def __init__(self) -> None:
        self._longest = 0.0

    def look(self) -> None:
        """Sleep for a moment, and note by how much it became longer."""
        begun = time.monotonic()
        time.sleep(0.001)
        self._longest = max(self._longest, time.monotonic() - begun - 0.001)

    @property
    def delay(self) -> float:
        """By how much a call may take longer, in seconds; some milliseconds on a quiet machine."""
        return self.HANDOVERS * self._longest


@pytest.fixture
def program() -> Iterator[Program]:
    with Program() as made:
        yield made


# Memory (E2)


def announce(body: int, *sizes: int) -> bytes:
    return HEADER.pack(MAGIC, MAJOR, MINOR, body, len(sizes), sum(sizes)) + struct.pack(f">{len(sizes)}Q", *sizes)


ANNOUNCED = {
    "one segment": announce(4, 1 << 29) + b"body" + bytes(1000),
    "many segments": announce(4, *[1 << 20] * 1000) + b"body" + bytes(3_000_000),
    "a large body": announce(4_000_000) + bytes(1000),
    "the longest table": announce(4, *[16384] * 65000),
}


@pytest.mark.slow
@pytest.mark.parametrize("announced", ANNOUNCED, ids=str)
def test_fault_09_program_with_little_memory_outlives_what_strangers_announce(program: Program, announced: str) -> None:
    remote: Any = Remote(program)
    with make_context("good") as good:
        good.connect_to_peer("srv", remote.address)
        bench = good.get_instrument("srv.good")
        bench.echo(1)
        raws = [RawPeer(remote, f"raw{number}") for number in range(4)]
        used = program.run("__import__('psutil').Process().memory_info().vms")
        program.run(f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({used + 300 * MIB},) * 2)")
        for raw in raws:
            raw.sock.sendall(ANNOUNCED[announced])
        for value in range(50):
            assert bench.echo(value) == value
        for raw in raws:
            raw.sock.close()
        assert bench.echo(bytes(1_000_000)) == bytes(1_000_000)


def test_fault_09_program_with_little_memory_refuses_a_large_array_and_goes_on(program: Program) -> None:
    remote = Remote(program)
    with make_context("good") as good:
        good.connect_to_peer("srv", remote.address)
        bench = good.get_instrument("srv.good")
        bench.echo(1)
        used = program.run("__import__('psutil').Process().memory_info().vms")
        program.run(f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({used + 200 * MIB},) * 2)")
        with pytest.raises(QMI_NotDeliveredException, match=r"good.echo was not carried out.*there is no memory"):
            bench.echo(bytes(400 * MIB))
        assert bench.echo(bytes(MIB)) == bytes(MIB)


# Time and order (E6)


@pytest.fixture
def server() -> Iterator[QMI_Context]:
    with make_context("srv") as context:
        context.make_instrument("bench", Bench)
        yield context


def inline(letter: str, size: int) -> list[Any]:
    """A text that is no segment, since it is among many scalars."""
    return [letter * size, *range(20)]


class SlowDecoding:
    """Makes decoding of large bodies wait until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.threads: set[str] = set()
        decode = Codec.decode

        def slowly(codec: Codec, payload: Any, segments: Any = ()) -> Any:
            if len(payload) > LARGE_BODY:
                self.threads.add(threading.current_thread().name)
                self.begun.set()
                assert self.go_on.wait(10)
            return decode(codec, payload, segments)

        monkeypatch.setattr(Codec, "decode", slowly)


def test_fault_47_large_message_is_decoded_beside_the_loop_and_in_its_place(
    server: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_context("good") as good, RawPeer(server) as raw:
        good.connect_to_peer("srv", address(server))
        bench = good.get_instrument("srv.bench")
        slow = SlowDecoding(monkeypatch)
        raw.sock.sendall(
            call(1, "note", inline("x", 100_000)) + call(2, "note", "after") + call(3, "note", inline("y", 100_000))
        )
        assert slow.begun.wait(10)
        assert bench.echo("meanwhile") == "meanwhile"
        assert bench.notes() == []
        slow.go_on.set()
        calls = server.async_context.registry.get("bench").object.calls  # type: ignore[union-attr]
        wait_until(lambda: len(calls) == 3)
        monkeypatch.undo()
        assert [note[0][:5] for note in bench.notes()] == ["xxxxx", "a", "yyyyy"]


@pytest.mark.slow
def test_link_whose_large_message_is_decoded_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_context("srv", peer_timeout=0.8) as server, make_context("good", peer_timeout=0.8) as good:
        server.make_instrument("bench", Bench)
        good.connect_to_peer("srv", address(server))
        bench = good.get_instrument("srv.bench")
        slow = SlowDecoding(monkeypatch)
        future = bench.rpc_nonblocking.note(inline("x", 100_000))
        assert slow.begun.wait(10)
        time.sleep(1.6)  # twice the silence after which a peer is lost
        slow.go_on.set()
        assert future.wait(10) == 1


def test_context_stops_while_a_large_message_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_context("srv") as server, RawPeer(server) as raw:
        server.make_instrument("bench", Bench)
        slow = SlowDecoding(monkeypatch)
        raw.sock.sendall(call(1, "note", inline("x", 100_000)))
        assert slow.begun.wait(10)
        timer = threading.Timer(0.1, slow.go_on.set)
        timer.start()
    timer.join()


def test_fault_47_large_requests_of_many_wait_for_memory_and_are_refused_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qmi.net.io.large_messages._PATIENCE", 0.1)
    with (
        make_context("srv", max_all_request_bytes=3 * MIB) as server,
        make_context("good") as good,
        ExitStack() as stack,
    ):
        server.make_instrument("bench", Bench)
        server.make_instrument("free", Bench)
        good.connect_to_peer("srv", address(server))
        one, two = (stack.enter_context(RawPeer(server, name)) for name in ("one", "two"))
        one.sock.sendall(call(1, "block") + call(2, "note", inline("x", 120_000)))
        actor: Any = server.async_context.registry.get("bench")
        assert actor.object.entered.wait(10)
        memory = server.async_context.connections._connector._links()._memory
        wait_until(lambda: any(memory.used))
        for text in (inline("y", 120_000), "z"):
            number, buffers = two.peer.send_request(Call("bench", "note", (text,)))
            two.peer.handed_over(number)
            two.write(buffers)
        events: list[Any] = []
        while not events:
            events += two.read()
        error = events[0].reply.error
        assert type(error) is QMI_NotDeliveredException
        assert "bench.note was not carried out" in str(error)
        assert "3 MiB are allowed" in str(error)
        free = good.get_instrument("srv.free")
        assert free.echo("a" * 50_000) == "a" * 50_000, "a little is left for everybody"
        monkeypatch.setattr("qmi.net.io.large_messages._PATIENCE", 10)
        two.sock.sendall(call(3, "note", inline("y", 120_000)))
        actor.object.gate.set()
        wait_until(lambda: [note[0][:1] for note in actor.object.calls] == ["b", "x", "z", "y"])
        wait_until(lambda: not any(memory.used))


def test_link_whose_request_waits_for_memory_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.net.io.large_messages._PATIENCE", 60)
    waiting = threading.Event()
    reserve = Connection.reserve

    def note(peer: Connection, wake: Any) -> bool:
        done = reserve(peer, wake)
        if not done:
            waiting.set()
        return done

    monkeypatch.setattr(Connection, "reserve", note)
    with make_context("srv", max_all_request_bytes=3 * MIB) as server, ExitStack() as stack:
        server.make_instrument("bench", Bench)
        one, two = (stack.enter_context(RawPeer(server, name)) for name in ("one", "two"))
        one.sock.sendall(call(1, "block") + call(2, "note", inline("x", 120_000)))
        actor: Any = server.async_context.registry.get("bench")
        assert actor.object.entered.wait(10)
        memory = server.async_context.connections._connector._links()._memory
        wait_until(lambda: any(memory.used))
        two.sock.sendall(call(1, "note", inline("y", 120_000)))
        assert waiting.wait(10)
        server.disconnect_from_peer("two")
        assert not server.has_peer_context("two")
        actor.object.gate.set()


def test_interfaces_of_one_content_are_made_once(server: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def count(plain: Any) -> Any:
        made.append(plain)
        return interface_from_plain(plain)

    monkeypatch.setattr("qmi.peers.references.interface_from_plain", count)
    with make_context("good") as good:
        good.connect_to_peer("srv", address(server))
        bench = good.get_instrument("srv.bench")
        made.clear()
        proxies = bench.echo([bench] * 100)
        assert len(made) <= 2, "one on each side"
        assert len({type(proxy) for proxy in proxies}) == 1
        assert proxies[99].echo(3) == 3


# Measured


def items(kind: str) -> bytes:
    """One item of CBOR of which many become much."""
    interface = ["m.C", "", "object", [], {}, [], [], []]
    return {
        "ints": b"\x01",
        "floats": b"\xfb" + struct.pack(">d", 1.5),
        "texts": b"\x62ab",
        "lists": b"\x80",
        "dicts": b"\xa1\x61a\x01",
        "sets": dumps(CBORTag(SET, [1])),
        "nested": b"\x81\x81\x81\x81\x80",
        "tuples": dumps(CBORTag(Own.TUPLE, [1])),
        "exceptions": dumps(CBORTag(Own.EXCEPTION, ["builtins", "ValueError", "x", "", ["x"], {}, {}, True])),
        "arrays": dumps(CBORTag(Own.ARRAY, ["<f8", bytes(8)])),
        "proxies": dumps(CBORTag(Own.PERSISTENT, ["proxy", ["srv", "bench"], interface])),
    }[kind]


def packet(number: int, kind: str, *, most: int = (4 << 20) - 2000) -> bytes:
    """A call with as many items as are accepted."""
    item = items(kind)
    count = most // len(item)
    weight = weigh(b"\x81" + item) - 8
    if weight:
        count = min(count, 3_900_000 // weight)
    many = b"\x9a" + count.to_bytes(4, "big") + item * count
    payload = b"\x87\x00" + dumps("bench") + dumps("echo") + b"\x81" + many + b"\xa0\xf6\x80"
    return small_frame(head(Kind.REQUEST, number), payload)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["ints", "floats", "texts", "lists", "dicts", "sets", "nested", "tuples", "exceptions", "arrays", "proxies"],
)
@pytest.mark.parametrize("links", [1, 8])
def test_fault_47_eight_large_requests_cost_little_memory_and_keep_nobody_waiting(
    program: Program, kind: str, links: int
) -> None:
    remote: Any = Remote(program)
    with make_context("good") as good, ExitStack() as stack:
        raws = [stack.enter_context(RawPeer(remote, f"raw{number}")) for number in range(links)]
        good.connect_to_peer("srv", remote.address)
        bench = good.get_instrument("srv.good")
        bench.echo(1)
        raws[0].sock.sendall(call(1, "block"))
        data = b"".join(packet(number, kind) for number in range(2, 2 + 8 // links))
        with gc_paused():
            Codec(restore=lambda plain: plain).decode(packet(2, kind)[HEADER.size :])  # it is one that is accepted
        before = remote.process.memory_info().rss
        worst, most, machine = 0.0, 0, Machine()
        senders = [threading.Thread(target=raw.sock.sendall, args=(data,)) for raw in raws]
        for sender in senders:
            sender.start()
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1.0:
            begun = time.monotonic()
            bench.echo(1)
            wait = time.monotonic() - begun
            worst = max(worst, wait)
            most = max(most, remote.process.memory_info().rss - before)
            machine.look()
            if wait > 0.05 or any(sender.is_alive() for sender in senders):
                quiet_since = time.monotonic()
        for sender in senders:
            sender.join()
        assert most < 256 * MIB
        assert worst < 0.3 + machine.delay


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tuples", "exceptions", "dicts", "ints"])
def test_fault_47_flood_of_messages_of_many_keeps_nobody_waiting(program: Program, kind: str) -> None:
    remote: Any = Remote(program)
    with make_context("good") as good, ExitStack() as stack:
        good.connect_to_peer("srv", remote.address)
        bench = good.get_instrument("srv.good")
        bench.echo(1)
        raws = [stack.enter_context(RawPeer(remote, f"raw{number}")) for number in range(16)]
        frames = b"".join(packet(number, kind, most=60_000) for number in range(1, 11))
        senders = [threading.Thread(target=raw.sock.sendall, args=(frames,)) for raw in raws]
        for sender in senders:
            sender.start()
        waits, machine = [], Machine()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            begun = time.monotonic()
            bench.echo(1)
            waits.append(time.monotonic() - begun)
            machine.look()
        for sender in senders:
            sender.join()
        assert max(waits) < 0.3 + machine.delay


def test_fault_47_machine_that_has_its_links_is_refused_with_the_limit_that_it_has_reached() -> None:
    with make_context("srv", max_local_links=2) as server:
        refused = pytest.raises(QMI_ConnectionException, match=r"2 links of this machine.*limits\.max_local_links")
        with RawPeer(server, "one"), RawPeer(server, "two"), make_context("late") as late, refused:
            late.connect_to_peer("srv", address(server))
        wait_until(lambda: not server.has_peer_context("one") and not server.has_peer_context("two"))
        with make_context("next") as following:
            following.connect_to_peer("srv", address(server))
