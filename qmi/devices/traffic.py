r"""What went over a transport, as lines of a log, and read back from there.

The logger of an instrument is ``qmi.traffic.<instrument>``; at level DEBUG it says what was written and read::

    write 6 "*IDN?\n"
    read 12 "ACME,1,2,3\n"

The number counts the bytes; the text is ASCII with the escapes of Python, so each stays one line.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

PREFIX = "qmi.traffic"
LONGEST = 65536
"""Bytes of one exchange that are shown; the rest is only counted."""

_NAME = re.compile(r"[^-A-Za-z0-9_()]+")
_LINE = re.compile(
    rf"{re.escape(PREFIX)}\.(?P<name>[^\s|:]+).*?\b(?P<direction>write|read) (?P<size>\d+) (?P<text>\".*\")"
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?)")


class Traffic(NamedTuple):
    """One thing that was written or read.

    Attributes:
        instrument: Name of the instrument.
        direction: ``"write"`` or ``"read"``.
        data: The bytes, or as many of them as were logged.
        size: How many bytes there were.
        time: When, if the line says so.
    """

    instrument: str
    direction: str
    data: bytes
    size: int
    time: datetime | None = None


def traffic_logger(name: str) -> logging.Logger:
    """The logger for what an instrument and its device say to each other."""
    return logging.getLogger(f"{PREFIX}.{_NAME.sub('_', name).strip('_') or 'unnamed'}")


def log(logger: logging.Logger, direction: str, data: bytes | bytearray | memoryview) -> None:
    """Log what was written or read."""
    logger.debug("%s %d %s", direction, len(data), quoted(bytes(data[:LONGEST])))


def quoted(data: bytes) -> str:
    """Bytes as a text in double quotes, with escapes for all that is not printable ASCII."""
    return '"' + data.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def unquoted(text: str) -> bytes:
    """The bytes again.

    Raises:
        ValueError: If the text is not what :func:`quoted` makes.
    """
    try:
        value = ast.literal_eval(f"b{text}")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"expected bytes in double quotes, got {text[:80]}") from error
    if not isinstance(value, bytes):
        raise ValueError(f"expected bytes in double quotes, got {text[:80]}")
    return value


def read_traffic(lines: Iterable[str]) -> Iterator[Traffic]:
    """Find in the lines of a log file what went over transports; other lines are passed over.

    Args:
        lines: Lines of a log file of this library, or of any other whose lines hold the logger's name and the message.
    """
    for line in lines:
        found = _LINE.search(line)
        if found is None:
            continue
        stamp = _TIME.search(line[: found.start()])
        when = None
        if stamp is not None:
            when = datetime.fromisoformat(stamp[1].replace(",", ".")).replace(tzinfo=UTC)
        yield Traffic(found["name"], found["direction"], unquoted(found["text"]), int(found["size"]), when)
