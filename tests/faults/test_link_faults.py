"""Rows of the fault table that need other processes, or a network that misbehaves."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_RpcTimeoutException,
    QMI_RuntimeException,
)
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.packets import HEADER, MAGIC, MAJOR, MINOR, head, pack
from tests.support.actors import actor_of, handle_of
from tests.support.chaos import ChaosProxy, reset
from tests.support.devices import Bench
from tests.support.lab import SERVER, address, make_context
from tests.support.programs import Program, RemoteFailure
from tests.support.raw_peer import RawPeer, call
from tests.support.waiting import wait_until

START = (
    SERVER + "c = make_context('srv'{limits}); c.start(); c.make_instrument('bench', Bench); c.get_tcp_server_port()"
)


def serve(program: Program, name: str = "srv", limits: str = "") -> str:
    """Start a context with a bench in another process; where to connect to."""
    program.run(SERVER)
    port = program.run(
        f"c = make_context({name!r}, {limits}); c.start(); bench = c.make_instrument('bench', Bench); "
        "c.get_tcp_server_port()".replace("; ", "\n")
    )
    return f"127.0.0.1:{port}"


@pytest.fixture
def other() -> Iterator[Program]:
    with Program() as program:
        yield program


@pytest.fixture
def here() -> Iterator[QMI_Context]:
    with make_context("here", peer_timeout=1.5) as context:
        yield context


def open_requests(context: QMI_Context) -> int:
    connections = context.async_context.connections
    return sum(member.link.open_requests for member in connections._members.values())


def test_fault_01_a_server_killed_during_a_call_is_named_at_once(here: QMI_Context, other: Program) -> None:
    with make_context("bystander") as bystander:
        bystander.make_instrument("bench", Bench)
        here.connect_to_peer("bystander", address(bystander))
        here.connect_to_peer("srv", serve(other))
        bench = here.get_instrument("srv.bench")
        future = bench.rpc_nonblocking.block()
        assert bench.is_locked() is False  # behind the call on the same link: that was sent
        other.kill()
        killed = time.monotonic()
        with pytest.raises(QMI_OutcomeUnknownException, match=r"peer 'srv' at 127.0.0.1:\d+ during bench.block"):
            future.wait(5)
        assert time.monotonic() - killed < 1
        assert here.get_instrument("bystander.bench").echo(1) == 1
        assert open_requests(here) == 0
        with pytest.raises(QMI_NotDeliveredException):
            bench.echo(1)


def test_fault_02_a_request_that_never_went_out_is_safe_to_repeat(here: QMI_Context, other: Program) -> None:
    where = serve(other)
    with ChaosProxy(int(where.rpartition(":")[2])) as proxy:
        here.connect_to_peer("srv", proxy.address)
        bench = here.get_instrument("srv.bench")
        proxy.there.stall()
        # Fills the buffers of both sockets, so that nothing behind it goes out.
        first = bench.rpc_nonblocking.echo(bytes(40_000_000))
        second = bench.rpc_nonblocking.note("never")
        other.kill()
        with pytest.raises(QMI_OutcomeUnknownException):
            first.wait(10)
        with pytest.raises(QMI_NotDeliveredException, match="safe"):
            second.wait(10)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["reset", "silence"])
def test_fault_03_a_client_that_dies_gives_its_lock_back(
    other: Program, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    with make_context("srv", peer_timeout=1.2) as server:
        bench = server.make_instrument("bench", Bench)
        other.run(SERVER)
        other.run(
            "c = make_context('client'); c.start(); "
            f"c.connect_to_peer('srv', {address(server)!r}); b = c.get_instrument('srv.bench')".replace("; ", "\n")
        )
        assert other.run("b.lock()")
        other.begin("b.block()")
        actor = server.async_context.registry.get("bench")
        assert actor is not None
        assert actor.object.entered.wait(5)
        with pytest.raises(QMI_RpcTimeoutException):
            bench.echo(1, rpc_timeout=0.05)
        other.kill() if how == "reset" else other.pause()
        died = time.monotonic()
        wait_until(lambda: not actor.lock_manager.is_locked, 5)
        assert time.monotonic() - died < (1 if how == "reset" else 2)
        actor.object.gate.set()
        assert bench.notes() == ["block ended"]  # a running method finishes
        if how == "silence":
            other.go_on()
        lines = [record for record in caplog.records if "unlocked, because context 'client'" in record.getMessage()]
        assert len(lines) == 1


@pytest.mark.slow
def test_fault_05_a_peer_that_was_stopped_learns_that_it_was_dropped(here: QMI_Context, other: Program) -> None:
    other_limits = "peer_timeout=1.5"
    here.make_instrument("bench", Bench)
    other.run(SERVER)
    here.connect_to_peer("srv", serve(other, limits=other_limits))
    bench = here.get_instrument("srv.bench")
    mine = here.get_instrument("bench")
    # Stopped for a short time: a slow call, nothing more.
    with other.paused():
        future = bench.rpc_nonblocking.note("slow")
        with pytest.raises(QMI_RpcTimeoutException):
            future.wait(0.4)
    assert future.wait(5) == 1
    other.run("mine = c.get_instrument('here.bench')\nassert mine.lock()")
    assert mine.is_locked()
    # Stopped for longer than the limit.
    with other.paused():
        lost = bench.rpc_nonblocking.note("lost")
        with pytest.raises(QMI_OutcomeUnknownException, match="no sign of life"):
            lost.wait(5)
        wait_until(lambda: not actor_of(here, "bench").lock_manager.is_locked)
    other.wait_until("not c.has_peer_context('here')")
    with pytest.raises(RemoteFailure, match="NotDelivered"):
        other.run("mine.echo(1)")
    # A new link: no old lock, no late answer.
    other.run(f"c.connect_to_peer('here', {address(here)!r})")
    with pytest.raises(RemoteFailure, match="the link to context 'srv' was lost, and its locks with it"):
        other.run("mine.echo(1)")
    assert other.run("mine.echo(2)") == 2
    assert not other.run("mine.is_locked()")
    assert bench.echo("new") == "new"


def raw_hello(name: str, incarnation: str = "1", workgroup: str = "default") -> bytes:
    from qmi.net.protocol.connection import Connection
    from qmi.net.protocol.handshake import Hello
    from qmi.net.protocol.link_ends import Role

    peer = Connection(Role.CONNECTING, Hello(context=name, incarnation=incarnation, workgroup=workgroup), now=0.0)
    return b"".join(bytes(part) for part in peer.data_to_send())


def test_fault_06_a_reset_at_any_byte_of_a_frame_ends_the_link_after_the_good_frames() -> None:
    with make_context("srv") as server:
        bench = server.make_instrument("bench", Bench)
        second = call(2, "note", "second")
        for end in range(len(second)):
            with RawPeer(server) as raw:
                raw.sock.sendall(call(1, "note", end) + second[:end])
                while not raw.read():
                    pass
                reset(raw.sock)
            wait_until(lambda: not server.has_peer_context("raw"))
        assert bench.notes() == list(range(len(second)))


def test_fault_06_the_caller_learns_of_a_reset_at_once(here: QMI_Context) -> None:
    with make_context("srv") as server, ChaosProxy(server.get_tcp_server_port()) as proxy:
        server.make_instrument("bench", Bench)
        here.connect_to_peer("srv", proxy.address)
        bench = here.get_instrument("srv.bench")
        future = bench.rpc_nonblocking.block()
        assert bench.is_locked() is False
        proxy.reset()
        with pytest.raises(QMI_OutcomeUnknownException, match=r"bench.block"):
            future.wait(1)
        server.async_context.registry.get("bench").object.gate.set()  # type: ignore[union-attr]


def test_a_proxy_that_splits_and_delays_changes_nothing(here: QMI_Context) -> None:
    with make_context("srv") as server, ChaosProxy(server.get_tcp_server_port()) as proxy:
        server.make_instrument("bench", Bench)
        proxy.there.split = proxy.back.split = True
        proxy.there.delay = 0.01
        here.connect_to_peer("srv", proxy.address)
        bench = here.get_instrument("srv.bench")
        assert bench.echo({"a": (1, 2)}) == {"a": (1, 2)}
        assert bench.echo(bytes(20_000)) == bytes(20_000)


JUNK = {
    "other bytes": b"GET / HTTP/1.1\r\n\r\n",
    "unknown kind": pack(head(Kind.PING, 1)[:1] + b"\x18\x63" + head(Kind.PING, 1)[2:] + b"\xf6")[0],
    "no packet": pack(b"\xf6")[0],
    "answer to nothing": pack(head(Kind.VALUE, 77) + b"\xf6")[0],
    "cancels nothing": pack(head(Kind.CANCEL, 77) + b"\xf6")[0],
    "credit for nothing": pack(head(Kind.CREDIT, 77) + b"\x01")[0],
    "second hello": raw_hello("raw"),
}


@pytest.mark.parametrize("how", ["whole", "random", "bytes"])
@pytest.mark.parametrize("name", JUNK)
def test_fault_08_a_malformed_frame_ends_that_link_alone_with_one_line(
    caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    caplog.set_level(logging.INFO)
    with make_context("srv") as server, make_context("good") as good:
        bench = server.make_instrument("bench", Bench)
        good.connect_to_peer("srv", address(server))
        remote = good.get_instrument("srv.bench")
        with RawPeer(server) as raw:
            raw.sock.sendall(call(1, "note", "before"))
            wait_until(lambda: actor_of(server, "bench").object.calls)  # a call that has not begun ends with its link
            data, rng = JUNK[name], random.Random(1)
            while data:
                size = {"whole": len(data), "random": rng.randint(1, 9), "bytes": 1}[how]
                try:
                    raw.sock.sendall(data[:size])
                except OSError:  # refused already
                    break
                data = data[size:]
            times = []
            for number in range(3):  # the best counts: this machine may be busy with something else
                begun = time.monotonic()
                assert remote.echo(number) == number
                times.append(time.monotonic() - begun)
            assert min(times) < 0.1
            wait_until(lambda: not server.has_peer_context("raw"))
        assert bench.notes() == ["before"]
    # Both contexts have ended, and with them whatever writes to the log.
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "raw" in r.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("The link to context raw at 127.0.0.1:")


@pytest.mark.parametrize("proven", [False, True])
def test_fault_09_an_oversize_frame_is_refused_before_memory_is_taken(proven: bool) -> None:
    with make_context("srv") as server:
        server.make_instrument("bench", Bench)
        with RawPeer(server) as raw:
            process = psutil.Process()
            before = process.memory_info().rss
            for body, count, total in ((1 << 31, 0, 0), (10, 1, 1 << 40), (10, 1 << 30, 1 << 20)):
                header = HEADER.pack(MAGIC, MAJOR, MINOR, body, count, total)
                with (
                    RawPeer(server, "big")
                    if proven
                    else socket.create_connection(("127.0.0.1", server.get_tcp_server_port()))
                ) as stranger:
                    sock = stranger.sock if isinstance(stranger, RawPeer) else stranger
                    sock.sendall(header)
                    sock.settimeout(5)
                    while sock.recv(65536):
                        pass
                wait_until(lambda: not server.has_peer_context("big"))
            assert process.memory_info().rss - before < 1 << 20
            assert raw.peer.is_ready


@contextmanager
def strangers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, or the first byte of a hello."""
    hello = raw_hello("dribble")
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for stranger in crowd[::2]:
            stranger.sendall(hello[:1])
        yield crowd


