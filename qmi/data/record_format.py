"""The bytes of a run's log: records with length and checksum, so that a torn or damaged one is recognised.

A log begins with :data:`MAGIC`; then come records, each framed by :func:`frame` or :func:`frame_into`. A record is
written with one write. A program that is killed leaves whole records and at most one torn one at the end. What a
failing disk has damaged in the middle is skipped: the reader looks for the next record that is whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cbor2

try:
    from isal.isal_zlib import crc32  # 1 MiB in 20 µs; zlib, whose checksum is the same, often needs 370
except ImportError:  # not made for this processor
    from zlib import crc32

MAGIC: Final = b"QMIRUN2\n"
SYNC: Final = b"\xd7Q"
"""What each record begins with; two bytes made of its size follow, so that a damaged size is recognised at once."""

_MAGIC_1: Final = b"QMIRUN1\n"
_MARK_1: Final = b"\xd7QR\n"
"""Those of earlier versions, whose records have nothing made of their size."""

MAX_PAYLOAD: Final = 1 << 30
"""Bytes of one record at most; a longer one in a log is damage."""

_HEAD: Final = struct.Struct("<4sII")
_START: Final = struct.Struct("<4sI")
HEAD_SIZE: Final = _HEAD.size
"""Bytes of a record before its payload."""

PAGE: Final = 4096

_PADDING: Final = b"\xa2\x65event\x63pad\x65zeros\x59"
"""In CBOR, an event with a text of bytes; what follows is how many."""

_JOINT: Final = 4096
"""Records with longer payloads are each a block of their own."""


def mark_of(size: int) -> bytes:
    """What a record of a size begins with: another one for each size that differs in one bit."""
    return SYNC + ((size * 0x9E37_79B1 >> 16 ^ 0x0B53) & 0xFFFF).to_bytes(2, "little")


def frame(payload: bytes) -> bytes:
    """The bytes of a record."""
    size = len(payload)
    return _HEAD.pack(mark_of(size), size, crc32(payload, size)) + payload


def frame_into(buffer: memoryview, parts: Sequence[bytes | memoryview]) -> int:
    """Put a record whose payload comes in parts at the beginning of a buffer.

    The checksum is that of the copy: somebody else may change an array while it is recorded.

    Args:
        buffer: Where there is room for the parts and :data:`HEAD_SIZE` bytes.
        parts: The payload, as bytes.

    Returns:
        The size of the record.
    """
    at = HEAD_SIZE
    for part in parts:
        buffer[at : at + len(part)] = part
        at += len(part)
    size = at - HEAD_SIZE
    _HEAD.pack_into(buffer, 0, mark_of(size), size, crc32(buffer[HEAD_SIZE:at], size))
    return at


def padding(end: int, before: int) -> bytes:
    """A record that nobody reads, so that what comes some bytes after it is at a whole page of the file.

    The system takes large arrays faster so, by a tenth of the time.

    Args:
        end: Where the padding is in the file.
        before: Bytes between the padding and what is to be at a page.
    """
    size = -(end + before) % PAGE
    if size < HEAD_SIZE + len(_PADDING) + 2:
        size += PAGE
    content = size - HEAD_SIZE - len(_PADDING) - 2
    return frame(_PADDING + content.to_bytes(2, "big") + bytes(content))


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive whole records of one size.

    Attributes:
        buffer: What they are in.
        start: Where the first one begins.
        size: Bytes of each payload.
        count: How many there are.
    """

    buffer: bytes
    start: int
    size: int
    count: int

    @property
    def stride(self) -> int:
        """From the beginning of a record to that of the next one."""
        return HEAD_SIZE + self.size

    def payload(self, index: int) -> bytes:
        """A copy of the payload of a record."""
        at = self.start + index * self.stride + HEAD_SIZE
        return self.buffer[at : at + self.size]


def decoded(payload: bytes) -> object:
    """What a record has: a row as ``[number, time, value of each column]``, or an event or the head of the run."""
    return cbor2.loads(payload)


