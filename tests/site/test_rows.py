"""Runs of another computer that are followed at a site: contexts of this process, and the real server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import trio

import qmi
import qmi.data
from qmi.actors.context_status import ContextStatus
from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.data import follow_link, run_service
from qmi.data.run_service import RunService
from qmi.proc.site_status import how_they_are
from qmi.site.health import Health
from qmi.site.rows import Rows
from qmi.site.server_config import SERVER_NAME
from qmi.site.subjects import rows_subject
from qmi.site.tail import Tail
from tests.support.cli import write_lab
from tests.support.followed import recorder
from tests.support.nats_server import NatsServer
from tests.support.site_lab import files_of, make_certificates, site, write_site
from tests.support.waiting import wait_until

COLUMNS = {"x": "V", "text": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running_server:
        yield running_server


@pytest.fixture
def path(server: NatsServer, tmp_path: Path) -> Path:
    """A configuration with a site."""
    made = write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": 0}, here={})
    content = json.loads(made.read_text())
    content["site"] = {"servers": [f"nats://127.0.0.1:{server.port}"]}
    made.write_text(json.dumps(content))
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of the context lab are; those of this program are elsewhere."""
    monkeypatch.setenv("QMI_HOME", str(tmp_path))
    monkeypatch.setattr("qmi.data.run_log._FOLDERS", {})
    monkeypatch.setattr(run_service, "folder_of", lambda config, name: tmp_path / "lab")
    return tmp_path / "lab"


@pytest.fixture
def lab(path: Path, folder: Path) -> Iterator[QMI_Context]:
    """A context of another program, as it were; this program has the default context "here"."""
    with QMI_Context("lab", load_config(str(path))) as lab, qmi.start("here", str(path), init_logging=False):
        connect(lab)
        yield lab


