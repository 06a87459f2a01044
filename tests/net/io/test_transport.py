from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
import trio

from qmi.net.io.tls import TlsWire, client_context, server_context
from qmi.net.io.transport import PlainWire, Unsent, Wire
from qmi.tools.certs import make_ca, make_certificate


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        return first, listener.accept()[0]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("certs")
    make_ca(folder)
    make_certificate(folder, "x", workgroup="lab")
    files = {
        "ca_file": str(folder / "ca.pem"),
        "cert_file": str(folder / "x.pem"),
        "key_file": str(folder / "x.key"),
    }
    return client_context(**files), server_context(**files)


async def plain_pair() -> tuple[Wire, Wire]:
    first, second = tcp_pair()
    return PlainWire(first), PlainWire(second)


def tls_pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> tuple[TlsWire, TlsWire]:
    first, second = tcp_pair()
    return TlsWire(first, contexts[0], server=False), TlsWire(second, contexts[1], server=True)


async def joined(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> tuple[TlsWire, TlsWire]:
    client, server = tls_pair(contexts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return client, server


async def send(wire: Wire, unsent: Unsent) -> None:
    while sum(unsent.counts) < unsent.size or wire.flush():
        try:
            wire.put(unsent) if sum(unsent.counts) < unsent.size else None
        except BlockingIOError:
            await trio.lowlevel.wait_writable(wire.sock)


def put_and_flush(wire: Wire, unsent: Unsent) -> None:
    wire.put(unsent)
    wire.flush()


def put_for_ever(wire: Wire, unsent: Unsent) -> None:
    while True:
        wire.put(unsent)


async def receive(wire: Wire, size: int) -> bytes:
    data, memory = bytearray(), memoryview(bytearray(100_000))
    while len(data) < size:
        try:
            got = wire.read_into(memory)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(wire.sock)
            continue
        if not got:
            break
        data += memory[:got]
    return bytes(data)


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_wire_delivers_whatever_is_put_in_order(kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    parts: list[bytes | bytearray | memoryview] = [b"head", bytes(range(256)) * 20_000, bytearray(b"tail")]
    parts += [b"x"] * 600

    with trio.fail_after(20):
        first, second = await (plain_pair() if kind == "plain" else joined(tls))
        whole = b"".join(parts)
        got: list[bytes] = []

        async def read() -> None:
            got.append(await receive(second, len(whole)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await send(first, Unsent(parts))
        assert got == [whole]
        with pytest.raises(BlockingIOError):
            second.read_into(memoryview(bytearray(10)))
        assert first.sock.fileno() >= 0
        first.shut()
        assert await receive(second, 1) == b""
        for wire in (first, second):
            wire.close()
            wire.close()
            wire.shut()
        with pytest.raises(OSError):
            put_and_flush(first, Unsent([b"late"]))


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_wire_counts_what_does_not_fit_and_goes_on_later(
    kind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with trio.fail_after(20):
        first, second = await (plain_pair() if kind == "plain" else joined(tls))
        unsent = Unsent([bytes(40_000_000)])
        with pytest.raises(BlockingIOError):
            put_for_ever(first, unsent)
        assert 0 < sum(unsent.counts) < unsent.size
        assert sum(len(part) for part in unsent.rest()) == unsent.size - sum(unsent.counts)
        assert first.flush() is (kind == "tls")
        first.close()
        second.close()


async def test_wire_without_gathering_sends_buffers_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await plain_pair()
    first._gather = False  # type: ignore[attr-defined]
    await send(first, Unsent([b"a", b"b"]))
    assert await receive(second, 2) == b"ab"
    first.close()
    second.close()


async def test_a_handshake_that_is_cut_off_says_so(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with trio.fail_after(10):
        client, server = tls_pair(tls)
        client.close()
        with pytest.raises(ConnectionError, match="closed during the TLS handshake"):
            await server.handshake()
        server.close()


async def test_a_handshake_with_junk_says_why(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with trio.fail_after(10):
        client, server = tls_pair(tls)
        await send(client.plain, Unsent([b"QMI\x01 this is not TLS"]))
        with pytest.raises(ConnectionError, match="TLS"):
            await server.handshake()
        client.close()
        server.close()


def broken_record(client: TlsWire) -> None:
    client.plain.put(Unsent([b"\x17\x03\x03\x00\x20" + bytes(32)]))


def proper_end(client: TlsWire) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        client._tls.unwrap()
    client.flush()


@pytest.mark.parametrize(("what", "error"), [(broken_record, ConnectionError), (proper_end, None)])
async def test_a_broken_record_is_an_error_and_a_proper_end_is_none(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], what: Callable[[TlsWire], None], error: type[Exception] | None
) -> None:
    with trio.fail_after(10):
        client, server = await joined(tls)
        what(client)
        if error is None:
            assert await receive(server, 1) == b""
        else:
            with pytest.raises(error, match="BAD_RECORD"):
                await receive(server, 1)
        client.close()
        server.close()


async def test_writing_after_tls_has_ended_is_a_connection_error(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with trio.fail_after(10):
        client, server = await joined(tls)
        proper_end(client)
        with pytest.raises(ConnectionError):
            client.put(Unsent([b"late"]))
        client.close()
        server.close()


async def test_a_slow_socket_in_the_handshake_is_waited_for(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(10):
        client, server = tls_pair(tls)
        put, refusals = PlainWire.put, iter([True, False, True])

        def reluctant(self: PlainWire, unsent: Unsent) -> None:
            if next(refusals, False):
                raise BlockingIOError
            put(self, unsent)

        monkeypatch.setattr(PlainWire, "put", reluctant)
        monkeypatch.setattr(PlainWire, "put_one", reluctant)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.handshake)
            nursery.start_soon(server.handshake)
        client.close()
        server.close()
