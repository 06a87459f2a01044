"""Links through the servers of a site, between contexts that cannot reach each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from qmi.actors.proxy import AsyncProxy
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.config.loader import completed, load_config
from qmi.contexts.async_context import Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.errors import (
    QMI_ConnectionException,
    QMI_InvalidValueException,
    QMI_OutcomeUnknownException,
    QMI_PeerNotFoundException,
)
from qmi.names import HostPort, Relay, is_relay, parse_peer_address
from qmi.net.io.transport import PlainWire
from qmi.proc.site_server import SiteServer
from qmi.site.relay import _Pipe
from qmi.site.relay_flow import WINDOW
from qmi.site.server_config import SERVER_NAME
from tests.support.actors import actor_of
from tests.support.netns import star
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.site_lab import kill, make_certificates, site, write_site
from tests.support.site_signals import next_value
from tests.support.waiting import until

NO_NETWORK = {"enabled": False, "timeout": 0.05}
CONTEXTS = {name: {"host": "127.0.0.1", "tcp_server_port": 0} for name in ("lab", "other")} | {"desk": {}}


class Bench(QMI_Instrument):
    """What calls, streams and signals need."""

    sig = QMI_Signal([object])

    @rpc_method
    def echo(self, value: Any) -> Any:
        """The same."""
        return value

    @rpc_method
    def tell(self, *values: object) -> None:
        """Publish."""
        for value in values:
            self.sig.publish(value)

    @rpc_method
    async def count(self, end: int) -> AsyncIterator[int]:
        """Stream numbers."""
        for number in range(end):
            yield number

    @rpc_method
    async def block(self) -> None:
        """Do not answer."""
        await trio.sleep_forever()


def nowhere() -> str:
    """An address at which nobody is."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a site whose server runs, without certificates."""
    path = write_site(
        tmp_path_factory.mktemp("site"), site={"relay": True}, discovery=NO_NETWORK, contexts=CONTEXTS,
        limits={"max_links": 20},
    )  # fmt: skip
    with site(path):
        yield path


@asynccontextmanager
async def two(path: Path, **changes: Any) -> AsyncIterator[tuple[Context, Context]]:
    """A context with a bench, and one that is to connect to it."""
    lab, desk = (Context(name, completed(load_config(path), name)) for name in ("lab", "desk"))
    for name, value in changes.items():
        setattr(desk.config.site, name, value)
    async with lab.running(), desk.running():
        await lab.make_instrument("bench", Bench)
        yield lab, desk


@asynccontextmanager
async def relayed(path: Path, **how: Any) -> AsyncIterator[tuple[Context, Context, AsyncProxy[Bench]]]:
    """The same, connected."""
    async with two(path) as (lab, desk):
        await desk.connect_to_peer("lab", nowhere(), **how)
        yield lab, desk, await desk.get_rpc_object("lab.bench")


def server_of(path: Path) -> SiteServer:
    config = load_config(path)
    return SiteServer(config, config.site.addresses[0])


def relay_of(context: Context) -> Any:
    membership = context.at_site.membership
    assert membership is not None
    return membership.relay


async def announced(context: Context) -> None:
    """Wait until the servers know what a context says of itself."""
    membership = context.at_site.membership
    assert membership is not None
    assert await membership.attendance._announce()


def test_relay_is_told_from_an_address() -> None:
    relay = Relay("::1", 4222)
    assert str(relay) == "relay [::1]:4222"
    assert is_relay(str(relay))
    assert not is_relay(str(HostPort("relay", 4222)))
    assert type(parse_peer_address(str(relay))) is Relay
    assert parse_peer_address(str(relay)) == relay
    assert type(parse_peer_address("relay:4222")) is HostPort


@pytest.mark.parametrize("text", ["relay ", "relay x", "relay a b:1", "relay relay a:1", "a relay b:1", None])
def test_address_of_a_relay_that_makes_no_sense_is_refused(text: Any) -> None:
    with pytest.raises(QMI_InvalidValueException, match="expected 'host:port'"):
        parse_peer_address(text)


async def test_link_is_made_through_the_server_where_the_address_leads_nowhere(served: Path) -> None:
    async with relayed(served) as (lab, desk, bench):
        assert await bench.echo(1) == 1
        where = f"relay {load_config(served).site.addresses[0]}"
        for context, other in ((desk, "lab"), (lab, "desk")):
            (status,) = context.connections.link_statuses()
            assert (status.context, status.state, status.address, status.relayed) == (other, "up", where, True)


