"""Following runs of another computer, and finding and loading them there, over links."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cbor2
import pytest
import trio

import qmi
import qmi.data
from qmi.contexts import internal
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_ConnectionException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NotDeliveredException,
    QMI_RecordingException,
    QMI_UnknownNameException,
)
from qmi.data import run_service
from qmi.data.record_format import MAGIC, frame
from qmi.data.run_service import RunService
from tests.support.chaos import ChaosProxy
from tests.support.followed import recorder
from tests.support.lab import address, config, make_context
from tests.support.ports import free_port
from tests.support.waiting import wait_until

COLUMNS = {"x": "V", "text": ""}
HEAD = frame(
    cbor2.dumps(
        {
            "format": "qmi-run-1",
            "run_id": "some",
            "name": "some",
            "columns": COLUMNS,
            "axes": {},
            "coordinates": [],
            "started": 0,
            "metadata": {},
        }
    )
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs of the context lab are; those of this program are elsewhere."""
    monkeypatch.setenv("QMI_HOME", str(tmp_path))
    monkeypatch.setattr("qmi.data.run_log._FOLDERS", {})
    monkeypatch.setattr(run_service, "folder_of", lambda config, name: tmp_path / "lab")
    return tmp_path / "lab"


@pytest.fixture
def lab(folder: Path) -> Iterator[QMI_Context]:
    """A context of another program, as it were; this program has the default context "here"."""
    with make_context("lab") as lab, qmi.start("here", config_file=None, init_logging=False):
        yield lab


@pytest.fixture
def link(lab: QMI_Context) -> Iterator[ChaosProxy]:
    """The way to it, which can be cut."""
    with ChaosProxy(lab.get_tcp_server_port()) as proxy:
        qmi.context().connect_to_peer("lab", proxy.address, reconnect=True)
        yield proxy


def service_of(context: QMI_Context) -> RunService:
    actor = context.async_context.registry.get("$runs")
    assert actor is not None
    assert isinstance(actor.object, RunService)
    return actor.object


def numbers(rows: list[qmi.data.Row]) -> list[int]:
    return [row.number for row in rows]


def add(run: qmi.data.Run, count: int) -> None:
    for _ in range(count):
        run.add(x=float(run.rows), text=None if run.rows % 2 else f"n{run.rows}")


def waiting(run: qmi.data.Run) -> int:
    return 0 if run._log is None else len(run._log._waiting)


@pytest.mark.parametrize("context", ["lab", None])
def test_follower_of_another_context_gets_all_rows(folder: Path, link: ChaosProxy, context: str | None) -> None:
    with qmi.data.run("cooldown", COLUMNS, coordinates=["x"], folder=folder) as run:
        add(run, 3)
        with qmi.data.follow("cooldown", context=context) as follower:
            assert (follower.run_id, dict(follower.columns), follower.coordinates) == (run.run_id, COLUMNS, ("x",))
            assert numbers(follower.read()) == [0, 1, 2]
            wait_until(lambda: follower.read(timeout=0) == [] and waiting(run) == 1)
            add(run, 1)
            (row,) = follower.read(timeout=30)
            assert (row.number, row.x, row.text, follower.state) == (3, 3.0, None, "running")
            assert follower.read(timeout=0.001) == []
            run.__exit__(None, None, None)
            assert (follower.read(), follower.state) == ([], "done")


async def test_trio_program_follows_a_run_of_another_context(folder: Path) -> None:
    async with (
        qmi.open_context("lab", None, init_logging=False, config=config("lab")) as lab,
        qmi.open_context("here", None, init_logging=False, config=config()) as here,
    ):
        await here.connect_to_peer("lab", f"127.0.0.1:{lab.connections.port}")
        async with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
            add(run, 2)
            async with qmi.data.follow("cooldown", context="lab") as follower:
                assert numbers(await follower.read_async()) == [0, 1]
                for _ in range(2):
                    with trio.move_on_after(0.01):
                        await follower.read_async()
                add(run, 1)
                assert numbers(await follower.read_async()) == [2]
                await run.__aexit__(None, None, None)
                assert ([row async for row in follower], follower.state) == ([], "done")
        assert [row.number async for row in qmi.data.follow("cooldown", context="lab")] == [0, 1, 2]


def test_context_is_connected_to_if_need_be(folder: Path) -> None:
    with make_context("lab") as lab:
        ports = {"lab": lab.get_tcp_server_port(), "off": free_port()}
        contexts = {name: {"host": "127.0.0.1", "tcp_server_port": port} for name, port in ports.items()}
        with (
            qmi.start("here", config_file=None, init_logging=False, context_cfg=contexts),
            qmi.data.run("cooldown", COLUMNS, folder=folder) as run,
        ):
            add(run, 1)
            assert numbers(qmi.data.follow("cooldown", context="lab").read()) == [0]
            with pytest.raises(QMI_ConnectionException):
                qmi.data.follow("cooldown", context="off").read()


