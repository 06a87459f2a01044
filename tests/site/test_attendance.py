"""Who comes to a site, who goes, and who is there, by its real server."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from qmi.config.loader import completed, load_config
from qmi.proc.site_status import asker
from qmi.site.attendance import Attendance
from qmi.site.blocking import conversation
from qmi.site.here import machine, own_hosts
from qmi.site.server_config import SERVER_NAME
from tests.support.site_lab import make_certificates, site, write_site
from tests.support.site_member import member, member_process


class Heard:
    """What an attendance tells: ``here`` and ``gone``, and when."""

    def __init__(self, attendance: Attendance) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[str, str, float]](100)
        attendance.on_here.append(lambda name, incarnation: self._send.send_nowait(("here", name, time.monotonic())))
        attendance.on_gone.append(lambda name, incarnation: self._send.send_nowait(("gone", name, time.monotonic())))

    async def next(self) -> tuple[str, str, float]:
        """What is told next."""
        return await self._receive.receive()


def test_wildcards_are_told_as_addresses() -> None:
    assert own_hosts(["127.0.0.1", "10.0.0.5"], "10.9.9.9") == ("127.0.0.1", "10.0.0.5")
    assert own_hosts([], "10.9.9.9") == ()
    for wildcard in ("0.0.0.0", "::"):
        hosts = own_hosts([wildcard], "10.9.9.9")
        assert hosts[:2] == ("10.9.9.9", "127.0.0.1")
        assert wildcard not in hosts


def test_this_machine_is_always_the_same_text() -> None:
    assert machine() == machine()
    assert machine().isprintable()
    assert " " not in machine()


@pytest.mark.slow
async def test_context_that_is_killed_is_gone_within_a_second(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    with site(path):
        async with member(path, "lab") as (attendance, _):
            heard = Heard(attendance)
            with member_process(path, "srv") as process:
                assert (await heard.next())[:2] == ("here", "srv")
                began = time.monotonic()
                process.kill()
                what, name, when = await heard.next()
            assert (what, name) == ("gone", "srv")
            assert when - began < 1.0
            assert [found.context for found in await attendance.who()] == ["lab"]


@pytest.mark.slow
async def test_context_that_is_frozen_is_gone_in_the_time_that_links_take(tmp_path: Path) -> None:
    path = write_site(tmp_path, limits={"peer_timeout": 3.0})
    with site(path), member_process(path, "srv") as process:
        async with member(path, "lab") as (attendance, _):
            heard = Heard(attendance)
            began = time.monotonic()
            os.kill(process.pid, signal.SIGSTOP)
            what, name, when = await heard.next()
            assert (what, name) == ("gone", "srv")
            assert when - began < 3.0 + 0.5
            os.kill(process.pid, signal.SIGCONT)
            assert (await heard.next())[:2] == ("here", "srv")


async def test_contexts_are_there_with_their_objects_since_they_started(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    with site(path):
        async with member(path, "lab") as (attendance, _), member(path, "srv") as (_, other):
            other.objects.append(("cam", "Camera"))
            while True:
                found = {present.context: present for present in await attendance.who()}
                if found["srv"].said is not None and found["lab"].said is not None:
                    break
            assert found["srv"].since == other.started
            assert found["srv"].incarnation == other.origin.incarnation
            assert found["srv"].objects[0] == ("psu", "Psu")
            (answer,) = await attendance.answers("*")
            assert (answer.name, answer.host, answer.port, answer.pid) == ("srv", "127.0.0.1", 40001, os.getpid())
            assert await attendance.answers("x*") == []


async def test_objects_that_are_made_later_are_told(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    with site(path):
        async with member(path, "lab") as (attendance, own):
            own.objects.append(("cam", "Camera"))
            attendance.objects_changed()
            while True:
                (found,) = await attendance.who()
                if len(found.objects) == 2:
                    break
            assert found.objects == (("psu", "Psu"), ("cam", "Camera"))


@pytest.mark.slow
async def test_name_that_the_certificate_does_not_prove_is_not_there(tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "lab", "srv", "*")
    path = write_site(tmp_path, tls=True, contexts={"lab": {}, "srv": {}})
    with site(path):
        async with member(path, "lab") as (attendance, _):
            heard = Heard(attendance)
            bob = member(path, "bob", "srv", refused=True)
            async with member(path, "alice", "any"), bob, member(path, "srv"):
                assert {(await heard.next())[1] for _ in range(2)} == {"alice", "srv"}
                assert [found.context for found in await attendance.who()] == ["alice", "lab", "srv"]


@pytest.mark.slow
async def test_everybody_is_listed_by_each_of_three_servers(tmp_path: Path) -> None:
    path = write_site(tmp_path, servers=3)
    config = load_config(path)
    with site(path) as servers:
        async with member(path, "lab") as (attendance, _), member(path, "b"), member(path, "c"), member(path, "d"):
            assert [found.context for found in await attendance.who()] == ["b", "c", "d", "lab"]
            for server in servers:
                with conversation(config, completed(config, "x").security, server.address, "x", timeout=10.0) as talk:
                    assert [found.context for found in talk.who_is_there(config)] == ["b", "c", "d", "lab"]


async def test_command_asks_who_is_there_without_an_event_loop(tmp_path: Path) -> None:
    path = write_site(tmp_path)
    config = load_config(path)
    with site(path) as (server,):
        async with member(path, "lab"), member(path, "srv"):
            name, security = asker(config)

            def ask() -> list[str]:
                with conversation(config, security, server.address, name, timeout=10.0) as talk:
                    return [found.context for found in talk.who_is_there(config, "s*")]

            assert await trio.to_thread.run_sync(ask) == ["srv"]
