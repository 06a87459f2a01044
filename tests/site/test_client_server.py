"""The client with the real server."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.net.io.tls import check_workgroup, client_context, peer_identity
from qmi.site import client as client_module
from qmi.site.client import SiteClient
from qmi.site.wire import Message
from qmi.tools.certs import make_ca, make_certificate
from tests.support.nats_server import NatsServer, cluster
from tests.support.site_clients import options, running
from tests.support.waiting import until

STREAM = b'{"name":"S","subjects":["kept.>"],"allow_direct":true,"max_msgs_per_subject":100000,"num_replicas":%d}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running_server:
        yield running_server


async def keep(client: SiteClient, replicas: int = 1) -> None:
    answer = await client.request("$JS.API.STREAM.CREATE.S", STREAM % replicas)
    assert "error" not in json.loads(answer.payload), answer.payload


async def keep_when_there_is_a_leader(client: SiteClient) -> None:
    """Servers that have just met have none yet, and say nothing."""
    while True:
        with suppress(QMI_TimeoutException, QMI_NotDeliveredException):
            answer = await client.request("$JS.API.STREAM.CREATE.S", STREAM % 3, timeout=1)
            if "error" not in json.loads(answer.payload):
                return


async def numbers_kept(client: SiteClient, subject: str) -> list[int]:
    """What the stream has of a subject."""
    found: list[int] = []
    sequence = 1
    while True:
        ask = json.dumps({"seq": sequence, "next_by_subj": subject, "batch": 500}).encode()
        *messages, end = await client.collect("$JS.API.DIRECT.GET.S", ask)
        found += [int(message.payload) for message in messages]
        if end.status == 404 or not int(end.headers["Nats-Num-Pending"]):
            return found
        sequence = int(messages[-1].headers["Nats-Sequence"]) + 1


def without_repetition(numbers: list[int]) -> list[int]:
    """What a receiver makes of it that drops numbers which it had."""
    found: list[int] = []
    for number in numbers:
        if not found or number > found[-1]:
            found.append(number)
    return found


async def test_messages_go_from_one_client_to_others(server: NatsServer) -> None:
    got: list[tuple[str, bytes]] = []
    done = trio.Event()

    def put(message: Message) -> None:
        got.append((message.subject, message.payload))
        if message.payload == b"end":
            done.set()

    async with running(options(server.port, name="a")) as one, running(options(server.port, name="b")) as other:
        other.subscribe("talk.*.x", put)
        await other.request("$JS.API.INFO")  # the server has taken the subscription
        one.publish(b"talk.1.x", b"\r\n")
        one.publish(b"talk.1.y", b"not this")
        one.publish(b"talk.2.x", b"end")
        with trio.fail_after(10):
            await done.wait()
    assert got == [("talk.1.x", b"\r\n"), ("talk.2.x", b"end")]


async def test_request_is_answered_or_refused_at_once(server: NatsServer) -> None:
    async with running(options(server.port, name="a")) as one, running(options(server.port, name="b")) as other:
        other.subscribe("who", lambda message: other.publish(message.reply.encode(), b"b"))
        await other.request("$JS.API.INFO")
        assert (await one.request("who")).payload == b"b"
        with pytest.raises(QMI_NotDeliveredException, match="Nobody"):
            await one.request("nobody", timeout=60)


async def test_what_is_kept_can_be_read_in_batches(server: NatsServer) -> None:
    async with running(options(server.port)) as client:
        await keep(client)
        for number in range(1200):
            assert client.publish(b"kept.batch", b"%d" % number, kept=True)
        assert await client.drain(10)
        assert client.stored >= 1200
        assert await numbers_kept(client, "kept.batch") == list(range(1200))
        assert client.unkept == 0


async def test_server_that_is_killed_in_mid_stream_has_all_that_it_acknowledged(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        async with running(options(server.port)) as client:
            await keep(client)
            published = 0

            async def publish(stop: trio.Event) -> None:
                nonlocal published
                while not stop.is_set():
                    assert client.publish(b"kept.n", b"%d" % published, kept=True)
                    published += 1
                    await trio.lowlevel.checkpoint()

            for _ in range(3):
                stop = trio.Event()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publish, stop)
                    before = client.stored
                    await until(lambda least=before + 50: client.stored >= least)  # type: ignore[misc]
                    server.kill()
                    stop.set()
                acknowledged = published - len(client._queue) - len(client._unacknowledged)
                await trio.to_thread.run_sync(server.start)
                await client.up.wait()
                kept = without_repetition(await numbers_kept(client, "kept.n"))
                assert kept[:acknowledged] == list(range(acknowledged))
            assert await client.drain(20)
            assert without_repetition(await numbers_kept(client, "kept.n")) == list(range(published))


async def test_publishing_never_waits_for_a_frozen_server(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        async with running(options(server.port, buffer_bytes=1 << 20)) as client:
            await keep(client)
            server.freeze()
            done = [client.publish(b"kept.n", bytes(1000), kept=True) for _ in range(2000)]
            assert done == sorted(done, reverse=True)
            assert client.refused == done.count(False) > 0
            server.thaw()
            assert await client.drain(20)
            assert client.publish(b"kept.n", b"", kept=True)


@pytest.mark.parametrize("name", ["qmi_site", "lab", "*"])
async def test_only_a_server_with_its_own_certificate_is_believed(name: str, tmp_path: Path) -> None:
    ca, _ = make_ca(tmp_path)
    files = {one: make_certificate(tmp_path, one, workgroup="lab") for one in {name, "lab"}}
    certificate, key = files[name]
    more = f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{ca}", verify: true }}'
    tls = client_context(ca_file=str(ca), cert_file=str(files["lab"][0]), key_file=str(files["lab"][1]))
    assert tls.minimum_version == ssl.TLSVersion.TLSv1_3

    def check(shown: Mapping[str, object] | None) -> str | None:
        return check_workgroup(peer_identity(shown), "lab", expected="qmi_site")

    with NatsServer(tmp_path, more) as server:
        async with running(options(server.port, tls=tls, check_server=check), wait=name != "lab") as client:
            if name != "lab":
                answer = await client.request("$JS.API.INFO")
                assert b"streams" in answer.payload
            else:
                await client.failed.wait()
                assert "expected context 'qmi_site'" in client.fault


@pytest.mark.slow
async def test_cluster_goes_on_without_one_of_its_servers(tmp_path: Path) -> None:
    servers = cluster(tmp_path)
    try:
        for server in servers:
            server.begin()
        for server in servers:
            server.wait_ready()
        async with running(options(*(server.port for server in servers))) as client:
            with trio.fail_after(40):
                await keep_when_there_is_a_leader(client)
            for number in range(300):
                assert client.publish(b"kept.n", b"%d" % number, kept=True)
                if number == 150:
                    assert client.info is not None
                    (mine,) = [server for server in servers if server.port == client.info.plain["port"]]
                    mine.kill()
                await trio.lowlevel.checkpoint()
            await until(lambda: client.info is not None and client.info.plain["port"] != mine.port, 30.0)
            assert await client.drain(30)
            assert sorted(set(await numbers_kept(client, "kept.n"))) == list(range(300))
            assert client.unkept == 0
    finally:
        for server in servers:
            server.kill()


def test_silence_of_a_server_is_noticed_within_fifteen_seconds() -> None:
    assert client_module.PING_EVERY * (client_module._SILENT_PINGS + 1) <= 15