def test_own_context_is_this_computer(folder: Path, lab: QMI_Context) -> None:
    with qmi.data.run("cooldown", COLUMNS) as run:
        add(run, 1)
        assert numbers(qmi.data.follow("cooldown", context="here").read()) == [0]


@pytest.mark.parametrize("first", [0, 2, 9])
def test_run_that_has_ended_is_followed_from_its_file(folder: Path, link: ChaosProxy, first: int) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 4)
    with qmi.data.follow("cooldown", context="lab", first=first) as follower:
        assert follower.run_id == run.run_id
        rows = list(follower)
    assert (numbers(rows), follower.state) == (list(range(first, 4)), "done")
    assert rows == list(qmi.data.follow("cooldown", folder=folder, first=first))


@pytest.mark.parametrize("moment", ["while it waits", "before it asks", "when the run has ended"])
def test_follower_goes_on_at_the_next_row_when_the_link_is_restored(
    folder: Path, link: ChaosProxy, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    here = qmi.context()
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 2)
        follower = qmi.data.follow("cooldown", context="lab")
        assert numbers(follower.read()) == [0, 1]
        if moment == "while it waits":
            wait_until(lambda: follower.read(timeout=0) == [] and waiting(run) == 1)
        for _ in range(2):
            link.reset()
            wait_until(lambda: not here.has_peer_context("lab") or link.accepted > 1)
            add(run, 2)
        if moment == "when the run has ended":
            run.__exit__(None, None, None)
            link.reset()
        found: list[qmi.data.Row] = []
        while len(found) < 4:
            found += follower.read(timeout=30)
        run.__exit__(None, None, None)
        found += list(follower)
    assert (numbers(found), follower.state) == ([2, 3, 4, 5], "done")
    if moment == "while it waits":
        assert "goes on when its link is restored" in caplog.text


def test_run_whose_program_was_restarted_meanwhile_is_read_from_its_file(
    folder: Path, link: ChaosProxy, lab: QMI_Context
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 2)
        follower = qmi.data.follow("cooldown", context="lab")
        assert numbers(follower.read()) == [0, 1]
        add(run, 3)
    service_of(lab).release_rpc_object()  # a new program has no log open
    assert (numbers(list(follower)), follower.state) == ([2, 3, 4], "done")


def test_slow_follower_reads_the_log_to_its_end_over_a_link(folder: Path, link: ChaosProxy, lab: QMI_Context) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", context="lab")
        assert numbers(follower.read()) == [0]
        add(run, 1000)
    run.file.unlink()  # it is not needed
    assert numbers(list(follower)) == list(range(1, 1001))
    wait_until(lambda: service_of(lab)._logs == {})


def test_link_that_is_ended_ends_the_follower(folder: Path, link: ChaosProxy) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        follower = qmi.data.follow("cooldown", context="lab")
        assert follower.run_id == run.run_id
        qmi.context().disconnect_from_peer("lab")
        with pytest.raises(QMI_NotDeliveredException):
            follower.read(timeout=30)


