"""Values as text and as JSON, such that :func:`qmi.presenting.argument_text.read` reads them again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from qmi.config.validators import printable
from qmi.parameters.snapshot import member_of
from qmi.presenting.annotation_types import is_array_type
from qmi.presenting.number_lists import list_of


def text_of(value: object) -> str:
    """A value as text: what :func:`read` reads as the same value, if it knows the type."""
    member = member_of(value)
    if member is not None:
        return printable(member.name)
    value = _plain_scalar(value)
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{float(Fraction(value // timedelta(microseconds=1), 1_000_000))!r} s"
    if isinstance(value, Decimal | Fraction | UUID | PurePath | complex):
        return str(value)
    if isinstance(value, list | tuple | Mapping | set | frozenset) or _is_array(value) or fields_of(value) is not None:
        return json.dumps(json_of(value), ensure_ascii=False)
    return printable(repr(value))


def _plain_scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _is_array(value: object) -> bool:
    return is_array_type(type(value))


def json_of(value: object) -> object:
    """A value as JSON has it, so that :func:`.read` reads it: members by name, bytes in hexadecimal, ``"nan"``."""
    member = member_of(value)
    if member is not None:
        return member.name
    value = _plain_scalar(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str):
        return int(value) if isinstance(value, int) else str(value)
    fields = fields_of(value)
    if fields is not None or isinstance(value, Mapping):
        items: Mapping[Any, object] = value if fields is None else fields  # type: ignore[assignment]
        return {key if isinstance(key, str) else text_of(key): json_of(item) for key, item in items.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_of(item) for item in value]
    return json_of(list_of(value)) if _is_array(value) else text_of(value)


def fields_of(value: object) -> dict[str, object] | None:
    """The fields of a named tuple, a dataclass, or of one that this program does not have; None of anything else."""
    if member_of(value) is not None:
        return None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    fields = getattr(value, "fields", None)
    if isinstance(fields, dict) and isinstance(getattr(value, "type_name", None), str):
        return {str(name): item for name, item in fields.items()}
    return None
