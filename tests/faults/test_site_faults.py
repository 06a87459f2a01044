"""Rows of the fault table about a site: its servers, and who listens there."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.contexts.async_context import Context
from qmi.errors import QMI_ConnectionException
from qmi.site import client as client_module
from qmi.site import stream
from tests.support.nats_server import NatsServer, cluster
from tests.support.programs import Program
from tests.support.site_signals import Horn, at_site, engine_of, make_stream, next_value, pair
from tests.support.waiting import until

KEPT = 100_000


async def numbers(receiver: QMI_SignalReceiver, last: int) -> list[object]:
    """What comes, up to a number; what is said besides as texts."""
    told: list[object] = []
    while not told or told[-1] != last:
        told.append(await next_value(receiver))
    return told


def counted(told: list[object]) -> list[object]:
    """The numbers, with -1 for each one that is told as dropped."""
    found: list[object] = []
    for one in told:
        if isinstance(one, str):
            found += [-1] * int((one + " 0").split()[1]) if one.startswith("dropped") else []
        else:
            found.append(one)
    return found


def said(told: list[object]) -> list[str]:
    return [one for one in told if isinstance(one, str)]


# -- 63


@pytest.mark.parametrize("when", ["idle", "burst"])
async def test_fault_63_server_that_is_killed_and_comes_back_loses_nothing(when: str, tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        await make_stream(server.port, max_msgs_per_subject=KEPT)
        async with pair(server.port) as two:
            await two.subscribe()
            client = engine_of(two.lab).client
            await two.horn.blow_many(0, 300)
            if when == "idle":
                assert await client.drain(10)
            acknowledged = 300 - len(client._queue) - len(client._unacknowledged)
            server.kill()
            await two.horn.blow_many(300, 600)
            await trio.to_thread.run_sync(server.start)
            for context in (two.lab, two.desk):
                await engine_of(context).client.up.wait()
            await two.horn.blow_many(600, 900)
            told = await numbers(two.receiver, 899)
            assert counted(told) == list(range(900))
            assert said(told) == ["lost", "resumed"]
            # And it has what it had acknowledged, and all that came later, each told once.
            late = QMI_SignalReceiver(report_gaps=True)
            await two.desk.subscribe_signal("lab", "horn", "sig", late, since=3600)
            assert counted(await numbers(late, 899)) == list(range(900))
            assert acknowledged == 300 or when == "burst"


# -- 64


@asynccontextmanager
async def reading_nothing(context: Context) -> AsyncIterator[None]:
    """A context does not read what its server sends, for the block."""
    connection, gate = engine_of(context).client._server, trio.Event()
    assert connection is not None
    connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    receive_some = connection.receive_some

    async def held() -> bytes:
        await gate.wait()
        return await receive_some()

    connection.receive_some = held  # type: ignore[method-assign]
    try:
        yield
    finally:
        gate.set()


@pytest.mark.parametrize("kept", [KEPT, 50])
async def test_fault_64_subscriber_that_reads_nothing_is_cut_off_and_told_how_many_it_missed(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH_BYTES", 100_000)
    with NatsServer(tmp_path, "max_payload: 100000, max_pending: 300000, write_deadline: 200ms") as server:
        await make_stream(server.port, max_msgs_per_subject=kept)
        async with pair(server.port) as two, Context("other", at_site("", server.port)).running() as other:
            two.receiver = QMI_SignalReceiver(report_gaps=True, max_queue_length=KEPT)
            await two.subscribe()
            receiver = QMI_SignalReceiver(report_gaps=True, max_queue_length=KEPT)
            await other.subscribe_signal("lab", "horn", "sig", receiver)
            async with reading_nothing(two.desk):
                count = 0
                while not any("Slow Consumer" in line for line in server.log):
                    for _ in range(5):
                        two.lab.publish_signal("horn", "sig", [count, bytes(20_000)])
                        count += 1
                    assert await engine_of(two.lab).client.drain(10)
                told = [await next_value(receiver) for _ in range(count)]
                assert [one[0] for one in told if isinstance(one, list)] == list(range(count))
            await engine_of(two.desk).client.up.wait()
            two.lab.publish_signal("horn", "sig", [count, b""])
            found: list[object] = []
            while not found or found[-1] != count:
                value = await next_value(two.receiver)
                found.append(value[0] if isinstance(value, list) else value)
            told_numbers = counted(found)
            assert len(told_numbers) == count + 1
            assert all(one in (-1, place) for place, one in enumerate(told_numbers))
            assert (told_numbers.count(-1) > 0) is (kept == 50)
            assert said(found)[:2] == ["lost", "resumed"]


DESK = """
from qmi.core.context import QMI_Context
from qmi.core.pubsub import QMI_SignalReceiver
from tests.support.site_signals import at_site
context = QMI_Context("frozen", at_site("", {port}))
context.start()
receiver = QMI_SignalReceiver(report_gaps=True, max_queue_length=10000)
context.subscribe_signal("lab", "horn", "sig", receiver)
"""


@pytest.mark.slow
async def test_fault_64_frozen_subscriber_delays_nobody(tmp_path: Path) -> None:
    with NatsServer(tmp_path, "max_pending: 8000000") as server, Program() as frozen:
        await make_stream(server.port, max_msgs_per_subject=KEPT)
        async with pair(server.port) as two:
            await two.subscribe()
            await trio.to_thread.run_sync(frozen.run, DESK.format(port=server.port))
            late: list[float] = []

            async def publish(count: int) -> float:
                late.clear()
                for number in range(count):
                    two.lab.publish_signal("horn", "sig", [number, time.monotonic(), bytes(100_000)])
                    value = await next_value(two.receiver)
                    assert isinstance(value, list)
                    late.append(time.monotonic() - value[1])
                return sorted(late)[-2]  # one may be late for reasons of its own, on a busy machine

            before = await publish(50)
            os.kill(frozen.pid, signal.SIGSTOP)
            try:
                assert await publish(250) < before + 0.3
                await until(lambda: any("Slow Consumer" in line for line in server.log))
            finally:
                os.kill(frozen.pid, signal.SIGCONT)
            two.lab.publish_signal("horn", "sig", "end")
            got = await trio.to_thread.run_sync(
                frozen.run,
                "found = []\n"
                "while 'end' not in found:\n"
                "    signal = receiver.get_next_signal(10)\n"
                "    found.append(signal.gap if signal.is_gap else signal.args[0] if signal.args[0] == 'end' else 1)\n"
                "found.count(1), sorted({one for one in found if one != 1})",
            )
            assert got == (300, ["end", "lost", "resumed"])


# -- 65


async def test_fault_65_site_without_room_is_told_and_signals_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit of its store, which the server says."""
    with NatsServer(tmp_path, store="max_file_store: 2000000") as server:
        await make_stream(server.port, max_msgs_per_subject=KEPT)
        async with pair(server.port, site={"buffer_bytes": 1 << 20}) as two:
            await two.subscribe()
            for number in range(200):
                two.lab.publish_signal("horn", "sig", [number, bytes(50_000)])
                value = await next_value(two.receiver)
                assert isinstance(value, list)
                assert value[0] == number
            client = engine_of(two.lab).client
            assert await client.drain(10)
            assert client.unkept > 100
            assert client.refused == 0
            assert caplog.text.count("The site does not keep the signals of this context") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> list[str]:
    """Runs a server with a disk of 3 MB."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("a small disk is made with the command 'unshare' (util-linux)")
    (tmp_path / "server").mkdir()
    script = f'mount -t tmpfs -o size=3m none "{tmp_path / "server"}" && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no disk can be mounted in a namespace here: {tried.stderr.strip()}")
    return prefix


async def test_fault_65_server_whose_disk_is_full_is_told_and_signals_go_on(
    tmp_path: Path, small_disk: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk itself: the server says nothing any more."""
    monkeypatch.setattr(client_module, "PING_EVERY", 0.1)
    with NatsServer(tmp_path, store="max_file_store: 1TB", prefix=small_disk) as server:
        await make_stream(server.port, max_msgs_per_subject=KEPT)
        async with pair(server.port, site={"buffer_bytes": 1 << 20}) as two:
            await two.subscribe()
            client = engine_of(two.lab).client
            count = 0
            while not client.unkept:
                two.lab.publish_signal("horn", "sig", [count, bytes(20_000)])
                count += 1
                await trio.lowlevel.checkpoint()
            monkeypatch.setattr(client_module, "PING_EVERY", 60.0)
            for number in range(100):
                two.lab.publish_signal("horn", "sig", [count + number, bytes(50_000)])
                assert await client.drain(10)
            told: list[object] = []
            while not told or told[-1] != count + 99:
                value = await next_value(two.receiver)
                told.append(value[0] if isinstance(value, list) else value)
            # What else the program sends, such as its log, may be refused as well.
            dropped = sum(map(int, re.findall(r"Signals go to the site again; (\d+) were dropped", caplog.text)))
            assert counted(told).count(-1) == dropped
            assert [one for one in counted(told) if one != -1] == sorted(set(range(count + 100)) & set(told))
            assert "Is its disk full?" in caplog.text


