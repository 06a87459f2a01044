"""Contexts that are merely there, many in one process: each has a connection of its own to the server of a site.

A connection says what a context says when it starts, hears who comes and goes as a context does, and answers signs of
life; what it hears it throws away.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

from qmi._version import __version__
from qmi.site import wire
from qmi.site.presence import Announcement, write_announcement
from qmi.site.server_config import CONNECTED, DISCONNECTED
from qmi.site.subjects import connection_name, presence_subject

_GROUP = "default"
_CHUNK = 1 << 18


def _join(port: int, number: int) -> socket.socket:
    name, incarnation = f"crowd{number}", f"{number:016x}"
    objects = tuple((f"object{place}", "Instrument") for place in range(5))
    said = Announcement(
        name, incarnation, time.time(), ("127.0.0.1",), 30_000 + number % 1000, "here", 1, __version__, objects
    )
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(
        wire.connect(connection_name(name, incarnation), __version__)
        + wire.subscribe(CONNECTED, 1)
        + wire.subscribe(DISCONNECTED, 2)
        + wire.publish(presence_subject(_GROUP, name).encode(), write_announcement(said))
        + wire.PING
    )
    return sock


def main(arguments: list[str]) -> None:
    """Be so many contexts from a number on, until this is killed."""
    port, first, count = map(int, arguments)
    selector = selectors.DefaultSelector()
    waiting = set()
    for number in range(first, first + count):
        sock = _join(port, number)
        selector.register(sock, selectors.EVENT_READ)
        waiting.add(sock)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(_CHUNK)
            if not data:
                sys.exit("the server hung up")
            if wire.PING in data:
                key.fileobj.sendall(wire.PONG)
            if wire.PONG in data and key.fileobj in waiting:
                waiting.discard(key.fileobj)
                if not waiting:
                    print("{}", flush=True)
