"""Ports that nobody uses."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

_FIRST, _COUNT = 20_000, 10_000
"""Below the ports that systems give to whoever asks for any: nobody else gets one before the test uses it."""

# The processes that run tests at the same time begin at different places.
_NUMBERS = itertools.count(os.getpid() * 997)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that is free now."""
    for number in _NUMBERS:
        port = _FIRST + number % _COUNT
        with suppress(OSError), socket.socket(type=kind) as sock:
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError
