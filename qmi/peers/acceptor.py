"""Where others connect: what this context listens on, who finds it, and how many links may be pending at a time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from qmi._version import __version__
from qmi.config.schema import CfgContext
from qmi.config.validators import printable
from qmi.names import HostPort
from qmi.net.discovery.packets import reply_to
from qmi.net.discovery.udp import Responder
from qmi.net.io.failures import Failures
from qmi.net.io.listener import Listener, listen_everywhere
from qmi.net.loopback import LOOPBACK, is_loopback
from qmi.net.protocol.link_ends import LossKind, Role
from qmi.peers.addresses import everywhere
from qmi.peers.connector import Connector, ConnectorServices

if TYPE_CHECKING:
    from qmi.net.io.link import Link
    from qmi.net.io.receivers import Owner

_logger = logging.getLogger("qmi.core.messaging")

_GRACE = 0.2
"""How long a pending link has for its hello, in seconds, while others wait for its place."""


class AcceptorServices(ConnectorServices, Protocol):
    """What accepting needs of the context besides."""

    def configured(self) -> CfgContext | None:
        """The settings of the context, None if it is not configured."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task that lives as long as the context."""


class Acceptor:
    """The listening side of a context.

    Args:
        services: The context.
        connector: Makes links of connections.
        receive: Makes the owner of a pending link, which calls what it is given when the other side is authenticated.
        failures: Counts and tells what fails.
    """

    def __init__(
        self,
        services: AcceptorServices,
        connector: Connector,
        receive: Callable[[Callable[[], object]], Owner[Link]],
        failures: Failures | None = None,
    ) -> None:
        self._failures = failures or Failures()
        self._services = services
        self._config = services.config
        self._connector = connector
        self._receive = receive
        self._listeners: list[Listener] = []
        self._pending: dict[trio.CancelScope, float] = {}
        self._place_free = trio.Event()
        self._closing = False

    @property
    def port(self) -> int:
        """The TCP port that this context listens on; 0 if it does not."""
        return self._listeners[0].address.port if self._listeners else 0

    @property
    def hosts(self) -> list[str]:
        """The addresses that this context listens on."""
        return [listener.address.host for listener in self._listeners]

    def open(self) -> None:
        """Listen, and answer who looks for contexts, as far as the configuration wants that.

        Raises:
            QMI_Exception: If the context cannot listen where it should.
        """
        configured = self._services.configured()
        if configured is None:
            # Others on this machine can find and use it; nobody else can.
            self._listen(LOOPBACK, 0)
        elif configured.tcp_server_port is not None:
            self._connector.is_server = True
            self._listen(LOOPBACK if configured.host is None else configured.host, configured.tcp_server_port)
        elif configured.host is not None:
            _logger.warning(
                "Context %s has a host in the configuration (%s), but no tcp_server_port: it does not listen, and "
                "nobody can connect to it. Set contexts.%s.tcp_server_port, or leave host out",
                self._services.name,
                configured.host,
                self._services.name,
            )

    def _listen(self, host: str, port: int) -> None:
        sockets = listen_everywhere(host, port, holder_of)
        self._listeners = [Listener(sock, self.accept, self._failures) for sock in sockets]
        self._connector.own_address = str(self._public().address)
        self._warn(host)
        for listener in self._listeners:
            self._services.spawn(
                self._failures.contain, "listener", "This context accepts no connections any more", listener.run
            )
            _logger.info("Context %s listens on %s", self._services.name, listener.address)
        discovery = self._config.discovery
        if discovery.enabled:
            responder = Responder(
                self._answer_question,
                host=self._public().address.host,
                port=discovery.port,
                broadcasts=everywhere(self._config),
                failures=self._failures,
            )
            self._services.spawn(
                self._failures.contain, "responder", "This context cannot be found any more", responder.run
            )

    def _public(self) -> Listener:
        """The listener that others reach most likely."""
        public = [listener for listener in self._listeners if not is_loopback(listener.address.host)]
        return (public or self._listeners)[0]

    def _warn(self, host: str) -> None:
        public = self._public().address
        if is_loopback(public.host):
            if not is_loopback(host):  # a name, then: Debian gives the name of the machine to 127.0.1.1
                _logger.warning(
                    "Context %s listens on %s only, which is what %r stands for on this machine (see /etc/hosts): "
                    "no other machine can reach it. Set its host to the address that others know, or to 0.0.0.0",
                    self._services.name,
                    " and ".join(str(listener.address) for listener in self._listeners),
                    host,
                )
        elif not self._connector.is_guarded:
            _logger.warning(
                "Context %s listens on %s without TLS: everybody in the network can use its instruments. "
                "Set its host to 127.0.0.1, or add a security section",
                self._services.name,
                public,
            )

    def _answer_question(self, packet: bytes, asker: str) -> bytes | None:
        hosts = self.hosts
        near = is_loopback(asker)
        # The asker speaks IPv4. Who is on this machine gets its own address, everybody else one of the network.
        hosts.sort(key=lambda host: (is_loopback(host) is not near and not _is_wildcard(host), ":" in host))
        return reply_to(
            packet,
            asker_host=asker,
            name=self._services.name,
            workgroup=self._config.workgroup,
            host=hosts[0],
            port=self.port,
            version=__version__,
            pid=os.getpid(),
            incarnation=self._services.origin.incarnation,
        )

    def close(self) -> None:
        """Listen no more, and end the links that are still pending."""
        self._closing = True
        for listener in self._listeners:
            listener.close()
        for scope in list(self._pending):
            scope.cancel()

    async def accept(self, sock: socket.socket, where: HostPort) -> None:
        """Somebody has connected: make a link of it. Waits while too many others are to prove themselves.

        Args:
            sock: The connection.
            where: Address of the other side.
        """
        while len(self._pending) >= self._config.limits.max_unproven_links:
            # A program that can authenticate does so at once: the oldest is the least likely to be one.
            oldest, since = next(iter(self._pending.items()))
            self._place_free = trio.Event()
            with trio.move_on_at(since + _GRACE):
                await self._place_free.wait()
            if oldest in self._pending and trio.current_time() >= since + _GRACE:
                self._authenticated(oldest)
                oldest.cancel()
        scope = trio.CancelScope()
        self._pending[scope] = trio.current_time()
        begun = False
        try:
            what = f"A connection from {where} ends by a fault of this program"
            begun = self._services.spawn(self._failures.contain, "connection", what, self._serve, sock, where, scope)
        finally:
            if not begun:
                self._authenticated(scope)
                sock.close()

    def _authenticated(self, link: trio.CancelScope) -> None:
        # It is not pending any more, or is gone: its place is free for another one.
        self._pending.pop(link, None)
        self._place_free.set()

    async def _serve(self, sock: socket.socket, where: HostPort, scope: trio.CancelScope) -> None:
        link: Link | None = None

        def ready(made: Link) -> None:
            nonlocal link
            link = made

        try:
            with scope:
                owner = self._receive(partial(self._authenticated, scope))
                await self._connector.enter(sock, Role.LISTENING, where, owner, ready=ready)
        except OSError as error:
            self._failures.count("connection: refused")
            self._failures.report(
                "refused", logging.WARNING, "A connection from %s was refused: %s", where, printable(str(error))
            )
        finally:
            self._authenticated(scope)
            if link is None or not link.is_left_to_reader:
                sock.close()
        loss = link.loss if link is not None else None
        if link is None or loss is None or link.hello is not None or self._closing or loss.kind is LossKind.FAULT:
            return
        reason = "others waited for its place" if scope.cancelled_caught else loss.reason
        self._failures.count("connection: came to nothing")
        self._failures.report("nothing", logging.WARNING, "A connection from %s came to nothing: %s", where, reason)


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::")


def holder_of(port: int) -> str | None:
    """Which process listens on a TCP port, for a message; empty if none does, None if this user may not know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                name = psutil.Process(connection.pid).name() if connection.pid else "another user's process"
                return f"{name} (pid {connection.pid})" if connection.pid else name
        return ""
    return None