def connect(lab: QMI_Context) -> None:
    qmi.context().connect_to_peer("lab", f"127.0.0.1:{lab.get_tcp_server_port()}", reconnect=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `$runs` was asked for since the list was cleared."""
    found: list[str] = []
    for name in ("_begin_read", "_begin_publish_rows"):
        original = getattr(RunService, name)

        def noted(self: RunService, *arguments: Any, name: str = name, original: Any = original) -> Any:
            found.append(name.removeprefix("_begin_"))
            return original(self, *arguments)

        monkeypatch.setattr(RunService, name, noted)
    return found


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of logs were published with each message that has some."""
    found: list[int] = []
    publish = Rows.publish

    def noted(self: Rows, run: str, offset: int, data: bytes) -> None:
        if data:
            found.append(len(data))
        publish(self, run, offset, data)

    monkeypatch.setattr(Rows, "publish", noted)
    return found


def add(run: qmi.data.Run, count: int) -> None:
    for _ in range(count):
        run.add(x=float(run.rows), text=None if run.rows % 2 else f"n{run.rows}")


def numbers(rows: list[qmi.data.Row]) -> list[int]:
    return [row.number for row in rows]


def take(follower: qmi.data.Follower, count: int) -> list[int]:
    """The numbers of the next rows."""
    found: list[int] = []
    while len(found) < count:
        rows = numbers(follower.read(timeout=30))
        assert rows
        found += rows
    return found


def end(run: qmi.data.Run) -> None:
    run.__exit__(None, None, None)


def rows_of(context: QMI_Context) -> Rows:
    rows = context.async_context.at_site.rows
    assert rows is not None
    return rows


def hear(follower: qmi.data.Follower) -> None:
    """Have it follow by the site, and read all that there is."""
    follower.read(timeout=0.05)
    wait_until(lambda: follower.read(timeout=0.05) == [] and bool(rows_of(qmi.context())._followed))


@pytest.mark.slow
def test_rows_come_by_the_site_once_what_was_before_is_read(
    lab: QMI_Context, folder: Path, asked: list[str], sent: list[int]
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 3)
        with qmi.data.follow("cooldown", context="lab") as follower:
            assert take(follower, 3) == [0, 1, 2]
            hear(follower)
            asked.clear()
            for number in range(3, 8):
                add(run, 1)
                assert take(follower, 1) == [number]
            assert (asked, len(sent)) == ([], 5)
            end(run)
            assert (follower.read(), follower.state) == ([], "done")
    wait_until(lambda: not rows_of(qmi.context())._followed and not rows_of(lab)._published)


async def test_trio_program_follows_a_run_at_a_site(path: Path, folder: Path) -> None:
    async with (
        qmi.open_context("lab", None, init_logging=False, config=load_config(str(path))) as lab,
        qmi.open_context("here", None, init_logging=False, config=load_config(str(path))) as here,
    ):
        await here.connect_to_peer("lab", f"127.0.0.1:{lab.connections.port}")
        async with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
            add(run, 2)
            async with qmi.data.follow("cooldown", context="lab") as follower:
                assert numbers(await follower.read_async()) == [0, 1]
                assert numbers(await follower.read_async(timeout=0.05)) == []
                assert here.at_site.rows is not None
                assert len(here.at_site.rows._followed) == 1
                add(run, 1)
                assert numbers(await follower.read_async()) == [2]
                await run.__aexit__(None, None, None)
                assert ([row async for row in follower], follower.state) == ([], "done")


@pytest.mark.slow
@pytest.mark.parametrize("followers", [1, 3])
def test_publisher_publishes_once_however_many_follow(
    followers: int, lab: QMI_Context, folder: Path, sent: list[int], asked: list[str]
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        all_of_them = [qmi.data.follow("cooldown", context="lab") for _ in range(followers)]
        for follower in all_of_them:
            assert take(follower, 1) == [0]
            hear(follower)
        asked.clear()
        sent.clear()
        add(run, 1)
        assert [take(follower, 1) for follower in all_of_them] == [[1]] * followers
        assert (len(sent), asked) == (1, [])
        end(run)
        assert [list(follower) for follower in all_of_them] == [[]] * followers


def test_follower_that_joins_late_gets_all_rows_once(lab: QMI_Context, folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 500)
        first, found, late = qmi.data.follow("cooldown", context="lab"), [], []
        found += take(first, 1)
        second = qmi.data.follow("cooldown", context="lab", first=490)
        for _ in range(20):
            add(run, 25)
            found += take(first, 1)
            late += take(second, 1)
        end(run)
        found += numbers(list(first))
        late += numbers(list(second))
    assert found == list(range(1000))
    assert late == list(range(490, 1000))


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_lost_on_the_way_is_asked_for(
    more: int, lab: QMI_Context, folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_service, "_SIGN_OF_LIFE", 0.2)
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 1) == [0]
        hear(follower)
        asked.clear()
        rows, lost = rows_of(lab), list[int]()
        with monkeypatch.context() as patch:
            patch.setattr(rows, "publish", lambda run, offset, data: lost.append(len(data)))
            add(run, 2)
            wait_until(lambda: any(lost))
        add(run, more)  # else the next sign of life tells
        assert take(follower, 2 + more) == [1, 2, 3][: 2 + more]
        assert asked[:1] == ["read"]
        end(run)
        assert list(follower) == []


def test_rows_larger_than_a_message_come_in_parts(lab: QMI_Context, folder: Path, sent: list[int]) -> None:
    with qmi.data.run("traces", {"trace": "V"}, folder=folder) as run:
        run.add(trace=numpy.zeros(200_000))
        follower = qmi.data.follow("traces", context="lab")
        assert take(follower, 1) == [0]
        hear(follower)
        for number in (1, 2):
            run.add(trace=numpy.full(200_000, float(number)))
            (row,) = follower.read(timeout=30)
            assert (row.number, set(row.trace)) == (number, {float(number)})
        assert max(sent) <= rows_of(lab).most < sum(sent)
        end(run)


@pytest.mark.slow
def test_server_that_is_killed_and_back_leaves_no_hole(
    server: NatsServer, lab: QMI_Context, folder: Path, asked: list[str]
) -> None:
    here, found = qmi.context(), list[int]()
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 2)
        follower = qmi.data.follow("cooldown", context="lab")
        found += take(follower, 2)
        hear(follower)
        asked.clear()
        server.kill()
        try:
            wait_until(lambda: not rows_of(here).is_up and not rows_of(lab).is_up)
            add(run, 2)
            found += take(follower, 2)
            assert asked[0] == "read"
        finally:
            server.start()
        wait_until(lambda: rows_of(here).is_up and rows_of(lab).is_up)
        add(run, 1)
        found += take(follower, 1)
        hear(follower)
        asked.clear()
        add(run, 3)
        found += take(follower, 3)
        assert asked == []
        end(run)
        assert list(follower) == []
    assert found == list(range(8))


@pytest.mark.slow
def test_run_of_a_program_that_is_killed_is_told_as_interrupted(lab: QMI_Context, folder: Path) -> None:
    with recorder(folder) as other:
        other.add(2)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 2) == [0, 1]
        hear(follower)
        other.add(1)
        assert take(follower, 1) == [2]
        other.kill()
        assert (list(follower), follower.state) == ([], "interrupted")


