"""A context as it looks from outside: the listening side of the protocol, in a thread."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qmi.messages import Call, Failure, Value
from qmi.names import HostPort
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.events import HelloReceived, PeerLost, RequestReceived
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import Role


@dataclass
class PeerServer:
    """Answers calls by a function, or refuses everybody for a reason."""

    name: str = "srv"
    workgroup: str = "default"
    refusal: str = ""
    answer: Callable[[Call], Any] = lambda call: None
    tls: ssl.SSLContext | None = None
    hellos: list[Hello] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    goodbyes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[HostPort]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = HostPort("127.0.0.1", server.getsockname()[1])
            thread = threading.Thread(target=self._accept, args=(server,))
            thread.start()
            try:
                yield address
            finally:
                server.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = server.accept()
                with plain, contextlib.suppress(OSError):
                    plain.settimeout(10)
                    connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
                    with connection:
                        self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        hello = Hello(
            context=self.name, incarnation="1", workgroup=self.workgroup, library="7.7", pid=os.getpid(), address=""
        )
        peer = Connection(Role.LISTENING, hello, now=time.monotonic())
        while peer.lost is None:
            data = connection.recv(65536)
            now = time.monotonic()
            for event in peer.receive_data(data, now) if data else peer.receive_eof(now):
                if isinstance(event, HelloReceived):
                    self.hellos.append(event.hello)
                    _ = peer.refuse(self.refusal) if self.refusal else peer.accept(now)
                elif isinstance(event, RequestReceived):
                    assert isinstance(event.message, Call)
                    self.calls.append(event.message)
                    self._send(connection, peer.send_reply(event.number, self._reply(event.message)))
                elif isinstance(event, PeerLost):
                    self.goodbyes.append(event.reason)
            self._send(connection, peer.data_to_send())

    def _reply(self, call: Call) -> Value | Failure:
        try:
            return Value(self.answer(call))
        except ValueError as exc:
            return Failure(exc)

    @staticmethod
    def _send(connection: socket.socket, buffers: list[Any]) -> None:
        for buffer in buffers:
            connection.sendall(buffer)
