"""Logs at a site: contexts of this process, other programs, and the real server."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from qmi.actors.log_records import LogBatch
from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.contexts.site_logs import read_log, read_site_log
from qmi.errors import QMI_NotDeliveredException
from qmi.runtime.log_ring import LogRing
from qmi.site import logs
from qmi.site.client import SiteClient
from qmi.site.logs import LogPublishing
from qmi.site.server_config import SERVER_NAME
from qmi.site.subjects import log_subject
from qmi.web import topics
from qmi.web.site import Site
from tests.support.cli import Cli
from tests.support.followed_logs import Followed
from tests.support.site_lab import files_of, kill, make_certificates, site, write_site
from tests.support.site_signals import cut_off, engine_of
from tests.support.waiting import until

CONTEXTS: dict[str, object] = {"srv": {"host": "127.0.0.1", "tcp_server_port": 0}, "desk": {}}
PROGRAM = """
import logging, sys, qmi
qmi.start("srv", sys.argv[1])
log = logging.getLogger("qmi.lab")
print("ready", flush=True)
for line in sys.stdin:
    log.warning(line.strip())
    print("logged", flush=True)
"""


class Program:
    """A program that logs what it is told."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer("ready")

    def _answer(self, expected: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{expected}\n"

    def log(self, *texts: str) -> None:
        """Have it log texts."""
        assert self.process.stdin is not None
        for text in texts:
            self.process.stdin.write(f"{text}\n")
            self.process.stdin.flush()
            self._answer("logged")

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a site that runs."""
    made = write_site(tmp_path, contexts=CONTEXTS)
    with site(made):
        yield made


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> LogRing:
    """What the contexts of this process publish."""
    ring = LogRing(records=50)
    ring.feeders = 1
    monkeypatch.setattr(LogPublishing.__init__, "__kwdefaults__", {"ring": ring})
    return ring


def log(ring: LogRing, *texts: str, level: int = logging.INFO) -> None:
    for text in texts:
        ring.add(logging.makeLogRecord({"levelno": level, "name": "lab.laser", "created": 1.0}), text, "srv")


@asynccontextmanager
async def two(path: Path) -> AsyncIterator[tuple[Context, Context]]:
    """A context that logs, and one that reads."""
    srv, desk = (Context(name, load_config(path)) for name in ("srv", "desk"))
    async with srv.running(), desk.running():
        yield srv, desk


class Reader:
    """Reads the log of srv at the site, on and on."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.after: int | None = 0
        self.run = ""
        self.lost = 0

    async def read(self, wait: float = 20.0, **request: Any) -> LogBatch:
        """What comes next."""
        with trio.fail_after(30):
            batch = await read_site_log(self.context, "srv", after=self.after, wait=wait, run=self.run, **request)
        assert batch is not None
        self.after, self.run, self.lost = batch.last, batch.run, self.lost + batch.lost
        return batch

    async def until(self, text: str) -> list[str]:
        """The texts that come, up to one."""
        found: list[str] = []
        while text not in found:
            found += [record.message for record in (await self.read()).records]
        return found


async def known(context: Context) -> None:
    """Wait until the site knows of the log of srv."""
    if await read_site_log(context, "srv") is None:
        assert context.at_site.logs is not None
        log = context.at_site.logs._followed["srv"].log
        await until(lambda: log.is_known)


async def test_log_comes_by_the_site(path: Path, ring: LogRing) -> None:
    async with two(path) as (srv, desk):
        log(ring, "before")
        await known(desk)
        reader = Reader(desk)
        assert await reader.until("before") == ["before"]
        log(ring, "one", "two")
        assert await reader.until("two") == ["one", "two"]
        log(ring, "three", level=logging.DEBUG)
        log(ring, "four", level=logging.ERROR)
        found = await reader.read(level="ERROR")
        assert [record.message for record in found.records] == ["four"]
        assert desk.connections.names() == []
        assert (reader.lost, srv.connections.names()) == (0, [])


async def test_late_reader_gets_what_servers_have_kept(path: Path, ring: LogRing) -> None:
    async with two(path) as (_, desk):
        for number in range(200):  # more than the program itself keeps
            log(ring, str(number))
            if number % 40 == 39:
                await known(desk)
                early = Reader(desk)
                await early.until(str(number))
        late = Context("desk", load_config(path))
        async with late.running():
            reader = Reader(late)
            assert await reader.until("199") == [str(number) for number in range(200)]
            assert reader.lost == 0
            newest = await read_site_log(late, "srv", limit=3)
            assert newest is not None
            assert [record.message for record in newest.records] == ["197", "198", "199"]


async def test_what_found_no_room_while_there_was_no_server_is_counted(path: Path, ring: LogRing) -> None:
    async with two(path) as (srv, desk):
        log(ring, "before")
        await known(desk)
        reader = Reader(desk)
        await reader.until("before")
        async with cut_off(srv):
            log(ring, *map(str, range(70)))
            with pytest.raises(QMI_NotDeliveredException, match="'srv' is not at the site"):
                await reader.read()
        assert desk.at_site.logs is not None
        followed = desk.at_site.logs._followed["srv"].log
        await until(lambda: not followed.fault)
        assert await reader.until("69") == [str(number) for number in range(20, 70)]
        assert reader.lost == 20


async def test_reader_that_was_cut_off_misses_nothing(path: Path, ring: LogRing) -> None:
    async with two(path) as (srv, desk):
        log(ring, "before")
        await known(desk)
        reader, second = Reader(desk), Reader(srv)
        await reader.until("before")
        async with cut_off(desk):
            with pytest.raises(QMI_NotDeliveredException, match="the site cannot be reached"):
                await reader.read()
            log(ring, *"abc")
            assert await read_site_log(srv, "srv") is None  # its own log needs no site
            assert second.lost == 0
        assert await reader.until("c") == ["a", "b", "c"]


async def test_part_that_is_lost_on_the_way_is_read(path: Path, ring: LogRing, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two(path) as (_, desk):
        log(ring, "before")
        await known(desk)
        reader = Reader(desk)
        await reader.until("before")
        heard = trio.Event()

        def deaf(data: bytes) -> None:
            heard.set()

        with monkeypatch.context() as patch:
            patch.setattr("qmi.site.logs.read_piece", deaf)
            log(ring, "lost")
            await heard.wait()
        log(ring, "after")
        assert await reader.until("after") == ["lost", "after"]
        assert reader.lost == 0


async def test_log_that_nobody_keeps_comes_all_the_same(
    path: Path, ring: LogRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_KEPT_TIME", 0.05)
    request = SiteClient.request

    async def unkept(client: SiteClient, subject: str, payload: bytes = b"", *, timeout: float = 5.0) -> Any:
        if subject == log_subject("lab1", "srv"):
            client.publish(subject.encode(), payload)
            raise QMI_NotDeliveredException("nobody answers")
        return await request(client, subject, payload, timeout=timeout)

    monkeypatch.setattr(SiteClient, "request", unkept)
    async with two(path) as (_, desk):
        log(ring, "before")
        await known(desk)
        reader = Reader(desk)
        assert await reader.until("before") == ["before"]
        log(ring, "one")
        assert await reader.until("one") == ["one"]


async def test_record_larger_than_a_message_is_counted_as_lost(
    path: Path, ring: LogRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(path) as (srv, desk):
        log(ring, "before")
        await known(desk)
        reader = Reader(desk)
        await reader.until("before")
        client = engine_of(srv).client
        monkeypatch.setattr(client, "max_payload", 1000)
        log(ring, "x" * 2000, "after")
        assert await reader.until("after") == ["after"]
        assert reader.lost == 1


@pytest.mark.slow
async def test_follower_of_a_context_that_logs_everything_hears_nothing_of_itself(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = LogRing()

    class Feeder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ring.add(record, record.getMessage(), "srv")

    handler = Feeder()
    logging.getLogger().addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG), pytest.MonkeyPatch.context() as patch:
            patch.setattr(LogPublishing.__init__, "__kwdefaults__", {"ring": ring})
            async with two(path) as (_, desk):
                ring.add(logging.makeLogRecord({"levelno": 20, "name": "lab"}), "first", "srv")
                await known(desk)
                reader = Reader(desk)
                await reader.until("first")
                logging.getLogger("lab").debug("once")
                await reader.until("once")
                assert (await reader.read(wait=0.5)).records == ()
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.slow
async def test_log_of_a_program_that_was_killed_and_started_again_goes_on(path: Path) -> None:
    async with Context("desk", load_config(path)).running() as desk:
        program = await trio.to_thread.run_sync(Program, path)
        try:
            program.log("hello", "there")
            await known(desk)
            reader = Reader(desk)
            assert (await reader.until("there"))[-2:] == ["hello", "there"]
            first = reader.run
        finally:
            program.kill()
        with trio.fail_after(2), pytest.raises(QMI_NotDeliveredException, match="context 'srv' is not at the site"):
            await reader.read()
        program = await trio.to_thread.run_sync(Program, path)
        try:
            program.log("again")
            assert (await reader.until("again"))[-1] == "again"
            assert reader.run != first
        finally:
            program.kill()


@pytest.mark.slow
def test_command_shows_the_log_of_a_program_that_was_killed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(path, capsys)
    program = Program(path)
    try:
        program.log("hello", "there")
        followed = Followed(cli_laboratory(path), "srv")
        followed.until("there")
        program.log("more")
        followed.until("more")
    finally:
        program.kill()
    followed.until("goes on when it is connected again: context 'srv' is not at the site")
    followed.over.set()
    followed.thread.join(30)
    followed.follower._lab.close()
    printed = cli("log", "srv", "-n", "2")
    assert ([line.split(" | ")[-1] for line in printed.out.splitlines()], printed.code) == (["there", "more"], 0)
    assert "was not found" in printed.err
    assert "These records are what the site has kept" in printed.err


def cli_laboratory(path: Path) -> Any:
    from qmi.tools.cli.session import Laboratory

    return Laboratory(load_config(path))


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
async def test_everything_of_a_log_is_permitted(
    tls: bool, tmp_path: Path, ring: LogRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    make_certificates(tmp_path, SERVER_NAME, "srv", "desk")
    path = write_site(tmp_path, tls=tls, contexts=CONTEXTS)
    with site(path):
        configs = {name: load_config(path) for name in ("srv", "desk")}
        for name, loaded in configs.items():
            loaded.security = files_of(tmp_path, name) if tls else loaded.security
        srv, desk = (Context(name, loaded) for name, loaded in configs.items())
        async with srv.running(), desk.running():
            log(ring, "one")
            await known(desk)
            reader = Reader(desk)
            await reader.until("one")
            async with cut_off(desk):
                log(ring, "two")
            assert await reader.until("two") == ["two"]
    assert "Permissions" not in caplog.text


@pytest.mark.slow
async def test_log_goes_on_with_the_other_servers(tmp_path: Path, ring: LogRing) -> None:
    path = write_site(tmp_path, servers=3, contexts=CONTEXTS)
    with site(path) as servers:
        async with two(path) as (srv, desk):
            log(ring, "before")
            await known(desk)
            reader = Reader(desk)
            await reader.until("before")
            info = engine_of(srv).client.info
            assert info is not None
            (used,) = (server for server in servers if str(server.address) == info.plain["server_name"])
            await trio.to_thread.run_sync(kill, used)
            log(ring, "after")
            found = list[str]()
            while "after" not in found:
                try:
                    found += await reader.until("after")
                except QMI_NotDeliveredException:  # the reader was at the same server
                    await engine_of(desk).client.up.wait()
            assert (found, reader.lost) == (["after"], 0)


async def test_context_without_a_log_at_the_site_is_asked_by_its_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Context("srv", load_config(write_site(tmp_path / "other", contexts=CONTEXTS, site={"servers": []})))
    async with Context("desk", load_config(path)).running() as desk, other.running():
        await desk.connect_to_peer("srv", f"127.0.0.1:{other.connections.port}")
        assert (await read_log(desk, "srv")).run
        assert await read_site_log(desk, "srv") is None


async def test_page_of_a_log_needs_no_link(path: Path, ring: LogRing) -> None:
    async with two(path) as (_, desk):
        log(ring, "one")
        await known(desk)
        batch = await topics.read_log(Site(desk), "srv", after=0, limit=200, wait=20.0)
        assert [record.message for record in batch.records] == ["one"]
        assert desk.connections.names() == []


async def test_last_records_are_published_when_a_context_stops(path: Path, ring: LogRing) -> None:
    async with Context("desk", load_config(path)).running() as desk:
        srv = Context("srv", load_config(path))
        async with srv.running():
            log(ring, "begin")
            await known(desk)
            log(ring, "end")
        reader = Reader(desk)
        assert await reader.until("end") == ["begin", "end"]
