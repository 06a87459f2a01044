"""Following runs of this program and of other programs of this computer."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy
import pytest
import trio

import qmi.data
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NoActiveContextException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.data import run_log
from qmi.data.follow_steps import QUICK
from qmi.data.run_folder import RunFolder
from tests.support.followed import recorder
from tests.support.waiting import wait_until

COLUMNS = {"x": "V", "text": ""}


def numbers(rows: list[qmi.data.Row]) -> list[int]:
    return [row.number for row in rows]


def log_of(run: qmi.data.Run) -> run_log.RunLog:
    log = run._log
    assert log is not None
    return log


def add(run: qmi.data.Run, count: int) -> None:
    for _ in range(count):
        run.add(x=float(run.rows), text=None if run.rows % 2 else f"n{run.rows}")


# -- this program


def test_follower_gets_all_rows_so_far_and_then_each_new_one(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, coordinates=["x"], folder=folder) as run:
        add(run, 3)
        with qmi.data.follow("cooldown", folder=folder) as follower:
            assert (follower.run_id, follower.name, follower.state) == (run.run_id, "cooldown", "running")
            assert (dict(follower.columns), follower.coordinates) == (COLUMNS, ("x",))
            assert abs((follower.started - datetime.now(UTC)).total_seconds()) < 60
            assert numbers(follower.read()) == [0, 1, 2]
            assert follower.read(timeout=0) == []
            add(run, 2)
            (third, fourth) = follower.read(timeout=30)
            assert (third.number, third.x, third["text"]) == (3, 3.0, None)
            assert (fourth.text, fourth.time > third.time) == ("n4", True)
            assert follower.state == "running"
            run.__exit__(None, None, None)
            assert follower.read() == []
            assert (follower.state, follower.read()) == ("done", [])


def test_follower_that_waits_is_woken_by_the_run(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        found: list[int] = []

        def follow() -> None:
            found.extend(row.number for row in qmi.data.follow(run.run_id, folder=folder))

        thread = threading.Thread(target=follow)
        thread.start()
        for _ in range(3):
            wait_until(lambda: len(log_of(run)._waiting) == 1)
            add(run, 1)
            wait_until(lambda: len(found) == run.rows)
        wait_until(lambda: len(log_of(run)._waiting) == 1)
    thread.join(30)
    assert found == [0, 1, 2]


@pytest.mark.parametrize("first", [0, 2, 5, 9])
@pytest.mark.parametrize("ended", [False, True])
def test_follower_begins_at_the_row_that_is_wanted(folder: Path, first: int, ended: bool) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 5)
        live = qmi.data.follow("cooldown", folder=folder, first=first)
        assert live.run_id == run.run_id
    after = qmi.data.follow("cooldown", folder=folder, first=first)
    assert numbers(list(after if ended else live)) == list(range(first, 5))


async def test_trio_program_follows_a_run(folder: Path) -> None:
    async with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 2)
        async with qmi.data.follow("cooldown", folder=folder) as follower:
            assert follower.run_id == run.run_id
            assert numbers(await follower.read_async()) == [0, 1]
            assert await follower.read_async(timeout=0) == []
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def measure() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    add(run, 1)

                assert numbers(await follower.read_async()) == [2]
            await run.__aexit__(None, None, None)
            assert [row async for row in follower] == []
            assert follower.state == "done"
    assert [row.number async for row in qmi.data.follow("cooldown", folder=folder)] == [0, 1, 2]


async def test_cancelled_follower_goes_on_and_leaves_nothing_behind(folder: Path) -> None:
    async with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        async with qmi.data.follow("cooldown", folder=folder) as follower:
            for _ in range(3):
                with trio.move_on_after(0.01):
                    await follower.read_async()
            assert len(log_of(run)._waiting) == 1
            add(run, 2)
            assert numbers(await follower.read_async()) == [0, 1]
        assert log_of(run)._waiting == []


class Mode(Enum):
    SLOW = 1


ROWS: list[dict[str, Any]] = [
    {"f": 1, "c": 1 + 2j, "t": datetime(2026, 1, 1, tzinfo=UTC), "m": Mode.SLOW, "a": [1.0, 2.0], "b": True, "n": 7},
    {"f": 2.5, "c": None, "t": None, "m": None, "a": None, "b": None, "n": None},
    {"f": float("nan"), "c": 3, "t": datetime(2027, 1, 1, tzinfo=UTC), "m": "x", "a": [3, 4], "b": False, "n": -1},
]


def test_rows_of_a_run_that_has_ended_are_those_that_it_had_while_it_lasted(folder: Path) -> None:
    axes = {"a": {"delay": ("s", [0.0, 0.5])}}
    with qmi.data.run("all", {**dict.fromkeys("fctmbn", ""), "a": "V"}, axes=axes, folder=folder) as run:
        for row in ROWS:
            run.add(**row)
        live = qmi.data.follow("all", folder=folder)
        before = live.read()
    after_run = qmi.data.follow("all", folder=folder)
    after = after_run.read()
    assert after_run.columns == live.columns
    for follower in (live, after_run):
        ((name, (unit, values)),) = follower.axes["a"].items()
        assert (name, unit, list(values)) == ("delay", "s", [0.0, 0.5])
    for one, other, added in zip(before, after, ROWS, strict=True):
        assert (one.number, one.time) == (other.number, other.time)
        for name in run._columns:
            value = added[name].name if isinstance(added[name], Enum) else added[name]
            for found in (one[name], other[name]):
                assert (found is None) == (value is None), name
                numpy.testing.assert_array_equal(found, value)
            assert isinstance(one[name], (type(other[name]), int)), name


@pytest.mark.parametrize("how", ["done", "failed"])
def test_state_is_how_the_run_has_ended(folder: Path, how: str) -> None:
    run = qmi.data.run("cooldown", COLUMNS, folder=folder)
    run.__enter__()
    live = qmi.data.follow("cooldown", folder=folder)
    assert live.read(timeout=0) == []
    error = ValueError("x") if how == "failed" else None
    run.__exit__(type(error), error, None) if error else run.__exit__(None, None, None)
    for follower in (live, qmi.data.follow("cooldown", folder=folder)):
        assert (list(follower), follower.state) == ([], how)


def test_slow_follower_reads_the_log_to_its_end_when_the_run_is_over(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", folder=folder)
        assert numbers(follower.read()) == [0]
        add(run, 1000)
        path = log_of(run).path
    assert not path.exists()
    run.file.unlink()  # it is not needed
    assert numbers(list(follower)) == list(range(1, 1001))
    assert follower.state == "done"


def test_log_that_cannot_be_deleted_is_left_to_the_next_recovery(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 2)
        log = log_of(run).path
        with monkeypatch.context() as windows:
            windows.setattr(Path, "unlink", unlink)
            run.__exit__(None, None, None)
    assert run.info is not None
    assert (run.info.state, log.exists()) == ("done", True)
    assert numbers(list(qmi.data.follow("cooldown", folder=folder))) == [0, 1]
    (info,) = qmi.data.runs(folder=folder)
    assert (info.state, info.rows, log.exists()) == ("done", 2, False)
    assert "cut short" not in caplog.text


def test_ten_followers_of_one_run_get_the_same(folder: Path) -> None:
    found: list[list[int]] = [[] for _ in range(10)]
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:

        def follow(into: list[int]) -> None:
            into.extend(row.number for row in qmi.data.follow(run.run_id, folder=folder))

        threads = [threading.Thread(target=follow, args=(into,)) for into in found]
        for thread in threads:
            thread.start()
        add(run, 200)
    for thread in threads:
        thread.join(30)
    assert found == [list(range(200))] * 10


@pytest.mark.slow
def test_follower_that_stalls_costs_the_run_nothing(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        follower = qmi.data.follow("cooldown", folder=folder)
        assert follower.read(timeout=0) == []
        add(run, 1)
        assert log_of(run)._waiting == []
        add(run, 20000)
        assert (log_of(run)._waiting, len(follower._ready)) == ([], 0)
        assert len(follower.read()) < 20001  # a part, and not all at once
        assert len(log_of(run)._waiting) <= 1
    assert [row.number for row in follower][-1] == 20000


@pytest.mark.parametrize("how", ["close", "with", "forgotten"])
def test_follower_that_leaves_frees_everything(folder: Path, how: str) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", folder=folder)
        assert numbers(follower.read()) == [0]
        assert follower.read(timeout=0) == []
        assert len(log_of(run)._waiting) == 1
        gc.disable()
        try:
            if how == "with":
                with follower:
                    pass
            elif how == "close":
                follower.close()
            else:
                del follower  # by itself, not only when the garbage is collected
            assert log_of(run)._waiting == []
        finally:
            gc.enable()
        if how != "forgotten":
            assert follower.read() == []
    if before:
        assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.skipif(os.name == "nt", reason="needs signals to threads")
def test_ctrl_c_in_a_blocking_read_leaves_nothing_behind_and_the_next_read_goes_on(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        follower = qmi.data.follow("cooldown", folder=folder)
        assert numbers(follower.read()) == [0]

        def press() -> None:
            wait_until(lambda: len(log_of(run)._waiting) == 1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=press)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            follower.read()
        thread.join(30)
        assert len(log_of(run)._waiting) <= 1
        add(run, 2)
        assert numbers(follower.read()) == [1, 2]


@pytest.mark.parametrize("at", ["source", "rows"])
def test_rows_that_an_interrupt_takes_away_are_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 3)
        follower = qmi.data.follow("cooldown", folder=folder)
        taken = numbers(follower.read()) if at == "source" else []
        assert follower.run_id
        add(run, 1)

        def interrupted(*args: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as once:
            if at == "source":
                once.setattr("qmi.data.follow_rules.LogRows.feed", interrupted)
            else:
                once.setattr(follower, "_keep", interrupted)
            with pytest.raises(KeyboardInterrupt):
                follower.read()
        assert [*taken, *numbers(follower.read())] == list(range(4))


def test_follower_is_for_one_thread_at_a_time(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder):
        follower = qmi.data.follow("cooldown", folder=folder)
        with follower._mutex, pytest.raises(QMI_InvalidOperationException, match="is read by another thread now"):
            follower.read()


# -- what is to be followed


def test_name_is_the_newest_run_of_it(folder: Path) -> None:
    ids = []
    for _ in range(3):
        with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
            ids.append(run.run_id)
    assert qmi.data.follow("cooldown", folder=folder).run_id == ids[-1]
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        assert qmi.data.follow("cooldown", folder=folder).run_id == run.run_id
        assert qmi.data.follow(ids[0], folder=folder).run_id == ids[0]
        info = qmi.data.runs("cooldown", folder=folder)[1]
        assert qmi.data.follow(info).run_id == ids[1]


@pytest.mark.parametrize("ended", [False, True])
def test_run_is_found_without_an_index(folder: Path, ended: bool) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        if ended:
            run.__exit__(None, None, None)
        (folder / "index.sqlite").write_bytes(b"no index at all, but bytes")
        assert qmi.data.follow("cooldown", folder=folder).run_id == run.run_id
        with pytest.raises(QMI_UnknownNameException):
            qmi.data.follow("cool", folder=folder).read()


def test_run_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    with pytest.raises(QMI_UnknownNameException, match=r"no run with the id or name 'warmup' .* nothing is recorded"):
        qmi.data.follow("warmup", folder=folder).read()
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        for missing in ("warmup", "", "../x", "a b", "cooldown*"):
            with pytest.raises(QMI_UnknownNameException, match=f"running now: {run.run_id}$"):
                list(qmi.data.follow(missing, folder=folder))
    with pytest.raises(QMI_UnknownNameException, match=f"the latest runs are {run.run_id}$"):
        list(qmi.data.follow("warmup", folder=folder))


def test_follower_waits_for_a_run_to_begin(folder: Path) -> None:
    with pytest.raises(QMI_UnknownNameException):
        qmi.data.follow("cooldown", folder=folder, wait=0.01).read()
    follower = qmi.data.follow("cooldown", folder=folder, wait=30)
    assert follower.read(timeout=0) == []
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, 1)
        assert numbers(follower.read(timeout=30)) == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run": 5}, "run must be the id or the name of a run, got 5"),
        ({"first": -1}, "first must be the number of a row, 0 or more, got -1"),
        ({"first": True}, "first must be"),
        ({"first": 1.0}, "first must be"),
        ({"wait": -1}, "wait must be None or a number of seconds, 0 or more, got -1"),
        ({"wait": "x"}, "wait must be"),
        ({"wait": float("inf")}, "wait must be"),
        ({"context": "lab", "folder": "x"}, "folder must be None where a context is given"),
    ],
)
def test_arguments_that_will_not_do_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=message):
        qmi.data.follow(**{"run": "x", **arguments})


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda follower: follower.read(), QMI_BlockingOnLoopException),
        (lambda follower: follower.__enter__(), QMI_BlockingOnLoopException),
        (next, QMI_BlockingOnLoopException),
        (lambda follower: follower.columns, QMI_InvalidOperationException),
    ],
)
async def test_event_loop_is_not_blocked(folder: Path, use: Callable[[Any], object], error: type[Exception]) -> None:
    with pytest.raises(error, match="async"):
        use(qmi.data.follow("cooldown", folder=folder))


def test_read_async_is_for_trio_programs(folder: Path) -> None:
    with pytest.raises(QMI_UsageException, match="trio program"):
        qmi.data.follow("cooldown", folder=folder).read_async().send(None)


@pytest.mark.parametrize(
    "use",
    [
        lambda: qmi.data.follow("x", context="lab").read(),
        lambda: qmi.data.runs(context="lab"),
        lambda: qmi.data.load("x", context="lab"),
    ],
)
def test_program_without_a_context_is_told_to_make_one(use: Callable[[], object]) -> None:
    with pytest.raises(QMI_NoActiveContextException, match=r"call qmi\.start\(\) first"):
        use()


# -- another program of this computer


def test_run_of_another_program_is_followed_to_its_end(folder: Path) -> None:
    with recorder(folder) as program:
        program.add(2)
        with qmi.data.follow("cooldown", folder=folder) as follower:
            assert follower.run_id == program.run_id
            assert numbers(follower.read()) == [0, 1]
            assert follower.read(timeout=0) == []
            program.add(300)
            found: list[qmi.data.Row] = []
            while len(found) < 300:
                found += follower.read(timeout=30)
            assert (numbers(found), found[0].text, found[1].text) == (list(range(2, 302)), "n2", None)
            program.end()
            assert (list(follower), follower.state) == ([], "done")


@pytest.mark.parametrize("recovered", ["by the follower", "by another", "by nobody"])
def test_run_of_a_program_that_is_killed_is_followed_to_its_last_row(
    folder: Path, recovered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorder(folder) as program:
        program.add(3)
        with qmi.data.follow("cooldown", folder=folder) as follower:
            assert numbers(follower.read()) == [0, 1, 2]
            program.add(2)
            program.kill()
            if recovered == "by another":
                qmi.data.recover(folder)
            elif recovered == "by nobody":  # as for somebody who may only read
                monkeypatch.setattr(run_log.RunLog, "take", _refuse)
            assert numbers(list(follower)) == [3, 4]
            assert follower.state == "interrupted"
    if recovered != "by nobody":
        (info,) = qmi.data.runs(folder=folder)
        assert (info.state, info.rows) == ("interrupted", 5)


def _refuse(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


async def test_trio_program_follows_a_run_of_another_program(folder: Path) -> None:
    with recorder(folder) as program:
        async with qmi.data.follow("cooldown", folder=folder) as follower:
            await trio.to_thread.run_sync(program.add, 2)
            found: list[qmi.data.Row] = []
            while len(found) < 2:
                found += await follower.read_async(timeout=30)
            await trio.to_thread.run_sync(program.kill)
            assert [row async for row in follower] == []
            assert (numbers(found), follower.state) == ([0, 1], "interrupted")


def test_parts_of_a_log_that_are_large_are_not_for_an_event_loop(folder: Path) -> None:
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        add(run, QUICK // 16)
        follower = qmi.data.follow("cooldown", folder=folder)
        assert follower.read()
        assert not follower._told.quick
        assert follower.read(timeout=0) == []
        add(run, 1)
        assert follower.read()
        assert follower._told.quick


def test_folder_says_whether_a_run_is_running(folder: Path) -> None:
    place = RunFolder(folder)
    with qmi.data.run("cooldown", COLUMNS, folder=folder) as run:
        assert place.is_running(run.run_id)
    assert not place.is_running(run.run_id)
