from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from qmi.config.schema import CfgProcessManagement, CfgQmi
from qmi.errors import QMI_RuntimeException, QMI_UsageException
from qmi.proc.helper_protocol import Cursor
from qmi.proc.output import follow, last_lines, open_output, output_dir, read_output

NOW = datetime(2024, 2, 29, 13, 5, 59)


def test_output_goes_where_the_configuration_says(home: Path, tmp_path: Path) -> None:
    def configured(directory: str | None) -> Path:
        return output_dir(CfgQmi(process_management=CfgProcessManagement(output_dir=directory)))

    assert configured(None) == home
    assert configured("~/out") == home / "out"
    assert configured("out") == home / "out"
    assert configured(str(tmp_path)) == tmp_path


def test_an_output_file_has_name_date_and_time_and_begins_with_the_command(tmp_path: Path) -> None:
    handle, path = open_output(tmp_path, "my(1)", "python -m x\n", now=NOW)
    os.write(handle, b"hello\n")
    assert not os.get_inheritable(handle)
    os.close(handle)
    assert path == tmp_path / "my(1)_20240229_130559.out"
    assert path.read_text() == "# 2024-02-29 13:05:59 qmi_proc: python -m x \nhello\n"


def test_fault_26_a_directory_that_cannot_be_written_is_refused_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(QMI_RuntimeException, match=r"missing/a_20240229_130559\.out: No such file") as caught:
        open_output(tmp_path / "missing", "a", "x", now=NOW)
    assert "process_management.output_dir" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_fault_26_a_full_disk_is_refused_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.proc.output.open_private", lambda path, flags: os.open("/dev/full", os.O_WRONLY))
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.raises(QMI_RuntimeException, match=r"a_20240229_130559\.out: No space left"):
        open_output(tmp_path, "a", "x", now=NOW)
    assert len(os.listdir("/proc/self/fd")) == handles


def test_fault_26_a_disk_that_takes_half_a_line_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:3]))
    with pytest.raises(QMI_RuntimeException, match=r"a_20240229_130559\.out: No space left"):
        open_output(tmp_path, "a", "x", now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_output_is_read_piece_by_piece_from_the_latest_file(tmp_path: Path) -> None:
    for name in ("a_20240101_000000", "a_20240102_000000", "a_b_20250101_000000", "a_20240102_x"):
        (tmp_path / f"{name}.out").write_text(name)
    first, data = read_output(tmp_path, "a", None, size=3)
    assert (first, data) == (Cursor("20240102_000000", 3), b"a_2")
    end, data = read_output(tmp_path, "a", first)
    assert (end, data) == (Cursor("20240102_000000", 17), b"0240102_000000")
    assert read_output(tmp_path, "a", end) == (end, b"")
    old = Cursor("20240101_000000", 16)
    assert read_output(tmp_path, "a", old, size=3) == (Cursor("20240101_000000", 17), b"0")
    assert read_output(tmp_path, "a", Cursor("20240101_000000", 17), size=3) == (first, b"a_2")
    for directory, name in ((tmp_path, "c"), (tmp_path / "missing", "a")):
        with pytest.raises(QMI_UsageException, match="never started there"):
            read_output(directory, name, None)
        assert read_output(directory, name, old) == (old, b"")


def test_the_last_lines_are_those_of_the_program(tmp_path: Path) -> None:
    path = tmp_path / "x.out"
    assert last_lines(path) == ""
    path.write_bytes(b"# 2024 qmi_proc: x\n# mine\n\xff\n")
    assert last_lines(path) == "# mine\n\ufffd"
    path.write_text("".join(f"{number}\n" for number in range(10000)))
    assert last_lines(path, 2) == "9998\n9999"


def test_following_goes_on_with_what_is_added_and_with_the_next_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a_20240101_000000.out", tmp_path / "a_20240101_000001.out"
    first.write_bytes(b"one")

    def add() -> bool:
        first.write_bytes(b"one two")
        return True

    def restart() -> bool:
        first.write_bytes(b"one two three")
        second.touch()
        return True

    def begin() -> bool:
        second.write_bytes(b"four")
        return True

    def end() -> bool:
        second.write_bytes(b"four five")
        return False

    steps = [add, restart, begin, end]
    chunks = list(follow(lambda place: read_output(tmp_path, "a", place), lambda: steps.pop(0)()))
    assert chunks == [b"one", b" two", b" three", b"four", b" five"]
    assert steps == []


def test_following_a_file_that_goes_away_ends_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "a_20240101_000000.out"
    path.write_bytes(b"one")

    def end() -> bool:
        path.unlink()
        return False

    assert list(follow(lambda place: read_output(tmp_path, "a", place), end)) == [b"one"]
