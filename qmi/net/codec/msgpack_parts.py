"""Arrays of MessagePack within packed lists: msgspec writes and reads an item in a third of the time that CBOR takes.

A long list becomes several arrays, between which other threads have the interpreter. Each decoder takes nothing but the
kinds of items that it is for. So what an array announces bounds how many containers there are, and how many bytes it
has bounds the rest, before any of it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, TypeAlias, TypeVar

from msgspec import DecodeError, msgpack

from qmi.net.codec.rows import Malformed, Memory, typed
from qmi.net.codec.tags import MAX_TEXT_BYTES

T = TypeVar("T")

Scalar: TypeAlias = bool | int | float | str | None
PART = 10_240
"""So many items are written and read at a time, which takes less than a millisecond. What is written of them is memory
that is used again and again; of more it would be new memory of the system's."""
_MOST = 1 << 16
"""And no more are read at a time, whoever has written them: a few milliseconds."""
_write = msgpack.Encoder().encode


def write(value: object) -> bytes | None:
    """Return MessagePack; None if msgspec refuses the value, as integers beyond 64 bits, or subclasses of scalars.

    Containers and members of enums are written as if they were arrays, maps and plain values: their types are for the
    caller to look at.
    """
    try:
        return _write(value)
    except Exception:  # noqa: BLE001 - also what a member of an enum raises that is asked for its value
        return None


def parts_of(values: Sequence[T], size: int = PART) -> Iterable[list[T]]:
    """Return lists of at most so many items."""
    if len(values) <= size:
        return (values if type(values) is list else list(values),)
    cut = ((values[begin : begin + size]) for begin in range(0, len(values), size))
    return cut if type(values) is list else map(list, cut)  # type: ignore[return-value]


def write_parts(values: Sequence[object], size: int = PART, largest: int = MAX_TEXT_BYTES) -> list[bytes] | None:
    """Write each part, of at most so many items; None if one of them is refused, or has more than so many bytes."""
    parts = []
    for part in parts_of(values, size):
        data = write(part)
        if data is None or len(data) > largest:
            return None
        parts.append(data)
    return parts


def join(parts: Sequence[bytes]) -> tuple[list[int] | None, bytes]:
    """Return the lengths of the parts, None if there is just one, and all of them together."""
    return (None, parts[0]) if len(parts) == 1 else (list(map(len, parts)), b"".join(parts))


def cut(lengths: object, data: Memory) -> list[memoryview]:
    """Cut into parts what :func:`join` has joined."""
    view = memoryview(data)
    if lengths is None:
        return [view]
    sizes = typed(lengths, list)
    if set(map(type, sizes)) != {int} or min(sizes) < 1 or sum(sizes) != len(view):
        raise Malformed("the parts of a packed list do not have as many bytes as there are")
    return [view[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def announced(part: memoryview) -> int:
    """Return the length that an array or map announces: it has at least a byte for each item, or this is refused."""
    head = part[0] if part else 0
    if head & 0xE0 == 0x80:
        size = head & 0x0F
    elif 0xDC <= head <= 0xDF:
        size = int.from_bytes(part[1 : 3 + 2 * (head & 1)])
    else:
        raise Malformed("packed scalars are no list")
    if size >= len(part) or size > _MOST or len(part) > MAX_TEXT_BYTES:
        raise Malformed("packed scalars are not as many as they should be, or too many to be read at once")
    return size


def read(decode: Callable[[memoryview], T], part: memoryview) -> T:
    """Read one part.

    Raises:
        Malformed: If it is not what the decoder is for.
    """
    try:
        return decode(part)
    except (DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"packed scalars cannot be read: {error}") from None


def read_all(decode: Callable[[memoryview], list[Any]], parts: Sequence[memoryview]) -> list[Any]:
    """Read all parts of a list."""
    found = read(decode, parts[0])
    for part in parts[1:]:
        found += read(decode, part)
    return found
