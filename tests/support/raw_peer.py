"""Somebody who speaks the protocol by hand over a blocking socket, as a client of a context."""

from __future__ import annotations

import socket
from typing import Any

from qmi._version import __version__
from qmi.core.context import QMI_Context
from qmi.net.protocol.kinds import Kind


class RawPeer:
    """Somebody who speaks the protocol by hand."""

    def __init__(self, context: QMI_Context, name: str = "raw", receive_buffer: int | None = None) -> None:
        from qmi.net.protocol.connection import Connection
        from qmi.net.protocol.handshake import Hello
        from qmi.net.protocol.link_ends import Role

        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(10)
        self.sock.connect(("127.0.0.1", context.get_tcp_server_port()))
        self.peer = Connection(
            Role.CONNECTING, Hello(context=name, incarnation="1", workgroup="default", library=__version__), now=0.0
        )
        self.write(self.peer.data_to_send())
        while not self.peer.is_ready:
            self.read()

    def write(self, buffers: Any) -> None:
        self.sock.sendall(b"".join(bytes(part) for part in buffers))

    def read(self) -> list[Any]:
        data = self.sock.recv(65536)
        return self.peer.receive_data(data, 0.0) if data else self.peer.receive_eof(0.0)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()


def call(number: int, method: str, *args: Any) -> bytes:
    from qmi.messages import Call
    from qmi.net.codec import Codec
    from qmi.net.protocol.packets import encode_message, write_packet

    encoded = encode_message(Codec(), Call("bench", method, args))
    return b"".join(bytes(part) for part in write_packet(Kind.REQUEST, number, encoded))
