"""Where a message ends, and its commands: quoted texts and binary blocks may hold what would end them elsewhere."""

from __future__ import annotations

MOST_BYTES = 64 * 1024 * 1024
"""How long a message may be; what is longer is dropped."""

_BLANKS = b"\r\n\t \x00"
_QUOTES = (b'"', b"'")


def message_end(data: bytes | bytearray, terminator: bytes, start: int = 0) -> int | None:
    """Where the first message ends, behind its terminator; None if it has not come whole.

    A block of definite length, ``#15hello``, is jumped over, whatever is in it.

    Args:
        data: What has come.
        terminator: What ends a message, not empty.
        start: Where it begins.
    """
    position = start
    while True:
        end = data.find(terminator, position)
        block = data.find(b"#", position)
        if block < 0 or 0 <= end < block:
            return end + len(terminator) if end >= 0 else None
        behind = block_end(data, block)
        if behind is None:
            return None
        position = behind


def block_end(data: bytes | bytearray, start: int) -> int | None:
    """Where the block that begins with a ``#`` ends; behind the ``#`` if it is none; None if it has not come whole."""
    digits = data[start + 1 : start + 2]
    if not digits:
        return None
    if not digits.isdigit() or digits == b"0":
        return start + 1
    size = data[start + 2 : start + 2 + int(digits)]
    if size and not size.isdigit():
        return start + 1
    if len(size) < int(digits):
        return None
    end = start + 2 + len(size) + int(size)
    return end if len(data) >= end else None


def stripped(data: bytes) -> bytes:
    """Data without blanks around them; those at the end stay if they belong to a block."""
    data = data.lstrip(_BLANKS)
    start = data.find(b"#")
    while start >= 0:
        end = block_end(data, start)
        if end is None or (end == len(data) and end > start + 1):
            return data
        start = data.find(b"#", end)
    return data.rstrip(_BLANKS)


def split(message: bytes, separator: bytes) -> list[bytes]:
    """The parts of a message, such as its commands (``;``) or the values behind one (``,``)."""
    parts: list[bytes] = []
    begin = position = 0
    while position < len(message):
        here = message[position : position + 1]
        if here == separator:
            parts.append(message[begin:position])
            begin = position = position + 1
        elif here in _QUOTES:
            end = message.find(here, position + 1)
            position = len(message) if end < 0 else end + 1
        elif here == b"#":
            position = block_end(message, position) or len(message)
        elif here == b"(" and (end := message.find(b")", position)) >= 0:
            position = end + 1
        else:
            position += 1
    parts.append(message[begin:])
    return parts
