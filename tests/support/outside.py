"""Waiting for what other processes do: for their end, and for what they write into files."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 15.0
"""How long a process may take, in seconds."""

_CREATE, _MOVED_TO, _MODIFY, _DELETE = 0x100, 0x80, 0x2, 0x200


def wait_for_file(condition: Callable[[], object], below: Path, limit: float = LIMIT) -> None:
    """Wait until a condition about files in a directory, or below it, holds; it is looked at after each change.

    Raises:
        AssertionError: If it takes longer than the limit in seconds.
    """
    end = time.monotonic() + limit
    with _changes(below) as wait:
        while not condition():
            assert time.monotonic() < end, f"this did not come true within {limit} s"
            wait(end - time.monotonic())


@contextmanager
def _changes(below: Path) -> Iterator[Callable[[float], None]]:
    """Watch a directory by inotify; the function waits for a change, so many seconds at most."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0, os.strerror(ctypes.get_errno())

    def add() -> None:
        for directory in (below, *(path for path in below.rglob("*") if path.is_dir())):
            libc.inotify_add_watch(watch, os.fsencode(directory), _CREATE | _MOVED_TO | _MODIFY | _DELETE)

    def wait(seconds: float) -> None:
        if select.select([watch], [], [], max(seconds, 0.0))[0]:
            os.read(watch, 1 << 16)
            add()  # there may be new directories; what was made in them before this is seen by the look that follows

    try:
        add()
        yield wait
    finally:
        os.close(watch)


def wait_for_end(*pids: int, limit: float = LIMIT) -> None:
    """Wait until processes have ended, whosever children they are.

    Raises:
        AssertionError: If it takes longer than the limit in seconds.
    """
    end = time.monotonic() + limit
    for pid in pids:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended = select.select([process], [], [], max(end - time.monotonic(), 0.0))[0]
            assert ended, f"process {pid} did not end within {limit} s"
        finally:
            os.close(process)
