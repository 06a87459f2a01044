"""How many objects a body of CBOR would become, counted before the first of them is made.

A few bytes of CBOR can stand for an object of hundreds of bytes (an empty dict takes one byte on the wire and 64 in
memory). Both sides count with this module: the sender refuses what the receiver would refuse. Numbers and texts in the
body itself cost nothing here, since their number is bounded by the size of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qmi.net.codec.tags import COLUMN_MAJOR, NEGATIVE_BIGINT, POSITIVE_BIGINT, ROW_MAJOR, SET, Own

CONTAINER = 8
"""What a list or dict counts. The unit is about ten bytes of memory."""
TAGGED = 12
WEIGHTS: dict[int, int] = {
    Own.TUPLE: 0, ROW_MAJOR: 8, COLUMN_MAJOR: 8, SET: 24, Own.FROZENSET: 24, Own.DICT: 16, Own.MAPPING_PROXY: 8,
    Own.SEGMENT: 8, Own.BYTES: 0, Own.TEXT: 0, Own.ARRAY: 24, Own.ENUM: 40, Own.NAMED_TUPLE: 40, Own.DATACLASS: 40,
    Own.EXCEPTION: 120, Own.PERSISTENT: 800,
}  # fmt: skip
"""What a tag counts, besides the list in it; all others count ``TAGGED``."""
MAX_PER_BYTE = 256
_CONTAINERS = bytes(range(0x80, 0xC0))
_SMALL_TAGS = bytes(range(0xC0, 0xD9))
_WIDE_TAGS = b"\xda\xdb"
_OWN = {tag: b"\xd9" + tag.to_bytes(2) for tag in Own}
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}


class NotWellFormed(ValueError):
    """Bytes that are not exactly one item of CBOR."""


def is_within(body: bytes | bytearray, limit: int) -> bool:
    """Whether the body becomes at most so many objects.

    Raises:
        NotWellFormed: If it is not exactly one item of CBOR, or has items of indefinite length. Not every such body is
            noticed: the decoder finds the others.
    """
    if len(body) * MAX_PER_BYTE <= limit:
        return True
    if (few := weigh_few(body)) is not None:
        return few[0] <= limit
    if _at_most(body, limit) <= limit:
        return True
    return weigh(body, limit) <= limit


FEW_ITEMS = 96
_BIG_INTEGERS = (POSITIVE_BIGINT, NEGATIVE_BIGINT)


class FewItems(NamedTuple):
    """What is in a body of few items.

    Attributes:
        objects: What :func:`weigh` returns.
        containers: How many lists and dicts there are.
        tags: How many tags there are.
        forms: The form of each packed list, and what stands for each long text.
        tables: Where the payload of each table begins, or of rows of scalars.
    """

    objects: int
    containers: int
    tags: int
    forms: str
    tables: Sequence[int]


def weigh_few(body: bytes | bytearray, most: int = FEW_ITEMS) -> FewItems | None:
    """Look at a body that is well-formed and has few items, long integers not among them.

    A large one is nearly all text and packed lists, which take longer to look through than to decode.

    Args:
        body: CBOR.
        most: How many items are few.

    Returns:
        What is in it; None for any other body.
    """
    place, left, size = 0, 1, len(body)
    containers = 0
    tags: list[tuple[int, int]] = []
    try:
        for _ in range(most):
            head = body[place]
            major, argument, place = head >> 5, head & 0x1F, place + 1
            if argument > 23:
                width = _WIDTHS[argument]
                argument, place = int.from_bytes(body[place : place + width]), place + width
            left -= 1
            if major in (2, 3):
                place += argument
            elif major in (4, 5):
                left += argument << (major - 4)
                containers += 1
            elif major == 6:
                left += 1
                tags.append((argument, place))
            if not left or left > most:
                break
    except (KeyError, IndexError):  # no head, or it ends too early
        return None
    return None if left or place != size else _few_items(body, containers, tags)


def _few_items(body: bytes | bytearray, containers: int, tags: list[tuple[int, int]]) -> FewItems | None:
    objects, forms, tables = containers * CONTAINER, "", []
    for tag, place in tags:
        if tag in _BIG_INTEGERS:
            return None
        objects += WEIGHTS.get(tag, TAGGED)
        if tag == Own.PACKED:
            form = chr(body[place + 2]) if body.startswith(_FORM, place) else _OTHER_FORM
            forms += form
            if form in _WITH_ROWS:
                tables.append(place)
        elif tag == Own.TEXT:
            forms += TEXT_FORM
        elif tag == Own.COLUMNS:
            tables.append(place)
    return FewItems(objects, containers, len(tags), forms, tables)


_FORM = b"\x83\x61"
"""How the payload of a packed list begins, before the letter of its form."""
_OTHER_FORM = " "
_WITH_ROWS = "RN "
"""The form of rows of scalars, and what may be that, written in another way."""
TEXT_FORM = "T"
"""Stands for a long text, which is none of them."""
_HEAVIEST = max(WEIGHTS.values())


def _at_most(body: bytes | bytearray, limit: int) -> int:
    """Return an upper bound in a fraction of the time: every byte that could be the head of something counts as one."""
    size = len(body)
    found = CONTAINER * (size - len(body.translate(None, _CONTAINERS)))
    found += TAGGED * (size - len(body.translate(None, _SMALL_TAGS)))
    found += _HEAVIEST * (size - len(body.translate(None, _WIDE_TAGS)))
    left = body.count(b"\xd9")
    if found + _HEAVIEST * left <= limit:
        return found + _HEAVIEST * left
    for tag, start in _OWN.items():
        count = body.count(start)
        left -= count
        found += WEIGHTS.get(tag, TAGGED) * count
    return found + 24 * max(left, 0)


def _make_steps() -> list[int]:
    """For each head: the length of an item without anything behind it; 0 where one must look closer."""
    steps = [0] * 256
    for major in (0, 1, 7):
        for low in range(24):
            steps[major << 5 | low] = 1
        for low, width in _WIDTHS.items():
            steps[major << 5 | low] = 1 + width
    for low in range(24):
        steps[0x40 | low] = steps[0x60 | low] = 1 + low
    return steps


_STEPS = _make_steps()


def weigh(body: bytes | bytearray, limit: int | None = None) -> int:
    """Count the objects that a body becomes; stops early above the limit.

    Raises:
        NotWellFormed: If it is not exactly one item of CBOR, or has items of indefinite length.
    """
    steps, size = _STEPS, len(body)
    place, left, found = 0, 1, 0
    while left and place < size:
        head = body[place]
        step = steps[head]
        if step:
            place += step
            left -= 1
            continue
        major, argument, place = read_head(body, place)
        left -= 1
        if major in (2, 3):
            place += argument
        elif major in (4, 5):
            left += argument << (major - 4)
            found += CONTAINER
        elif major == 6:
            left += 1
            found += WEIGHTS.get(argument, TAGGED)
        if left > size - place and left > 0:
            raise NotWellFormed("it ends too early")
        if limit is not None and found > limit:
            return found
    if left or place != size:
        raise NotWellFormed("it ends too early" if left or place > size else "something follows it")
    return found


def read_head(body: bytes | bytearray, place: int) -> tuple[int, int, int]:
    """Return major type, argument, and where the head ends."""
    head = body[place]
    low = head & 0x1F
    if low < 24:
        return head >> 5, low, place + 1
    width = _WIDTHS.get(low)
    if width is None:
        raise NotWellFormed(f"an item begins with {head:#04x}")
    end = place + 1 + width
    if end > len(body):
        raise NotWellFormed("it ends too early")
    return head >> 5, int.from_bytes(body[place + 1 : end]), end


def is_well_formed(body: bytes | bytearray) -> bool:
    """Whether the bytes are exactly one item of CBOR, of definite length all through."""
    try:
        weigh(body)
    except NotWellFormed:
        return False
    return True