async def test_link_is_direct_where_that_works(served: Path) -> None:
    async with two(served) as (lab, desk):
        await desk.connect_to_peer("lab", f"127.0.0.1:{lab.connections.port}")
        (status,) = desk.connections.link_statuses()
        assert (status.address, status.relayed) == (f"127.0.0.1:{lab.connections.port}", False)


async def test_context_out_of_reach_is_found_and_connected_by_its_name(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computers = iter("abcdefgh")
    monkeypatch.setattr("qmi.site.attendance.machine", lambda: next(computers))  # each on one of its own
    async with two(served) as (lab, desk):
        await announced(lab)
        (found,) = await desk.discover_peer_contexts()
        assert found == ("lab", f"relay {load_config(served).site.addresses[0]}")
        for address in (None, found.address_port):
            await desk.connect_to_peer("lab", address, reconnect=True)
            (status,) = desk.connections.link_statuses()
            assert status.relayed
            await desk.disconnect_from_peer("lab")


@pytest.mark.slow
async def test_everything_that_links_carry_goes_through_the_server(served: Path) -> None:
    async with relayed(served) as (lab, desk, bench):
        picture = np.arange(1_000_000.0)
        back = await bench.echo(picture)
        assert (back == picture).all()
        assert [number async for number in await bench.count(500)] == list(range(500))
        assert await bench.lock()
        assert await bench.is_locked()
        await desk.disconnect_from_peer("lab")
        await until(lambda: not actor_of(lab, "bench").lock_manager.is_locked)


async def test_bytes_of_both_directions_pass_each_other(served: Path) -> None:
    async with relayed(served) as (_, _, bench):
        sizes = [3 * WINDOW, 1, WINDOW, 100_000, 2 * WINDOW + 1]
        right: list[bool] = []

        async def echo(size: int) -> None:
            value = os.urandom(size)
            right.append(await bench.echo(value) == value)

        async with trio.open_nursery() as nursery:
            for size in sizes:
                nursery.start_soon(echo, size)
        assert right == [True] * len(sizes)


async def test_large_signals_come_by_a_relayed_link_in_their_turn(served: Path) -> None:
    async with relayed(served) as (_, desk, bench):
        receiver = QMI_SignalReceiver(report_gaps=True)
        await desk.subscribe_signal("lab", "bench", "sig", receiver)
        await bench.tell(0, bytes(WINDOW + 1), 2)
        assert [await next_value(receiver) for _ in range(3)] == [0, bytes(WINDOW + 1), 2]


async def test_both_sides_prove_themselves_to_each_other_and_not_to_the_server_alone(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "lab", "desk", "other", "*")
    path = write_site(tmp_path, tls=True, site={"relay": True}, discovery=NO_NETWORK, contexts=CONTEXTS)
    with site(path):
        async with relayed(path) as (_, desk, bench):
            assert await bench.echo(1) == 1
            (status,) = desk.connections.link_statuses()
            assert (status.relayed, status.tls) == (True, True)


@pytest.mark.parametrize("tls", [True, False])
async def test_program_that_gets_the_messages_of_another_one_is_refused_by_the_link(tmp_path: Path, tls: bool) -> None:
    if tls:
        make_certificates(tmp_path, SERVER_NAME, "lab", "desk")
    path = write_site(tmp_path, tls=tls, site={"relay": True}, discovery=NO_NETWORK, contexts=CONTEXTS)
    with site(path):
        async with two(path) as (_, desk):
            present = relay_of(desk)._present
            relay_of(desk)._present = lambda name: present("lab")
            who = "certificate of context 'lab'" if tls else "context 'lab'"
            with pytest.raises(QMI_ConnectionException, match=f"'other'.*{who}"):
                await desk.connect_to_peer("other", nowhere())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lab", "nor through the site: it is at the site, and takes no links through it (site.relay"),
        ("nobody", "nothing listens there: connection refused"),
    ],
)
async def test_context_that_takes_no_links_through_the_site_is_told(served: Path, name: str, why: str) -> None:
    lab, desk = (Context(name, completed(load_config(served), name)) for name in ("lab", "desk"))
    lab.config.site.relay = False
    async with lab.running(), desk.running():
        await announced(lab)
        with pytest.raises(QMI_ConnectionException) as caught:
            await desk.connect_to_peer(name, nowhere())
        assert why in str(caught.value)
        with pytest.raises(QMI_PeerNotFoundException):
            await desk.connect_to_peer("nobody")


