"""How a connection becomes a link: TLS if it is configured, then the hello, then the link runs.

It needs all of :mod:`qmi.net`, so that it is imported for the first connection (:mod:`qmi.peers.connector`).
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from qmi._version import __version__
from qmi.actors.call import Router
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.messages import Origin
from qmi.names import HostPort
from qmi.net.io.failures import Failures
from qmi.net.io.link import Link
from qmi.net.io.receivers import Owner
from qmi.net.io.revocation import RevocationList
from qmi.net.io.rush import RushReader
from qmi.net.io.tls import TlsWire, check_workgroup, client_context, peer_identity, server_context
from qmi.net.io.transport import PlainWire, Wire
from qmi.net.limits import SILENCE_PER_PEER_TIMEOUT, Limits
from qmi.net.protocol.connection import Connection
from qmi.net.protocol.handshake import Hello, Identity
from qmi.net.protocol.link_ends import Role
from qmi.net.protocol.packets import Arrivals
from qmi.net.protocol.request_memory import RequestMemory
from qmi.peers.link_status import CountedLink
from qmi.peers.references import PARAMETERS_SINCE, Interfaces, References
from qmi.runtime.wakeup import Loop


class LinkMakerServices(Router, Protocol):
    """What making links needs of the context."""

    name: str
    config: CfgQmi
    loop: Loop
    origin: Origin


class OwnSide(Protocol):
    """What this side tells of itself, besides its name."""

    own_address: str
    is_server: bool


class LinkMaker:
    """Makes links of connections.

    Args:
        services: The context.
        own_side: Where others reach it.
        failures: Counts and tells what nobody foresaw.

    Attributes:
        dropped_signals: How many signals found no room on links that are gone.

    Raises:
        QMI_ConfigurationException: If a file for TLS is not there or does not fit.
    """

    def __init__(self, services: LinkMakerServices, own_side: OwnSide, failures: Failures) -> None:
        self._failures = failures
        self._own_side = own_side
        self._services = services
        self._interfaces = Interfaces()
        limits = services.config.limits
        self._limits = Limits(
            hello=limits.hello_bytes,
            body=limits.max_body_bytes,
            frame=limits.max_frame_bytes,
            depth=limits.max_depth,
            objects=limits.max_frame_objects,
            open_requests=limits.max_open_requests,
            request_bytes=limits.max_request_bytes,
            all_request_bytes=limits.max_all_request_bytes,
            arriving=limits.max_arriving_bytes,
            hello_timeout=limits.hello_timeout,
            ping_after=min(4.0, limits.peer_timeout / 4),
            silence=limits.peer_timeout * SILENCE_PER_PEER_TIMEOUT,
        )
        self._tls = _tls_contexts(services.config.security)
        self._arrivals = Arrivals(self._limits.arriving)
        self._memory = RequestMemory(self._limits.all_request_bytes, self._limits.arriving)
        self._decoders = trio.CapacityLimiter(1)  # two would only take the interpreter from each other
        revoked = services.config.security.revoked
        self._revoked = None if revoked is None else RevocationList(revoked)
        self._readers = RushReader(partial(self._failures.fault, "link", "Reading many links at once ends"))
        self._by_link: dict[Link, References] = {}
        self._counted: dict[Link, CountedLink] = {}
        self.dropped_signals: int = 0

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
        """Make a link of a connection and drive it until it is lost.

        Args:
            sock: The connection. The link closes it in the end, perhaps a moment after this has returned: threads that
                read it may still wait for it. If there is no link, whoever calls this closes it.
            role: Which side of it this is.
            where: Address of the other side.
            owner: Gets what comes in.
            expected: The context that a connecting side means to reach.
            ready: Called with the link before anything is sent.

        Raises:
            OSError: If the connection is lost before there is a link, or TLS fails.
            PermissionError: If the other side's certificate is not good enough.
        """
        wire, certified = await self._prove(sock, role, expected)
        references = References(self._services, self._interfaces)
        peer = self._make_connection(role, certified, references, where, expected)
        link = self._make_link(wire, peer, where, owner)
        self._by_link[link] = references
        self._counted[link] = CountedLink(link, peer, wire.sock, time.time())
        try:
            ready(link)
            await link.run()
        finally:
            del self._by_link[link], self._counted[link]
            self.dropped_signals += link.dropped_signals

    def _make_connection(
        self, role: Role, certified: Identity | None, references: References, where: HostPort, expected: str | None
    ) -> Connection:
        hello = Hello(
            context=self._services.name,
            incarnation=self._services.origin.incarnation,
            workgroup=self._services.config.workgroup,
            library=__version__,
            pid=os.getpid(),
            address=self._own_side.own_address,
            wanted=expected or "",
            server=self._own_side.is_server,
        )
        return Connection(
            role,
            hello,
            now=time.monotonic(),
            expected=expected,
            certified=certified,
            limits=self._limits,
            persistent=references.lower,
            restore=references.restore,
            where=str(where),
            arrivals=self._arrivals,
            memory=self._memory,
        )

    def _make_link(self, wire: Wire, peer: Connection, where: HostPort, owner: Owner[Link]) -> Link:
        limits = self._services.config.limits
        return Link(
            wire,
            peer,
            owner,
            self._services.loop,
            where=str(where),
            max_unsent=limits.max_unsent_bytes,
            unsent_timeout=limits.unsent_timeout,
            readers=self._readers,
            failures=self._failures,
            decoders=self._decoders,
        )

    def counted(self, link: Link) -> CountedLink | None:
        """A link with what counts for it; None once it is gone."""
        return self._counted.get(link)

    def note_version(self, link: Link, hello: Hello) -> None:
        """The other side has said which version of the protocol it speaks."""
        self._by_link[link].parameters = hello.minor >= PARAMETERS_SINCE

    def call_otherwise(self, link: Link, name: str, known_as: str) -> References:
        """From now on, the other side of a link is known here by another name than it has itself.

        Returns:
            What translates between the names of both sides.
        """
        references = self._by_link[link]
        references.call_otherwise(name, known_as)
        link.encode_apart(references.chain_there)
        return references

    async def _prove(self, sock: socket.socket, role: Role, expected: str | None) -> tuple[Wire, Identity | None]:
        if self._tls is None:
            return PlainWire(sock), None
        server = role is Role.LISTENING
        wire = TlsWire(sock, self._tls[server], server=server)
        with trio.move_on_after(self._limits.hello_timeout):
            certificate = await wire.handshake()
            identity = peer_identity(certificate)
            if self._revoked is not None:
                self._revoked.check(certificate)
            fault = check_workgroup(identity, self._services.config.workgroup, expected=expected)
            if fault is not None:
                raise PermissionError(fault)
            return wire, identity
        text = f"the TLS handshake was not done within {self._limits.hello_timeout:g} s; perhaps it is no context"
        raise ConnectionError(text)


def _tls_contexts(security: CfgSecurity) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    if not security.enabled:
        return None
    files = {
        "ca_file": str(security.ca),
        "cert_file": str(security.certificate),
        "key_file": str(security.key),
    }
    return client_context(**files), server_context(**files)
