"""A file that changes by whole batches behaves as any other, and not at all when there is no room."""

from __future__ import annotations

import errno
import io
import os
import random
from pathlib import Path
from typing import Any

import pytest

from qmi.data.batch_file import BatchFile


def test_batches_are_as_a_plain_file(tmp_path: Path) -> None:
    chance = random.Random(8)
    plain, path = io.BytesIO(), tmp_path / "file"
    for _ in range(20):
        with BatchFile(path) as batches:
            for _ in range(30):
                place, count = chance.randrange(3000), chance.randrange(1, 500)
                kind = chance.random()
                for file in (plain, batches):
                    file.seek(place)
                if kind < 0.5:
                    data = chance.randbytes(count)
                    assert plain.write(data) == batches.write(data)
                elif kind < 0.9:
                    assert plain.read(count) == batches.read(count)
                else:
                    size = chance.randrange(3000)
                    # The plain one is made longer by hand: in memory it would not be.
                    plain.truncate(size)
                    batches.truncate(min(size, batches.seek(0, os.SEEK_END)))
                if chance.random() < 0.1:
                    batches.commit()
            batches.commit()
        assert path.read_bytes() == plain.getvalue()


def test_batch_that_is_not_committed_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with BatchFile(path) as batches:
        batches.write(b"abc")
    assert not path.exists()


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("allocates", [False, True])
def test_batch_without_room_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, allocates: bool
) -> None:
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"x" * 1000)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if allocates:
        monkeypatch.setattr(os, "posix_fallocate", full)
    else:
        monkeypatch.delattr(os, "posix_fallocate")
        monkeypatch.setattr("qmi.data.batch_file._write_all", full)
    with BatchFile(path) as batches:
        batches.write(b"y" * 2000)
        with pytest.raises(OSError, match="No space left"):
            batches.commit()
    assert (path.read_bytes() if path.exists() else None) == (b"x" * 1000 if there else None)


def test_file_grows_where_nothing_can_be_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    with BatchFile(tmp_path / "file") as batches:
        batches.seek(3 << 20)
        batches.write(b"abc")
        batches.commit()
    assert (tmp_path / "file").read_bytes() == bytes(3 << 20) + b"abc"


@pytest.mark.skipif(os.name == "nt", reason="no such locks")
def test_file_that_another_program_writes_is_refused(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "file"
    path.write_bytes(b"x")
    with open(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # one that reads is no hindrance
        BatchFile(path).close()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another program has the file open for writing"):
            BatchFile(path)