async def test_context_that_relays_nothing_is_told_of_the_address_alone(served: Path) -> None:
    async with two(served, relay=False) as (_, desk):
        with pytest.raises(QMI_ConnectionException) as caught:
            await desk.connect_to_peer("lab", nowhere())
        assert str(caught.value).endswith("cannot be connected: nothing listens there: connection refused")


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda lab, desk: relay_of(desk).context_gone(*lab.origin), id="presence"),
        pytest.param(lambda lab, desk: relay_of(desk)._client._hang_up("the cable is pulled"), id="own"),
        pytest.param(lambda lab, desk: relay_of(lab)._client._hang_up("the cable is pulled"), id="other"),
    ],
)
async def test_link_ends_at_once_with_what_it_goes_through(
    served: Path, end: Callable[[Context, Context], object]
) -> None:
    async with relayed(served) as (lab, desk, bench):
        why = pytest.RaisesExc(QMI_OutcomeUnknownException, match=r"left the site|connection to server")
        with pytest.RaisesGroup(why), trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.block)
                await until(lambda: lab.connections.link_statuses()[0].served_requests)
                end(lab, desk)


async def test_message_that_the_servers_lose_ends_the_link_and_it_is_made_again(served: Path) -> None:
    async with relayed(served, reconnect=True) as (_, desk, bench):
        client = relay_of(desk)._client
        send, lost = client.send_now, []

        def lose(subject: bytes, payload: bytes) -> bool:
            client.send_now = send
            lost.append(payload)
            return True

        client.send_now = lose
        before = desk.connections.link_to("lab")
        assert before is not None
        with pytest.RaisesGroup(QMI_OutcomeUnknownException, QMI_OutcomeUnknownException), trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bench.echo, 1)
                await until(lambda: lost)
                nursery.start_soon(bench.echo, 2)
        await before.ended.wait()
        assert before.loss is not None
        assert "lost something on the way" in before.loss.reason
        await until(lambda: desk.connections.link_to("lab"))
        assert await bench.echo(3) == 3


async def test_link_is_made_again_when_the_server_is_back(tmp_path: Path) -> None:
    path = write_site(tmp_path, site={"relay": True}, discovery=NO_NETWORK, contexts=CONTEXTS)
    with site(path) as (server,):
        async with relayed(path, reconnect=True) as (_, desk, bench):
            before = desk.connections.link_to("lab")
            assert before is not None
            await trio.to_thread.run_sync(kill, server)
            with trio.fail_after(5):
                await before.ended.wait()
            assert before.loss is not None
            assert before.loss.reason.count(f"the connection to server {server.address} is lost")
            await trio.to_thread.run_sync(server.start)
            await until(lambda: desk.connections.link_to("lab"))
            assert await bench.echo(1) == 1


async def test_context_has_no_more_relayed_links_than_links(served: Path) -> None:
    async with relayed(served) as (lab, desk, _):
        relay_of(lab)._pipes.update({str(number): object() for number in range(20)})
        await desk.disconnect_from_peer("lab")
        with pytest.raises(QMI_ConnectionException, match=r"context 'lab' has 20 links .*\(limits.max_links\)"):
            await desk.connect_to_peer("lab", nowhere())
        for number in range(20):
            del relay_of(lab)._pipes[str(number)]


class Servers:
    """What a pipe needs of a client: takes everything, or nothing."""

    max_payload = 1 << 20
    fault = "the connection to server there is lost"
    is_up = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_now(self, subject: bytes, payload: bytes) -> bool:
        if self.is_up:
            self.sent.append(payload)
        return self.is_up


async def test_no_more_is_taken_from_a_link_than_the_other_side_has_taken() -> None:
    servers = Servers()
    pipe = _Pipe(servers, "there", "00" * 8)  # type: ignore[arg-type]
    wire = PlainWire(pipe.link_end)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.run)
        while pipe._flow.room:
            with suppress(BlockingIOError):
                wire.sock.send(bytes(1 << 16))
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert sum(len(message) - 9 for message in servers.sent) == WINDOW
        wire.close()
        nursery.cancel_scope.cancel()


async def test_link_hears_why_the_servers_take_nothing_more() -> None:
    servers = Servers()
    pipe = _Pipe(servers, "there", "00" * 8)  # type: ignore[arg-type]
    wire = PlainWire(pipe.link_end)
    servers.is_up = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipe.run)
        wire.sock.send(b"hello")
        await trio.lowlevel.wait_readable(wire.sock)
        with pytest.raises(ConnectionResetError, match="the connection to server there is lost"):
            wire.read_into(memoryview(bytearray(10)))
        with pytest.raises(ConnectionResetError, match="the connection to server there is lost"):
            wire.sock.send(b"more")
    wire.close()


