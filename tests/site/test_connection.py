"""The bytes between a client and a server, with and without TLS."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing

from qmi.names import HostPort
from qmi.net.io.tls import client_context, server_context
from qmi.site.connection import SiteConnection
from qmi.tools.certs import make_ca, make_certificate

BIG = bytes(range(256)) * 4_000
"""More than the buffers of sockets take, which are small here."""
_BUFFER = 1 << 16


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("certs")
    ca, _ = make_ca(folder)
    certificate, key = make_certificate(folder, "x", workgroup="lab")
    files = {"ca_file": str(ca), "cert_file": str(certificate), "key_file": str(key)}
    return client_context(**files), server_context(**files)


class Server:
    """The other side."""

    def __init__(self, protected: ssl.SSLContext | None) -> None:
        self._protected = protected
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.where = HostPort(*self._listener.getsockname())
        self.stream: trio.abc.Stream

    async def accept(self) -> None:
        with self._listener:
            sock, _ = self._listener.accept()
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self.stream = plain
        if self._protected is not None:
            self.stream = trio.SSLStream(plain, self._protected, server_side=True, https_compatible=True)

    async def read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            some = await self.stream.receive_some(65536)
            assert some
            data += some
        return bytes(data)


@pytest.fixture(params=["plain", "tls"])
async def both(
    request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> tuple[SiteConnection, Server]:
    client, protected = contexts if request.param == "tls" else (None, None)
    server = Server(protected)
    connection = await SiteConnection.open(server.where)
    connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    await server.accept()
    if client is not None:
        async with trio.open_nursery() as nursery:
            assert isinstance(server.stream, trio.SSLStream)
            nursery.start_soon(server.stream.do_handshake)
            certificate = await connection.prove(client)
        assert certificate is not None
    return connection, server


async def test_bytes_get_across_both_ways(both: tuple[SiteConnection, Server]) -> None:
    connection, server = both
    assert connection.send_now(b"one")
    await connection.send_all(b"two")
    assert await server.read(6) == b"onetwo"
    await server.stream.send_all(b"answer")
    assert await connection.receive_some() == b"answer"
    await trio.aclose_forcefully(server.stream)
    assert await connection.receive_some() == b""
    connection.close()


async def test_what_the_socket_does_not_take_is_finished_later(both: tuple[SiteConnection, Server]) -> None:
    connection, server = both
    assert not connection.send_now(BIG)
    async with trio.open_nursery() as nursery:

        async def finish() -> None:
            await connection.finish()
            await connection.finish()  # nothing is left
            await connection.send_all(b"end")

        nursery.start_soon(finish)
        assert await server.read(len(BIG) + 3) == BIG + b"end"
    connection.close()
    await trio.aclose_forcefully(server.stream)


async def test_bytes_come_while_what_is_left_waits(both: tuple[SiteConnection, Server]) -> None:
    connection, server = both
    assert not connection.send_now(BIG)
    await server.stream.send_all(b"x" * 1000)
    received = b""
    while len(received) < 1000:
        received += await connection.receive_some()
    assert received == b"x" * 1000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.finish)
        assert await server.read(len(BIG)) == BIG
    connection.close()
    await trio.aclose_forcefully(server.stream)


async def test_closed_connection_writes_nothing_more(both: tuple[SiteConnection, Server]) -> None:
    connection, server = both
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await connection.receive_some()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        connection.close()
        connection.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        connection.send_now(b"x")
    await trio.aclose_forcefully(server.stream)


async def test_server_without_the_right_certificate_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server = Server(None)
    connection = await SiteConnection.open(server.where)
    await server.accept()
    await server.stream.send_all(b"INFO {}\r\n")
    with pytest.raises(OSError, match="TLS fails: "):
        await connection.prove(contexts[0])
    connection.close()
    await trio.aclose_forcefully(server.stream)


async def test_nobody_who_listens_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = HostPort(*listener.getsockname())
    with pytest.raises(OSError, match="127"):
        await SiteConnection.open(where)
