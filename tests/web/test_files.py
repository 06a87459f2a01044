"""The files that the server writes: whole or not at all, and nothing beside them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from qmi.data import file_lock
from qmi.errors import QMI_ConfigurationException, QMI_InvalidOperationException
from qmi.web.dashboards import Dashboards
from qmi.web.users import Users

PASSWORD = "correct horse"


WRITERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "a user more": (lambda folder: Users(folder / "users").add("bob", PASSWORD), QMI_ConfigurationException),
    "another password": (lambda folder: Users(folder / "users").add("alice", PASSWORD), QMI_ConfigurationException),
    "a user less": (lambda folder: Users(folder / "users").remove("alice"), QMI_ConfigurationException),
    "a dashboard": (lambda folder: Dashboards(folder).put("a", {"panels": []}), QMI_InvalidOperationException),
    "a new dashboard": (lambda folder: Dashboards(folder).put("b", {"panels": []}), QMI_InvalidOperationException),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is written."""
    folder = tmp_path_factory.mktemp("written")
    Users(folder / "users").add("alice", PASSWORD)
    Dashboards(folder).put("a", {"panels": [{"kind": "value", "text": "lab.psu.voltage"}]})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_leaves_what_was_there_and_nothing_else(
    written: Path, writer: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(written)
    write, error = WRITERS[writer]
    monkeypatch.setattr(os, step, full)
    with pytest.raises(error, match=r"cannot be written: .*No space left on device"):
        write(written)
    assert contents(written) == before


def test_dashboard_that_cannot_be_deleted_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(QMI_InvalidOperationException, match=r"a\.json cannot be deleted"):
        Dashboards(tmp_path).delete("a")


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_link_to_the_file_of_users_stays_one(tmp_path: Path, written: Path) -> None:
    (tmp_path / "users").write_bytes((written / "users").read_bytes())
    (tmp_path / "link").symlink_to("users")
    assert Users(tmp_path / "link").remove("alice")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "users").read_bytes() == b""
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600


PROGRAM = """
import sys
from pathlib import Path
from qmi.web.users import Users
users = Users(Path(sys.argv[1]))
users._hasher = type("Hasher", (), {"hash": lambda hasher, password: "$argon2id$of-" + password})()
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    users.add(f"{sys.argv[2]}{number}", "correct horse")
users.remove(f"{sys.argv[2]}9")
"""


@pytest.mark.slow
def test_users_that_several_programs_add_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "users"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("a", "b", "c")
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        program.communicate("go\n", timeout=60)
    assert [program.returncode for program in programs] == [0, 0, 0]
    assert Users(path).names() == sorted(f"{name}{number}" for name in "abc" for number in range(9))
    assert [each.name for each in path.parent.iterdir()] == ["users"]


def test_user_that_another_program_has_added_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    Users(path).add("alice", PASSWORD)
    first, second = Users(path), Users(path)
    assert (first.names(), second.names()) == (["alice"], ["alice"])  # both have read it
    write, begun, others = Users._write, threading.Event(), threading.Event()

    def write_later(users: Users, hashes: dict[str, str]) -> None:
        if users is first:
            begun.set()
            assert others.wait(20)
        write(users, hashes)

    monkeypatch.setattr(Users, "_write", write_later)
    monkeypatch.setattr("qmi.data.file_lock.time.sleep", lambda seconds: others.set())  # the other one waits now
    thread = threading.Thread(target=first.add, args=("bob", PASSWORD))
    thread.start()
    assert begun.wait(20)
    second.add("carol", PASSWORD)
    thread.join()
    assert Users(path).names() == ["alice", "bob", "carol"]


def test_file_of_users_that_somebody_else_keeps_changing_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users"
    Users(path).add("alice", PASSWORD)
    with file_lock.changing(path):
        shorter = file_lock.changing(path, patience=0.0)
        with pytest.raises(TimeoutError, match=r"has been changing it for 0 s \(it has locked .*\.users\.lock"):
            shorter.__enter__()
        monkeypatch.setattr("qmi.web.users.changing", partial(file_lock.changing, patience=0.0))
        with pytest.raises(QMI_ConfigurationException, match="another program has been changing it"):
            Users(path).remove("alice")
    assert [each.name for each in tmp_path.iterdir()] == ["users"]
