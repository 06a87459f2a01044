"""What measured values become in JSON, which has neither NaN nor bytes, times, arrays or quantities."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum

from qmi.presenting.number_lists import list_of


def dumps(value: object, *, indent: int | None = None) -> str:
    """A value as a text of JSON, which can be encoded as UTF-8 whatever texts are in it.

    Args:
        value: The value.
        indent: By how many spaces each level is indented; None for one line.
    """
    text = json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False).encode(plain(value))
    # Half of a surrogate pair has no UTF-8; it stands within quotes, where its escape in Python is that of JSON, too.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def plain(value: object) -> object:
    """What JSON has for a value: null for NaN and the infinities, hexadecimal digits for bytes, ISO 8601 for times.

    Named tuples and what else has named fields become objects, arrays become lists, and complex numbers a pair. What
    has nothing like it in JSON becomes its text.
    """
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return _compound(value)


def _compound(value: object) -> object:
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(entry) for name, entry in value._asdict().items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if callable(getattr(value, "tolist", None)):  # arrays and numbers of numpy
        return plain(list_of(value))
    fields = getattr(value, "__dataclass_fields__", None) or {
        **{field.name: None for field in getattr(type(value), "__attrs_attrs__", ())},
        **dict.fromkeys(getattr(type(value), "__struct_fields__", ())),
    }
    if fields:
        return {name: plain(getattr(value, name)) for name in fields}
    return str(value)
