"""How contexts are, in short, as the site tells: rules, contexts of this process, and the real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qmi.actors.context_status import ContextStatus, LockStatus, LogTotals, ObjectStatus, SignalStatus, TaskStatus
from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.core.context import QMI_Context
from qmi.proc.site_status import how_they_are
from qmi.site import health
from qmi.site.health import in_short, read_health, write_health
from qmi.tools.cli import overview
from tests.support.cli import Cli
from tests.support.shell_driver import ShellSupply
from tests.support.site_lab import site, write_site
from tests.support.site_signals import engine_of
from tests.support.waiting import until, wait_until

TASK = TaskStatus(
    state="failed", reason="x" * 500, retry_in=3.0, where="a.py:3", period=0.1, iterations=700, missed=2,
    lateness_median=0.00123, lateness_p99=0.0456, lateness_worst=7.89, lateness=((0.1, 4),),
)  # fmt: skip
PSU = ObjectStatus(
    "psu", "instrument", "lab.Psu", "open", lock=LockStatus("desk", "", 5.0, "night run"), queue=3, calls=700,
    signals=(SignalStatus("sig", 9),),
)  # fmt: skip
STATUS = ContextStatus(
    "srv", "1.0", "a" * 16, "pc7", 4711, started=5.0, now=9.0, objects=(PSU, ObjectStatus("loop", "task", task=TASK)),
    failures={"link": 3}, log=LogTotals(2, 1),
)  # fmt: skip


def test_health_has_state_locks_and_lateness_and_nothing_that_changes_all_the_time() -> None:
    short = in_short(STATUS)
    assert short == in_short(short)
    psu, loop = short.objects
    assert (psu.state, psu.lock, psu.queue, psu.calls, psu.signals) == ("open", PSU.lock, 0, 0, ())
    assert loop.task is not None
    assert (loop.task.state, len(loop.task.reason), loop.task.missed) == ("failed", 200, 2)
    assert (loop.task.lateness_median, loop.task.lateness_p99, loop.task.lateness_worst) == (0.001, 0.05, 8.0)
    assert (loop.task.retry_in, loop.task.where, loop.task.lateness) == (-1.0, "", ())
    assert (short.host, short.log, short.failures) == ("pc7", LogTotals(2, 1), {})


def test_health_travels() -> None:
    short = in_short(STATUS)
    assert read_health("srv", write_health(short)) == short


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"3", b"{}", b'{"name": "srv"}', b"[" * 100_000, b'{"error": {"code": 503}}']
)
def test_other_bytes_are_no_health(data: bytes) -> None:
    assert read_health("srv", data) is None


def test_health_of_somebody_else_is_none() -> None:
    assert read_health("other", write_health(in_short(STATUS))) is None


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a site that runs."""
    made = write_site(tmp_path, contexts={"srv": {"host": "127.0.0.1", "tcp_server_port": 0}})
    with site(made):
        yield made


def told(path: Path, context: Any) -> ContextStatus:
    """What the site tells of a context, as soon as it does."""
    found: dict[str, ContextStatus] = {}

    def is_told() -> bool:
        found.update(how_they_are(load_config(path), ["srv", "nobody"], timeout=10))
        return context.origin.incarnation in found

    wait_until(is_told)
    return found[context.origin.incarnation]


def test_site_tells_how_a_context_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY", 0.02)
    with QMI_Context("srv", load_config(path)) as srv:
        psu = srv.make_instrument("psu", ShellSupply)
        core = srv.async_context
        wait_until(lambda: [entry.state for entry in told(path, core).objects] == ["closed"])
        psu.open()
        wait_until(lambda: [entry.state for entry in told(path, core).objects] == ["open"])
        psu.lock()
        wait_until(lambda: told(path, core).objects[0].lock is not None)
        status = told(path, core)
        assert (status.name, status.pid, status.stopping) == ("srv", core.status_here().pid, False)
        assert status.objects[0].lock == core.status_here().objects[0].lock
        psu.unlock()
        psu.close()


async def test_health_is_said_once_as_long_as_nothing_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY", 0.0)
    looked, said = 0, 0
    in_short, say = health.in_short, health.Health._say

    def look(status: ContextStatus) -> ContextStatus:
        nonlocal looked
        looked += 1
        return replace(in_short(status), log=LogTotals(), objects=())

    async def count(self: health.Health, status: ContextStatus) -> bool:
        nonlocal said
        done = await say(self, status)
        said += done
        return done

    monkeypatch.setattr(health, "in_short", look)
    monkeypatch.setattr(health.Health, "_say", count)
    async with Context("srv", load_config(path)).running() as srv:
        await until(lambda: looked >= 50)
        assert said == 1
        client = engine_of(srv).client
        client._hang_up("it is cut off by a test")
        await until(lambda: said == 2)  # another server may know nothing of it


@pytest.mark.slow
def test_many_contexts_are_not_asked_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY", 0.02)
    cli = Cli(path, capsys)
    with QMI_Context("srv", load_config(path)) as srv:
        psu = srv.make_instrument("psu", ShellSupply)
        core = srv.async_context
        wait_until(lambda: [entry.name for entry in told(path, core).objects] == ["psu"])
        (asked,) = cli("ls", "--json").json
        assert asked["round_trip"] is not None
        monkeypatch.setattr(overview, "MANY", 1)
        (seen,) = cli("ls", "--json").json
        assert (seen["name"], seen["state"], seen["objects"], seen["round_trip"]) == ("srv", "running", 1, None)
        assert {key: seen[key] for key in ("pid", "host", "version")} == {
            key: asked[key] for key in ("pid", "host", "version")
        }
        assert re.search(r"^srv +running", cli("ls").out, re.MULTILINE)
        (named,) = cli("ls", "srv", "--json").json
        assert named["round_trip"] is not None
        assert json.dumps(named["status"]["links"])
        psu.close() if psu.is_open() else None
