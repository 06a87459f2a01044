"""Values at the bounds of each field and beyond them, made from the table of bounds, and packets that contain them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from qmi.messages import Acquire, Call, Release, Signal
from qmi.net.codec import Codec
from qmi.net.limits import Buffer
from qmi.net.protocol import bounds
from qmi.net.protocol.bounds import (
    AnError,
    Anything,
    Bound,
    ByName,
    ContextName,
    Exactly,
    Items,
    Maybe,
    Real,
    Text,
    TokenPair,
    Whole,
)
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.packets import _REQUESTS, pack

HUGE = 10**5000
ODD: tuple[Any, ...] = (
    None, True, False, 0, -0.0, -1, 1.5, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1,
    -(2**64) - 1, HUGE, -HUGE, math.nan, math.inf, -math.inf, 1e308, 5e-324, "", "x", "x" * 70_000, "\x00", "\x1b[2J",
    b"", b"x", bytearray(b"x"), [], [None], [HUGE], ["x", HUGE], (), (1,), {}, {"x": HUGE}, {HUGE: 1}, {1: 2}, set(),
    frozenset({HUGE}), KeyError(HUGE), 1j, range(HUGE),
)  # fmt: skip
"""What no field expects, or a few of them do."""


def within(bound: Bound) -> list[Any]:
    """Values at the bounds, as they are sent."""
    if isinstance(bound, Whole):
        return [bound.low, bound.high, (bound.low + bound.high) // 2]
    if isinstance(bound, Real):
        return [bound.low, bound.high, max(bound.low, 1), max(bound.low, 0.5)]
    if isinstance(bound, Text):
        return ["", "x" * bound.longest, "x"]
    if isinstance(bound, ContextName):
        return ["x", "x" * 63]
    if isinstance(bound, Exactly):
        return [bound.kind()]
    if isinstance(bound, Items):
        size = min(bound.longest, 300)
        return [[], [HUGE] if bound.item is None else [within(bound.item)[1]] * size]
    if isinstance(bound, ByName):
        return [{}, {"x": HUGE, within(bound.name)[1]: math.nan}]
    if isinstance(bound, TokenPair):
        return [[text, custom] for text in within(bound.secret) for custom in (True, False)]
    if isinstance(bound, Maybe):
        return [None, *within(bound.bound)]
    if isinstance(bound, AnError):
        return [KeyError("x"), ValueError(HUGE)]
    assert isinstance(bound, Anything)
    return [None, HUGE, {"x": [HUGE]}]


def beyond(bound: Bound) -> list[Any]:
    """Values just outside of the bounds, and such as have nothing to do with the field."""
    near: list[Any] = []
    if isinstance(bound, Whole):
        near = [bound.low - 1, bound.high + 1, float(bound.low)]
    elif isinstance(bound, Real):
        near = [bound.low - 1, math.nextafter(bound.low, -math.inf), int(bound.low) - 1]
        if bound.high < math.inf:
            near += [bound.high + 1, math.nextafter(bound.high, math.inf), int(bound.high) + 1]
    elif isinstance(bound, Text):
        near = ["x" * (bound.longest + 1)]
    elif isinstance(bound, ContextName):
        near = ["x" * 64, "a b", "x\n"]
    elif isinstance(bound, Items):
        near = [(), {}, "xx", [HUGE] * 3] + ([] if bound.item is None else [[value] for value in beyond(bound.item)])
        near += [["x"] * (bound.longest + 1)] if bound.longest < 1 << 20 else []
    elif isinstance(bound, ByName):
        near = [{key: 1} for key in beyond(bound.name) if isinstance(key, (str, int, float))]
    elif isinstance(bound, TokenPair):
        near = [["x"], ["x", True, 1], ["x", 1], *([value, True] for value in beyond(bound.secret))]
    elif isinstance(bound, Maybe):
        near = beyond(bound.bound)
    return [value for value in (*near, *ODD) if not bound.accepts(value)]


def packet(kind: Any, number: Any, payload: Any) -> list[Buffer]:
    """The buffers of a packet with any content, as somebody might send it who keeps to nothing."""
    encoded = Codec().encode([int(kind) if isinstance(kind, Kind) else kind, number, payload])
    return pack(encoded.payload, encoded.segments)


SAMPLES: dict[type, tuple[Any, ...]] = {
    Call: ("bench", "echo", [1], {}, None, []),
    Acquire: ("bench", ["secret", False], 0.0, None, None),
    Release: ("bench", None, None),
    Signal: ("bench", "told", [1], 0, 1.0),
}


def sample(cls: type) -> list[Any]:
    """The fields of a usual message."""
    return list(SAMPLES.get(cls) or ("bench", "told")[: len(bounds.MESSAGES[cls])])


def messages(values: Any) -> Iterator[tuple[str, Kind, list[Any]]]:
    """Each message with each field replaced by each of the values that a function gives for its bound."""
    for cls, fields in bounds.MESSAGES.items():
        kind = Kind.SIGNAL if cls is Signal else Kind.REQUEST
        first = 0 if cls is Signal else _REQUESTS.index(cls)
        for index, field in enumerate(fields):
            for value in values(field.bound):
                content = sample(cls)
                content[index] = value
                yield f"{cls.__name__}.{field.name}", kind, [first, *content]
    for value in values(bounds.KIND):
        yield "request kind", Kind.REQUEST, [value, "bench"]


def bad_packets() -> Iterator[tuple[str, list[Buffer]]]:
    """Packets of which each has one thing out of bounds; no receiver may take one of them for good."""
    for name, kind, payload in messages(beyond):
        yield name, packet(kind, 1, payload)
    for value in beyond(bounds.KIND):
        yield "kind", packet(value, 1, None)
    for value in beyond(bounds.NUMBER):
        for kind in Kind:
            yield f"number of {kind.name}", packet(kind, value, None)
    for kind, bound in bounds.PAYLOADS.items():
        for value in beyond(bound):
            yield f"payload of {kind.name}", packet(kind, 1, value)


def odd_packets() -> Iterator[tuple[str, list[Buffer]]]:
    """Packets with values at the bounds and beyond them, mixed with every kind and number."""
    yield from bad_packets()
    for name, kind, payload in messages(within):
        yield name, packet(kind, 1, payload)
    for kind in Kind:
        for value in ODD:
            yield f"{kind.name} with {bounds.describe_value(value)}", packet(kind, 1, value)
        for number in within(bounds.NUMBER):
            yield f"{kind.name} numbered {number}", packet(kind, number, None)
