"""Where the output of a background program goes, and how it is read again: ``<name>_<date>_<time>.out``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from qmi.config.places import qmi_home_dir
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.commands import clean

_TAIL = 8192
_CHUNK = 65536


def output_dir(config: CfgQmi) -> Path:
    """The directory for output files: ``process_management.output_dir``, else the QMI home directory.

    A relative name is taken from the QMI home directory.
    """
    return Path(qmi_home_dir(config), Path(config.process_management.output_dir or ".").expanduser())


def open_output(directory: Path, name: str, command: str, *, now: datetime) -> tuple[int, Path]:
    """Make the output file of a program that starts now, with the command as its first line.

    Writing that line finds out whether the program will be able to write.

    Returns:
        A file descriptor that children do not inherit by accident, and the path.

    Raises:
        QMI_RuntimeException: If the file cannot be made or written; the message has its path.
    """
    path = directory / f"{name}_{now:%Y%m%d_%H%M%S}.out"
    line = f"# {now:%Y-%m-%d %H:%M:%S} qmi_proc: {clean(command)}\n".encode("utf-8", "replace")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
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


def latest_output(directory: Path, name: str) -> Path | None:
    """The newest output file of a context, or None."""
    pattern = re.compile(re.escape(name) + r"_\d{8}_\d{6}\.out\Z")
    try:
        names = [entry for entry in os.listdir(directory) if pattern.match(entry)]
    except OSError:
        return None
    return directory / max(names) if names else None


def last_lines(path: Path, count: int = 10) -> str:
    """The last lines of an output file as text; empty if it cannot be read or has only the line of ours."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            lines = file.read(_TAIL).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if not line.startswith("# ") or " qmi_proc: " not in line][-count:])


def follow(find: Callable[[], Path | None], wait: Callable[[], bool]) -> Iterator[bytes]:
    """Yield what an output file holds and what is added to it; go on with the next one when the program restarts.

    Args:
        find: Tells the newest file, if there is one.
        wait: Called when there is nothing new; returns whether to go on looking.
    """
    path: Path | None = None
    position = 0
    more = True
    while True:
        newest = find()
        if path is None:
            path, position = newest, 0
        if path is not None:
            for chunk in _read_from(path, position):
                position += len(chunk)
                yield chunk
        if newest is not None and newest != path:
            path = None
        elif not more:
            return
        else:
            # One more look after the end was announced: what came in between is not lost.
            more = wait()


def _read_from(path: Path, position: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(position)
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError:
        return


def _refused(path: Path, reason: str | None) -> QMI_RuntimeException:
    return QMI_RuntimeException(
        f"Cannot write the output file {path}: {reason}. Set process_management.output_dir to a directory that works"
    )
