"""Connections of a context to others: each becomes a link, by what is imported for the first one.

Links need all of :mod:`qmi.net`: some fifty modules, of which a program that has no links needs none. A thread imports
them, so that loops of the program go on meanwhile.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import trio

from qmi.actors.call import Router
from qmi.config.schema import CfgQmi
from qmi.messages import Origin
from qmi.names import HostPort
from qmi.net.io.failures import Failures
from qmi.net.protocol.bounds import describe_error
from qmi.net.protocol.link_ends import Role
from qmi.runtime.forks import close_in_child
from qmi.runtime.gc_pause import importing
from qmi.runtime.wakeup import Loop

if TYPE_CHECKING:
    from qmi.net.io.link import Link
    from qmi.net.io.receivers import Owner
    from qmi.net.protocol.handshake import Hello
    from qmi.peers.link_making import LinkMaker
    from qmi.peers.link_status import CountedLink
    from qmi.peers.references import References

_logger = logging.getLogger("qmi.core.messaging")


_importing = threading.RLock()
_imported: type[LinkMaker] | None = None
if hasattr(os, "register_at_fork"):
    # A child that is forked meanwhile would have modules that are half there, and locks on them that nobody gives back.
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


class ConnectorServices(Router, Protocol):
    """What connecting and accepting need of the context."""

    name: str
    config: CfgQmi
    loop: Loop
    origin: Origin


class Connector:
    """Makes links of connections.

    Args:
        services: The context.
        failures: Counts and tells what nobody foresaw.

    Attributes:
        own_address: Where others reach this context, ``"host:port"``; empty if it does not listen.
        is_server: Whether others connect to this context by its name.
    """

    def __init__(self, services: ConnectorServices, failures: Failures | None = None) -> None:
        self._failures = failures or Failures()
        self._services = services
        self._maker: LinkMaker | None = None
        self.own_address: str = ""
        self.is_server: bool = False

    def check_certificate(self) -> None:
        """Read the certificate and key of this context, if it has one; say in the log what is wrong, or soon will be.

        Raises:
            QMI_ConfigurationException: If a file for TLS is not there or does not fit.
        """
        security = self._services.config.security
        if security.enabled:
            from qmi.net.io.own_certificate import certificate_warnings

            self._links()
            for warning in certificate_warnings(
                ca_file=str(security.ca),
                cert_file=str(security.certificate),
                key_file=str(security.key),
                context=self._services.name,
                workgroup=self._services.config.workgroup,
            ):
                _logger.warning("%s", warning)

    @property
    def is_guarded(self) -> bool:
        """Whether both sides have to prove themselves."""
        return self._services.config.security.enabled

    @property
    def dropped_signals(self) -> int:
        """How many signals found no room on links that are gone."""
        return 0 if self._maker is None else self._maker.dropped_signals

    def _links(self) -> LinkMaker:
        if self._maker is None:
            self._maker = link_maker_class()(self._services, self, self._failures)
        return self._maker

    async def enter(
        self,
        sock: socket.socket,
        role: Role,
        where: HostPort,
        owner: Owner[Link],
        *,
        expected: str | None = None,
        ready: Callable[[Link], None] = lambda link: None,
    ) -> None:
        """Make a link of a connection and drive it until it is lost; see :meth:`.LinkMaker.enter`."""
        if self._maker is None:
            await import_links()
        await self._links().enter(sock, role, where, owner, expected=expected, ready=ready)

    def counted(self, link: Link) -> CountedLink | None:
        """A link with what counts for it; None once it is gone."""
        return self._links().counted(link)

    def note_version(self, link: Link, hello: Hello) -> None:
        """The other side has said which version of the protocol it speaks."""
        self._links().note_version(link, hello)

    def call_otherwise(self, link: Link, name: str, known_as: str) -> References:
        """From now on, the other side of a link is known here by another name than it has itself.

        Returns:
            What translates between the names of both sides.
        """
        return self._links().call_otherwise(link, name, known_as)


def link_maker_class() -> type[LinkMaker]:
    """Import all that links need, unless that has been done."""
    global _imported
    # Several threads may find None: one imports, the others wait for it and find the modules there.
    if _imported is None:
        with _importing, importing():
            from qmi.peers import rpc_server  # noqa: F401 - needed as soon as there is a link
            from qmi.peers.link_making import LinkMaker

            _imported = LinkMaker
    return _imported


async def import_links() -> None:
    """Import all that links need, while the loop goes on; at once if that has been done."""
    if _imported is not None:
        return
    try:
        # A limiter of its own: a trio program may have trio's 40 threads wait for something else.
        await trio.to_thread.run_sync(link_maker_class, limiter=trio.CapacityLimiter(1))
    except RuntimeError:  # no thread can be started
        link_maker_class()


async def tcp_connect(where: HostPort, timeout: float) -> socket.socket:
    """Open a TCP connection.

    Args:
        where: The address.
        timeout: Within which time, in seconds.

    Raises:
        OSError: If that is not possible in time.
    """
    with trio.move_on_after(timeout):
        try:
            stream = await trio.open_tcp_stream(where.host, where.port)
        except OSError as error:
            raise _plain_reason(error) from error
        except (RuntimeError, MemoryError) as error:  # names are looked up by a thread, of which there is none left
            raise ConnectionError(f"the system has nothing left to connect with: {describe_error(error)}") from error
        return close_in_child(socket.socket(fileno=stream.socket.detach()))
    raise TimeoutError(f"nobody answered within {timeout:g} s")


def _plain_reason(error: OSError) -> OSError:
    # trio tries every address that a name has, and reports the lot.
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, ConnectionRefusedError):
        return ConnectionRefusedError("nothing listens there: connection refused")
    found = cause if isinstance(cause, OSError) else error
    if isinstance(found, socket.gaierror):
        return ConnectionError(f"its host name is not known ({found.strerror})")
    # Text of trio's own repeats the address; the number tells the same without.
    return ConnectionError(os.strerror(found.errno) if found.errno is not None and found.errno > 0 else str(found))
