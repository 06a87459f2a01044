"""A part of a program's log as its context publishes it at a site."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeGuard

from cbor2 import dumps

from qmi.net.limits import ProtocolError
from qmi.net.protocol import plain
from qmi.runtime.log_ring import LogEntry

MAX_NUMBER: Final = (1 << 53) - 1


class LogPiece(NamedTuple):
    """A part of a log.

    Attributes:
        run: Another one in each process, in which the numbers begin anew.
        after: The number of the last record before it.
        last: The number up to which the log was looked through.
        lost: How many records before these are not kept any more.
        now: The clock of the computer.
        entries: The records, oldest first.
    """

    run: str
    after: int
    last: int
    lost: int
    now: float
    entries: tuple[LogEntry, ...]


def write_piece(piece: LogPiece, room: int) -> tuple[bytes, LogPiece]:
    """A part of a log as bytes, and what is in them: fewer records if there is no room for all.

    Args:
        piece: The part.
        room: How many bytes there may be; there are more only if a record by itself is larger.
    """
    while True:
        data = dumps({**piece._asdict(), "entries": [list(entry) for entry in piece.entries]})
        if len(data) <= room or len(piece.entries) < 2:
            return data, piece
        entries = piece.entries[: len(piece.entries) // 2]
        piece = piece._replace(entries=entries, last=entries[-1].number)


def read_piece(data: bytes) -> LogPiece | None:
    """A part of a log of what was published; None if it makes no sense. What it has besides is ignored."""
    try:
        found = plain.decode(data)
    except ProtocolError:
        return None
    if not isinstance(found, dict):
        return None
    run, now = found.get("run"), found.get("now")
    after, last, lost = (found.get(name) for name in ("after", "last", "lost"))
    entries = _entries(found.get("entries"))
    if not isinstance(run, str) or not run or not _is_time(now) or entries is None:
        return None
    if not (_is_number(after) and _is_number(last) and _is_number(lost)):
        return None
    numbers = [after + lost, *(entry.number for entry in entries)]
    if any(late <= early for early, late in pairwise(numbers)) or numbers[-1] > last:
        return None
    return LogPiece(run, after, last, lost, now, tuple(entries))


def _entries(listed: object) -> list[LogEntry] | None:
    found: list[LogEntry] = []
    for fields in listed if isinstance(listed, list) else [None]:
        if not isinstance(fields, list) or len(fields) < len(LogEntry._fields) or not _is_entry(fields):
            return None
        found.append(LogEntry(*fields[: len(LogEntry._fields)]))
    return found


def _is_entry(fields: Sequence[Any]) -> bool:
    number, when, level, *texts = fields
    return _is_number(number) and _is_time(when) and _is_number(level) and all(type(text) is str for text in texts[:4])


def _is_number(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_NUMBER


def _is_time(value: Any) -> TypeGuard[float]:
    return type(value) is float and math.isfinite(value)
