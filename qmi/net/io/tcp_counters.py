"""What the system has counted of a TCP connection: so that nobody here has to count bytes."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import NamedTuple


class TcpCounters(NamedTuple):
    """What a connection has carried since it was made.

    Attributes:
        sent: Bytes that the other side has confirmed.
        received: Bytes that have come.
        round_trip: Seconds until the other side confirms, as the system estimates it.
    """

    sent: int
    received: int
    round_trip: float


_ROUND_TRIP = struct.Struct("=I")
_ROUND_TRIP_AT = 68
_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120
_SIZE = _BYTES_AT + _BYTES.size
"""Where these fields of ``struct tcp_info`` are on Linux, in ``linux/tcp.h``; nothing there ever moves."""


def tcp_counters(sock: socket.socket) -> TcpCounters | None:
    """What the system has counted; None if it does not count, or the connection is closed.

    Args:
        sock: A connected socket.
    """
    found = b""
    if sys.platform == "linux":
        with suppress(OSError):
            found = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    if len(found) < _SIZE:  # of another system, or one that is older than these fields
        return None
    (round_trip,) = _ROUND_TRIP.unpack_from(found, _ROUND_TRIP_AT)
    sent, received = _BYTES.unpack_from(found, _BYTES_AT)
    return TcpCounters(sent, received, round_trip * 1e-6)