def begins_record(log: bytes, size: int) -> bool:
    """Whether a log in which no record is whole is the beginning of one, whose first record was not written to its end.

    Args:
        log: Its first bytes, with the head of the first record.
        size: How many bytes it has after :data:`MAGIC`.
    """
    if not (log.startswith((MAGIC, _MAGIC_1)) or MAGIC.startswith(log)):
        return False
    head = log[len(MAGIC) :]
    if len(head) < HEAD_SIZE:
        return True
    mark, announced, _ = _HEAD.unpack(head)
    return mark in (mark_of(announced), _MARK_1) and size < HEAD_SIZE + announced <= HEAD_SIZE + MAX_PAYLOAD


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
        self._buffer = b""
        self._at = 0
        self._passed = 0
        self._begun = False
        self._is_old = False
        # A long record comes in many parts, which are joined when all of them are there.
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Take the next bytes of the log, and return the payloads of the records that are whole now."""
        if self._add(data):
            yield from self._payloads(last=False)

    def finish(self) -> Iterator[bytes]:
        """There is no more: return what is whole behind damage, and find out what is torn."""
        self._join()
        yield from self._payloads(last=True)
        self.torn = self._passed + len(self._buffer) - self.whole

    def feed_blocks(self, data: bytes | bytearray | memoryview) -> Iterator[Block]:
        """Like :meth:`feed`, without copies of the records."""
        if self._add(data):
            yield from self._blocks(last=False)

    def finish_blocks(self) -> Iterator[Block]:
        """Like :meth:`finish`, without copies of the records."""
        self._join()
        yield from self._blocks(last=True)
        self.torn = self._passed + len(self._buffer) - self.whole

    # What has come

    def _add(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether there is enough for another look."""
        self._parts.append(bytes(data))
        self._missing -= len(data)
        if self._missing > 0:
            return False
        self._join()
        return True

    def _join(self) -> None:
        left = memoryview(self._buffer)[self._at :]
        parts, self._parts = self._parts, []
        self._buffer = b"".join((left, *parts)) if left or len(parts) != 1 else parts[0]
        self._passed += self._at
        self._at = 0
        self._missing = 0

    # What is in it

    def _payloads(self, *, last: bool) -> Iterator[bytes]:
        while (block := self._next_block(last=last)) is not None:
            for index in range(block.count):
                payload = block.payload(index)
                self._pass(block, 1)
                if not payload.startswith(_PADDING):
                    yield payload

    def _blocks(self, *, last: bool) -> Iterator[Block]:
        while (block := self._next_block(last=last)) is not None:
            self._pass(block, block.count)
            yield block

    def _pass(self, block: Block, count: int) -> None:
        self.skipped += self._passed + self._at - self.whole
        self._at += count * block.stride
        self.whole = self._passed + self._at

    def _next_block(self, *, last: bool) -> Block | None:
        """The next records, which :meth:`_pass` goes past; None if there is none yet."""
        if not self._begun:
            if len(self._buffer) < len(MAGIC) and not last:
                return None
            self._begun = True
            if self._buffer.startswith((MAGIC, _MAGIC_1)):
                self._at = self.whole = len(MAGIC)
            self._is_old = not self._buffer.startswith(MAGIC)
        while True:
            size = self._size_at(self._at)
            if size is not None:
                return Block(self._buffer, self._at, size, self._count(self._at, size))
            if not last and self._may_go_on(self._at):
                return None
            following = self._next(self._at, last=last)
            if following is None:
                return None
            self._at = following

    def _size_at(self, at: int) -> int | None:
        """The size of the whole record that begins here; None if there is none."""
        if len(self._buffer) < at + HEAD_SIZE:
            return None
        mark, size, checksum = _HEAD.unpack_from(self._buffer, at)
        end = at + HEAD_SIZE + size
        if not self._is_mark(mark, size) or len(self._buffer) < end:
            return None
        payload = memoryview(self._buffer)[at + HEAD_SIZE : end]
        return int(size) if crc32(payload, size) == checksum else None

    def _count(self, at: int, size: int) -> int:
        """How many whole records of one size there are, one behind the other; the first one is known to be whole."""
        stride = HEAD_SIZE + size
        places = (len(self._buffer) - at) // stride
        if size > _JOINT or places == 1:
            return 1
        count = 1
        start = self._buffer[at : at + _START.size]
        rest = memoryview(self._buffer)[at + stride : at + places * stride]
        for begins, checksum, payload in struct.iter_unpack(f"<{len(start)}sI{size}s", rest):
            if begins != start or crc32(payload, size) != checksum:
                break
            count += 1
        return count

    def _may_go_on(self, at: int) -> bool:
        """Whether what is here may be the beginning of a record whose end has not come yet."""
        left = len(self._buffer) - at
        if left < HEAD_SIZE:
            return SYNC.startswith(self._buffer[at : at + len(SYNC)])
        mark, size, _ = _HEAD.unpack_from(self._buffer, at)
        self._missing = HEAD_SIZE + size - left
        return self._is_mark(mark, size) and self._missing > 0

    def _is_mark(self, mark: bytes, size: int) -> bool:
        """Whether a record of this size begins so."""
        return size <= MAX_PAYLOAD and (mark == mark_of(size) or (self._is_old and mark == _MARK_1))

    def _next(self, at: int, *, last: bool) -> int | None:
        """Where the next record may begin, after damage; None if that is not known yet, or there is none."""
        self._missing = 0
        found = self._buffer.find(SYNC, at + 1)
        if found >= 0:
            return found
        if not last:  # keep what may be the beginning of the mark
            self._at = max(at, len(self._buffer) - len(SYNC) + 1)
        return None
