"""Ctrl-C at the beginning and at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qmi.data
from qmi.core.exceptions import QMI_RecordingException
from qmi.data import run_metadata
from qmi.data.recording import Run
from qmi.data.run_log import RunLog
from tests.support.cancel_steps import interrupt_at


@pytest.fixture(autouse=True)
def _no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_metadata, "of_program", lambda context: {})


def logs_of(folder: Path) -> list[Path]:
    return list(folder.glob("open/*"))


def in_recording(filename: str) -> bool:
    return filename.endswith("/qmi/data/recording.py")


def test_interrupt_at_any_step_of_the_beginning_leaves_no_run_behind(folder: Path) -> None:
    number = 0
    reached = True
    while reached:
        number += 1
        run = qmi.data.run("short", ["x"], tags=["a"], comment="b", folder=folder)

        def begin(run: Run = run) -> None:
            run._begin({})

        reached = interrupt_at(number, begin, in_recording, lambda: True)
        if reached and run.run_id == "":
            # Between the making of the log and the next line there is a step in which nobody has it.
            assert [info for info in qmi.data.runs(folder=folder) if info.state == "running"] == []
    assert number > 20
    run.__exit__(None, None, None)
    assert [info.state for info in qmi.data.runs(folder=folder)] == ["done"]
    assert qmi.data.load("short", folder=folder).attrs["tags"] == '["a"]'


@pytest.mark.parametrize("fails", ["enter", "tag", "comment"])
def test_run_that_cannot_begin_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise QMI_RecordingException("the disk is full")

    run = qmi.data.run("short", ["x"], tags=["a"], comment="b", folder=folder)
    with monkeypatch.context() as patch:
        patch.setattr(run._folder if fails == "enter" else run, fails, fail)
        with pytest.raises(QMI_RecordingException, match="the disk is full"):
            run.__enter__()
    assert (logs_of(folder), qmi.data.runs(folder=folder), run.run_id) == ([], [], "")
    with run:  # it has not begun, and can begin now
        run.add(x=1)
    assert qmi.data.load("short", folder=folder).sizes["row"] == 1


def interrupted(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def test_interrupt_while_instruments_are_asked_at_the_end_costs_their_snapshots_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = qmi.data.run("short", ["x"], folder=folder)
    run.__enter__()
    run.add(x=1)
    monkeypatch.setattr(run_metadata, "snapshots", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.__exit__(None, None, None)
    check(folder, run)


async def test_interrupt_while_instruments_are_asked_in_trio_costs_their_snapshots_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = qmi.data.run("short", ["x"], folder=folder)
    await run.__aenter__()
    run.add(x=1)

    async def asked(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_metadata, "snapshots_async", asked)
    with pytest.raises(KeyboardInterrupt):
        await run.__aexit__(None, None, None)
    check(folder, run)


def check(folder: Path, run: Run) -> None:
    assert logs_of(folder) == []
    data = qmi.data.load(run.run_id, folder=folder)
    assert (data.x.values.tolist(), data.attrs["state"]) == ([1], "done")
    assert json.loads(data.attrs["qmi_metadata"])["end"]["instruments_at_end"] == {}


def test_interrupt_while_the_file_is_made_leaves_it_to_the_next_recovery(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = qmi.data.run("short", ["x"], folder=folder)
    run.__enter__()
    run.add(x=1)
    with monkeypatch.context() as patch:
        patch.setattr("qmi.data.run_file.summary_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.__exit__(None, None, None)
    assert len(logs_of(folder)) == 1
    assert [info.state for info in qmi.data.recover(folder=folder)] == ["done"]
    assert logs_of(folder) == []
    assert RunLog.take(folder / "open" / f"{run.run_id}.qmirun") is None