async def test_last_words_of_a_link_go_out_before_its_end() -> None:
    servers = Servers()
    pipe = _Pipe(servers, "there", "00" * 8)  # type: ignore[arg-type]
    wire = PlainWire(pipe.link_end)
    wire.sock.send(b"goodbye")
    wire.shut()
    wire.close()
    await pipe.run()
    assert servers.sent == [b"\x00" + bytes(8) + b"goodbye", b"\x02" + bytes(7) + b"\x07"]


@pytest.mark.slow
async def test_killed_context_is_gone_from_a_relayed_link_within_a_second(served: Path) -> None:
    with Program() as program:
        program.run(
            "from tests.support.lab import *\nfrom qmi.config.loader import completed, load_config\n"
            "from qmi.core.context import QMI_Context\nfrom tests.support.devices import Bench\n"
            f"c = QMI_Context('lab', completed(load_config({str(served)!r}), 'lab'))\nc.start()\n"
            "bench = c.make_instrument('bench', Bench)"
        )
        desk = Context("desk", completed(load_config(served), "desk"))
        async with desk.running():
            await desk.connect_to_peer("lab", nowhere())
            link = desk.connections.link_to("lab")
            assert link is not None
            os.kill(program.pid, signal.SIGKILL)
            with trio.fail_after(1.0):
                await link.ended.wait()


@pytest.mark.slow
def test_contexts_of_networks_without_a_route_between_them_are_linked_through_the_server(tmp_path: Path) -> None:
    with star() as net:
        contexts = {f"end{number}": {"host": end.host, "tcp_server_port": 0} for number, end in enumerate(net.ends)}
        path = write_site(
            tmp_path, contexts=contexts, discovery=NO_NETWORK,
            site={"relay": True, "servers": [f"nats://{net.middle.host}:4222"]},
        )  # fmt: skip
        command = [*net.middle.prefix, sys.executable, "-m", "qmi", "site"]
        subprocess.run([*command, "start", "--config", path], check=True, capture_output=True)
        try:
            with Program(net.ends[0].prefix) as first, Program(net.ends[1].prefix) as second:
                for number, program in enumerate((first, second)):
                    program.run(
                        "from qmi.config.loader import completed, load_config\n"
                        "from qmi.core.context import QMI_Context\n"
                        "from tests.support.devices import Bench\n"
                        f"name = 'end{number}'\nc = QMI_Context(name, completed(load_config({str(path)!r}), name))\n"
                        "c.start()\nbench = c.make_instrument('bench', Bench)"
                    )
                where = f"{net.ends[0].host}:{first.run('c.get_tcp_server_port()')}"
                second.run(f"c.connect_to_peer('end0', {where!r})\nb = c.get_instrument('end0.bench')")
                assert second.run("b.echo(bytes(3_000_000)) == bytes(3_000_000)")
                (address,) = second.run("[link.address for link in c.get_status().links]")
                assert address == f"relay {net.middle.host}:4222"
                listing = [*net.ends[1].prefix, sys.executable, "-m", "qmi", "ls", "--json", "--config", str(path)]
                shown = json.loads(subprocess.run(listing, check=True, capture_output=True).stdout)
                assert {one["name"]: one["address"] for one in shown} == {
                    "end0": f"relay {net.middle.host}:4222",
                    "end1": f"{net.ends[1].host}:{second.run('c.get_tcp_server_port()')}",
                }
        finally:
            subprocess.run([*command, "stop", "--config", path], check=True, capture_output=True)


@pytest.mark.parametrize("stops", ["lab", "desk"])
async def test_context_that_stops_says_so_through_the_server(served: Path, stops: str) -> None:
    lab, desk = (Context(name, completed(load_config(served), name)) for name in ("lab", "desk"))
    stopping, left = (lab, desk) if stops == "lab" else (desk, lab)
    async with left.running():
        async with stopping.running():
            await desk.connect_to_peer("lab", nowhere())
            link = left.connections.link_to(stops)
            assert link is not None
        with trio.fail_after(10):
            await link.ended.wait()
        assert link.loss is not None
        assert link.loss.reason.endswith(f"context '{stops}' has stopped")
