"""Logs that make no sense: they keep nobody from recording, and are not deleted. And which run a name means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cbor2
import pytest

import qmi.data
from qmi.core.exceptions import QMI_RecordingException, QMI_UnknownNameException
from qmi.data import run_file
from qmi.data.record_format import MAGIC, frame
from qmi.data.run_folder import RunFolder
from qmi.data.run_log import RunLog

RUN_ID = "20250101-000000_bad"
HEAD: dict[str, Any] = {
    "format": "qmi-run-1",
    "run_id": RUN_ID,
    "name": "bad",
    "columns": {"x": "V"},
    "axes": {},
    "coordinates": [],
    "started": 0,
    "metadata": {},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "open").mkdir()
    return tmp_path


def put_log(folder: Path, content: bytes) -> Path:
    log = folder / "open" / f"{RUN_ID}.qmirun"
    log.write_bytes(content)
    return log


def log_of(*records: object) -> bytes:
    return MAGIC + b"".join(frame(cbor2.dumps(record)) for record in records)


def record_one(folder: Path) -> None:
    with qmi.data.run("good", ["x"], folder=folder) as run:
        run.add(x=1)
    assert run.info is not None
    assert qmi.data.load("good", folder=folder).x.values.tolist() == [1]
    assert [info.name for info in qmi.data.runs(folder=folder)] == ["good"]


BAD = {
    "no log": b"something else",
    "of a later version": MAGIC.replace(b"2", b"7") + frame(cbor2.dumps(HEAD))[1:],
    "no head": log_of([0, 0, 1.0]),
    "half a head": log_of({"format": "qmi-run-1"}),
    "no CBOR": MAGIC + frame(b"\xff"),
    "head with wrong types": log_of({**HEAD, "columns": 3}),
    "too many dimensions": log_of(HEAD, [0, 0, cbor2.CBORTag(60002, ["<f8", [1] * 40, bytes(8)])]),
    "another type": log_of(HEAD, [0, 0, {"a": 1}]),
    "damaged head": MAGIC + frame(cbor2.dumps(HEAD)).replace(b"name", b"mane"),
}


@pytest.mark.parametrize("content", BAD.values(), ids=list(BAD))
def test_log_that_makes_no_sense_keeps_nobody_from_recording(
    folder: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    log = put_log(folder, content)
    record_one(folder)
    assert log.read_bytes() == content
    assert "could not be recovered" in caplog.text
    with pytest.raises(QMI_RecordingException, match=RUN_ID):
        qmi.data.recover(folder)
    assert log.read_bytes() == content
    assert not list(folder.glob("**/*.part"))


@pytest.mark.parametrize("size", [0, 1, len(MAGIC), len(MAGIC) + 1, len(MAGIC) + 12, len(log_of(HEAD)) - 1])
def test_log_of_a_run_that_has_not_begun_is_taken_away(folder: Path, size: int) -> None:
    log = put_log(folder, log_of(HEAD)[:size])
    assert qmi.data.recover(folder) == []
    assert not log.exists()


def test_log_of_another_user_is_left_to_him(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = put_log(folder, log_of(HEAD))
    log = RunLog.take(path)
    assert log is not None

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(RunLog, "take", refuse)
    assert qmi.data.runs(folder=folder) == []
    assert not caplog.records
    log.close()
    assert qmi.data.runs(folder=folder) == []
    assert "Permission denied" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("x"), ValueError("x"), MemoryError(), KeyboardInterrupt()])
def test_file_that_cannot_be_made_leaves_the_log_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    run = qmi.data.run("good", ["x"], folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_file, "_define", fail)
        with pytest.raises((QMI_RecordingException, KeyboardInterrupt)), run:
            run.add(x=1)
    assert not list(folder.glob("**/*.part"))
    assert qmi.data.load(run.run_id, folder=folder).x.values.tolist() == [1]
    assert qmi.data.runs(folder=folder)[0].state == "done"


# -- which run a name means


@pytest.mark.parametrize("index", ["there", "gone", "damaged"])
def test_name_with_a_number_is_another_name(folder: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    clock = iter(range(1_800_000_000, 1_900_000_000))
    monkeypatch.setattr("time.time_ns", lambda: next(clock) * 10**9)
    for value, name in enumerate(["sweep", "sweep_2", "sweep_2_3"]):
        with qmi.data.run(name, ["x"], folder=folder) as run:
            run.add(x=value)
    path = folder / "index.sqlite"
    if index == "gone":
        path.unlink()
    elif index == "damaged":
        path.write_bytes(b"damaged" * 1000)
    for value, name in enumerate(["sweep", "sweep_2", "sweep_2_3"]):
        assert qmi.data.load(name, folder=folder).x.values.tolist() == [value]
        assert [row.x for row in qmi.data.follow(name, folder=folder)] == [value]


def test_second_run_of_a_name_in_one_second_is_found_without_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_800_000_000 * 10**9)
    for value in range(3):
        with qmi.data.run("sweep", ["x"], folder=folder) as run:
            run.add(x=value)
    (folder / "index.sqlite").unlink()
    assert run.run_id.endswith("sweep_3")
    assert qmi.data.load(run.run_id, folder=folder).x.values.tolist() == [2]
    assert RunFolder(folder).locate("sweep") is not None
    assert RunFolder(folder).locate("sweep_3") is None


@pytest.mark.parametrize("name", ["x" * 300, "x\0", "../../etc/passwd", "", "/etc/passwd", "sw*", "..", "."])
def test_name_that_no_run_can_have_is_not_there(folder: Path, name: str) -> None:
    for use in (qmi.data.load, lambda run, folder: list(qmi.data.follow(run, folder=folder))):
        with pytest.raises(QMI_UnknownNameException, match="there is no run with the id or name"):
            use(name, folder=folder)
