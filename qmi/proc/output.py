"""Where the output of a background program goes, and how it is read again: ``<name>_<date>_<time>.out``."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from glob import escape, glob
from pathlib import Path

from qmi.config.files import make_private_dirs, open_private, open_to_read
from qmi.config.paths import Places
from qmi.config.schema import CfgQmi
from qmi.config.validators import printable_lines
from qmi.errors import QMI_RuntimeException, QMI_UsageException
from qmi.proc.helper_protocol import Cursor, clean

_TAIL = 8192
_CHUNK = 65536
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::|\Z)")
_GROUP = re.compile(r" +\| ")
"""Before each line of an exception in a group."""
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \| ")


def output_dir(config: CfgQmi, name: str = "") -> Path:
    """The directory for output files: ``process_management.output_dir``, else the QMI home directory.

    A relative name is taken from the QMI home directory; ``${date}`` and its like are filled in.
    """
    return Path(Places(config, name, datetime.now()).output_dir())


def make_output_dir(config: CfgQmi, name: str) -> Path:
    """The directory for output files; one whose name is filled in is made.

    Raises:
        QMI_RuntimeException: If it cannot be made.
    """
    directory = output_dir(config, name)
    if "$" in (config.process_management.output_dir or ""):
        try:
            make_private_dirs(directory)
        except OSError as exc:
            raise _refused(directory, exc.strerror) from exc
    return directory


def latest_output_dir(config: CfgQmi, name: str) -> Path:
    """The directory with the latest output of a context: its name may contain the time of the start."""
    here = output_dir(config, name)
    times = {"date": "\x01", "datetime": "\x01"}
    pattern = Places(config, name, values=times).output_dir()
    if "\x01" not in pattern:
        return here
    found = [Path(path) for path in glob(escape(pattern).replace("\x01", "*")) if _latest_stamp(Path(path), name)]
    return max(found, key=lambda path: _latest_stamp(path, name) or "", default=here)


def open_output(directory: Path, name: str, command: str, *, now: datetime) -> tuple[int, Path]:
    """Make the output file of a program that starts now, with the command as its first line.

    Writing that line finds out whether the program will be able to write.

    Returns:
        A file descriptor that children do not inherit by accident, and the path.

    Raises:
        QMI_RuntimeException: If the file cannot be made or written; the message has its path.
    """
    path = _output_file(directory, name, f"{now:%Y%m%d_%H%M%S}")
    line = f"# {now:%Y-%m-%d %H:%M:%S} qmi_proc: {clean(command)}\n".encode("utf-8", "replace")
    try:
        handle = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if hasattr(os, "set_blocking"):  # not on Windows with Python 3.11
            os.set_blocking(handle, True)  # for the program, whose output it becomes
    except OSError as exc:
        raise _refused(path, exc.strerror) from exc
    try:
        complete = os.write(handle, line) == len(line)
        reason = "" if complete else "No space left on device"
    except OSError as exc:
        reason = exc.strerror or str(exc)
    if reason:
        os.close(handle)
        if path.is_file() and path.stat().st_size < len(line):
            path.unlink()
        raise _refused(path, reason)
    return handle, path


def read_output(directory: Path, name: str, place: Cursor | None, *, size: int = _CHUNK) -> tuple[Cursor, bytes]:
    """Read a piece of the output of a context.

    Args:
        directory: Where the output files are.
        name: The context.
        place: From where; None for the beginning of the latest file. At the end of a file, the latest one follows.
        size: How many bytes at most.

    Returns:
        The place behind what was read, and what was read; nothing when there is nothing new.

    Raises:
        QMI_UsageException: If there is no output.
    """
    latest = _latest_stamp(directory, name)
    if latest is None and place is None:
        raise QMI_UsageException(f"There is no output of {name!r} in {directory}: it was never started there")
    places = [place] if place is not None else []
    if latest is not None and (place is None or latest != place.stamp):
        places.append(Cursor(latest, 0))
    for at in places:
        place = at
        if data := _read_at(_output_file(directory, name, at.stamp), at.offset, size):
            return Cursor(at.stamp, at.offset + len(data)), data
    assert place is not None, "one of the two is there"
    return place, b""


def last_lines(path: Path, count: int = 10) -> str:
    """The last lines of an output file as text; empty if it cannot be read or has only the line of ours."""
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = file.read(_TAIL).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if not line.startswith("# ") or " qmi_proc: " not in line][-count:])


def last_error(path: Path) -> str:
    """The last line of the traceback that an output file ends with; empty if it ends with something else."""
    lines = [_GROUP.sub("", line) for line in last_lines(path, _TAIL).splitlines()]
    begins = [index for index, line in enumerate(lines) if "Traceback (most recent call last):" in line]
    for line in lines[begins[-1] + 1 :] if begins else ():
        # Below its header, a traceback is indented until the exception itself.
        if not line.startswith(" "):
            return line if _EXCEPTION.match(line) and lines[-1].strip() and not _LOG_LINE.match(lines[-1]) else ""
    return ""


def follow(read: Callable[[Cursor | None], tuple[Cursor, bytes]], wait: Callable[[], bool]) -> Iterator[bytes]:
    """Yield what an output file holds and what is added to it; go on with the next one when the program restarts.

    Args:
        read: Reads a piece from a place, as `read_output` does.
        wait: Called when there is nothing new; returns whether to go on looking.
    """
    place: Cursor | None = None
    more = True
    while True:
        place, data = read(place)
        if data:
            yield data
        elif not more:
            return
        else:
            # One more look after the end was announced: what came in between is not lost.
            more = wait()


class PrintableText:
    """Makes a text that comes in pieces of bytes safe for a terminal."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, piece: bytes) -> str:
        """Return the next part of the text; a character that is cut in two comes with the next piece."""
        return printable_lines(self._decoder.decode(piece))


def _output_file(directory: Path, name: str, stamp: str) -> Path:
    return directory / f"{name}_{stamp}.out"


def _latest_stamp(directory: Path, name: str) -> str | None:
    pattern = re.compile(re.escape(name) + r"_(\d{8}_\d{6})\.out\Z")
    try:
        return max((match[1] for entry in os.listdir(directory) if (match := pattern.match(entry))), default=None)
    except OSError:
        return None


def _read_at(path: Path, offset: int, size: int) -> bytes:
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""


def _refused(path: Path, reason: str | None) -> QMI_RuntimeException:
    return QMI_RuntimeException(
        f"Cannot write the output file {path}: {reason}. Set process_management.output_dir to a directory that works"
    )
