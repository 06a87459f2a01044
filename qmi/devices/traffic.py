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
import threading
import weakref
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

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
    return logging.getLogger(f"{PREFIX}.{traffic_name(name)}")


def traffic_name(name: str) -> str:
    """The name of an instrument as it can stand in that of a logger."""
    return _NAME.sub("_", name).strip("_") or "unnamed"


class Recorder(Protocol):
    """Is told what happens on every line of this program, whether that is logged or not."""

    def note(self, line: Watched, event: str, data: bytes) -> None:
        """Something happened, in the thread that the driver works in.

        Args:
            line: The line.
            event: ``"write"`` or ``"read"``; ``"message"``, where a message begins; ``"open"``, ``"refused"``,
                ``"close"``; ``"timeout"``, where a wait was in vain; ``"dropped"``, for what came and was not read;
                ``"lost"``, or ``"lost in write"`` where what was written last did not go out.
            data: The bytes that it is about.
        """
        ...


class Watched(Protocol):
    """A line, as a recorder knows it."""

    @property
    def traffic_name(self) -> str:
        """Name of the instrument, as in the logger."""
        ...

    @property
    def reads_messages(self) -> bool:
        """Whether answers are messages with an end of their own."""
        ...

    def watch(self) -> None:
        """Recorders have come or gone."""
        ...


class Tap:
    """Stands in the place of a line's logger while somebody records."""

    def __init__(self, line: Watched, logger: logging.Logger, recorders: tuple[Recorder, ...]) -> None:
        # Not the line itself: the two would keep each other.
        self._line = weakref.ref(line)
        self._recorders = recorders
        self.logger = logger

    def isEnabledFor(self, level: int) -> bool:
        """Whether anybody wants to know; yes."""
        return True

    def note(self, event: str, data: bytes) -> None:
        """Tell those who record."""
        line = self._line()
        if line is not None:
            for recorder in self._recorders:
                recorder.note(line, event, data)


# Lines are made in any thread, and recording begins in any other; each line looks at the recorders under the mutex, so
# none is missed: it is either in the set when they come, or sees them when it is made.
_mutex = threading.RLock()
_lines: weakref.WeakSet[Watched] = weakref.WeakSet()
_recorders: tuple[Recorder, ...] = ()


def watch(line: Watched, name: str) -> logging.Logger | Tap:
    """What a line tells its traffic to.

    Args:
        line: The line.
        name: Name of the instrument.
    """
    logger = traffic_logger(name)
    with _mutex:
        _lines.add(line)
        return Tap(line, logger, _recorders) if _recorders else logger


def add_recorder(recorder: Recorder) -> None:
    """Let a recorder know of the traffic of all lines, those that are there and those to come."""
    with _mutex:
        _set_recorders((*_recorders, recorder))


def remove_recorder(recorder: Recorder) -> None:
    """Let it no longer know; what is going on in another thread may still be told."""
    with _mutex:
        _set_recorders(tuple(other for other in _recorders if other is not recorder))


def _set_recorders(recorders: tuple[Recorder, ...]) -> None:
    global _recorders
    _recorders = recorders
    for line in list(_lines):
        line.watch()


def watched_lines() -> list[Watched]:
    """The lines that there are now."""
    with _mutex:
        return list(_lines)


def log(traffic: logging.Logger | Tap, direction: str, data: bytes | bytearray | memoryview) -> None:
    """Log, and record, what was written or read."""
    if isinstance(traffic, Tap):
        traffic.note(direction, bytes(data))
        traffic = traffic.logger
        if not traffic.isEnabledFor(logging.DEBUG):
            return
    traffic.debug("%s %d %s", direction, len(data), quoted(bytes(data[:LONGEST])))


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
