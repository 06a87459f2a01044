"""The log of a run while it lasts: each record is written with one write, and survives whatever ends the program.

What was handed to the kernel survives the end of the program, SIGKILL included. (What survives a power failure is what
the kernel had written to the disk by then, usually all but the last seconds.)
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from qmi.data.file_lock import is_there, try_lock
from qmi.data.record_format import (
    HEAD_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    PAGE,
    Block,
    RecordReader,
    begins_record,
    decoded,
    frame,
    frame_into,
    padding,
)
from qmi.data.row_batches import RowBatch, batches
from qmi.errors import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_RecordingException

_logger = logging.getLogger("qmi.data")

ENDING: Final = ".qmirun"
_PART: Final = 1 << 22
_KEPT: Final = 1 << 24
"""Bytes of a buffer that is kept for the next record."""
_ALIGNED: Final = 1 << 18
"""Bytes of a record from which on its first array begins at a page of the file."""
_FLAGS: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class RunLog:
    """A log that this program has locked, open for writing at its end. One thread at a time may use it.

    Args:
        path: The file.
        fd: The open file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path: Path = path
        self._fd = fd
        self._end = os.fstat(fd).st_size
        self._pending = 0
        self._failure = ""
        self._buffer = memoryview(b"")
        # Who waits for the next write, each once. Those who follow append, from any thread, and then look at the file;
        # whoever has written takes them out of the same list, one by one: both are single steps, so nobody is missed.
        self._waiting: list[Callable[[], object]] = []
        _OPEN.add(self)
        _BY_PATH[path] = self

    @classmethod
    def create(cls, path: Path) -> RunLog | None:
        """Make a log; None if there is one of this name.

        Raises:
            OSError: If no file can be made there.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        except FileExistsError:
            return None
        # Between the two steps a program that recovers may find it without a lock, and take it away as empty.
        if try_lock(fd) and is_there(fd, os.fspath(path)):
            log = cls(path, fd)
            folder = path.parent.parent
            _FOLDERS.pop(folder, None)
            _FOLDERS[folder] = None
            if len(_FOLDERS) > _MANY:
                _FOLDERS.pop(next(iter(_FOLDERS), folder), None)
            try:
                log.write(MAGIC)
            except BaseException:
                log.remove()
                raise
            return log
        os.close(fd)
        return None

    @classmethod
    def take(cls, path: Path) -> RunLog | None:
        """Open a log that nobody writes any more; None if somebody does, or it is gone.

        Raises:
            OSError: If it cannot be opened.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)
        except FileNotFoundError:
            return None
        if try_lock(fd) and is_there(fd, os.fspath(path)):
            return cls(path, fd)
        os.close(fd)
        return None

    def append(self, payload: bytes) -> None:
        """Write a record; when this returns it is in the log.

        Raises:
            QMI_RecordingException: If it cannot be written; the log then ends with the record before.
            QMI_InvalidOperationException: If the log is closed.
            QMI_InvalidValueException: If the record is too large.
        """
        _check_size(len(payload))
        self.write(frame(payload))

    def append_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write a record whose payload comes in parts, such as an array's own memory; it is copied once.

        The copy is what the checksum is made of, and what is written: an array may change meanwhile.

        Raises:
            QMI_RecordingException: If it cannot be written; the log then ends with the record before.
            QMI_InvalidOperationException: If the log is closed.
            QMI_InvalidValueException: If the record is too large.
        """
        size = sum(map(len, parts))
        _check_size(size)
        before = b"" if size < _ALIGNED else padding(self._end, HEAD_SIZE + len(parts[0]))
        total = len(before) + HEAD_SIZE + size
        data = self._room(self._end % PAGE + total)[self._end % PAGE :]
        data[: len(before)] = before
        frame_into(data[len(before) :], parts)
        self.write(data[:total])

    def _room(self, size: int) -> memoryview:
        """A buffer that begins with a page of the memory."""
        if len(self._buffer) >= size:
            return self._buffer
        import numpy

        memory = numpy.empty(size + PAGE, "u1")
        buffer = memory.data[-memory.ctypes.data % PAGE :]
        if size <= _KEPT:
            self._buffer = buffer
        return buffer

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes at the end, all of them or none."""
        if self._fd < 0:
            raise QMI_InvalidOperationException(f"{self.path.name} is closed in this program")
        if self._failure:
            raise QMI_RecordingException(self._failure)
        if self._pending:
            self._settle()
        # Ctrl-C may come at any step from here on; what was written then is found out at the next write.
        self._pending = size = len(data)
        try:
            written = os.write(self._fd, data)
            while written < size:
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            self._fail(error)
        self._end += size
        self._pending = 0
        if self._waiting:
            self._wake()

    def call_at_next_write(self, wake: Callable[[], object]) -> None:
        """Have a function called once, when something more was written or the log is closed; from any thread.

        Args:
            wake: The function. It must be quick, since the measuring program calls it.
        """
        self._waiting.append(wake)
        if self.closed:
            self._wake()

    def forget(self, wake: Callable[[], object]) -> None:
        """Take back :meth:`call_at_next_write`, if that was not called yet."""
        with suppress(ValueError):
            self._waiting.remove(wake)

    def _wake(self) -> None:
        while self._waiting:
            try:
                wake = self._waiting.pop()
            except IndexError:  # somebody else has taken the last one
                return
            wake()

    def _settle(self) -> None:
        """A write was interrupted: it counts if all of it is there, else take away what is there of it."""
        if os.fstat(self._fd).st_size >= self._end + self._pending:
            self._end += self._pending
        else:
            os.ftruncate(self._fd, self._end)
        self._pending = 0

    def _fail(self, error: OSError) -> None:
        self._pending = 0
        with suppress(OSError):  # if that fails too, the torn record is recognised when the log is read
            os.ftruncate(self._fd, self._end)
        self._failure = (
            f"The run has stopped, because {self.path} cannot be written: {error.strerror}. What was added before is "
            "whole. Make room on the disk, then call qmi.data.recover()"
        )
        raise QMI_RecordingException(self._failure) from error

    @property
    def failed(self) -> bool:
        """Whether nothing can be written any more."""
        return bool(self._failure)

    @property
    def closed(self) -> bool:
        """Whether it is closed; in a forked child, all are."""
        return self._fd < 0

    @property
    def is_lost(self) -> bool:
        """Whether somebody has taken the file away, or put another one in its place; what was written is not lost."""
        return self._fd >= 0 and not is_there(self._fd, os.fspath(self.path))

    def put_back(self, path: Path) -> bool:
        """Write the log anew; False if there is a file of that name.

        Args:
            path: The file.

        Raises:
            OSError: If it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        except FileExistsError:
            return False
        try:
            try_lock(fd)
            os.lseek(self._fd, 0, os.SEEK_SET)
            while data := os.read(self._fd, _PART):
                while data:
                    data = data[os.write(fd, data) :]
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        former, self._fd, self.path = self._fd, fd, path
        os.close(former)
        return True

    def remove(self) -> None:
        """Delete the log, whose rows are in the final file.

        On Windows a file cannot be deleted that somebody reads: then it is left to the next recovery.
        """
        if os.name == "nt":  # an open file cannot be deleted there
            self.close()
        try:
            self.path.unlink(missing_ok=True)
        except PermissionError as error:
            _logger.info("%s is left to the next recovery: %s", self.path, error)
        finally:
            self.close()

    def keep_as(self, path: Path) -> None:
        """Keep the log under another name, by which it is no log of a run any more."""
        if os.name == "nt":
            self.close()
        os.replace(self.path, path)
        self.close()

    def close(self) -> None:
        """Close the file, and give its lock back; the log stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        _OPEN.discard(self)
        self._wake()


