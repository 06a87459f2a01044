"""Where others connect: a listening socket that survives floods, silent strangers and a lack of descriptors."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from qmi.errors import QMI_ConfigurationException, QMI_UsageException
from qmi.names import HostPort
from qmi.net.io.failures import Failures
from qmi.runtime.forks import close_in_child

_logger = logging.getLogger("qmi.core.messaging")

PORT_OPTION = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
"""Set for a socket that listens. On POSIX it may take the port of a program that has just ended; on Windows the same
option would let it share the port of one that runs, which the other one prevents."""
_BACKLOG = 1024
_PAUSE = 0.1
_TRIES = 20
_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_COMPLAINT_EVERY = 10.0
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What the system says when it has nothing left for now, so that the same may work a moment later."""
_A_FAULT = "a fault of this program"

PortHolder: TypeAlias = Callable[[int], str | None]
"""Says who listens on a port; empty if nobody does, None if that is not known."""


def listen_everywhere(host: str, port: int, holder: PortHolder = lambda _: None) -> list[socket.socket]:
    """Open a listening socket at each address of a name, all on one port.

    Addresses that this machine does not have at the moment are left out, as long as one is left.

    Args:
        host: Name or address of an interface of this machine; "" is every one of them.
        port: The port; 0 takes one that is free at all addresses.
        holder: As for :func:`listen`.

    Raises:
        QMI_UsageException: If the port is in use.
        QMI_ConfigurationException: If the host is none of this machine's, or the port may not be used.
    """
    addresses = _addresses_of(host, port)
    for attempt in range(_TRIES):
        sockets: list[socket.socket] = []
        try:
            _listen_at(addresses, port, holder, sockets, strict=port != 0 or attempt + 1 == _TRIES)
        except _OtherPortError:  # what was free at one address is not at another
            pass
        except BaseException:
            _close(sockets)
            raise
        else:
            return sockets
        _close(sockets)
    raise AssertionError("the last attempt is strict")


class _OtherPortError(Exception):
    """The port that the system has chosen will not do."""


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _resolve(host: str, port: int) -> list[tuple[int, int, int, tuple[object, ...]]]:
    """Family, kind, protocol and address of each socket that can listen there."""
    # Numbers as bytes: for a text Python imports the rules of internationalised names.
    name = host.encode() if host.isascii() and (":" in host or host.replace(".", "").isdigit()) else host
    try:
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise QMI_ConfigurationException(f"Cannot listen on host {host!r}: {error.strerror or error}") from error
    return [(family, kind, proto, address) for family, kind, proto, _, address in found]


def _addresses_of(host: str, port: int) -> list[str]:
    return list(dict.fromkeys(str(address[0]) for *_, address in _resolve(host, port)))


def _listen_at(
    addresses: list[str], port: int, holder: PortHolder, sockets: list[socket.socket], *, strict: bool
) -> None:
    missing: Exception | None = None
    for address in addresses:
        try:
            sockets.append(listen(address, port, holder, apart=len(addresses) > 1))
        except QMI_UsageException as error:
            if sockets and not strict:
                raise _OtherPortError from error
            raise
        except QMI_ConfigurationException as error:
            if getattr(error.__cause__, "errno", None) not in _NOT_HERE:
                raise
            missing = error
        else:
            port = sockets[0].getsockname()[1]
    if missing is not None and not sockets:
        raise missing


def listen(host: str, port: int, holder: PortHolder = lambda _: None, *, apart: bool = False) -> socket.socket:
    """Open a listening socket.

    Args:
        host: Name or address of an interface of this machine; "" is every one of them.
        port: The port; 0 takes a free one.
        holder: Says who listens on a port, for the message.
        apart: Whether an IPv6 address leaves those of IPv4 to another socket.

    Raises:
        QMI_UsageException: If the port is in use.
        QMI_ConfigurationException: If the host is none of this machine's, or the port may not be used.
    """
    family, kind, proto, address = _resolve(host, port)[0]
    try:
        sock = close_in_child(socket.socket(family, kind, proto))
    except OSError as error:  # no IPv6 on this machine, or no descriptors
        text = f"Cannot listen on {HostPort(host, port)}: {error.strerror or error}"
        raise QMI_ConfigurationException(text) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, PORT_OPTION, 1)
        if apart and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            text = f"TCP port {port} on {host or 'this machine'} is in use{_by(holder(port))}"
            raise QMI_UsageException(text) from error
        raise QMI_ConfigurationException(
            f"Cannot listen on {HostPort(host, port)}: {error.strerror or error}"
        ) from error
    return sock


def _by(holder: str | None) -> str:
    """The cause and the remedy, for the message."""
    if holder is None:
        return ""
    if holder:
        return f" by {holder}: is the program running already? Else choose another contexts.NAME.tcp_server_port"
    return (
        ", but nobody listens there: an outgoing connection may have it, for a minute perhaps; a port below 32768 is "
        "not lent out (contexts.NAME.tcp_server_port)"
    )


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