@pytest.mark.parametrize("how", ["close", "forgotten", "cut"])
def test_follower_that_leaves_frees_everything_over_there(
    folder: Path, link: ChaosProxy, lab: QMI_Context, how: str
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        follower = qmi.data.follow("cooldown", context="lab")
        assert follower.run_id == run.run_id
        wait_until(lambda: follower.read(timeout=0) == [] and waiting(run) == 1)
        assert list(service_of(lab)._logs) == [run.run_id]
        if how == "cut":
            qmi.context().disconnect_from_peer("lab")
        elif how == "close":
            follower.close()
        else:
            del follower
        wait_until(lambda: waiting(run) == 0)
        if how == "cut":
            lab.async_context.loop.soon(service_of(lab)._close_idle, 0.0)
        wait_until(lambda: service_of(lab)._logs == {})


@pytest.mark.slow
def test_follower_that_stalls_keeps_nobody_waiting(folder: Path, link: ChaosProxy, lab: QMI_Context) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        stalled, other = (qmi.data.follow("cooldown", context="lab") for _ in range(2))
        assert stalled.run_id == other.run_id == run.run_id
        add(run, 30_000)
        found = 0
        while found < 30_000:
            found += len(other.read(timeout=30))
        assert not stalled._ready
        run.__exit__(None, None, None)
        assert list(other) == []
    assert numbers(list(stalled)) == list(range(30_000))


def test_ten_followers_of_one_run_over_a_link_get_the_same(folder: Path, link: ChaosProxy) -> None:
    found: list[list[int]] = [[] for _ in range(10)]
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:

        def follow(into: list[int]) -> None:
            into.extend(row.number for row in qmi.data.follow(run.run_id, context="lab"))

        threads = [threading.Thread(target=follow, args=(into,)) for into in found]
        for thread in threads:
            thread.start()
        add(run, 100)
    for thread in threads:
        thread.join(30)
    assert found == [list(range(100))] * 10


def test_run_of_a_third_program_of_that_computer_is_followed_until_it_is_killed(folder: Path, link: ChaosProxy) -> None:
    with recorder(folder) as program:
        program.add(2)
        with qmi.data.follow("cooldown", context="lab") as follower:
            assert follower.run_id == program.run_id
            assert numbers(follower.read()) == [0, 1]
            program.add(2)
            found: list[qmi.data.Row] = []
            while len(found) < 2:
                found += follower.read(timeout=30)
            program.kill()
            assert ([*numbers(found), *numbers(list(follower))], follower.state) == ([2, 3], "interrupted")


def test_run_of_a_context_that_is_connected_to_the_asked_one_is_followed(
    tmp_path: Path, lab: QMI_Context, link: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_context("far") as far:
        lab.connect_to_peer("far", address(far))
        places = RunService._places

        def only_far(service: RunService) -> list[Any]:
            return places(service) if service._owner.name == "far" else []

        monkeypatch.setattr(RunService, "_places", only_far)
        monkeypatch.setattr(RunService, "_here", _here_of_somewhere)
        with qmi.data.run("cooldown", COLUMNS, folder=tmp_path / "far") as run:
            add(run, 2)
            follower = qmi.data.follow("cooldown", context="lab")
            assert numbers(follower.read()) == [0, 1]
            add(run, 1)
            assert numbers(follower.read()) == [2]
        assert (list(follower), follower.state) == ([], "done")
        assert numbers(list(qmi.data.follow("cooldown", context="lab"))) == [0, 1, 2]
        assert qmi.data.load("cooldown", context="lab").sizes["row"] == 3


_HERE = RunService._here


def _here_of_somewhere(self: RunService, run: str, ended: bool = False) -> Any:
    if not self._places():
        raise QMI_UnknownNameException("there is no run here")
    return _HERE(self, run, ended)


# -- finding and loading


@pytest.mark.parametrize("damaged", ["the configured one", "another one", "all"])
def test_damaged_folder_hides_no_runs_of_other_folders(
    folder: Path, link: ChaosProxy, tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "other"
    for place in (folder, other):
        with qmi.data.run("sweep", COLUMNS, folder=place):
            pass
    bad = {"the configured one": [folder], "another one": [other], "all": [folder, other]}[damaged]
    for place in bad:
        (place / "index.sqlite").write_bytes(b"no database" * 100)
    if damaged == "all":
        with pytest.raises(QMI_RecordingException, match=r"index.sqlite, is not read.*qmi\.data\.recover\(\)"):
            qmi.data.runs(context="lab")
    else:
        (info,) = qmi.data.runs(context="lab")
        assert bad[0] not in info.file.parents
        assert f"The runs in {bad[0]} are left out" in caplog.text


def test_runs_of_another_computer_are_found_and_loaded(folder: Path, link: ChaosProxy) -> None:
    for tags in ([], ["good"]):
        with qmi.data.run("cooldown", COLUMNS, tags=tags, folder=folder) as run:
            add(run, 3)
    first, last = qmi.data.runs(context="lab")
    assert [first, last] == qmi.data.runs(folder=folder)
    assert qmi.data.runs("cool*", tag="good", since=timedelta(days=1), state="done", context="lab") == [last]
    assert qmi.data.runs(limit=1, context="lab") == [last]
    assert qmi.data.runs(until=timedelta(days=1), context="lab") == []
    expected = qmi.data.load(last.run_id, folder=folder)
    for which in (last, last.run_id, "cooldown"):
        assert qmi.data.load(which, context="lab").identical(expected)
    with pytest.raises(QMI_InvalidValueException, match="since must be a time"):
        qmi.data.runs(since="yesterday", context="lab")


def test_run_that_still_lasts_is_not_loaded(folder: Path, link: ChaosProxy) -> None:
    with (
        qmi.data.run("cooldown", COLUMNS, folder=folder),
        pytest.raises(QMI_UnknownNameException, match="run cooldown still lasts"),
    ):
        qmi.data.load("cooldown", context="lab")


def test_large_file_is_copied_in_parts_also_when_the_link_is_cut(
    folder: Path, link: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1000)
    monkeypatch.setattr("qmi.data.follow_link._FILE_PART", 5000)
    read = RunService._read_file
    parts: list[int] = []

    def cut(service: RunService, run_id: str, offset: int, limit: int) -> tuple[int, bytes]:
        parts.append(offset)
        if len(parts) == 3:
            link.reset()
        return read(service, run_id, offset, limit)

    monkeypatch.setattr(RunService, "_read_file", cut)
    assert qmi.data.load("cooldown", context="lab").sizes["row"] == 1000
    assert len(parts) > 5


def test_run_that_is_not_there_is_told_with_those_that_are(folder: Path, link: ChaosProxy) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        with pytest.raises(QMI_UnknownNameException, match="no run with the id or name 'warmup'"):
            qmi.data.follow("warmup").read()
        with pytest.raises(QMI_UnknownNameException, match=f"running now: {run.run_id}"):
            qmi.data.follow("warmup", context="lab").read()


@pytest.mark.parametrize("why", ["never imported", "older version"])
def test_context_that_does_not_tell_of_runs_is_told(
    folder: Path, link: ChaosProxy, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(internal, "_CLASSES", {})
    expected = "has not imported qmi.data"
    if why == "older version":
        monkeypatch.setattr("qmi.contexts.base.INTERNAL_PACKAGES", {})
        monkeypatch.setattr("qmi.contexts.to_come.INTERNAL_PACKAGES", {})
        expected = "its version of qmi-trio does not know how"
    for ask in (
        lambda: qmi.data.follow("cooldown", context="lab").read(),
        lambda: qmi.data.runs(context="lab"),
        lambda: qmi.data.load("cooldown", context="lab"),
    ):
        with pytest.raises(QMI_UnknownNameException, match=f"context 'lab' does not tell of runs .*{expected}"):
            ask()
    with pytest.raises(QMI_UnknownNameException, match="no run with the id or name 'cooldown' in"):
        qmi.data.follow("cooldown").read()


def test_follower_waits_for_a_run_of_another_context_to_begin(folder: Path, link: ChaosProxy) -> None:
    follower = qmi.data.follow("cooldown", context="lab", wait=30)
    assert follower.read(timeout=0.01) == []
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        assert numbers(follower.read(timeout=30)) == [0]


@pytest.mark.parametrize("run_id", ["../x", "/etc/passwd", "", 5, None])
def test_service_gives_no_other_files(folder: Path, link: ChaosProxy, run_id: Any) -> None:
    service = qmi.context().get_rpc_object("lab.$runs")
    for method in (service.read, service.read_file):
        with pytest.raises(QMI_UnknownNameException):
            method(run_id, "", 0, 100)


def test_guest_may_follow(folder: Path) -> None:
    with (
        make_context("lab", context={"operators": []}) as lab,
        qmi.start("here", config_file=None, init_logging=False) as here,
    ):
        here.connect_to_peer("lab", address(lab))
        with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
            add(run, 1)
        assert numbers(list(qmi.data.follow("cooldown", context="lab"))) == [0]
        assert len(qmi.data.runs(context="lab")) == 1
        with pytest.raises(QMI_InvalidOperationException, match="is a guest"):
            here.get_rpc_object("lab.$runs").lock()


async def test_runs_of_another_context_do_not_block_an_event_loop(folder: Path) -> None:
    async with qmi.open_context("here", None, init_logging=False, config=config()):
        for ask in (lambda: qmi.data.runs(context="lab"), lambda: qmi.data.load("x", context="lab")):
            with pytest.raises(QMI_BlockingOnLoopException, match=r"await trio\.to_thread\.run_sync"):
                ask()


# -- peers that do not behave


NONSENSE: list[tuple[str, tuple[Any, ...]]] = [
    ("read", ("RUN", "", -1, 100)),
    ("read", ("RUN", "", 1 << 70, 100)),
    ("read", ("RUN", "", "0", 100)),
    ("read", ("RUN", "", 0.5, 100)),
    ("read", ("RUN", "", 0, None)),
    ("read", ("RUN", "", True, 100)),
    ("read_file", ("RUN", "", -1, 100)),
    ("read_file", ("RUN", "", 1 << 70, 100)),
    ("read_file", ("RUN", "", 0, "all")),
    ("read", ("RUN", 5, 0, 100)),
    ("list_runs", ({"nonsense": 1},)),
    ("list_runs", ({"now": 1},)),
    ("list_runs", (5,)),
    ("list_runs", ({"limit": -1},)),
    ("list_runs", ({"name": 5},)),
    ("leave", (["x"], "")),
    ("leave", ("x", 5)),
    ("find", ({},)),
    ("find", ("x" * 300,)),
    ("find", ("../../etc/passwd",)),
    ("find", ("a\0b",)),
]


def test_service_refuses_questions_that_make_no_sense(folder: Path, link: ChaosProxy, lab: QMI_Context) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
    service = qmi.context().get_rpc_object("lab.$runs")
    for method, arguments in NONSENSE:
        asked = [run.run_id if argument == "RUN" else argument for argument in arguments]
        with pytest.raises((QMI_InvalidValueException, QMI_UnknownNameException)):
            getattr(service, method)(*asked)
    assert numbers(list(qmi.data.follow(run.run_id, context="lab"))) == [0]


@pytest.mark.parametrize("limit", [1 << 62, 0, -5])
def test_answers_of_the_service_are_of_a_bounded_size(folder: Path, link: ChaosProxy, limit: int) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 20_000)
        service = qmi.context().get_rpc_object("lab.$runs")
        what, data = service.read(run.run_id, "", 0, limit)
        assert (what, 1 <= len(data) <= 1 << 20) == ("log", True)
    size, data = service.read_file(run.run_id, "", 0, limit)
    assert 1 <= len(data) <= 1 << 20
    assert service.read_file(run.run_id, "", size + 1000, 10) == (size, b"")


BAD_LOGS = [
    b"QMIRUN7\nsomething else" * 10,
    MAGIC + frame(b"\xff"),
    MAGIC + frame(cbor2.dumps({"format": "qmi-run-1"})),
    MAGIC + frame(cbor2.dumps([0, 0, 1.0])),
    MAGIC + HEAD + frame(cbor2.dumps([0, 0, 1.0])),
    MAGIC + HEAD + frame(cbor2.dumps(["a", 0, 1.0, ""])),
    MAGIC + HEAD + frame(cbor2.dumps([0, "a", 1.0, ""])),
    MAGIC + HEAD + frame(cbor2.dumps([0, 0, cbor2.CBORTag(60002, ["O", [1], b"12345678"]), ""])),
    MAGIC + HEAD + frame(cbor2.dumps([0, 0, cbor2.CBORTag(60002, ["<f8", [1 << 40], b""]), ""])),
    MAGIC + HEAD + frame(cbor2.dumps([0, 0, cbor2.CBORTag(60001, 1 << 80), ""])),
    MAGIC + HEAD + frame(cbor2.dumps([])),
]
BAD_ANSWERS = [5, ("log",), ("log", "text"), ("what", b""), None]


def test_log_from_a_peer_that_makes_no_sense_is_an_error(
    folder: Path, link: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = [b""]

    async def read(self: RunService, run_id: str, offset: int, limit: int) -> Any:
        return ("log", log[0][offset:]) if offset < len(log[0]) else ("ended", b"")

    monkeypatch.setattr(RunService, "_read", read)
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        for log[0] in BAD_LOGS:
            follower = qmi.data.follow(run.run_id, context="lab")
            with pytest.raises(QMI_RecordingException, match=f"run {run.run_id}"):
                list(follower)


def test_answer_of_a_peer_that_makes_no_sense_is_an_error(
    folder: Path, link: ChaosProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: list[Any] = [None]

    async def read(self: RunService, run_id: str, offset: int, limit: int) -> Any:
        return answer[0]

    monkeypatch.setattr(RunService, "_read", read)
    monkeypatch.setattr(RunService, "_read_file", lambda *_: answer[0])
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        for answer[0] in BAD_ANSWERS:
            with pytest.raises(QMI_RecordingException, match=f"context 'lab' answered .* run {run.run_id}"):
                list(qmi.data.follow(run.run_id, context="lab"))
    for answer[0] in BAD_ANSWERS:
        with pytest.raises(QMI_RecordingException, match=f"context 'lab' answered .* run {run.run_id}"):
            qmi.data.load(run.run_id, context="lab")


def test_entry_of_another_computer_is_loaded_by_its_context(folder: Path, link: ChaosProxy) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
    (info,) = qmi.data.runs(context="lab")
    elsewhere = replace(info, file=Path("/nowhere/runs/2026/x.nc"))
    with pytest.raises(QMI_UnknownNameException, match=r"is not there.*context="):
        qmi.data.load(elsewhere)
    assert qmi.data.load(elsewhere, context="lab").sizes["row"] == 1
    assert run.info is not None