def test_fault_11_silent_and_dribbling_strangers_keep_nobody_out() -> None:
    # Nobody is sent away for his silence while this goes on: if they kept others out, connecting would fail.
    with make_context("srv", hello_timeout=60.0) as server, make_context("good") as good:
        server.make_instrument("bench", Bench)
        with strangers(server.get_tcp_server_port(), 200):
            good.connect_to_peer("srv", address(server))
            assert good.get_instrument("srv.bench").echo(1) == 1


def test_fault_11_silent_and_dribbling_strangers_are_sent_away() -> None:
    with make_context("srv", hello_timeout=0.5) as server, strangers(server.get_tcp_server_port(), 20) as crowd:
        for stranger in crowd:
            stranger.settimeout(10)
            with suppress(ConnectionResetError):
                while stranger.recv(65536):
                    pass
        acceptor = server.async_context.connections._acceptor
        assert acceptor is not None
        wait_until(lambda: not acceptor._pending)


@pytest.mark.slow
def test_fault_16_links_survive_a_blocked_loop(here: QMI_Context, other: Program) -> None:
    here.connect_to_peer("srv", serve(other, limits="peer_timeout=1.0"))
    bench = here.get_instrument("srv.bench")
    assert bench.echo(1) == 1
    blocked = threading.Event()

    def block() -> None:
        time.sleep(2.5)  # user code that blocks the loop for longer than the other side has patience
        blocked.set()

    here.async_context.loop.soon(block)
    assert blocked.wait(10)
    assert other.run("c.has_peer_context('here')")
    assert bench.echo(2) == 2