def test_context_that_is_gone_is_asked_by_the_link_which_tells(
    lab: QMI_Context, folder: Path, asked: list[str]
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 1) == [0]
        hear(follower)
        asked.clear()
        here = qmi.context().async_context
        here.loop.soon(rows_of(qmi.context()).context_gone, "other")
        here.loop.soon(rows_of(qmi.context()).context_gone, "lab")
        wait_until(lambda: follower.read(timeout=0.05) == [] and asked != [])
        assert asked[0] == "read"
        end(run)
        assert list(follower) == []


@pytest.mark.slow
def test_silence_is_asked_for(
    lab: QMI_Context, folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 1) == [0]
        monkeypatch.setattr(follow_link, "_SILENCE", 0.05)
        hear(follower)
        asked.clear()
        monkeypatch.setattr(rows_of(lab), "publish", lambda run, offset, data: None)
        wait_until(lambda: follower.read(timeout=0.2) == [] and asked != [])
        add(run, 1)
        assert take(follower, 1) == [1]
        end(run)
        assert list(follower) == []


@pytest.mark.slow
def test_run_that_nobody_follows_any_more_is_not_published(
    lab: QMI_Context, folder: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_service, "_SIGN_OF_LIFE", 0.02)
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 1) == [0]
        hear(follower)
        assert len(rows_of(lab)._published) == 1
        follower.close()
        wait_until(lambda: not rows_of(lab)._published)
        sent.clear()
        again = qmi.data.follow("cooldown", context="lab")
        add(run, 1)
        assert take(again, 2) == [0, 1]
        hear(again)
        add(run, 1)
        assert take(again, 1) == [2]
        assert sent
        end(run)
        assert list(again) == []


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
async def test_everything_of_rows_and_health_is_permitted(
    tls: bool,
    tmp_path: Path,
    folder: Path,
    asked: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    said, say = trio.Event(), Health._say

    async def tell(self: Health, status: ContextStatus) -> bool:
        done = await say(self, status)
        if done and status.name == "srv":
            said.set()
        return done

    monkeypatch.setattr(Health, "_say", tell)
    make_certificates(tmp_path, SERVER_NAME, "srv", "desk")
    path = write_site(tmp_path, tls=tls, contexts={"srv": {"host": "127.0.0.1", "tcp_server_port": 0}, "desk": {}})
    with site(path):
        configs = {name: load_config(path) for name in ("srv", "desk")}
        for name, loaded in configs.items():
            loaded.security = files_of(tmp_path, name) if tls else loaded.security
        async with (
            qmi.open_context("srv", None, init_logging=False, config=configs["srv"]) as srv,
            qmi.open_context("desk", None, init_logging=False, config=configs["desk"]) as desk,
        ):
            await desk.connect_to_peer("srv", f"127.0.0.1:{srv.connections.port}")
            async with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
                add(run, 1)
                async with qmi.data.follow("cooldown", context="srv") as follower:
                    assert numbers(await follower.read_async()) == [0]
                    assert numbers(await follower.read_async(timeout=0.1)) == []
                    asked.clear()
                    add(run, 1)
                    assert numbers(await follower.read_async(timeout=30)) == [1]
                    assert asked == []
            await said.wait()
            told = await trio.to_thread.run_sync(partial(how_they_are, load_config(path), ["srv"], timeout=10))
            assert told[srv.origin.incarnation].name == "srv"
    assert "Permissions" not in caplog.text


@pytest.mark.parametrize("absent", ["lab", "here"])
def test_rows_come_by_the_link_if_one_of_both_is_not_at_the_site(
    absent: str, path: Path, folder: Path, tmp_path: Path, asked: list[str]
) -> None:
    content = json.loads(path.read_text())
    del content["site"]
    without = tmp_path / "without.conf"
    without.write_text(json.dumps(content))
    paths = {name: str(without if name == absent else path) for name in ("lab", "here")}
    with QMI_Context("lab", load_config(paths["lab"])) as lab, qmi.start("here", paths["here"], init_logging=False):
        connect(lab)
        with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
            add(run, 1)
            follower = qmi.data.follow("cooldown", context="lab")
            assert take(follower, 1) == [0]
            add(run, 1)
            assert take(follower, 1) == [1]
            end(run)
            assert (list(follower), follower.state) == ([], "done")
    assert asked.count("publish_rows") == (absent == "lab")


def test_answer_that_somebody_had_sent_among_the_rows_is_ignored(lab: QMI_Context, folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert take(follower, 1) == [0]
        hear(follower)
        client = rows_of(lab)._client
        subject = rows_subject("cli", "lab", run.run_id).encode()
        client.publish(subject, b'{"type":"an answer of the server"}')
        (tail,) = rows_of(qmi.context())._followed
        assert isinstance(tail, Tail)
        add(run, 1)
        assert take(follower, 1) == [1]
        assert not tail.is_disturbed
        end(run)
        assert list(follower) == []
