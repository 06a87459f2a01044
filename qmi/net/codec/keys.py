"""Which values may be keys of a dict or members of a set: those whose hash and comparison run no user's code."""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from operator import countOf
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from qmi.net.codec import marshalled
from qmi.net.codec.named_types import PLAIN_READS, static_lookup
from qmi.net.codec.tags import MAX_KEYS_PER_HASH
from qmi.net.codec.unknown import UNKNOWN_TYPES, NamedKind, UnknownTuple

_SEEDED = frozenset({str, bytes})
"""Their hashes cannot be foreseen."""
_SIMPLE = frozenset({type(None), bool, int, float, str, bytes})
_MODULUS = sys.hash_info.modulus
_KEYS = _SIMPLE | {
    complex, datetime, date, time, timedelta, timezone, Decimal, Fraction, uuid.UUID, range, PurePosixPath,
    PureWindowsPath,
}  # fmt: skip
_HASHES = (Enum.__dict__["__hash__"], int.__hash__, str.__hash__, float.__hash__, bytes.__hash__)
_EQUALS = (object.__eq__, int.__eq__, str.__eq__, float.__eq__, bytes.__eq__)
_UNKNOWN = frozenset(UNKNOWN_TYPES)


def is_plain_key(value: Any) -> bool:
    """Whether hashing and comparing the value runs no user's code, so that it may be a key or a member of a set."""
    cls = type(value)
    if cls in _KEYS:
        return True
    if cls in _UNKNOWN:
        if value.type_kind is NamedKind.ENUM:
            return True
        parts = value if cls is UnknownTuple else value.fields.values()
        return all(is_plain_key(part) for part in parts)
    if issubclass(cls, Enum):
        return (
            static_lookup(cls, "__hash__") in _HASHES
            and static_lookup(cls, "__eq__") in _EQUALS
            and static_lookup(cls, "__getattribute__") in PLAIN_READS
        )
    if issubclass(cls, (tuple, frozenset)):
        plain = cls in (tuple, frozenset) or (
            static_lookup(cls, "__hash__") is tuple.__hash__
            and static_lookup(cls, "__eq__") is tuple.__eq__
            and static_lookup(cls, "__iter__") is tuple.__iter__
        )
        return plain and all(is_plain_key(item) for item in value)
    if cls.__module__ in ("pathlib", "pathlib._local"):
        return cls.__name__ in ("PosixPath", "WindowsPath")
    generic = getattr(sys.modules.get("numpy"), "generic", ())
    return cls.__module__ == "numpy" and issubclass(cls, generic) and cls.__name__ != "void"


def check_keys(keys: Sequence[object]) -> None:
    """Refuse keys that are no plain ones, or that were chosen to collide.

    Raises:
        ValueError: With what is wrong.
    """
    first = type(keys[0]) if keys else str
    if (
        first is int
        and len(keys) > MAX_KEYS_PER_HASH
        and type(keys[-1]) is int
        and marshalled.are(keys, marshalled.INTEGERS)
    ):
        return  # as below, told in less time
    kinds = {first}
    if countOf(map(type, keys), first) != len(keys):  # counting is quicker than a set of them
        kinds = set(map(type, keys))
    if kinds <= _SEEDED:
        return
    # Such an integer is its own hash; but -1, whose hash is that of -2.
    if first is int and len(kinds) == 1 and min(keys) > -_MODULUS and max(keys) < _MODULUS:  # type: ignore[type-var, operator]
        return
    if not kinds <= _SIMPLE:
        for key in keys:
            if not is_plain_key(key):
                raise ValueError(f"{type(key).__qualname__} cannot be a key of a dict or a member of a set here")
    if len(keys) > MAX_KEYS_PER_HASH:
        hashes = list(map(hash, keys))
        if len(set(hashes)) < len(hashes) and Counter(hashes).most_common(1)[0][1] > MAX_KEYS_PER_HASH:
            raise ValueError(f"more than {MAX_KEYS_PER_HASH} keys have the same hash")
