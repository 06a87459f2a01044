"""How much memory a frame may become, estimated from its bytes in a fraction of the time that decoding takes."""

from __future__ import annotations

import mmap
import sys
from functools import lru_cache
from typing import NamedTuple

from qmi.net.codec.budget import FEW_ITEMS, TEXT_FORM, FewItems, weigh_few
from qmi.net.codec.columns import TablesAhead, table_ahead, tables_ahead
from qmi.net.codec.tags import Own

CHEAP = 1024
"""A body of up to so many bytes does not count."""
LARGE_BODY = 1 << 14
"""Decoding a body of more bytes takes so long that nobody else is to wait for it, unless few long items are in it."""
_MANY_TAGS = 100
"""So do more named values, errors and the like: each of them is made by Python code."""
_LARGE_LISTS = 1 << 19
"""So do packed lists of more bytes."""
_VERY_LARGE_LISTS = 1 << 22
"""And long texts of so many, which take a tenth of the time."""
_ITEMS_OF_HEAD = 4
"""A list, kind and number are in front of a payload, and one to spare."""
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
"""For how many a byte of packed bools, and of numbers of other sizes, may."""
_PER_TEXT = 30
"""For how many a byte of packed texts, bytes and mixed scalars may: one letter that is not Latin takes up 76."""
_PER_NUMBER = 5
"""For how many a byte of packed numbers of 64 bits, or of a long text, may, itself included."""
_PER_NESTED = 80
"""For how many a byte of packed rows with containers in them may, or of what is not known here."""
_FACTORS = {
    **dict.fromkeys(("d", "q", TEXT_FORM), _PER_NUMBER), **dict.fromkeys("i?zb", _PER_ITEM),
    **dict.fromkeys("smBR", _PER_TEXT), **dict.fromkeys("nD", _PER_SCALAR),
}  # fmt: skip
_PER_CONTAINER = 80
_MOST_CONTAINERS = 40 << 20
"""What the limit of objects in a frame leaves, by default; so does the next."""
_MOST_SCALARS = 160 << 20
_MOST_ROWS = 64 << 20
_CONTAINERS = bytes(range(0x80, 0xC0))
_MANY_BYTES = 4096
_NO_TABLES = TablesAhead()
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


class Foreseen(NamedTuple):
    """A frame, and what its body shows at a glance, which several functions here ask for.

    Attributes:
        body: Its body.
        segments: Bytes in its segments.
        few: What is in the body if it has few items, None for any other.
        ahead: What its tables will be.
    """

    body: bytes | bytearray
    segments: int
    few: FewItems | None
    ahead: TablesAhead


def foresee(body: bytes | bytearray, segments: int, most: int = FEW_ITEMS) -> Foreseen:
    """Look at a frame.

    Args:
        body: Its body.
        segments: Bytes in its segments.
        most: How many items are few.
    """
    few = weigh_few(body, most)
    if few is None:
        return Foreseen(body, segments, None, tables_ahead(body))
    ahead = _NO_TABLES
    for place in few.tables:
        more = table_ahead(body, place)
        ahead = TablesAhead(ahead.rows + more.rows, ahead.memory + more.memory)
    return Foreseen(body, segments, few, ahead)


def costs_of(frame: Foreseen) -> Cost:
    """Estimate how much memory a frame becomes at most."""
    body, segments, few, ahead = frame
    if few is not None:
        return _cost(few.containers, ahead.memory, _factor(few.forms), len(body), segments)
    packed, texts = body.count(_PACKED), body.count(_TEXT)
    forms = "".join(form for form in _FACTORS if body.count(_FORM + form.encode())) if packed else ""
    known = sum(body.count(_FORM + form.encode()) for form in forms)
    factor = _factor(forms + TEXT_FORM * bool(texts) + " " * (packed > known))
    return _cost(count_containers(body), ahead.memory, factor, len(body), segments)


@lru_cache(256)
def _factor(forms: str) -> int:
    """For how many bytes of memory a byte of these packed lists may stand; 0 if there is none."""
    return max((_FACTORS.get(form, _PER_NESTED) for form in forms), default=0)


def _cost(containers: int, rows: int, factor: int, body: int, segments: int) -> Cost:
    values = min(_PER_CONTAINER * containers, _MOST_CONTAINERS) + min(rows, _MOST_ROWS)
    if not factor:
        return Cost(values + _PER_BYTE * body, segments)
    if factor == _PER_NUMBER:
        return Cost(values + _PER_BYTE * body + _PER_NUMBER * segments)
    return Cost(values + min(factor * (body + segments), _MOST_SCALARS) + segments)


def cost_of(payload: bytes, segments: int) -> int:
    """Estimate how much memory a message becomes at most, arrays included: no less than its receiver will find.

    There a few items are in front of it: what has few items there may have many here, but not the other way round.
    """
    return costs_of(foresee(payload, segments, FEW_ITEMS - _ITEMS_OF_HEAD)).total


def is_slow(frame: Foreseen) -> bool:
    """Whether decoding a frame takes so long that nobody else is to wait for it."""
    body, segments, few, ahead = frame
    if ahead.rows > _MANY_ROWS:
        return True
    if few is not None:
        if len(body) > _LONG_BODY or segments > _VERY_LARGE_LISTS:
            return len(body) > _LONG_BODY or bool(few.forms)
        return segments > _LARGE_LISTS and bool(few.forms.strip(TEXT_FORM))
    if len(body) > LARGE_BODY or (segments > _LARGE_LISTS and _PACKED in body):
        return True
    return len(body) - len(body.translate(None, _TAGS)) > _MANY_TAGS


def is_very_slow(frame: Foreseen) -> bool:
    """Whether it takes so long that it must not be done for several links at the same time."""
    body, segments, _, ahead = frame
    if len(body) > _LONG_BODY or (segments > _LARGE_LISTS and _PACKED in body):
        return True
    return ahead.rows > _VERY_MANY_ROWS


def is_affordable(body: int) -> bool:
    """Whether there is address space for what a body of so many bytes may become.

    The decoder ends the whole program when it gets none. This only asks, and gives back at once what it got.
    """
    try:
        mmap.mmap(-1, _PER_BYTE * body + min(_PER_CONTAINER * body, _MOST_CONTAINERS)).close()
    except (MemoryError, OSError, ValueError):
        return False
    return True
