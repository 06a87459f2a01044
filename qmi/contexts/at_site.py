"""A context and its site, if it has one; without, nothing of :mod:`qmi.site` is imported."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Protocol

from qmi.actors.call import Router
from qmi.actors.context_object import ObjectListing
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.pubsub.broker import Broker
from qmi.actors.registry import Registry
from qmi.config.schema import CfgQmi
from qmi.messages import Origin, Request, Subscribe
from qmi.names import CLI_PREFIX, HostPort
from qmi.net.io.fan_out import Publication
from qmi.peers.connections import Connections
from qmi.peers.subscriptions import Signalling
from qmi.runtime.wakeup import Loop

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus
    from qmi.net.io.link import Link
    from qmi.site.logs import LogPublishing, Logs
    from qmi.site.membership import Membership
    from qmi.site.rows import Rows


class AtSiteServices(Router, Protocol):
    """What this needs of the context."""

    name: str
    config: CfgQmi
    started: float
    broker: Broker[Publication]
    registry: Registry
    connections: Connections
    signalling: Signalling

    def request_here(self, message: Request, origin: Origin, link: Link | None, answer: QMI_RpcFuture[None]) -> None:
        """Hand a message of another context to an object of this one."""
        ...

    def objects_here(self, category: str | None = None) -> list[ObjectListing]:
        """The objects of this context."""
        ...

    def status_here(self) -> ContextStatus:
        """What it tells of itself."""
        ...

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery."""
        ...


class AtSite:
    """What a context does at its site, if the configuration has one.

    Args:
        services: The context.

    Attributes:
        membership: Its part in the site; None if there is none, or before the context starts.
        rows: The rows of runs at the site; likewise.
        logs: The logs of other contexts at the site; likewise.
    """

    def __init__(self, services: AtSiteServices) -> None:
        self._services = services
        self.membership: Membership | None = None
        self.rows: Rows | None = None
        self.logs: Logs | None = None
        self._own_log: LogPublishing | None = None
        self.name: str = services.name
        self.config: CfgQmi = services.config
        self.origin: Origin = services.origin
        self.started: float = services.started
        self.broker: Broker[Publication] = services.broker
        self.loop: Loop

    async def start(self) -> None:
        """Take part, once the context listens.

        Raises:
            QMI_ConfigurationException: If a file for TLS is not there or does not fit.
            QMI_ConnectionException: If the site is required, and no server is reached.
        """
        if not self.config.site.enabled:
            return
        from qmi.site.membership import Membership

        services = self._services
        self.loop = services.loop
        self.membership = Membership(self)
        services.connections.directory = self.membership.attendance
        services.connections.relay = self.membership.relay
        services.registry.on_change = self.membership.attendance.objects_changed
        self._begin_signals(self.membership)
        self._begin_rows(self.membership)
        self._begin_logs(self.membership)
        self._begin_health(self.membership)
        await self.membership.start()

    def _begin_signals(self, membership: Membership) -> None:
        from qmi.net.codec.codec import Codec
        from qmi.peers.references import Interfaces, References
        from qmi.site.engine import SiteEngine

        references = References(self._services, Interfaces())
        codec = Codec(persistent=references.lower, restore=references.restore)
        engine = SiteEngine(self, membership.client, codec, self.config.workgroup)
        self._services.signalling.site = engine
        membership.attendance.on_here.append(engine.context_here)
        membership.attendance.on_gone.append(engine.context_gone)

    def _begin_rows(self, membership: Membership) -> None:
        from qmi.site.rows import Rows

        self.rows = Rows(membership.client, self.config.workgroup, self.name, self.origin.incarnation)
        membership.attendance.on_gone.append(self.rows.context_gone)

    def _begin_logs(self, membership: Membership) -> None:
        from qmi.site.logs import LogPublishing, Logs

        group = self.config.workgroup
        self.logs = Logs(self, membership.client, group, self.origin.incarnation)
        membership.attendance.on_here.append(self.logs.context_here)
        membership.attendance.on_gone.append(self.logs.context_gone)
        if not self.name.startswith(CLI_PREFIX):  # a command's log is on the screen
            self._own_log = LogPublishing(membership.client, self.loop, group, self.name)
            self.spawn(self._own_log.run)

    def _begin_health(self, membership: Membership) -> None:
        from qmi.site.health import Health

        if not self.name.startswith(CLI_PREFIX):
            health = Health(membership.client, self.config.workgroup, self.name, self._services.status_here)
            self.spawn(health.run)

    async def stop(self) -> None:
        """Take part no more, when everybody else has stopped."""
        if self.membership is not None:
            self._services.connections.directory = None
            self._services.registry.on_change = lambda: None
            if self._own_log is not None:
                await self._own_log.finish()
            await self.membership.stop()

    # What the membership needs

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery, which ends by a line in the log if it fails."""
        what = "This context takes part in its site no more"
        return self._services.spawn(self._services.connections.failures.contain, "site", what, function, *args)

    def listening(self) -> tuple[Sequence[str], int]:
        """The addresses that the context listens on, and its port; 0 if it does not listen."""
        connections = self._services.connections
        return connections.hosts, connections.port

    async def accept(self, connection: socket.socket, where: HostPort) -> None:
        """Somebody has connected through the servers."""
        await self._services.connections.accept(connection, where)

    def objects_listed(self) -> Sequence[tuple[str, str]]:
        """Name and class of each object of the context."""
        found = self._services.objects_here()
        named = [(entry.address.partition(".")[2], entry.shown_class) for entry in found]
        return [entry for entry in named if not entry[0].startswith("$")]

    # What signals need

    def run(self, function: Callable[..., Awaitable[None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function until the context ends."""
        return self._services.run(function, *args)

    def has_link(self, context: str) -> bool:
        """Whether there is a link to a context."""
        return self._services.connections.link_to(context) is not None

    def link_of(self, incarnation: str) -> Link | None:
        """The link to a context, by its incarnation."""
        return self._services.connections.link_of(incarnation)

    def published(self, name: str, signal: str) -> int:
        """How often a signal of this context was published."""
        return self.broker.published(name, signal)

    def ask_for_signal(self, message: Subscribe, answer: QMI_RpcFuture[None]) -> None:
        """Whether an object of this context declares a signal; one that is to come is waited for."""
        self._services.request_here(message, Origin("", ""), None, answer)
