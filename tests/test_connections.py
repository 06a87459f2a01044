from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import trio

from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.context import Context
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_ConnectionException,
    QMI_MessageDeliveryException,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_UsageException,
)
from qmi.entrance import holder_of
from qmi.messages import Origin
from qmi.net.discovery import Answer, read_question, write_answer
from qmi.net.link import Link
from tests.support.chaos import ChaosProxy
from tests.support.devices import Bench
from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST, SERVER, address, config, eventually, make_context
from tests.support.programs import Program


@pytest.fixture
def srv() -> Iterator[QMI_Context]:
    with make_context("srv") as context:
        context.make_instrument("bench", Bench)
        yield context


@pytest.fixture
def here() -> Iterator[QMI_Context]:
    with make_context("here") as context:
        yield context


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


# Connecting


def test_connecting_makes_the_objects_of_both_usable(here: QMI_Context, srv: QMI_Context) -> None:
    here.make_instrument("mine", Bench)
    assert not here.has_peer_context("srv")
    here.connect_to_peer("srv", address(srv))
    assert here.has_peer_context("srv")
    eventually(lambda: srv.has_peer_context("here"))
    assert here.get_instrument("srv.bench").echo(1) == 1
    assert srv.get_instrument("here.mine").echo(2) == 2
    here.disconnect_from_peer("srv")
    assert not here.has_peer_context("srv")
    eventually(lambda: not srv.has_peer_context("here"))
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


def test_who_cannot_be_reached_is_named_with_the_reason(here: QMI_Context, srv: QMI_Context) -> None:
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
        pytest.raises(QMI_ConnectionException, match=r"handshake was not done within 0.3 s"),
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


def test_peers_that_the_configuration_names_are_connected_at_the_start(
    srv: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    contexts = {
        "srv": CfgContext(host="127.0.0.1", tcp_server_port=srv.get_tcp_server_port()),
        "gone": CfgContext(host="127.0.0.1", tcp_server_port=free_port()),
    }
    own = {"connect_to_peers": ["gone", "srv"]}
    with QMI_Context("client", config("client", contexts=contexts, context=own)) as client:
        eventually(lambda: client.has_peer_context("srv"))
        eventually(lambda: "Context 'gone' at 127.0.0.1" in caplog.text)


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


def test_two_contexts_that_connect_to_each_other_at_once_share_one_link() -> None:
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
                eventually(lambda one=one, other=other: one.has_peer_context(other))  # type: ignore[misc]
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
            eventually(lambda proxy=proxy: proxy.accepted)  # type: ignore[misc]
            fast_one = pool.submit(other.connect_to_peer, one.name, address(one), True)
            if slow == "zz":
                fast_one.result(10)
            proxy.there.go_on()
            for future in (slow_one, fast_one):
                future.result(10)
            assert one.has_peer_context(other.name)
            eventually(lambda one=one, other=other: other.has_peer_context(one.name))  # type: ignore[misc]


def test_giving_up_while_connecting_leaves_no_link_behind() -> None:
    async def main() -> None:
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
                while here.connections._dials:
                    await trio.sleep(0.005)
                assert here.connections.names() == []

    trio.run(main)


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
        monkeypatch.setattr("qmi.connections.__version__", "9.9")
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
            eventually(lambda: here.has_peer_context("srv"))
            assert not bench.is_locked()
            gate.set()
            assert bench.echo(1) == 1
        assert caplog.text.count("Connected to context srv at") == 3
        assert caplog.text.count("which was resumed") >= 3
        assert "restarted" not in caplog.text


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
            eventually(lambda: not here.has_peer_context("srv"))
            with pytest.raises(QMI_NotDeliveredException):
                bench.echo(1)
        with Program() as second:
            second.run(begin)
            eventually(lambda: here.has_peer_context("srv"), 5)
            assert not bench.is_locked()
            assert bench.echo(2) == 2
        assert seen[:3] == [("connected", None), ("gone", False), ("connected", True)]
        assert "which was restarted" in caplog.text


def test_reconnecting_ends_by_disconnecting(srv: QMI_Context) -> None:
    with make_context("here") as here, ChaosProxy(srv.get_tcp_server_port()) as proxy:
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        proxy.target = free_port()  # nobody there
        proxy.reset()
        eventually(lambda: here.async_context.connections._returning)
        here.disconnect_from_peer("srv")
        eventually(lambda: not here.async_context.connections._returning)
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
        eventually(lambda: client.async_context.connections._returning)
        with make_context("srv", port=port) as late:
            late.make_instrument("bench", Bench)
            eventually(lambda: client.has_peer_context("srv"))
            assert client.get_instrument("srv.bench").echo(1) == 1
        eventually(lambda: not client.has_peer_context("srv"))
        with make_context("srv", port=port):
            eventually(lambda: client.has_peer_context("srv"))


def test_a_client_that_was_cut_off_silently_gets_in_again_at_once(srv: QMI_Context) -> None:
    # The server has not noticed that the old link is dead when the same client comes again.
    with (
        make_context("here", peer_timeout=1.0, hello_timeout=0.3) as here,
        ChaosProxy(srv.get_tcp_server_port()) as proxy,
    ):
        here.connect_to_peer("srv", proxy.address, reconnect=True)
        eventually(lambda: srv.has_peer_context("here"))
        old = srv.async_context.connections.link_to("here")
        proxy.there.stall()
        proxy.back.stall()
        eventually(lambda: not here.has_peer_context("srv"))
        assert srv.async_context.connections.link_to("here") is old
        proxy.there, proxy.back = type(proxy.there)(), type(proxy.back)()  # for connections to come
        eventually(lambda: here.has_peer_context("srv"))
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
            eventually(lambda: not small.async_context.connections.names())
        assert list(small.async_context.connections._former) == ["c3", "c4"]


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

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = ended.count("ok")
            eventually(lambda before=before: ended.count("ok") > before + 10)  # type: ignore[misc]
            proxy.reset()
        before = ended.count("ok")
        eventually(lambda: ended.count("ok") > before + 200)
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        link = here.async_context.connections.link_to("srv")
        assert link is not None
        assert link.open_requests == 0
        assert bench.echo("end") == "end"


# Discovery


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


def test_who_does_not_want_to_be_found_is_not() -> None:
    quiet = config("quiet")
    quiet.discovery.enabled = False
    with QMI_Context("quiet", quiet), make_context("here") as here:
        assert here.discover_peer_contexts() == []


def test_without_tls_on_an_address_of_the_network_there_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
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
        assert f"pid {psutil.Process().pid}" in holder_of(sock.getsockname()[1])
    assert holder_of(free_port()) == ""
