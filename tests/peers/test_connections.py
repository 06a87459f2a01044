from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psutil
import pytest
import trio

import qmi
from qmi.actors.future import QMI_RpcFuture
from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.contexts.async_context import Context
from qmi.contexts.loop_thread import PORTALS
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ConnectionException,
    QMI_LockLostException,
    QMI_MessageDeliveryException,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.messages import Origin
from qmi.net.discovery.packets import Answer, read_question, write_answer
from qmi.net.io.link import Link
from qmi.peers import connector
from qmi.peers.acceptor import holder_of
from qmi.peers.connector import import_links
from tests.support.chaos import ChaosProxy
from tests.support.devices import Bench
from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST, SERVER, address, config, make_context
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.waiting import until, wait_until


@pytest.fixture
def srv() -> Iterator[QMI_Context]:
    with make_context("srv") as context:
        context.make_instrument("bench", Bench)
        yield context


@pytest.fixture
def here() -> Iterator[QMI_Context]:
    with make_context("here") as context:
        yield context


# Connecting


def test_connecting_makes_the_objects_of_both_usable(here: QMI_Context, srv: QMI_Context) -> None:
    here.make_instrument("mine", Bench)
    assert not here.has_peer_context("srv")
    here.connect_to_peer("srv", address(srv))
    assert here.has_peer_context("srv")
    wait_until(lambda: srv.has_peer_context("here"))
    assert here.get_instrument("srv.bench").echo(1) == 1
    assert srv.get_instrument("here.mine").echo(2) == 2
    here.disconnect_from_peer("srv")
    assert not here.has_peer_context("srv")
    wait_until(lambda: not srv.has_peer_context("here"))
    with pytest.raises(QMI_UsageException, match="is not connected to 'srv'"):
        here.disconnect_from_peer("srv")


def test_connecting_twice_is_refused_unless_that_is_fine(here: QMI_Context, srv: QMI_Context) -> None:
    here.connect_to_peer("srv", address(srv))
    with pytest.raises(QMI_UsageException, match="is connected to 'srv' already"):
        here.connect_to_peer("srv", address(srv))
    here.connect_to_peer("srv", address(srv), ignore_duplicate=True)
    with pytest.raises(QMI_UsageException, match="cannot connect to itself"):
        here.connect_to_peer("here", address(here))
    with pytest.raises(QMI_UsageException, match="bad name"):
        here.connect_to_peer("bad name")
    assert len(here.async_context.connections.names()) == 1


