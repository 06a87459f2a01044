"""What listens for browsers and serves each connection for itself.

The protocol of a connection is anycorn's. The loop that accepts them is not: here an error of one connection ends that
one alone, a browser that takes nothing any more is dropped after a while, and none of them keeps the server from
ending.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.streams.tls
import trio
from anycorn import Config
from anycorn.protocol.h2 import H2Protocol
from anycorn.tcp_server import TCPServer
from anycorn.utils import wrap_app
from anycorn.worker_context import WorkerContext

from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.names import is_loopback
from qmi.peers.acceptor import holder_of
from qmi.web.guard import App
from qmi.web.options import Options

_logger = logging.getLogger("qmi.web")

MAX_CONNECTIONS = 500
"""More are closed at once."""
MAX_PER_CLIENT = 100
"""So many of them may one other computer have: it does not keep the others out."""
SEND_PATIENCE = 30.0
"""A browser that takes nothing for so long is dropped, in seconds."""
PIECE = 256 * 1024
"""A browser that takes so many bytes in that time is not."""
HANDSHAKE_PATIENCE = 10.0
"""For how long the handshake of TLS may take, in seconds."""
END_PATIENCE = 1.0
"""For how long requests may go on when the server ends, in seconds."""


@contextmanager
def listening_socket(options: Options) -> Iterator[socket.socket]:
    """The socket that listens, for the length of the block.

    Raises:
        QMI_UsageException: If the address is taken, or is none of this computer.
    """
    host, port = options.address
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.create_server(where[:2], family=family, backlog=100)
    except OSError as error:
        raise QMI_UsageException(f"The pages cannot be served at {options.bind}: {_reason(error, port)}") from error
    with made:
        yield made


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = holder_of(port) or "another program"
        return f"{holder} has that address, and may show them already; name another one by --bind, or by web.bind"
    return f"{error.strerror or error}; name another address by --bind, or by web.bind"


def url_of(listener: socket.socket, options: Options) -> str:
    """The address under which browsers find the pages."""
    return url_at(options, *listener.getsockname()[:2])


def url_at(options: Options, host: str, port: int) -> str:
    """The address under which browsers find the pages of a server that listens there."""
    if options.address.host == "localhost":
        host = "localhost"
    elif host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if options.is_encrypted else 'http'}://{shown}:{port}/"


def tls_of(options: Options) -> ssl.SSLContext | None:
    """What TLS is spoken with; None without.

    Raises:
        QMI_ConfigurationException: If the files will not do.
    """
    if not options.is_encrypted:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(options.certificate, options.key, _no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise QMI_ConfigurationException(
            f"HTTPS is not possible with the certificate {options.certificate} and the key {options.key}: "
            f"{_tls_reason(options, error)}"
        ) from error
    except QMI_ConfigurationException as error:
        raise QMI_ConfigurationException(f"HTTPS is not possible with the key {options.key}: {error}") from None
    return context


class Tls:
    """What TLS is spoken with: the certificate and the key that are in the files when somebody connects.

    Args:
        options: How the server runs.
        context: What was made of these files.
        renewed: Is called when there are others.
    """

    def __init__(self, options: Options, context: ssl.SSLContext, renewed: Callable[[], object] = lambda: None) -> None:
        self._options, self._context, self._renewed = options, context, renewed
        self._seen = self._stamps()

    def context(self) -> ssl.SSLContext:
        """What the next connection speaks; if the files will not do, such as while they are copied, what was before."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._context = tls_of(self._options) or self._context
            except QMI_ConfigurationException as error:
                _logger.warning("The certificate was changed, and the one before is used still: %s", error)
            else:
                _logger.info("The certificate %s was changed, and is used from now on", self._options.certificate)
                self._renewed()
        return self._context

    def _stamps(self) -> tuple[object, ...]:
        return tuple(_stamp(file) for file in (self._options.certificate, self._options.key))


