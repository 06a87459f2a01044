"""Decodes CBOR piece by piece, so that other threads have the interpreter in between.

cbor2 keeps the interpreter for as long as it decodes what it has, up to a second for a large message. What it has to
ask for is read by a function in Python, at whose beginning the interpreter goes to whoever has waited for 5 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import IO, Any, TypedDict, Unpack, cast

from cbor2 import CBORDecoder, loads

_PIECE = 4096
"""How many bytes are decoded at a time; they become at most a few thousand objects."""
SMALL = 1 << 16
"""Up to so many bytes are decoded at once: that takes a few milliseconds."""


class _Pieces:
    """What cbor2 needs of a file to read no more of it than it asks for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._place = offset + {SEEK_SET: 0, SEEK_CUR: self._place, SEEK_END: len(self._data)}[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else self._place + size
        piece = self._data[self._place : end]
        self._place += len(piece)
        return piece


class Options(TypedDict, total=False):
    """Options of cbor2."""

    semantic_decoders: Mapping[int, Callable[[object, bool], object]]
    max_depth: int
    allow_indefinite: bool
    allow_duplicate_keys: bool
    strict_hashable_types: bool


def decode(data: bytes, **options: Unpack[Options]) -> Any:
    """Decode one item of CBOR, as ``cbor2.loads`` does.

    Args:
        data: CBOR.
        options: As of cbor2.

    Raises:
        CBORDecodeError: As of cbor2.
    """
    if len(data) <= SMALL:
        return loads(data, **options)
    return CBORDecoder(cast(IO[bytes], _Pieces(data)), read_size=_PIECE, **options).decode()
