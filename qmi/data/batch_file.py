"""A file that changes by whole batches. HDF5 writes into it; if there is no room for a batch, the file stays as it was.

HDF5 itself leaves a file that nobody can read when a disk is full, and may crash the program when it is closed.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_SUPERBLOCK = 128
"""Bytes at the beginning that say where all else is; they are written last."""


class BatchFile(io.RawIOBase):
    """Collects what is written until ``commit()``. Of one thread.

    Args:
        path: The file. It is made by the first commit.

    Raises:
        OSError: If it cannot be opened, or another program has it open for writing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: IO[bytes] | None = None
        with suppress(FileNotFoundError):
            self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 - closed by close()
        self._size = self._file.seek(0, os.SEEK_END) if self._file is not None else 0
        self._position = 0
        self._end = self._size
        self._kept = self._size  # what of the file itself still counts
        self._writes: list[tuple[int, bytes]] = []
        try:
            self._lock()
        except OSError:
            self.close()
            raise

    def _lock(self) -> None:
        """Keep out other programs that write; those that only read may go on, as HDF5 locks files."""
        if self._file is None:
            return
        if sys.platform != "win32":  # where such locks do not exist
            import fcntl

            try:
                fcntl.flock(self._file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                fcntl.lockf(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise BlockingIOError(
                        errno.EAGAIN, "another program has the file open for writing", str(self._path)
                    ) from None
                # No locks on this file system.

    # -- what HDF5 calls

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The place where it is."""
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what is there with all that was written."""
        view = memoryview(buffer).cast("B")
        start = self._position
        count = max(0, min(len(view), self._end - start))
        view[:count] = bytes(count)
        if self._file is not None and start < self._kept:
            self._file.seek(start)
            done, wanted = 0, min(count, self._kept - start)
            while done < wanted and (got := self._file.readinto(view[done:wanted])):  # type: ignore[attr-defined]
                done += got
        for place, data in self._writes:
            first, last = max(place, start), min(place + len(data), start + count)
            if first < last:
                view[first - start : last - start] = data[first - place : last - place]
        self._position += count
        return count

    def write(self, data: ReadableBuffer) -> int:
        """Keep what is to be written."""
        kept = bytes(data)
        self._writes.append((self._position, kept))
        self._position += len(kept)
        self._end = max(self._end, self._position)
        return len(kept)

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        size = self._position if size is None else size
        self._kept = min(self._kept, size)
        self._writes = [(place, data[: size - place]) for place, data in self._writes if place < size]
        self._end = size
        return size

    # -- what the recorder calls

    def commit(self) -> None:
        """Write all of it.

        Raises:
            OSError: If there is no room for it, or it cannot be written.
        """
        new = self._file is None
        if self._file is None:
            self._file = open(self._path, "x+b", buffering=0)  # noqa: SIM115 - closed by close()
            self._lock()
        try:
            self._reserve(self._file)
        except OSError:
            self._file.truncate(self._size)
            if new:
                self._path.unlink(missing_ok=True)
            raise
        if self._kept < min(self._size, self._end):
            self._file.truncate(self._kept)
        self._file.truncate(self._end)
        # What is new first, then what says where it is: a program that is killed meanwhile leaves the old content.
        zones = ((self._size, self._end), (_SUPERBLOCK, self._size), (0, min(_SUPERBLOCK, self._size)))
        for first, last in zones:
            for place, data in self._writes:
                piece = data[max(first - place, 0) : max(last - place, 0)]
                if piece:
                    self._file.seek(max(place, first))
                    _write_all(self._file, piece)
        os.fsync(self._file.fileno())
        self._writes.clear()
        self._size = self._kept = self._end

    def _reserve(self, file: IO[bytes]) -> None:
        missing = self._end - self._size
        if missing <= 0:
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), self._size, missing)
            return
        file.seek(self._size)
        block = bytes(1 << 20)
        while missing > 0:
            missing -= len(block[:missing])
            _write_all(file, block[: self._end - file.tell()])

    def close(self) -> None:
        """Close it; what was not committed is forgotten."""
        self._writes = []
        if self._file is not None:
            self._file.close()
        super().close()


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
