"""Where others connect: a listening socket that survives floods, silent strangers and a lack of descriptors."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable

import trio

from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.forks import close_in_child
from qmi.names import HostPort
from qmi.net.failures import Failures

_logger = logging.getLogger("qmi.core.messaging")

_BACKLOG = 1024
_PAUSE = 0.1
_COMPLAINT_EVERY = 10.0
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says when it has nothing left for now, so that the same may work a moment later."""
_A_FAULT = "a fault of this program"


def listen(host: str, port: int, holder: Callable[[int], str] = lambda _: "") -> socket.socket:
    """Open a listening socket.

    Args:
        host: Name or address of an interface of this machine; "" is every one of them.
        port: The port; 0 takes a free one.
        holder: Says who holds a port, for the message.

    Raises:
        QMI_UsageException: If the port is in use.
        QMI_ConfigurationException: If the host is none of this machine's, or the port may not be used.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise QMI_ConfigurationException(f"Cannot listen on host {host!r}: {error.strerror or error}") from error
    sock = close_in_child(socket.socket(family, kind, proto))
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            by = holder(port)
            raise QMI_UsageException(
                f"TCP port {port} on {host or 'this machine'} is in use" + (f" by {by}" if by else "")
            ) from error
        raise QMI_ConfigurationException(
            f"Cannot listen on {HostPort(host, port)}: {error.strerror or error}"
        ) from error
    return sock


class Listener:
    """Accepts connections until it is closed.

    Args:
        sock: A listening socket.
        accepted: Awaited with each connection and the address of its other side; until it returns, none is accepted.
        failures: Counts and tells what nobody foresaw.
    """

    def __init__(
        self,
        sock: socket.socket,
        accepted: Callable[[socket.socket, HostPort], Awaitable[None]],
        failures: Failures | None = None,
    ) -> None:
        self._sock = sock
        self._accepted = accepted
        self._failures = failures or Failures()
        self._complained = float("-inf")
        host, port = sock.getsockname()[:2]
        self.address: HostPort = HostPort(host, port)

    async def run(self) -> None:
        """Accept until cancelled or closed. What nobody foresaw fails one connection at most: the listener goes on."""
        try:
            while self._sock.fileno() >= 0:
                try:
                    await self._accept()
                except* Exception as group:
                    if self._sock.fileno() >= 0:  # else it was closed while it waited
                        self._failures.fault(
                            "listener", f"The listener on {self.address} goes on after {_A_FAULT}", group
                        )
                        await trio.sleep(_PAUSE)
        finally:
            self.close()

    async def _accept(self) -> None:
        try:
            sock, address = self._sock.accept()
            close_in_child(sock)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(self._sock)
        except OSError as error:
            if self._sock.fileno() < 0:
                raise trio.ClosedResourceError from error
            # Anything else is the fault of one connection that has gone before it was accepted.
            if error.errno in OUT_OF_RESOURCES:
                self._complain(error)
            await trio.sleep(_PAUSE if error.errno in OUT_OF_RESOURCES else 0)
        else:
            try:
                await self._accepted(sock, HostPort(*address[:2]))
            except BaseException:
                sock.close()
                raise
            await trio.lowlevel.checkpoint()

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAINT_EVERY:
            self._complained = now
            _logger.error("No new connections can be accepted for now: %s", error.strerror or error)

    def close(self) -> None:
        """Accept no more."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
