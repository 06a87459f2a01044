"""What comes live of a file that grows elsewhere, in chunks that say where they begin; and when to read it otherwise.

Nobody keeps the chunks: what is missing can be read from the file itself. Whoever follows says up to where it has
read, and gets what follows; nothing, if it is to wait; or is told to ask. It is told to ask where a chunk is missing,
and after whatever may have made one miss that nobody hears of.

Chunks are put in on the loop, and taken out by whoever follows, in any thread.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable
from struct import Struct, error
from typing import Final

from qmi.runtime.forks import abandon_in_child

_HEAD: Final = Struct(">BQ")
_VERSION: Final = 1
_LOOK: Final = (1 << 64) - 1
MAX_OFFSET: Final = (1 << 62) - 1
OVERHEAD: Final = _HEAD.size
"""Bytes of a message beside its chunk."""
HELD_BYTES: Final = 4 << 20
"""So much waits for whoever follows slowly; what comes beyond is read from the file."""


def write_chunk(offset: int, data: bytes) -> bytes:
    """A chunk as it is published: bytes of the file from an offset on. Without any, it says how far the file is."""
    return _HEAD.pack(_VERSION, offset) + data


LOOK: Final = _HEAD.pack(_VERSION, _LOOK)
"""What is published in place of a chunk where nothing more comes: whoever follows is to ask."""


class Tail:
    """What comes of one file.

    Args:
        name: Which file; for whoever makes it.
    """

    def __init__(self, name: str = "") -> None:
        self.name: str = name
        self._mutex = threading.Lock()
        self._chunks: list[tuple[int, bytes]] = []  # by their offsets
        self._held = 0
        self._reach = 0  # what comes from here on comes live
        self._is_disturbed = False
        self._wake: Callable[[], object] | None = None
        abandon_in_child(self)

    def abandon(self) -> None:
        """This is a forked child, in which nothing comes; the loop of its parent may have held the mutex."""
        self._mutex = threading.Lock()
        self._is_disturbed = True

    # On the loop

    def put(self, message: bytes) -> None:
        """A message has come; one that makes no sense is ignored."""
        try:
            version, offset = _HEAD.unpack_from(message)
        except error:
            return
        if version != _VERSION or (offset > MAX_OFFSET and offset != _LOOK):
            return
        if offset == _LOOK:
            self.disturb()
            return
        data = message[OVERHEAD:]
        with self._mutex:
            self._reach = max(self._reach, offset + len(data))
            if self._held + len(data) > HELD_BYTES:
                self._chunks.clear()
                self._held = 0
            elif data:
                insort(self._chunks, (offset, data))
                self._held += len(data)
        self._notify()

    def disturb(self) -> None:
        """Something may be missing: whoever follows is to ask, and to make another tail. In any thread."""
        with self._mutex:
            self._is_disturbed = True
        self._notify()

    def _notify(self) -> None:
        with self._mutex:
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    # For whoever follows

    @property
    def is_disturbed(self) -> bool:
        """Whether something may be missing."""
        return self._is_disturbed

    def begin(self, offset: int) -> None:
        """The file is so far: what comes from there on comes live."""
        with self._mutex:
            self._reach = max(self._reach, offset)

    def take(self, offset: int) -> bytes | None:
        """What follows an offset: some bytes; none, if they are still to come; or None, if they are to be asked for."""
        with self._mutex:
            while self._chunks and self._chunks[0][0] <= offset:
                begin, data = self._chunks.pop(0)
                self._held -= len(data)
                if begin + len(data) > offset:
                    return data[offset - begin :]
            if self._is_disturbed or offset < self._reach:
                return None
            return b""

    def call_at_next(self, offset: int, wake: Callable[[], object]) -> None:
        """Have a function called once, when there is more to take; at once, if it has come since the last look.

        Args:
            offset: Up to where it was taken.
            wake: The function.
        """
        with self._mutex:
            if not self._chunks and not self._is_disturbed and offset >= self._reach:
                self._wake = wake
                return
        wake()
