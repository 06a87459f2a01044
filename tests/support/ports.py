"""Ports that nobody uses, nor any other process of tests on this machine."""

from __future__ import annotations

import getpass
import itertools
import os
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_FIRST, _COUNT = 20_000, 10_000
"""Below the ports that systems give to whoever asks for any: nobody else gets one before the test uses it."""

# The processes that run tests at the same time begin at different places.
_NUMBERS = itertools.count(os.getpid() * 997)

_FILE = Path(tempfile.gettempdir(), f"qmi-test-ports-{getpass.getuser()}")
"""Of this file, each process locks the bytes whose numbers are its ports, until it ends."""
_fd = -1


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that is free now, and that no other process of tests gets as long as this one runs.

    A page of the documentation shows what happens when nobody listens at a port any more: it must not be somebody of
    another suite then.
    """
    for number in _NUMBERS:
        port = _FIRST + number % _COUNT
        if not _reserve(port):
            continue
        with suppress(OSError), socket.socket(type=kind) as sock:
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def _reserve(port: int) -> bool:
    """Keep a port from other processes of this user; False if one has it."""
    if sys.platform == "win32":
        return True
    import fcntl

    global _fd
    if _fd < 0:  # never closed: that would give all of them back
        _fd = os.open(_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(_fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True
