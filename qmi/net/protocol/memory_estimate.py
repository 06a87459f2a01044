"""How much memory a frame may become, estimated from its bytes in a fraction of the time that decoding takes."""

from __future__ import annotations

import mmap
import sys
from typing import NamedTuple

from qmi.net.codec.budget import FEW_ITEMS, TEXT_FORM, weigh_few
from qmi.net.codec.columns import table_ahead, tables_ahead
from qmi.net.codec.tags import Own

CHEAP = 1024
"""A body of up to so many bytes does not count."""
LARGE_BODY = 1 << 14
"""Decoding a body of more bytes takes so long that nobody else is to wait for it, unless few long items are in it."""
_MANY_TAGS = 100
"""So do more named values, errors and the like: each of them is made by Python code."""
_LARGE_LISTS = 1 << 19
"""So do packed lists of more bytes."""
_MANY_ROWS = 1 << 13
"""So do more rows of tables."""
_VERY_MANY_ROWS = 1 << 16
"""So many are decoded for one link at a time."""
_LONG_BODY = 1 << 16
"""A thread that reads a link leaves a larger body to the loop, which has one decoded at a time."""
_PER_BYTE = 17
"""For how many bytes of memory a byte of CBOR may stand that begins no container: three bytes of text take up 51."""
_PER_SCALAR = 40
"""For how many a byte of packed numpy scalars may."""
_PER_ITEM = 20
"""For how many a byte of packed texts, bools and mixed scalars may."""
_PER_NUMBER = 5
"""For how many a byte of packed numbers of 64 bits, or of a long text, may, itself included."""
_PER_CONTAINER = 80
_MOST_CONTAINERS = 40 << 20
"""What the limit of objects in a frame leaves, by default; so does the next."""
_MOST_SCALARS = 160 << 20
_MOST_ROWS = 64 << 20
_CONTAINERS = bytes(range(0x80, 0xC0))
_MANY_BYTES = 4096
_TAGS = bytes(range(0xC0, 0xDC))
_PACKED = Own.PACKED.to_bytes(2)
_TEXT = Own.TEXT.to_bytes(2)
_FORM = b"\xd9" + _PACKED + b"\x83\x61"


class Cost(NamedTuple):
    """Bytes of memory.

    Attributes:
        values: What CBOR and packed lists become.
        arrays: Arrays and ``bytes``, which take up what was sent.
    """

    values: int = 0
    arrays: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.values + self.arrays


def count_containers(body: bytes | bytearray) -> int:
    """Return how many bytes could be the head of a list or dict: those from 0x80 to 0xBF."""
    numpy = sys.modules.get("numpy") if len(body) >= _MANY_BYTES else None
    if numpy is not None and hasattr(numpy, "count_nonzero"):  # else another thread is just importing it
        return int(numpy.count_nonzero(numpy.frombuffer(body, "i1") < -64))  # the same in a fraction of the time
    return len(body) - len(body.translate(None, _CONTAINERS))


def costs_of(body: bytes | bytearray, segments: int) -> Cost:
    """Estimate how much memory a frame becomes at most.

    Args:
        body: Its body.
        segments: Bytes in its segments.
    """
    few = weigh_few(body) if len(body) >= _MANY_BYTES else None
    if few is not None:
        numbers, others = _count_forms(few.forms)
        rows = sum(table_ahead(body, place).memory for place in few.tables)
        return _cost(FEW_ITEMS, rows, len(few.forms), numbers, others, len(body), segments)
    packed, texts = body.count(_PACKED), body.count(_TEXT)
    numbers = sum(body.count(_FORM + form) for form in (b"d", b"q")) if packed else 0
    packed, numbers = packed + texts, numbers + texts
    others = sum(body.count(_FORM + form) for form in (b"s", b"c", b"?", b"z")) if packed > numbers else 0
    return _cost(count_containers(body), tables_ahead(body).memory, packed, numbers, others, len(body), segments)


def _count_forms(forms: str) -> tuple[int, int]:
    return sum(map(forms.count, ("d", "q", TEXT_FORM))), sum(map(forms.count, "sc?z"))


def _cost(containers: int, rows: int, packed: int, numbers: int, others: int, body: int, segments: int) -> Cost:
    values = min(_PER_CONTAINER * containers, _MOST_CONTAINERS) + min(rows, _MOST_ROWS)
    if not packed:
        return Cost(values + _PER_BYTE * body, segments)
    if packed == numbers:
        return Cost(values + _PER_BYTE * body + _PER_NUMBER * segments)
    factor = _PER_ITEM if packed == numbers + others else _PER_SCALAR
    return Cost(values + min(factor * (body + segments), _MOST_SCALARS) + segments)


def cost_of(body: bytes | bytearray, segments: int) -> int:
    """Estimate how much memory a frame becomes at most, arrays included; see :func:`costs_of`."""
    return costs_of(body, segments).total


def is_slow(body: bytes | bytearray, segments: int) -> bool:
    """Whether decoding a frame takes so long that nobody else is to wait for it.

    Args:
        body: Its body.
        segments: Bytes in its segments.
    """
    few = weigh_few(body) if len(body) >= _MANY_BYTES else None
    if few is not None:
        if sum(table_ahead(body, place).rows for place in few.tables) > _MANY_ROWS:
            return True
        return len(body) > _LONG_BODY or (segments > _LARGE_LISTS and bool(few.forms))
    if (segments > _LARGE_LISTS and _PACKED in body) or tables_ahead(body).rows > _MANY_ROWS:
        return True
    if len(body) > LARGE_BODY:
        return True
    return len(body) - len(body.translate(None, _TAGS)) > _MANY_TAGS


def is_very_slow(body: bytes | bytearray, segments: int) -> bool:
    """Whether it takes so long that it must not be done for several links at the same time.

    Args:
        body: Its body.
        segments: Bytes in its segments.
    """
    if len(body) > _LONG_BODY or (segments > _LARGE_LISTS and _PACKED in body):
        return True
    return tables_ahead(body).rows > _VERY_MANY_ROWS


def is_affordable(body: int) -> bool:
    """Whether there is address space for what a body of so many bytes may become.

    The decoder ends the whole program when it gets none. This only asks, and gives back at once what it got.
    """
    try:
        mmap.mmap(-1, _PER_BYTE * body + min(_PER_CONTAINER * body, _MOST_CONTAINERS)).close()
    except (MemoryError, OSError, ValueError):
        return False
    return True