def test_fault_07_a_peer_that_never_reads_loses_its_link_and_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    with make_context("srv", unsent_timeout=0.5, max_unsent_bytes=200_000) as server, make_context("good") as good:
        server.make_instrument("bench", Bench)
        good.connect_to_peer("srv", address(server))
        remote = good.get_instrument("srv.bench")
        with RawPeer(server, receive_buffer=4096) as raw:
            with suppress(OSError):  # its time may be over before all of this is sent
                for number in range(1, 101):
                    raw.sock.sendall(call(number, "echo", bytes(100_000)))
                    assert remote.echo(number) == number
            begun = time.monotonic()
            wait_until(lambda: not server.has_peer_context("raw"), 20)
            assert time.monotonic() - begun < 8, "this is less than what it is without the setting"
            assert remote.echo("still") == "still"
        assert "it does not read: nothing could be written for 0.5 s" in caplog.text


def test_fault_21_of_two_threads_that_take_one_name_one_gets_it() -> None:
    with make_context("srv") as server, ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(server.make_instrument, "bench", Bench) for _ in range(8)]
        errors = [future.exception() for future in futures]
        assert [error for error in errors if error is None] == [None]
        assert all("already has an object named 'bench'" in str(error) for error in errors if error is not None)
        assert server.get_instrument("bench").echo(1) == 1