# -- 66


async def test_fault_66_site_whose_server_starts_later_is_joined_without_a_gap(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    async with pair(server.port) as two:
        await two.horn.blow_many(0, 5)  # waits in its program
        with server:
            await make_stream(server.port)
            for context in (two.lab, two.desk):
                await engine_of(context).client.up.wait()
            await two.subscribe(since=60)
            await two.horn.blow(5)
            assert await two.next(6) == [0, 1, 2, 3, 4, 5]


async def test_fault_66_site_that_is_required_and_not_there_keeps_the_context_from_starting(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    before = set(threading.enumerate())
    context = Context("lab", at_site("lab", server.port, site={"required": True}, connect_timeout=0.05))
    with pytest.raises(QMI_ConnectionException, match=r"site\.required.*cannot be reached"):
        async with context.running():
            pass
    assert len(set(threading.enumerate()) - before) < 20


# -- 39


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, 400 * 86400.0])
async def test_fault_39_clocks_that_jump_cost_no_signal_at_a_site(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NatsServer(tmp_path) as server:
        await make_stream(server.port)
        async with pair(server.port) as two:
            await two.subscribe()
            await two.horn.blow_many(0, 5)
            assert await engine_of(two.lab).client.drain(10)
            clock = time.time
            monkeypatch.setattr(time, "time", lambda: clock() + jump)
            await two.horn.blow_many(5, 10)
            assert await numbers(two.receiver, 9) == list(range(10))
            late, last = QMI_SignalReceiver(report_gaps=True), QMI_SignalReceiver(report_gaps=True)
            await two.desk.subscribe_signal("lab", "horn", "sig", late, since=60)
            await two.desk.subscribe_signal("lab", "horn", "sig", last, last=True)
            await two.horn.blow(10)
            assert await numbers(late, 10) == list(range(11))
            assert await numbers(last, 10) == [9, 10]


# -- 68


@pytest.mark.slow
async def test_fault_68_subscribers_of_a_server_that_is_killed_move_to_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    servers = cluster(tmp_path)
    try:
        for server in servers:
            server.begin()
        for server in servers:
            server.wait_ready()
        ports = [server.port for server in servers]
        await make_stream(ports[0], patience=60, num_replicas=3, max_msgs_per_subject=KEPT)
        lab, desk = Context("lab", at_site("lab", *ports)), Context("desk", at_site("", *ports))
        async with lab.running(), desk.running():
            horn = await lab.make_instrument("horn", Horn)
            receiver = QMI_SignalReceiver(report_gaps=True, max_queue_length=KEPT)
            await desk.subscribe_signal("lab", "horn", "sig", receiver)
            info = engine_of(desk).client.info
            assert info is not None
            (its,) = [server for server in servers if server.port == info.plain["port"]]
            await horn.blow_many(0, 200)
            its.kill()
            await horn.blow_many(200, 400)
            await until(lambda: engine_of(desk).client.is_up and engine_of(lab).client.is_up, 30.0)
            await horn.blow_many(400, 600)
            told = await numbers(receiver, 599)
            assert counted(told) == list(range(600))
            assert said(told) == ["lost", "resumed"]
    finally:
        for server in servers:
            server.kill()
