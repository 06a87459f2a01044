"""Files under names that others can guess: private, and never where a link, a FIFO or a device leads."""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from qmi.config.files import make_private_dirs, open_private, open_to_read, read_file
from qmi.config.loader import load_config
from qmi.config.schema import CfgLogging, CfgQmi
from qmi.errors import QMI_ConfigurationException, QMI_RuntimeException
from qmi.proc.output import last_lines, open_output
from qmi.proc.pidfiles import Record, Records
from qmi.runtime.logs import setup_logging

pytestmark = pytest.mark.skipif(os.name == "nt", reason="these are modes and kinds of files of POSIX")

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
NOW = datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def prepare(kind: str, path: Path) -> str:
    """Put something that is no plain file under a name; returns the words for it."""
    target = path.with_name("target")
    if kind == "link":
        target.write_text("of somebody else")
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to(target)
    elif kind == "link in a circle":
        path.symlink_to(path)
    elif kind == "link to a FIFO":
        os.mkfifo(target)
        path.symlink_to(target)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    return "a symbolic link" if "link" in kind else "Is a directory" if kind == "directory" else f"it is a {kind}"


NO_FILES = ["link", "dangling link", "link in a circle", "link to a FIFO", "FIFO", "directory", "socket"]


@pytest.mark.parametrize("kind", NO_FILES)
def test_private_file_is_opened_nowhere_else(tmp_path: Path, kind: str) -> None:
    words = prepare(kind, tmp_path / "file")
    with pytest.raises(OSError) as caught:
        open_private(tmp_path / "file", APPEND)
    assert words in str(caught.value.strerror)
    assert not (tmp_path / "target").is_file() or (tmp_path / "target").read_text() == "of somebody else"


@pytest.mark.parametrize("kind", NO_FILES)
def test_fault_51_log_file_is_opened_nowhere_else(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = prepare(kind, tmp_path / "qmi.log")
    setup = setup_logging(CfgQmi(log_dir=str(tmp_path)), "srv")
    logging.getLogger("test").error("secret")
    setup.uninstall()
    shown = capsys.readouterr().err
    assert "There is no log file" in shown
    assert words in shown
    assert not (tmp_path / "target").is_file() or (tmp_path / "target").read_text() == "of somebody else"


@pytest.mark.parametrize("kind", NO_FILES)
def test_fault_51_output_file_is_opened_nowhere_else(tmp_path: Path, kind: str) -> None:
    words = prepare(kind, tmp_path / "srv_20260102_030405.out")
    with pytest.raises(QMI_RuntimeException, match=words):
        open_output(tmp_path, "srv", "python", now=NOW)
    assert last_lines(tmp_path / "srv_20260102_030405.out") == ""


@pytest.mark.parametrize("kind", NO_FILES)
def test_fault_51_record_and_its_lock_are_opened_nowhere_else(tmp_path: Path, kind: str) -> None:
    records = Records(tmp_path)
    prepare(kind, tmp_path / ".srv.lock")
    with pytest.raises(QMI_RuntimeException, match="guards start and stop"), records.guard("srv"):
        pass
    with records.guard("srv", needed=False):
        pass
    (tmp_path / "b").mkdir()
    prepare(kind, tmp_path / "b" / "srv.json")
    assert Records(tmp_path / "b").read("srv") is None


def test_file_of_another_user_in_a_shared_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_private(path, APPEND)
    tmp_path.chmod(0o755)
    os.close(open_private(path, APPEND))


def test_new_files_and_folders_are_for_this_user_alone(tmp_path: Path) -> None:
    make_private_dirs(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3
    setup = setup_logging(CfgQmi(log_dir=str(tmp_path / "log" / "deep")), "srv")
    setup.uninstall()
    assert (mode(tmp_path / "log"), mode(tmp_path / "log/deep/qmi.log")) == (0o700, 0o600)
    handle, path = open_output(tmp_path, "srv", "python", now=NOW)
    os.close(handle)
    assert mode(path) == 0o600
    records = Records(tmp_path / "home" / ".qmi_proc")
    with records.guard("srv"):
        records.write("srv", Record(1, "", "m", "o"))
    assert {mode(entry) for entry in records.directory.iterdir()} == {0o600}
    assert (mode(tmp_path / "home"), mode(records.directory)) == (0o700, 0o700)


def test_file_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir(mode=0o755)
    (folder / "qmi.log").write_text("before\n")
    (folder / "qmi.log").chmod(0o640)
    config = CfgQmi(log_dir=str(folder), logging=CfgLogging(max_bytes=200, backup_count=2))
    setup = setup_logging(config, "srv")
    for number in range(20):
        logging.getLogger("test").error("a message that fills the file %d", number)
    setup.uninstall()
    assert mode(folder) == 0o755
    assert {entry.name: mode(entry) for entry in folder.iterdir()} == {
        "qmi.log": 0o640, "qmi.log.1": 0o640, "qmi.log.2": 0o640,
    }  # fmt: skip


def test_log_may_go_to_a_device() -> None:
    setup = setup_logging(CfgQmi(log_dir="/dev", logging=CfgLogging(logfile="null")), "srv")
    logging.getLogger("test").error("gone")
    setup.uninstall()


CONFIGS = ["FIFO", "directory", "socket", "dangling link", "link in a circle", "link to a FIFO"]


@pytest.mark.parametrize("way", ["argument", "variable", "home"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_fault_27_configuration_that_is_no_file_is_refused_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    path = home / "qmi.conf"
    prepare(kind, path)
    if way == "variable":
        monkeypatch.setenv("QMI_CONFIG", str(path))
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config(str(path) if way == "argument" else "")
    assert str(path) in str(caught.value)
    words = {
        "dangling link": "which does not exist", "link in a circle": "Too many levels", "link to a FIFO": "a FIFO",
        "directory": "Is a directory",
    }.get(kind, f"it is a {kind}, not a file")  # fmt: skip
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/dev/zero", "a device"),
        ("/dev/null", "a device"),
        ("a\0b", "null"),
        ("x" * 5000, "too long"),
        ("/dev/null/qmi.conf", "does not exist"),
    ],
)
def test_fault_27_odd_names_of_configurations_are_refused(name: str, words: str) -> None:
    with pytest.raises(QMI_ConfigurationException, match=words):
        load_config(name)


def test_fault_27_huge_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qmi.conf"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(QMI_ConfigurationException, match="more than 16777216 bytes"):
        load_config(path)


def test_link_to_a_configuration_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('{"workgroup": "lab"}')
    (tmp_path / "qmi.conf").symlink_to(tmp_path / "real")
    assert load_config(tmp_path / "qmi.conf").workgroup == "lab"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_home_that_cannot_be_searched_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(path: object, *_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("qmi.config.loader.os.stat", refuse)
        with pytest.raises(QMI_ConfigurationException, match=f"cannot be looked for: {error.strerror}"):
            load_config()


def test_home_that_is_not_known_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(QMI_ConfigurationException, match=r"home directory.*is not known"):
        load_config()


def test_reading_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_file(tmp_path / "file", 4)
    os.close(open_to_read(tmp_path / "file"))