@pytest.mark.slow
def test_fault_22_a_second_context_of_one_name_is_refused_and_a_dead_first_one_replaced(
    here: QMI_Context, other: Program
) -> None:
    bench = here.make_instrument("bench", Bench)
    connect = f"c.connect_to_peer('here', {address(here)!r})\nb = c.get_instrument('here.bench')"
    with Program() as second:
        for program in (other, second):
            program.begin(SERVER)  # both import at the same time
        for program in (other, second):
            program.result()
            serve(program, "twin")
        other.run(connect)
        assert other.run("b.lock()")
        with pytest.raises(RemoteFailure, match=rf"'twin' is in use by 127.0.0.1:\d+, pid {other.pid}"):
            second.run(connect)
        assert bench.is_locked()
        assert other.run("b.echo(1)") == 1
        other.pause()  # as good as dead, and nobody has noticed yet
        second.run(connect)
        assert second.run("b.echo(2)") == 2
        assert not bench.is_locked()
        other.go_on()
        other.wait_until("not c.has_peer_context('here')")


def test_fault_23_a_port_in_use_is_named_with_its_holder(other: Program) -> None:
    where = serve(other)
    port = int(where.rpartition(":")[2])
    context = make_context("here", port=port)
    with pytest.raises(QMI_Exception, match=rf"TCP port {port} on 127.0.0.1 is in use by .*\(pid {other.pid}\)"):
        context.start()
    with make_context("here") as again:
        assert again.get_tcp_server_port()


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_fault_24_a_thousand_connections_are_served(count: int) -> None:
    # The crowd says nothing once it is there, and this machine may be busy with something else.
    with make_context("srv", max_links=count + 1, peer_timeout=100.0) as server, make_context("good") as good:
        server.make_instrument("bench", Bench)
        good.connect_to_peer("srv", address(server))
        remote = good.get_instrument("srv.bench")

        def usual_time() -> float:
            times = []
            for index in range(300):
                begun = time.monotonic()
                remote.echo(index)
                times.append(time.monotonic() - begun)
            return sorted(times)[150]

        alone = usual_time()
        crowd = [RawPeer(server, f"c{index}") for index in range(count)]
        try:
            wait_until(lambda: len(server.async_context.connections.names()) == count + 1, 60)
            assert usual_time() < 0.005 + 10 * alone
            late = make_context("late")
            with late, pytest.raises(QMI_ConnectionException, match=f"has {count + 1} links, which is its limit"):
                late.connect_to_peer("srv", address(server))
        finally:
            for raw in crowd:
                raw.sock.close()


