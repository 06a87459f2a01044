"""Clients of one name: a script that runs twice, two notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from qmi.config.schema import CfgContext
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_CallCycleException,
    QMI_ConnectionException,
    QMI_NotDeliveredException,
    QMI_RuntimeException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from tests.support.actors import actor_of
from tests.support.devices import Bench
from tests.support.lab import address, config, make_context
from tests.support.programs import Program
from tests.support.waiting import wait_until


class Voice(QMI_Instrument):
    sig_said = QMI_Signal([str])

    @rpc_method
    def say(self, text: str) -> str:
        self.sig_said.publish(text)
        return f"{self._context.name} {id(self._context)}: {text}"


@pytest.fixture
def srv() -> Iterator[QMI_Context]:
    with make_context("srv") as context:
        context.make_instrument("bench", Bench)
        yield context


@pytest.fixture
def clients(srv: QMI_Context) -> Iterator[list[QMI_Context]]:
    """Three programs of one name that are connected to the server, in this order."""
    with ExitStack() as stack:
        yield [joined(stack, srv) for _ in range(3)]


def joined(stack: ExitStack, srv: QMI_Context, **own: Any) -> QMI_Context:
    cfg = config()
    if own:
        cfg.contexts["script"] = CfgContext(**own)
    client = stack.enter_context(QMI_Context("script", cfg))
    client.connect_to_peer("srv", address(srv))
    return client


def bench_of(client: QMI_Context) -> Any:
    return client.get_instrument("srv.bench")


def test_clients_of_one_name_are_let_in_and_told_apart(
    srv: QMI_Context, clients: list[QMI_Context], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert [bench_of(client).echo(n) for n, client in enumerate(clients)] == [0, 1, 2]
    assert srv.async_context.connections.names() == ["script", "script(2)", "script(3)"]
    for name in ("script", "script(2)", "script(3)"):
        assert srv.has_peer_context(name)
    srv.show_contexts()
    assert len(re.findall(r"^script\S* +127\.0\.0\.1:\d+ +yes", capsys.readouterr().out, re.MULTILINE)) == 3
    for client in clients:
        client.make_instrument("mine", Bench)
    listed = [name for name, _ in srv.list_rpc_objects("instrument")]
    assert {"script.mine", "script(2).mine", "script(3).mine"} <= set(listed)


def test_each_client_keeps_the_name_that_it_is_known_by(srv: QMI_Context, clients: list[QMI_Context]) -> None:
    clients[0].disconnect_from_peer("srv")
    wait_until(lambda: srv.async_context.connections.names() == ["script(2)", "script(3)"])
    assert srv.has_peer_context("script")
    with pytest.raises(QMI_NotDeliveredException, match=r"this name are 'script\(2\)' and 'script\(3\)' here"):
        srv.make_peer_context_proxy("script")
    clients[1].disconnect_from_peer("srv")
    wait_until(lambda: srv.async_context.connections.names() == ["script(3)"])
    clients[1].connect_to_peer("srv", address(srv))
    clients[0].connect_to_peer("srv", address(srv))
    wait_until(lambda: srv.async_context.connections.names() == ["script", "script(2)", "script(3)"])


def test_a_lock_belongs_to_one_of_the_clients_with_an_automatic_token(
    srv: QMI_Context, clients: list[QMI_Context]
) -> None:
    actor = actor_of(srv, "bench")
    first, second, third = (bench_of(client) for client in clients)
    assert second.lock()
    assert second.echo(1) == 1
    for other in (first, third):
        with pytest.raises(QMI_RuntimeException, match=r"is held by context 'script\(2\)'"):
            other.echo(1)
        assert not other.unlock()
    clients[0].disconnect_from_peer("srv")
    assert second.echo(2) == 2
    clients[1].disconnect_from_peer("srv")
    wait_until(lambda: not actor.lock_manager.is_locked)


def test_a_lock_belongs_to_one_of_the_clients_with_a_custom_token(clients: list[QMI_Context]) -> None:
    # The same script with the same token: the second one must not get in.
    first, second, third = (bench_of(client) for client in clients)
    assert first.lock(lock_token="ours")
    assert not second.lock(lock_token="ours")
    with pytest.raises(QMI_RuntimeException, match="is held by context 'script'"):
        second.echo(1)
    assert not second.unlock(lock_token="ours")
    assert first.echo(1) == 1
    assert third.unlock(lock_token="ours", context_name="script")
    assert second.lock(lock_token="ours")
    assert not first.lock(lock_token="ours")


def test_a_custom_lock_of_the_only_client_can_be_released_by_the_script_that_was_started_again(
    srv: QMI_Context,
) -> None:
    with ExitStack() as stack:
        assert bench_of(joined(stack, srv)).lock(lock_token="ours")
    wait_until(lambda: not srv.has_peer_context("script"))
    with ExitStack() as stack:
        assert bench_of(joined(stack, srv)).unlock(lock_token="ours")


def test_the_server_calls_the_objects_of_the_client_that_they_belong_to(
    srv: QMI_Context, clients: list[QMI_Context]
) -> None:
    bench = srv.get_instrument("bench")
    voices = [client.make_instrument("voice", Voice) for client in clients]
    for client, voice in zip(clients, voices, strict=True):
        # As an argument of the client's, kept there, and sent back: always the client's own.
        assert bench_of(client).use(voice, "say", "x") == f"script {id(client)}: x"
        assert bench_of(client).note(voice)
    kept = bench.notes()
    assert [proxy.address for proxy in kept] == ["script.voice", "script(2).voice", "script(3).voice"]
    assert [proxy.say("y") for proxy in kept] == [f"script {id(client)}: y" for client in clients]
    sent_back = bench_of(clients[1]).notes()
    assert [proxy.address for proxy in sent_back] == ["script(1).voice", "script.voice", "script(3).voice"]
    assert sent_back[1].say("z") == f"script {id(clients[1])}: z"
    assert bench_of(clients[1]).use(sent_back[0], "say", "w") == f"script {id(clients[0])}: w"


def test_signals_come_from_the_client_that_was_subscribed_to(srv: QMI_Context, clients: list[QMI_Context]) -> None:
    voices = [client.make_instrument("voice", Voice) for client in clients]
    receiver = QMI_SignalReceiver()
    srv.get_instrument("script(2).voice").sig_said.subscribe(receiver)
    for number, voice in enumerate(voices):
        voice.say(str(number))
    received = receiver.get_next_signal(10)
    assert (received.publisher_context, received.args) == ("script(2)", ("1",))
    assert not receiver.has_signal_ready()


def test_signals_of_the_server_reach_each_client_with_its_own_proxies(
    srv: QMI_Context, clients: list[QMI_Context]
) -> None:
    class Teller(QMI_Instrument):
        sig_told = QMI_Signal([object])

        @rpc_method
        def tell(self, value: Any) -> None:
            self.sig_told.publish(value)

    teller = srv.make_instrument("teller", Teller)
    voices = [client.make_instrument("voice", Voice) for client in clients]
    receivers = [QMI_SignalReceiver() for _ in clients]
    for client, receiver in zip(clients, receivers, strict=True):
        client.get_instrument("srv.teller").sig_told.subscribe(receiver)
    bench_of(clients[1]).note(voices[1])
    teller.tell(srv.get_instrument("bench").notes()[0])
    got = [receiver.get_next_signal(10).args[0].address for receiver in receivers]
    assert got == ["script(2).voice", "script.voice", "script(2).voice"]


def test_calls_of_one_client_by_way_of_the_server_reach_another_one(
    srv: QMI_Context, clients: list[QMI_Context]
) -> None:
    benches = [client.make_instrument("mine", Bench) for client in clients]
    # mine of the second -> bench of the server -> mine of the third: no cycle, although two are called script.mine
    result = benches[1].call_other("srv.bench", "call_other", "script(3).mine", "echo", 5)
    assert result == 5
    del srv


@pytest.mark.parametrize("number", [0, 1, 2])
def test_cycle_through_the_server_is_noticed_at_each_client(
    srv: QMI_Context, clients: list[QMI_Context], number: int
) -> None:
    # mine -> bench of the server -> more -> mine, where the first and the last two are objects of one client.
    known_as = ["script", "script(2)", "script(3)"][number]
    for client in clients:
        client.make_instrument("mine", Bench)
        client.make_instrument("more", Bench)
    mine = clients[number].get_instrument("script.mine")
    with pytest.raises(
        QMI_CallCycleException, match=r"script\.mine -> srv\.bench -> script\.more -> script\.mine\.echo"
    ):
        mine.call_other("srv.bench", "call_other", f"{known_as}.more", "call_other", "script.mine", "echo", 1)
    # The way to another client of that name is none.
    other = ["script(2)", "script(3)", "script"][number]
    assert mine.call_other("srv.bench", "call_other", f"{other}.more", "call_other", "script.mine", "echo", 1) == 1
    assert srv.has_peer_context(known_as)


def test_each_client_can_be_asked_to_shut_down(srv: QMI_Context, clients: list[QMI_Context]) -> None:
    srv.make_peer_context_proxy("script(2)").shutdown_context()
    assert clients[1].wait_until_shutdown(10)
    assert not clients[0].shutdown_requested()
    assert not clients[2].shutdown_requested()


@pytest.mark.parametrize("first_is_server", [False, True])
def test_fault_22_a_server_shares_its_name_with_nobody(srv: QMI_Context, first_is_server: bool) -> None:
    server = {"host": "127.0.0.1", "tcp_server_port": 0}
    with ExitStack() as stack:
        first = joined(stack, srv, **(server if first_is_server else {}))
        with pytest.raises(QMI_ConnectionException, match=r"the name 'script' is in use by 127.0.0.1:\d+, pid \d+"):
            joined(stack, srv, **({} if first_is_server else server))
        assert bench_of(first).echo(1) == 1
        assert srv.async_context.connections.names() == ["script"]


def test_a_client_that_the_server_has_connected_to_shares_its_name_with_nobody(srv: QMI_Context) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(QMI_Context("script", config()))
        srv.connect_to_peer("script", address(first))
        with pytest.raises(QMI_ConnectionException, match="the name 'script' is in use by"):
            joined(stack, srv)


def test_a_client_whose_name_is_as_long_as_can_be_is_told_apart(srv: QMI_Context) -> None:
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(QMI_Context("x" * 63, config()))
            client.connect_to_peer("srv", address(srv))
        assert srv.async_context.connections.names() == ["x" * 60 + "(2)", "x" * 63]


@pytest.mark.slow
def test_a_script_that_runs_twice_is_served_twice() -> None:
    script = "from qmi.core.context import QMI_Context\nfrom tests.support.lab import config\n"
    with make_context("srv") as srv, Program() as one, Program() as two:
        srv.make_instrument("bench", Bench)
        for program in (one, two):
            program.begin(script + "c = QMI_Context('script', config())\nc.start()")
        for program in (one, two):
            program.result()
            program.run(f"c.connect_to_peer('srv', {address(srv)!r})\nb = c.get_instrument('srv.bench')")
        assert (one.run("b.echo(1)"), two.run("b.echo(2)")) == (1, 2)
        assert one.run("b.lock()")
        one.kill()
        wait_until(lambda: srv.async_context.connections.names() == ["script(2)"])
        assert two.run("b.lock(timeout=10)")


def test_client_that_is_gone_has_to_come_by_itself(srv: QMI_Context) -> None:
    with ExitStack() as third, ExitStack() as second:
        with ExitStack() as first:
            clients = [joined(stack, srv) for stack in (first, second, third)]
            for client in clients:
                client.make_instrument("voice", Voice)
            names = ["script", "script(2)", "script(3)"]
            voices = [srv.get_instrument(f"{name}.voice") for name in names]
            clients[2].disconnect_from_peer("srv")
            wait_until(lambda: srv.async_context.connections.names() == names[:2])
            gone = r"disconnected\); it is a client, and has to connect again itself"
            with pytest.raises(QMI_NotDeliveredException, match=gone):
                voices[2].say("x")
            clients[2].connect_to_peer("srv", address(srv))
            assert voices[2].say("x").endswith(": x")
        wait_until(lambda: srv.async_context.connections.names() == names[1:])
        others = r"others of this name are 'script\(2\)' and 'script\(3\)' here"
        with pytest.raises(QMI_NotDeliveredException, match=others):
            voices[0].say("x")
        second.close()
        wait_until(lambda: srv.async_context.connections.names() == names[2:])
        stopped = r"'script\(2\)' has stopped, at .* UTC; it is a client, and has to connect again itself"
        with pytest.raises(QMI_NotDeliveredException, match=stopped):
            voices[1].say("x")