def _check_size(size: int) -> None:
    if size > MAX_PAYLOAD:
        raise QMI_InvalidValueException(
            f"a row must have at most {MAX_PAYLOAD >> 20} MiB, got {size / (1 << 20):.1f} MiB: make several rows of it"
        )


_OPEN: weakref.WeakSet[RunLog] = weakref.WeakSet()


_FOLDERS: dict[Path, None] = {}
_MANY: Final = 100
_BY_PATH: weakref.WeakValueDictionary[Path, RunLog] = weakref.WeakValueDictionary()


def log_of_this_program(path: Path) -> RunLog | None:
    """The log of a path, if this program writes it."""
    log = _BY_PATH.get(path)
    return None if log is None or log.closed else log


def folders_of_this_program() -> list[Path]:
    """The folders in which this program has recorded runs, the last ones first."""
    return list(_FOLDERS)[::-1]


def _close_in_child() -> None:
    # A child would write into the run of its parent, and keep its lock after the parent's end.
    for log in list(_OPEN):
        log._waiting.clear()  # they are in the parent
        log.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


class LogContents:
    """Reads a log from its beginning; each pass over it reads the file anew.

    Args:
        path: The log.

    Attributes:
        skipped: Bytes that were damaged, with whole records after them; known after a pass.
        torn: Bytes at the end that are no whole record; likewise.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.skipped: int = 0
        self.torn: int = 0

    @property
    def is_cut_short(self) -> bool:
        """Whether all of it is the beginning of a log whose first record was not written to its end."""
        with open(self._path, "rb") as file:
            begin = file.read(len(MAGIC) + HEAD_SIZE)
        left = os.stat(self._path).st_size - len(MAGIC)
        return begins_record(begin, left)

    def __iter__(self) -> Iterator[object]:
        """Each record by itself."""
        for block in self._blocks():
            for index in range(block.count):
                yield decoded(block.payload(index))

    def batches(self) -> Iterator[RowBatch | object]:
        """Rows in batches, everything else record by record."""
        return batches(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        reader = RecordReader()
        with open(self._path, "rb", buffering=0) as file:
            while data := file.read(_PART):
                yield from reader.feed_blocks(data)
        yield from reader.finish_blocks()
        self.skipped, self.torn = reader.skipped, reader.torn