def _stamp(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _no_passphrase() -> bytes:
    # Without this, OpenSSL asks at the terminal, and a program without one waits for ever.
    raise QMI_ConfigurationException(
        "it is protected by a passphrase, which nobody types when a server starts; 'openssl pkey -in OLD -out NEW' "
        "makes one without"
    )


def _tls_reason(options: Options, error: OSError) -> str:
    for file in (options.certificate, options.key):
        try:
            with open(file, "rb"):
                pass
        except OSError as unreadable:
            return f"{file}: {unreadable.strerror}"
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "they do not belong together"
    return "they are no PEM files of a certificate and its key" if not reason or "PEM" in reason else str(error)


class _Stream(anyio.abc.ByteStream):
    """The bytes of one connection; what cannot be sent in time ends it."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._sending: anyio.CancelScope | None = None
        self._is_ended = False
        self.before_receiving: Callable[[], Awaitable[None]] | None = None

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        """What is known of the connection."""
        return self._stream.extra_attributes

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive some bytes."""
        if self.before_receiving is not None:
            await self.before_receiving()
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send bytes."""
        # A large answer takes its time on a slow line.
        for begin in range(0, len(item), PIECE):
            await self._send_piece(item[begin : begin + PIECE] if len(item) > PIECE else item)

    async def _send_piece(self, item: bytes) -> None:
        # anycorn shields what it sends. This scope is within its shield, and so ends it nevertheless.
        with anyio.move_on_after(0.0 if self._is_ended else SEND_PATIENCE) as self._sending:
            try:
                await self._stream.send(item)
            except anyio.EndOfStream:  # with TLS: the browser has left, and has said so
                raise anyio.BrokenResourceError from None
        if self._sending.cancelled_caught:
            self._is_ended = True
            await anyio.aclose_forcefully(self._stream)
            raise anyio.BrokenResourceError
        self._sending = None

    async def send_eof(self) -> None:
        """Say that no more is sent."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._is_ended:
            return
        # TLS says good-bye, which a browser may never take.
        with anyio.move_on_after(END_PATIENCE, shield=True) as scope:
            await self._stream.aclose()
        if scope.cancelled_caught:
            await anyio.aclose_forcefully(self._stream)

    def end(self) -> None:
        """Send no more, not even what is being sent."""
        self._is_ended = True
        if self._sending is not None:
            self._sending.cancel()


class _Connection(TCPServer):
    """The protocol of one connection."""

    async def limit_idle(self) -> None:
        """Have a connection without TLS that turns to HTTP/2 end, too, if nothing is asked for.

        The protocol limits how long a connection has nothing to do, but not one that has turned from HTTP/1 and has
        not asked for anything since.
        """
        turned = self.protocol.protocol
        if isinstance(turned, H2Protocol):
            self.stream.before_receiving = None  # type: ignore[attr-defined]
            if not turned.streams:
                await self.idle_task.restart(self._task_group, self._idle_timeout)

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # the other side has said its last: nothing more is waited for


class Server:
    """Serves connections.

    Args:
        app: What answers requests.
        tls: What TLS is spoken with; None without.
    """

    def __init__(self, app: App, tls: Tls | None) -> None:
        self._tls = tls
        self._config = Config()
        self._config.errorlog = logging.getLogger("qmi.web.http")
        self._config.include_server_header = False
        self._app = wrap_app(app, 0, "asgi")  # type: ignore[arg-type]
        self._context = WorkerContext(None)
        self._streams: set[_Stream] = set()
        self._clients: Counter[str] = Counter()  # also those that have not done their handshake yet
        self._one_left = trio.Event()

    async def serve(self, listener: socket.socket, ending: trio.Event) -> None:
        """Accept connections until it is ending; returns when all have ended.

        Args:
            listener: Listens.
            ending: Set when no more are to be accepted, and streams of events have ended.
        """
        acceptor = await anyio.abc.SocketListener.from_socket(listener)
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(self._accept, acceptor, connections)
                    await ending.wait()
                    accepting.cancel_scope.cancel()
            finally:
                listener.close()
                await self._context.terminated.set()  # idle connections end
                connections.cancel_scope.deadline = trio.current_time() + END_PATIENCE
                connections.start_soon(self._end_all)

    async def _end_all(self) -> None:
        with trio.CancelScope(shield=True):
            with trio.move_on_after(END_PATIENCE):
                while self._streams:
                    self._one_left = trio.Event()
                    await self._one_left.wait()
            for stream in self._streams:
                stream.end()

    async def _accept(self, acceptor: anyio.abc.SocketListener, connections: trio.Nursery) -> None:
        while True:
            try:
                connection = await acceptor.accept()
            except (
                OSError,
                anyio.BrokenResourceError,
            ) as error:  # too many open files
                _logger.warning("A connection of a browser was not accepted: %r", error)
                await trio.sleep(0.1)
                continue
            if self._clients.total() >= MAX_CONNECTIONS:
                await anyio.aclose_forcefully(connection)
                continue
            client = _client_of(connection)
            if self._clients[client] >= MAX_PER_CLIENT and not is_loopback(client):
                await anyio.aclose_forcefully(connection)
                continue
            self._clients[client] += 1
            connections.start_soon(self._serve_connection, connection, client)

    async def _serve_connection(self, connection: anyio.abc.SocketStream, client: str) -> None:
        # Here nothing is known of what the other side is: whatever goes wrong ends this connection, and no other.
        stream: _Stream | None = None
        try:
            async with connection:
                raw: anyio.abc.ByteStream = connection
                if self._tls is not None:
                    with trio.fail_after(HANDSHAKE_PATIENCE):
                        raw = await anyio.streams.tls.TLSStream.wrap(
                            connection, server_side=True, ssl_context=self._tls.context(), standard_compatible=False
                        )
                stream = _Stream(raw)
                self._streams.add(stream)
                served = _Connection(self._app, self._config, self._context, {}, stream)  # type: ignore[arg-type]
                if self._tls is None:
                    stream.before_receiving = served.limit_idle
                await served.run()
        except (OSError, trio.TooSlowError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass  # no TLS was spoken, or the other side has left
        except Exception:
            _logger.exception("A connection of a browser has ended by an error")
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
            if stream is not None:
                self._streams.discard(stream)
                self._one_left.set()


def _client_of(connection: anyio.abc.SocketStream) -> str:
    """The address of the computer that connects; empty if that is gone already."""
    try:
        return str(connection.extra(anyio.abc.SocketAttribute.remote_address)[0])
    except (OSError, anyio.TypedAttributeLookupError):
        return ""
