from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc import pidfiles as records
from qmi.proc.pidfiles import Record, Records

RECORD = Record(12, "boot:77", "some.module", "/home/x/a.out")


def test_record_is_read_as_it_was_written_and_forgotten(tmp_path: Path) -> None:
    found = Records.of(CfgQmi(qmi_home=str(tmp_path / "new")))
    assert found.read("a") is None
    found.write("a", RECORD)
    assert found.read("a") == RECORD
    assert found.read("b") is None
    assert [path.name for path in found.directory.iterdir()] == ["a.json"]
    found.forget("a")
    found.forget("a")
    assert found.read("a") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "{}",
        json.dumps({"pid": "12", "born": "", "module": "", "output": ""}),
        json.dumps({"pid": 12, "born": 1, "module": "", "output": ""}),
        json.dumps({"pid": 12, "born": "", "module": "", "output": None}),
        json.dumps({"pid": 12, "born": "", "module": "", "output": "x" * 70000}),
        "\x00",
    ],
)
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert Records(tmp_path).read("a") is None


def test_a_record_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = Records(tmp_path / "file")
    with pytest.raises(QMI_RuntimeException, match=r"Cannot write .*/file/a\.json"):
        found.write("a", RECORD)
    with pytest.raises(QMI_RuntimeException, match=r"Cannot write .*/file/\.a\.lock"), found.guard("a"):
        pass


def test_a_record_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(QMI_RuntimeException, match=r"a\.json"):
        Records(tmp_path).write("a", RECORD)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_record_has_one_guard_at_a_time(tmp_path: Path) -> None:
    inside = threading.Event()

    def enter() -> None:
        with Records(tmp_path).guard("a"):
            inside.set()

    thread = threading.Thread(target=enter)
    with Records(tmp_path).guard("a"):
        thread.start()
        with Records(tmp_path).guard("b"):
            assert not inside.wait(0.05)
    thread.join(10)
    assert inside.is_set()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(records, "_lock", fail)
    with Records(tmp_path).guard("a"):
        assert (tmp_path / ".a.lock").exists()
