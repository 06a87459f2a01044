"""The bytes of a run's log: records with length and checksum, so that a torn or damaged one is recognised.

A log begins with :data:`MAGIC`; then come records, each framed by :func:`frame`. A record is written with one write. A
program that is killed leaves whole records and at most one torn one at the end. What a failing disk has damaged in the
middle is skipped: the reader looks for the next record that is whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"QMIRUN1\n"
SYNC: Final = b"\xd7QR\n"
"""What each record begins with."""

MAX_PAYLOAD: Final = 1 << 30
"""Bytes of one record at most; a longer one in a log is damage."""

_HEAD: Final = struct.Struct("<4sII")


def frame(payload: bytes) -> bytes:
    """The bytes of a record."""
    size = len(payload)
    return _HEAD.pack(SYNC, size, zlib.crc32(payload, size)) + payload


class RecordReader:
    """Finds the records of a log in its bytes, which may come in parts of any size.

    Attributes:
        whole: How many bytes of the log, from its beginning, are whole records.
        skipped: How many bytes were damaged, and are followed by whole records.
        torn: How many bytes at the end of the log are no whole record; known after :meth:`finish`.
    """

    def __init__(self) -> None:
        self.whole: int = 0
        self.skipped: int = 0
        self.torn: int = 0
        self._buffer = bytearray()
        self._at = 0
        self._passed = 0
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the log, and return the payloads of the records that are whole now."""
        self._buffer += data
        yield from self._records(last=False)
        del self._buffer[: self._at]
        self._passed += self._at
        self._at = 0

    def finish(self) -> Iterator[bytes]:
        """There is no more: return what is whole behind damage, and find out what is torn."""
        yield from self._records(last=True)
        self.torn = self._passed + len(self._buffer) - self.whole

    def _records(self, *, last: bool) -> Iterator[bytes]:
        if not self._begun:
            if len(self._buffer) < len(MAGIC) and not last:
                return
            self._begun = True
            if self._buffer.startswith(MAGIC):
                self._at = self.whole = len(MAGIC)
        while True:
            size = self._size_at(self._at)
            if size is None and not last and self._may_go_on(self._at):
                return
            if size is None:
                following = self._next(self._at, last=last)
                if following is None:
                    return
                self._at = following
                continue
            end = self._at + _HEAD.size + size
            payload = bytes(self._buffer[self._at + _HEAD.size : end])
            self.skipped += self._passed + self._at - self.whole
            self._at = end
            self.whole = self._passed + end
            yield payload

    def _size_at(self, at: int) -> int | None:
        """The size of the whole record that begins here; None if there is none."""
        if len(self._buffer) < at + _HEAD.size:
            return None
        sync, size, checksum = _HEAD.unpack_from(self._buffer, at)
        end = at + _HEAD.size + size
        if sync != SYNC or size > MAX_PAYLOAD or len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view, view[at + _HEAD.size : end] as payload:
            return int(size) if zlib.crc32(payload, size) == checksum else None

    def _may_go_on(self, at: int) -> bool:
        """Whether what is here may be the beginning of a record whose end has not come yet."""
        left = len(self._buffer) - at
        if left < _HEAD.size:
            return SYNC.startswith(bytes(self._buffer[at : at + len(SYNC)]))
        sync, size, _ = _HEAD.unpack_from(self._buffer, at)
        return bool(sync == SYNC and size <= MAX_PAYLOAD and left < _HEAD.size + size)

    def _next(self, at: int, *, last: bool) -> int | None:
        """Where the next record may begin, after damage; None if that is not known yet, or there is none."""
        found = self._buffer.find(SYNC, at + 1)
        if found >= 0:
            return found
        if not last:  # keep what may be the beginning of the mark
            self._at = max(at, len(self._buffer) - len(SYNC) + 1)
        return None