@pytest.mark.parametrize("where", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:0x50", ""])
def test_an_address_that_is_none_is_refused(here: QMI_Context, where: str) -> None:
    with pytest.raises(QMI_UsageException):
        here.connect_to_peer("srv", where)


def test_peer_that_cannot_be_reached_is_named_with_the_reason(here: QMI_Context, srv: QMI_Context) -> None:
    port = free_port()
    with pytest.raises(QMI_ConnectionException, match=rf"'srv' at 127.0.0.1:{port} cannot be connected: .*refused"):
        here.connect_to_peer("srv", f"127.0.0.1:{port}")
    with pytest.raises(ConnectionError, match=r"expected context 'other' .*but .*'srv'"):
        here.connect_to_peer("other", address(srv))
    with pytest.raises(QMI_ConnectionException, match="cannot be connected"):
        here.connect_to_peer("srv", "no-such-host.invalid:1")
    with (
        make_context("stranger", workgroup="elsewhere") as stranger,
        pytest.raises(QMI_ConnectionException, match="only contexts of one workgroup connect"),
    ):
        here.connect_to_peer("stranger", address(stranger))


def test_a_listener_that_is_no_context_is_given_up_after_the_hello_time() -> None:
    with (
        make_context("here", hello_timeout=0.3) as here,
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(QMI_ConnectionException, match=r"handshake was not done within 0.3 s; perhaps it is no context$"),
    ):
        here.connect_to_peer("srv", f"127.0.0.1:{silent.getsockname()[1]}")


def test_ipv6_addresses_work() -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    with make_context("six", host="::1") as six, make_context("here") as here:
        six.make_instrument("bench", Bench)
        here.connect_to_peer("six", f"[::1]:{six.get_tcp_server_port()}")
        assert here.get_instrument("six.bench").echo(6) == 6


def test_a_configured_peer_is_found_by_its_name(srv: QMI_Context) -> None:
    contexts = {"srv": CfgContext(host="127.0.0.1", tcp_server_port=srv.get_tcp_server_port())}
    with QMI_Context("client", config("client", contexts=contexts)) as client:
        client.connect_to_peer("srv")
        assert client.get_instrument("srv.bench").echo(1) == 1


# At the start


def reaching(srv: QMI_Context, *missing: str, **own: Any) -> QMI_Context:
    """A client whose configuration names a server that is there, and others that are not."""
    contexts = {"srv": CfgContext(host="127.0.0.1", tcp_server_port=srv.get_tcp_server_port())}
    contexts |= {name: CfgContext(host="127.0.0.1", tcp_server_port=free_port()) for name in missing}
    own = {"connect_to_peers": [*missing, "srv", "srv"], **own}
    return QMI_Context("client", config("client", contexts=contexts, context=own))


def test_start_returns_when_the_peers_of_the_configuration_are_connected(srv: QMI_Context) -> None:
    for _ in range(3):
        with reaching(srv) as client:
            assert client.get_instrument("srv.bench").echo(1) == 1
    with reaching(srv, reconnect=True, allow_missing_peers=False) as client:
        assert client.get_instrument("srv.bench").echo(1) == 1


@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_start_names_every_peer_that_cannot_be_connected_and_undoes_everything(srv: QMI_Context, kind: str) -> None:
    begun = time.monotonic()
    client = reaching(srv, "gone", "lost")
    start = client.start if kind == "blocking" else partial(trio.run, enter, client.get_config())
    with pytest.raises(QMI_ConnectionException) as caught:
        start()
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "Context 'client' cannot start, since 2 of the 3 contexts in its connect_to_peers cannot be reached:"
    )
    reason = "cannot be connected: nothing listens there: connection refused"
    assert re.fullmatch(rf"  Context 'gone' at 127.0.0.1:\d+ {reason}", lines[1])
    assert re.fullmatch(rf"  Context 'lost' at 127.0.0.1:\d+ {reason}", lines[2])
    assert lines[3] == (
        "Start them before this one or, if it may start without, set contexts.client.allow_missing_peers to true"
    )
    assert time.monotonic() - begun < 5
    assert client not in PORTALS.users()
    wait_until(lambda: not srv.has_peer_context("client"))
    with reaching(srv) as again:
        assert again.has_peer_context("srv")