@pytest.mark.slow
def test_fault_25_accepting_goes_on_when_descriptors_are_there_again(other: Program, here: QMI_Context) -> None:
    here.connect_to_peer("srv", serve(other))
    bench = here.get_instrument("srv.bench")
    where = other.run("'127.0.0.1', c.get_tcp_server_port()")
    other.run(
        "import resource, os\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) + 3, hard))"
    )
    crowd = [socket.create_connection(where) for _ in range(20)]
    try:
        wait_until(lambda: "No new connections can be accepted" in other.errors)
        cpu = psutil.Process(other.pid).cpu_times()
        begun = time.monotonic()
        while time.monotonic() - begun < 0.5:
            assert bench.echo(1) == 1
            time.sleep(0.05)
        after = psutil.Process(other.pid).cpu_times()
        assert (after.user + after.system) - (cpu.user + cpu.system) < 0.15
        assert other.errors.count("No new connections can be accepted") == 1
    finally:
        for sock in crowd:
            sock.close()
    with make_context("late") as late:
        late.connect_to_peer("srv", f"127.0.0.1:{where[1]}")
        assert late.get_instrument("srv.bench").echo(2) == 2


def test_fault_34_another_major_version_is_refused_with_both(here: QMI_Context) -> None:
    hello = bytearray(raw_hello("old"))
    hello[3] = MAJOR + 1
    with socket.create_connection(("127.0.0.1", here.get_tcp_server_port())) as sock:
        sock.settimeout(5)
        sock.sendall(bytes(hello[:5]))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert f"speaks version {MAJOR + 1}.{MINOR}".encode() in answer
    assert f"this side {MAJOR}.{MINOR}".encode() in answer


def test_fault_34_a_newer_minor_version_works(here: QMI_Context) -> None:
    hello = bytearray(raw_hello("newer"))
    hello[4] = MINOR + 1
    with socket.create_connection(("127.0.0.1", here.get_tcp_server_port())) as sock:
        sock.settimeout(5)
        sock.sendall(bytes(hello))
        assert sock.recv(65536)[:3] == MAGIC
        wait_until(lambda: here.has_peer_context("newer"))


def test_fault_37_a_lock_belongs_to_its_link_whatever_a_message_claims(
    here: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    from qmi.messages import Call, Release, Token
    from qmi.peers.rpc_client import ask

    bench = here.make_instrument("bench", Bench)
    proxy: Any = bench
    assert bench.lock()
    with make_context("thief") as thief:
        thief.connect_to_peer("here", address(here))
        link = thief.async_context.connections.link_to("here")
        assert link is not None
        token = handle_of(proxy).token
        assert isinstance(token, Token)
        for guess in (Token("guess"), Token(token.secret, custom=True), token):
            assert ask(link, "x", Release("bench", guess)).wait(5) is False
            assert ask(link, "x", Release("bench", guess, "here")).wait(5) is False
            with pytest.raises(QMI_RuntimeException, match="locked by another proxy"):
                ask(link, "x", Call("bench", "echo", (1,), token=guess)).wait(5)
        assert bench.is_locked()
        assert bench.echo(1) == 1
        assert token.secret not in caplog.text
        assert "guess" not in caplog.text
    with make_context("here") as twin, pytest.raises(QMI_ConnectionException, match=r"are called 'here'|own name"):
        twin.connect_to_peer("other", address(here))


def test_links_leave_no_descriptors_behind() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with make_context("srv") as server, make_context("good") as good:
        counts = []
        for _ in range(20):
            good.connect_to_peer("srv", address(server))
            good.disconnect_from_peer("srv")
            wait_until(lambda: not server.has_peer_context("good"))
            counts.append(descriptors())
        assert max(counts[5:]) <= max(counts[:5]) + 1
