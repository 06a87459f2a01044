"""The device of the measures of SCPI: it answers one question with a number, and another with a block."""

from __future__ import annotations

import socket

QUESTION, ANSWER = b"MEAS?\n", b"+1.234567E+00\n"
BLOCK_QUESTION = b"CURV?\n"
BLOCK_SIZE = 8 << 20
BLOCK = b"#7%07d" % BLOCK_SIZE + bytes(BLOCK_SIZE) + b"\n"
"""An IEEE 488.2 block with its terminator."""


def answer(sock: socket.socket) -> None:
    """Answer one client until it leaves."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := sock.recv(4096):
            sock.sendall(BLOCK if data == BLOCK_QUESTION else ANSWER)
    except ConnectionError:  # the other side has left
        pass


def receive_line(sock: socket.socket) -> bytes:
    """What a script without a library does to read an answer."""
    data = sock.recv(4096)
    while not data.endswith(b"\n"):
        data += sock.recv(4096)
    return data