async def enter(cfg: CfgQmi) -> None:
    async with qmi.open_context("client", config=cfg, init_logging=False):
        raise AssertionError("it must not start")


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ("unknown", "'unknown' was not found: it is not in the configuration"),
        ("unknown", 'if you know it: host_port="192\\.168\\.1\\.20:40001"'),
        ("portless", "'portless' was not found: it has no tcp_server_port in the configuration"),
        ("other", r"'other' at 127.0.0.1:\d+ cannot be connected: .*expected context 'other' .*this is context 'srv'"),
        ("client", "'client' cannot connect to itself"),
        ("silent", r"'silent' at 127.0.0.1:\d+ cannot be connected: .*0.3 s"),
    ],
)
def test_peer_that_cannot_be_connected_at_the_start_is_reported_with_the_reason(
    srv: QMI_Context, peer: str, reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        contexts = {
            "other": CfgContext(host="127.0.0.1", tcp_server_port=srv.get_tcp_server_port()),
            "silent": CfgContext(host="127.0.0.1", tcp_server_port=silent.getsockname()[1]),
            "portless": CfgContext(host="127.0.0.1"),
        }
        own = {"connect_to_peers": [peer], "allow_missing_peers": peer == "client"}
        client = QMI_Context("client", config("client", contexts=contexts, context=own, hello_timeout=0.3))
        with pytest.raises(QMI_ConnectionException, match=reason):
            client.start()


def test_a_connection_that_takes_too_long_at_the_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    contexts = {f"far{n}": CfgContext(host="192.0.2.1", tcp_server_port=1) for n in range(20)}
    own = {"connect_to_peers": list(contexts)}
    client = QMI_Context("client", config("client", contexts=contexts, context=own, connect_timeout=0.2))
    begun = time.monotonic()
    with pytest.raises(QMI_ConnectionException, match=r"'far19' at 192.0.2.1:1 .* nobody answered within 0.2 s"):
        client.start()
    assert time.monotonic() - begun < 3


def test_peers_that_may_be_missing_are_connected_when_they_come(
    srv: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    client = reaching(srv, "late", allow_missing_peers=True)
    late_port = client.get_configured_contexts()["late"].tcp_server_port
    assert late_port is not None
    with client:
        assert client.has_peer_context("srv")
        assert not client.has_peer_context("late")
        (warning,) = (r.getMessage() for r in caplog.records if "in the background" in r.getMessage())
        assert re.match(r"Context 'late' at 127.0.0.1:\d+ cannot be connected: .*goes on being tried", warning)
        for _ in range(2):  # it is missed again after a loss
            with make_context("late", port=late_port) as late:
                late.make_instrument("bench", Bench)
                client.connect_to_peer("late", ignore_duplicate=True)
                wait_until(lambda: client.has_peer_context("late"))
                assert client.get_instrument("late.bench").echo(1) == 1
            wait_until(lambda: not client.has_peer_context("late"))


def test_ctrl_c_while_start_waits_for_peers_ends_it_and_leaves_others_running(
    srv: QMI_Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        contexts = {"silent": CfgContext(host="127.0.0.1", tcp_server_port=silent.getsockname()[1])}
        own = {"connect_to_peers": ["silent"]}
        client = QMI_Context("client", config("client", contexts=contexts, context=own, hello_timeout=30.0))
        wait = QMI_RpcFuture.wait

        def interrupted(future: QMI_RpcFuture[Any], timeout: float | None = None) -> Any:
            if future.what != "the start of context 'client'":
                return wait(future, timeout)
            with silent.accept()[0] as sock:
                sock.recv(1)  # the hello: start() waits for the answer
                raise KeyboardInterrupt

        monkeypatch.setattr(QMI_RpcFuture, "wait", interrupted)
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.start()
        ended = client._ended
        assert ended is not None
        with pytest.raises(Exception, match=r"was given up|cannot be reached"):
            ended.wait(10)
        assert time.monotonic() - begun < 10
    assert srv.get_instrument("bench").echo(1) == 1


def test_a_host_without_a_port_is_told(caplog: pytest.LogCaptureFixture) -> None:
    cfg = config(contexts={"lab": CfgContext(host="127.0.0.1")})
    with QMI_Context("lab", cfg) as lab:
        assert lab.get_tcp_server_port() == 0
    (warning,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert "host in the configuration (127.0.0.1), but no tcp_server_port: it does not listen" in warning
    assert "Set contexts.lab.tcp_server_port" in warning


# Both sides


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("reconnect", [False, True])
def test_connecting_to_a_context_that_has_connected_already_succeeds(
    here: QMI_Context, srv: QMI_Context, known: bool, reconnect: bool
) -> None:
    srv.connect_to_peer("here", address(here))
    wait_until(lambda: here.has_peer_context("srv"))
    here.connect_to_peer("srv", address(srv) if known else None, reconnect=reconnect)
    assert here.get_instrument("srv.bench").echo(1) == 1
    for one in (here, srv):
        assert len(one.async_context.connections._serving) == 1
    with pytest.raises(QMI_UsageException, match=r"is connected to 'srv' already, at 127.0.0.1:\d+"):
        here.connect_to_peer("srv", address(srv))
    assert here.async_context.connections._members["srv"].reconnect is reconnect


def test_connecting_by_another_address_to_a_context_that_has_connected_already_succeeds(
    here: QMI_Context, srv: QMI_Context
) -> None:
    srv.connect_to_peer("here", address(here))
    wait_until(lambda: here.has_peer_context("srv"))
    with ChaosProxy(srv.get_tcp_server_port()) as proxy:
        here.connect_to_peer("srv", proxy.address)
    assert here.get_instrument("srv.bench").echo(1) == 1
    with make_context("srv") as other, make_context("third") as third:
        third.connect_to_peer("here", address(here))
        wait_until(lambda: here.has_peer_context("third"))
        where = rf"'srv' at {address(other)} cannot be connected: the name 'srv' is in use by {address(srv)}, pid \d+"
        srv.disconnect_from_peer("here")
        wait_until(lambda: not here.has_peer_context("srv"))
        srv.connect_to_peer("here", address(here))
        wait_until(lambda: here.has_peer_context("srv"))
        with pytest.raises(QMI_ConnectionException, match=where):
            here.connect_to_peer("srv", address(other))
    assert here.get_instrument("srv.bench").echo(2) == 2


def test_a_context_that_cannot_be_reached_is_connected_by_its_own_link() -> None:
    # "aa" connects to an address of "zz" that does not answer, while "zz" connects to "aa".
    with make_context("aa", hello_timeout=1.0) as first, make_context("zz") as second, ThreadPoolExecutor(1) as pool:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            stuck = pool.submit(first.connect_to_peer, "zz", f"127.0.0.1:{silent.getsockname()[1]}")
            with silent.accept()[0]:
                second.connect_to_peer("aa", address(first))
                stuck.result(10)
        for one, other in ((first, "zz"), (second, "aa")):
            wait_until(lambda one=one, other=other: one.has_peer_context(other))  # type: ignore[misc]
            assert len(one.async_context.connections._serving) == 1


@pytest.mark.parametrize("may_be_missing", [True, False])
def test_start_says_what_to_do_if_a_context_is_its_own_peer(may_be_missing: bool) -> None:
    own = {"connect_to_peers": ["client"], "allow_missing_peers": may_be_missing}
    with pytest.raises(QMI_ConnectionException) as caught:
        QMI_Context("client", config("client", context=own)).start()
    assert str(caught.value).splitlines()[1:] == [
        "  Context 'client' cannot connect to itself",
        "Take 'client' out of its own connect_to_peers.",
    ]


def test_connecting_to_a_host_that_there_is_not_says_so(here: QMI_Context) -> None:
    with pytest.raises(
        QMI_ConnectionException, match=r"at nobody\.invalid:1 cannot be connected: its host name is not"
    ):
        here.connect_to_peer("other", "nobody.invalid:1")


def test_address_that_is_not_used_for_an_instrument_is_told(
    here: QMI_Context, srv: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    # Two programs of one name: the instrument is that of the one which is connected, whatever address is given.
    with make_context("srv") as other:
        other.make_instrument("bench", Bench)
        for server, expected in ((srv, []), (srv, []), (other, [address(other)])):
            caplog.clear()
            here.get_instrument("srv.bench", auto_connect=True, host_port=address(server))
            told = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
            assert len(told) == len(expected)
            assert all(
                where in message and address(srv) in message for where, message in zip(expected, told, strict=True)
            )
        here.disconnect_from_peer("srv")
        assert here.get_instrument("srv.bench", auto_connect=True, host_port=address(other)).echo(1) == 1


# What is told of a server that has stopped


@pytest.mark.parametrize("remote", ["call", "get", "subscribe", "async"])
def test_a_call_to_a_context_that_has_stopped_says_when(here: QMI_Context, remote: str) -> None:
    with make_context("other") as other:
        other.make_instrument("bench", Bench)
        here.connect_to_peer("other", address(other))
        bench = here.get_instrument("other.bench")
    wait_until(lambda: not here.has_peer_context("other"))
    uses: dict[str, Callable[[], Any]] = {
        "call": partial(bench.echo, 1),
        "get": partial(here.get_instrument, "other.bench"),
        "subscribe": partial(here.subscribe_signal, "other", "bench", "sig", QMI_SignalReceiver()),
        "async": lambda: here.async_context.run(here.async_context.get_instrument, "other.bench").wait(10),
    }
    with pytest.raises(Exception, match=r"Context 'other' has stopped, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; once it"):
        uses[remote]()
    with pytest.raises(
        QMI_NotDeliveredException, match=r"There is no connection to context 'never'; connect_to_peer.*auto_connect"
    ):
        here.get_instrument("never.bench")


def test_a_call_to_a_context_that_was_lost_says_when_and_why(here: QMI_Context) -> None:
    with Program() as other:
        other.run(SERVER + "c = make_context('srv')\nc.start()\nbench = c.make_instrument('bench', Bench)")
        here.connect_to_peer("srv", f"127.0.0.1:{other.run('c.get_tcp_server_port()')}")
        bench = here.get_instrument("srv.bench")
    wait_until(lambda: not here.has_peer_context("srv"))
    with pytest.raises(
        QMI_NotDeliveredException, match=r"There is no connection to context 'srv' since \d{4}.* UTC \(.+\)"
    ):
        bench.echo(1)
    with make_context("third") as third:
        here.connect_to_peer("third", address(third))
        here.disconnect_from_peer("third")
        with pytest.raises(QMI_NotDeliveredException, match=r"'third' since .* \(context 'here' disconnected\)"):
            here.get_instrument("third.bench")
        here.connect_to_peer("third", address(third))


def test_a_call_to_a_context_that_is_stopping_says_so(here: QMI_Context) -> None:
    other = make_context("other")
    other.start()
    bench = other.make_instrument("bench", Bench)
    other.make_instrument("last", Bench)
    here.connect_to_peer("other", address(other))
    proxy, last = here.get_instrument("other.bench"), here.get_instrument("other.last")
    running = proxy.rpc_nonblocking.block()
    gate = actor_object(other, "bench")
    assert gate.entered.wait(10)
    del bench
    thread = threading.Thread(target=other.stop)
    thread.start()
    wait_until(lambda: other.async_context.registry.get("last") is None)
    with pytest.raises(Exception, match=r"Context 'other' (has stopped|is stopping, since \d{4}.* UTC)"):
        last.echo(1)
    with pytest.raises(Exception, match=r"Context 'other' is stopping, since \d{4}.* UTC"):
        here.get_instrument("other.nobody")
    with pytest.raises(Exception, match=r"Context 'other' is stopping"):
        here.subscribe_signal("other", "nobody", "sig", QMI_SignalReceiver())
    gate.gate.set()
    thread.join()
    with suppress(Exception):
        running.wait(10)


def actor_object(context: QMI_Context, name: str) -> Any:
    actor = context.async_context.registry.get(name)
    assert actor is not None
    return actor.object


# On the network


def test_auto_connect_works_from_several_threads_at_once(here: QMI_Context, srv: QMI_Context) -> None:
    with ThreadPoolExecutor(8) as pool:
        proxies = list(
            pool.map(lambda _: here.get_instrument("srv.bench", auto_connect=True, host_port=address(srv)), range(8))
        )
    assert [proxy.echo(n) for n, proxy in enumerate(proxies)] == list(range(8))
    assert here.async_context.connections.names() == ["srv"]
    assert here.get_instrument("srv.bench", auto_connect=True).echo(9) == 9


def test_auto_connect_finds_a_context_on_this_machine(here: QMI_Context, srv: QMI_Context) -> None:
    assert here.get_instrument("srv.bench", auto_connect=True).echo(1) == 1
    with pytest.raises(QMI_ConnectionException, match=r"'nobody' was not found.*Give its address"):
        here.get_instrument("nobody.bench", auto_connect=True)


def test_contexts_that_connect_to_each_other_at_once_share_one_link() -> None:
    for _ in range(15):
        with make_context("aa") as first, make_context("zz") as second, ThreadPoolExecutor(2) as pool:
            barrier = threading.Barrier(2)

            def connect(one: QMI_Context, other: QMI_Context, gate: threading.Barrier = barrier) -> None:
                gate.wait()
                one.connect_to_peer(other.name, address(other), ignore_duplicate=True)

            futures = [pool.submit(connect, first, second), pool.submit(connect, second, first)]
            for future in futures:
                future.result(10)
            for one, other in ((first, "zz"), (second, "aa")):
                wait_until(lambda one=one, other=other: one.has_peer_context(other))  # type: ignore[misc]
                assert len(one.async_context.connections._serving) == 1
            assert first.make_peer_context_proxy("zz").get_pid() == second.make_peer_context_proxy("aa").get_pid()


def test_crossing_connections_meet_whoever_comes_first() -> None:
    # The proxy holds one side's hello back until the other side is connecting, too.
    for slow in ("aa", "zz"):
        with (
            make_context("aa") as first,
            make_context("zz") as second,
            ChaosProxy(0) as proxy,
            ThreadPoolExecutor(2) as pool,
        ):
            one, other = (first, second) if slow == "aa" else (second, first)
            proxy.target = other.get_tcp_server_port()
            proxy.there.stall()
            slow_one = pool.submit(one.connect_to_peer, other.name, proxy.address, True)
            wait_until(lambda proxy=proxy: proxy.accepted)  # type: ignore[misc]
            fast_one = pool.submit(other.connect_to_peer, one.name, address(one), True)
            if slow == "zz":
                fast_one.result(10)
            proxy.there.go_on()
            for future in (slow_one, fast_one):
                future.result(10)
            assert one.has_peer_context(other.name)
            wait_until(lambda one=one, other=other: other.has_peer_context(one.name))  # type: ignore[misc]


async def test_connecting_that_is_given_up_leaves_no_link_behind() -> None:
    with trio.fail_after(20):
        async with Context("here", config("here")).running() as here:
            listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener[0].socket.getsockname()[1]
            with trio.move_on_after(0.1):
                await here.connect_to_peer("srv", f"127.0.0.1:{port}")
            stream = await listener[0].accept()
            assert await stream.receive_some()
            assert await stream.receive_some() is not None  # the goodbye, or the end
            await stream.aclose()
            await listener[0].aclose()
            await until(lambda: not here.connections._dials)
            assert here.connections.names() == []


def test_stopping_while_connecting_ends_the_attempt() -> None:
    here = make_context("here")
    here.start()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        future = pool.submit(here.connect_to_peer, "srv", f"127.0.0.1:{silent.getsockname()[1]}")
        silent.settimeout(10)
        accepted = silent.accept()[0]
        here.stop()
        with pytest.raises(Exception, match="stop"):
            future.result(10)
        accepted.close()


def test_a_context_that_is_not_configured_listens_for_this_machine_only() -> None:
    plain = CfgQmi(discovery=CfgDiscovery(port=DISCOVERY_PORT, broadcast_addresses=[LOOPBACK_BROADCAST]))
    with QMI_Context("plain", plain) as context, make_context("here") as here:
        assert context.get_tcp_server_port() > 0
        listening = [
            connection.laddr
            for connection in psutil.Process().net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == context.get_tcp_server_port()
        ]
        assert [where.ip for where in listening] == ["127.0.0.1"]
        here.connect_to_peer("plain")
    silent = CfgQmi(contexts={"silent": CfgContext()}, discovery=plain.discovery)
    with QMI_Context("silent", silent) as context:
        assert context.get_tcp_server_port() == 0


def test_a_dropped_version_warning_can_be_suppressed(
    here: QMI_Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make_context("new") as new:
        monkeypatch.setattr("qmi.peers.connections.__version__", "9.9")
        new.suppress_version_mismatch_warnings = True
        here.connect_to_peer("new", address(new))
        assert "Context new runs version" in caplog.text
        assert "Context here runs version" not in caplog.text


# Losing and coming back


def test_a_proxy_works_again_after_reconnecting_and_waiting_callers_learn_of_the_loss(
    srv: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    with make_context("here") as here, ChaosProxy(srv.get_tcp_server_port()) as proxy:
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        bench = here.get_instrument("srv.bench")
        gate = srv.async_context.registry.get("bench").object.gate  # type: ignore[union-attr]
        for _ in range(3):
            gate.clear()
            assert bench.lock()
            future = bench.rpc_nonblocking.block()
            assert bench.is_locked()
            proxy.reset()
            with pytest.raises(QMI_OutcomeUnknownException):
                future.wait(5)
            wait_until(lambda: here.has_peer_context("srv"))
            assert not bench.is_locked()
            gate.set()
            with pytest.raises(QMI_LockLostException, match="the link to context 'here' was lost"):
                bench.echo(1)
            assert bench.echo(1) == 1
        assert caplog.text.count("Connected to context srv at") == 3
        assert caplog.text.count("which was resumed") >= 3
        assert "restarted" not in caplog.text


@pytest.mark.slow
def test_fault_38_a_restarted_server_is_told_apart(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, Any]] = []
    with make_context("here", peer_timeout=2.0) as here:
        core = here.async_context
        connected, gone = core.peer_connected, core.peer_gone

        def note_connected(origin: Origin, link: Link, restarted: bool | None) -> None:
            seen.append(("connected", restarted))
            connected(origin, link, restarted)

        def note_gone(origin: Origin, reason: str, for_good: bool) -> None:
            seen.append(("gone", for_good))
            gone(origin, reason, for_good)

        monkeypatch.setattr(core, "peer_connected", note_connected)
        monkeypatch.setattr(core, "peer_gone", note_gone)
        port = free_port()
        begin = SERVER + f"c = make_context('srv', port={port})\nc.start()\nb = c.make_instrument('bench', Bench)"
        with Program() as first:
            first.run(begin)
            here.connect_to_peer("srv", f"127.0.0.1:{port}", reconnect=True)
            bench = here.get_instrument("srv.bench")
            assert bench.lock()
            first.kill()
            wait_until(lambda: not here.has_peer_context("srv"))
            with pytest.raises(QMI_NotDeliveredException):
                bench.echo(1)
        with Program() as second:
            second.run(begin)
            wait_until(lambda: here.has_peer_context("srv"), 5)
            assert not bench.is_locked()
            with pytest.raises(QMI_LockLostException, match="or the program of the object was restarted"):
                bench.echo(2)
            assert bench.echo(2) == 2
        assert seen[:3] == [("connected", None), ("gone", False), ("connected", True)]
        assert "which was restarted" in caplog.text


def test_reconnecting_ends_by_disconnecting(srv: QMI_Context) -> None:
    with make_context("here") as here, ChaosProxy(srv.get_tcp_server_port()) as proxy:
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        proxy.target = free_port()  # nobody there
        proxy.reset()
        wait_until(lambda: here.async_context.connections._reconnecting)
        here.disconnect_from_peer("srv")
        wait_until(lambda: not here.async_context.connections._reconnecting)
        accepted = proxy.accepted
        proxy.target = srv.get_tcp_server_port()
        here.connect_to_peer("srv", proxy.address)
        assert here.get_instrument("srv.bench").echo(1) == 1
        assert proxy.accepted >= accepted + 1


def test_a_configured_context_that_reconnects_waits_for_a_server_that_is_not_there_yet() -> None:
    port = free_port()
    contexts = {"srv": CfgContext(host="127.0.0.1", tcp_server_port=port)}
    own = {"connect_to_peers": ["srv"], "reconnect": True}
    with QMI_Context("client", config("client", contexts=contexts, context=own)) as client:
        wait_until(lambda: client.async_context.connections._reconnecting)
        with make_context("srv", port=port) as late:
            late.make_instrument("bench", Bench)
            wait_until(lambda: client.has_peer_context("srv"))
            assert client.get_instrument("srv.bench").echo(1) == 1
        wait_until(lambda: not client.has_peer_context("srv"))
        with make_context("srv", port=port):
            wait_until(lambda: client.has_peer_context("srv"))


@pytest.mark.slow
def test_a_client_that_was_cut_off_silently_gets_in_again_at_once(srv: QMI_Context) -> None:
    # The server has not noticed that the old link is dead when the same client comes again.
    with (
        make_context("here", peer_timeout=1.0, hello_timeout=0.3) as here,
        ChaosProxy(srv.get_tcp_server_port()) as proxy,
    ):
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        wait_until(lambda: srv.has_peer_context("here"))
        old = srv.async_context.connections.link_to("here")
        proxy.there.stall()
        proxy.back.stall()
        wait_until(lambda: not here.has_peer_context("srv"))
        assert srv.async_context.connections.link_to("here") is old
        proxy.there, proxy.back = type(proxy.there)(), type(proxy.back)()  # for connections to come
        wait_until(lambda: here.has_peer_context("srv"))
        assert here.get_instrument("srv.bench").echo(1) == 1
        assert srv.async_context.connections.link_to("here") is not old


def test_a_copy_of_a_connected_context_is_refused_while_that_one_lives(here: QMI_Context, srv: QMI_Context) -> None:
    here.connect_to_peer("srv", address(srv))
    with make_context("here") as twin:
        with pytest.raises(QMI_ConnectionException, match=r"'here' is in use by 127.0.0.1:\d+, pid \d+"):
            twin.connect_to_peer("srv", address(srv))
        twin.async_context.origin = here.async_context.origin
        with pytest.raises(QMI_ConnectionException, match="'here' is connected already"):
            twin.connect_to_peer("srv", address(srv))
    assert here.get_instrument("srv.bench").echo(1) == 1


def test_strangers_that_are_remembered_do_not_pile_up(srv: QMI_Context) -> None:
    with make_context("small", max_links=2) as small:
        for index in range(5):
            with make_context(f"c{index}") as client:
                client.connect_to_peer("small", address(small))
            wait_until(lambda: not small.async_context.connections.names())
        assert list(small.async_context.connections._previous) == ["c3", "c4"]


def test_calls_of_many_threads_each_end_once_while_the_link_is_torn(srv: QMI_Context) -> None:
    with make_context("here") as here, ChaosProxy(srv.get_tcp_server_port()) as proxy:
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        bench = here.get_instrument("srv.bench")
        ended: list[str] = []
        stop = threading.Event()

        def work(number: int) -> None:
            while not stop.is_set():
                try:
                    assert bench.echo(number) == number
                    ended.append("ok")
                except QMI_MessageDeliveryException:
                    ended.append("lost")
                    wait_until(lambda: stop.is_set() or here.has_peer_context("srv"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = ended.count("ok")
            wait_until(lambda before=before: ended.count("ok") > before + 10)  # type: ignore[misc]
            proxy.reset()
        before = ended.count("ok")
        wait_until(lambda: ended.count("ok") > before + 200)
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        link = here.async_context.connections.link_to("srv")
        assert link is not None
        assert link.open_requests == 0
        assert bench.echo("end") == "end"


# Discovery


@pytest.mark.slow
def test_contexts_of_one_workgroup_find_each_other_by_name(here: QMI_Context, srv: QMI_Context) -> None:
    with make_context("srv2") as second, make_context("alien", workgroup="mars") as alien:
        found = here.discover_peer_contexts()
        assert found == [("srv", address(srv)), ("srv2", address(second))]
        assert found[0].name == "srv"
        assert here.discover_peer_contexts(context_name_filter="*2") == [("srv2", address(second))]
        assert here.discover_peer_contexts("mars") == [("alien", address(alien))]
        assert here.discover_peer_contexts("venus") == []
        here.connect_to_peer("srv2", found[1].address_port)


@contextmanager
def forger(host: str) -> Iterator[None]:
    """Somebody on this machine who answers one question, as a context named "forged" with an address that is none."""

    def answer() -> None:
        packet, asker = sock.recvfrom(65536)
        question = read_question(packet)
        assert question is not None
        forged = write_answer(Answer(question.nonce, "forged", "default", host, 40001, "1", 1), len(packet))
        assert forged is not None
        sock.sendto(forged, asker)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK_BROADCAST, DISCOVERY_PORT))
        sock.settimeout(10)
        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("host", ["[x", "x]:1", "::1::"])
def test_fault_36_a_forged_answer_with_an_address_that_is_none_hides_nobody(
    here: QMI_Context, srv: QMI_Context, host: str
) -> None:
    with forger(host):
        found = here.discover_peer_contexts()
    assert ("srv", address(srv)) in found
    assert "forged" in [name for name, _ in found]
    with forger(host), pytest.raises(QMI_ConnectionException, match=r"'forged' at .* cannot be connected"):
        here.connect_to_peer("forged")


def test_the_table_of_contexts_on_the_network(
    here: QMI_Context, srv: QMI_Context, capsys: pytest.CaptureFixture[str]
) -> None:
    here.connect_to_peer("srv", address(srv))
    with make_context("other") as other:
        here.show_network_contexts()
        lines = capsys.readouterr().out.splitlines()
        assert [line.split() for line in lines[2:4]] == [["other", address(other), "no"], ["srv", address(srv), "yes"]]
        assert lines[0].split() == ["name", "address", "connected"]


def test_connected_peer_is_in_the_table_of_the_network_where_no_broadcast_gets_through(
    here: QMI_Context, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = config("quiet")
    quiet.discovery.enabled = False
    with QMI_Context("quiet", quiet) as silent:
        here.show_network_contexts()
        assert "quiet" not in capsys.readouterr().out
        here.connect_to_peer("quiet", address(silent))
        here.show_network_contexts()
        assert ["quiet", address(silent), "yes"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_context_that_does_not_want_to_be_found_is_not() -> None:
    quiet = config("quiet")
    quiet.discovery.enabled = False
    with QMI_Context("quiet", quiet), make_context("here") as here:
        assert here.discover_peer_contexts() == []


def test_listening_without_tls_on_an_address_of_the_network_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    with make_context("open", host="0.0.0.0") as context, make_context("here") as here:
        lines = [record for record in caplog.records if "without TLS" in record.getMessage()]
        assert [line.levelno for line in lines] == [logging.WARNING]
        found = here.discover_peer_contexts()
        assert [name for name, _ in found] == ["open"]
        assert "0.0.0.0" not in found[0].address_port
        here.connect_to_peer("open", found[0].address_port)
        assert context.has_peer_context("here")


def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert f"pid {psutil.Process().pid}" in str(holder_of(sock.getsockname()[1]))
    assert holder_of(free_port()) == ""


def test_holder_of_a_port_is_unknown_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert holder_of(1) is None


def test_port_in_use_is_reported_with_cause_and_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # as an outgoing connection has a port: nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(QMI_UsageException, match=r"nobody listens .* below 32768 .*tcp_server_port"):
            make_context("srv", port=port).start()
        taken.listen()
        with pytest.raises(
            QMI_UsageException, match=r"by .* \(pid \d+\): is the program .* another contexts\.NAME\.tcp_s"
        ):
            make_context("srv", port=port).start()


async def test_first_connection_is_made_while_a_program_uses_all_threads_of_trio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connector, "_imported", None)
    limiter = trio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = 1
    with trio.fail_after(10):
        async with limiter:
            await import_links()


def test_links_are_imported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connector.link_maker_class()
    monkeypatch.setattr(connector, "importing", lambda: pytest.fail("the collector looks through all that is there"))
    connector.link_maker_class()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_fork_waits_until_the_imports_of_the_first_connection_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @contextmanager
    def slowly() -> Iterator[None]:
        begun.set()
        assert go_on.wait(10)
        yield

    monkeypatch.setattr(connector, "_imported", None)
    monkeypatch.setattr(connector, "importing", slowly)
    importer = threading.Thread(target=connector.link_maker_class)
    importer.start()
    assert begun.wait(10)
    assert not connector._importing.acquire(blocking=False)
    go_on.set()
    child = os.fork()
    if not child:
        os._exit(0 if connector._importing.acquire(blocking=False) else 1)
    importer.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connector._importing.acquire(blocking=False)
    connector._importing.release()
