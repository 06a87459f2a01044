"""Values of all kinds that can be sent, and when two are the same."""

from __future__ import annotations

import enum
import math
import threading
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst


def same(a: Any, b: Any) -> bool:
    """Equal and of the same type, all the way down; NaN equals NaN, 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return math.isnan(b) if math.isnan(a) else (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a), list(b)) and same(list(a.values()), list(b.values()))
    if isinstance(a, Settings):
        return same(vars(a), vars(b))
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return bool(a == b)


class Color(enum.Enum):
    RED = 1
    BLUE = "b"
    ODD = threading.Lock


class Mode(enum.IntFlag):
    A = 1
    B = 2
    C = 4


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: float
    label: str = ""


@dataclass
class Settings:
    rate: float
    tags: list[str] = field(default_factory=list)
    inner: Any = None


hashable = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8), st.binary(max_size=8),
        st.dates(), st.timedeltas(), st.uuids(), st.fractions(), st.sampled_from([Color.RED, Level.HIGH, Mode.A]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip


leaves = st.one_of(
    hashable, st.floats(), st.complex_numbers(), st.binary(max_size=20).map(bytearray),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.integers(-600,
    600).map(lambda m: timezone(timedelta(minutes=m)))),
    st.times(), st.decimals(), st.integers(-(2**300), 2**300),
    st.builds(range, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 9)),
    st.builds(slice, st.none() | st.integers(), st.none() | st.integers()),
    st.sampled_from([Color.BLUE, Mode.A | Mode.B, Mode(0)]),
    npst.arrays(
        npst.scalar_dtypes().filter(lambda d: d.itemsize > 0) | npst.array_dtypes(max_size=3),
        npst.array_shapes(min_dims=0, min_side=0, max_side=3),
    ),
)  # fmt: skip


values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
        st.builds(Settings, st.floats(), st.just(["t"]), inner),
        st.builds(Point, st.floats(), st.text(max_size=4)),
    ),
    max_leaves=8,
)


@dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: str
