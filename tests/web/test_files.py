"""The files that the server writes: whole or not at all, and nothing beside them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

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
