"""What a signal is on its way through a site: a head that rules can be applied to, and the signal as links send it.

The head says which publisher it is (its *incarnation*: a context that was started again is another one), the number of
the signal, when it was published, and its *floor*: a sequence number of the servers' stream that all signals published
from then on are above. With it, whoever misses signals knows from where to read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from struct import Struct, error
from typing import Final, NamedTuple

_HEAD: Final = Struct(">BB8sQdQ")
_COUNT: Final = Struct(">I")
_VERSION: Final = 1
MAX_SEGMENTS: Final = 1024
OVERHEAD: Final = _HEAD.size
"""Bytes of the head."""
MAX_NUMBER: Final = (1 << 62) - 1


class Form(IntEnum):
    """What follows the head."""

    PLAIN = 0
    """The signal."""
    SEGMENTS = 1
    """The signal, and large buffers in it."""
    LARGE = 2
    """The signal is too large for a site: the incarnations that were sent it by their links."""
    END = 3
    """Nothing: its object was removed, and the number is that of a signal that never came."""


class Envelope(NamedTuple):
    """A signal on its way.

    Attributes:
        form: What its body is.
        incarnation: Who published it.
        number: Counts the signals of this name of this publisher.
        timestamp: When it was published, as seconds since the epoch.
        floor: What the sequence numbers of later signals are above.
        body: The signal, as its form says.
    """

    form: Form
    incarnation: str
    number: int
    timestamp: float
    floor: int
    body: bytes = b""

    def to_bytes(self) -> bytes:
        """The same as bytes."""
        head = _HEAD.pack(_VERSION, self.form, bytes.fromhex(self.incarnation), self.number, self.timestamp, self.floor)
        return head + self.body


def plain_head(incarnation: bytes, number: int, timestamp: float, floor: int) -> bytes:
    """The head of a plain signal, as :meth:`Envelope.to_bytes` makes it, for what is published often."""
    return _HEAD.pack(_VERSION, 0, incarnation, number, timestamp, floor)


def from_bytes(data: bytes) -> Envelope | None:
    """Take bytes apart; None if they are no signal."""
    try:
        version, form, incarnation, number, timestamp, floor = _HEAD.unpack_from(data)
        found = Form(form)
    except (error, ValueError):
        return None
    if version != _VERSION or number > MAX_NUMBER or not math.isfinite(timestamp):
        return None
    return Envelope(found, incarnation.hex(), number, timestamp, floor, data[_HEAD.size :])


def join_segments(payload: bytes, segments: Sequence[memoryview]) -> bytes:
    """The body of a signal with large buffers."""
    sizes = [len(payload), *(segment.nbytes for segment in segments)]
    head = b"".join(map(_COUNT.pack, [len(segments), *sizes]))
    return b"".join([head, payload, *segments])


def split_segments(body: bytes) -> tuple[bytes, list[memoryview]] | None:
    """Take such a body apart; None if it is none. The buffers are memory of their own."""
    place = _COUNT.size
    if len(body) < place:
        return None
    (count,) = _COUNT.unpack_from(body)
    after = place + (count + 1) * _COUNT.size
    if not 1 <= count <= MAX_SEGMENTS or len(body) < after:
        return None
    sizes = [_COUNT.unpack_from(body, place + index * _COUNT.size)[0] for index in range(count + 1)]
    if sum(sizes) != len(body) - after:
        return None
    parts = []
    for size in sizes:
        parts.append(body[after : after + size])
        after += size
    return parts[0], [memoryview(bytearray(part)) for part in parts[1:]]


def join_incarnations(incarnations: Sequence[str]) -> bytes:
    """The body of a signal that is too large."""
    return b"".join(map(bytes.fromhex, incarnations))


def names_incarnation(body: bytes, incarnation: str) -> bool:
    """Whether such a body names an incarnation."""
    wanted = bytes.fromhex(incarnation)
    return any(body[place : place + 8] == wanted for place in range(0, len(body), 8))
