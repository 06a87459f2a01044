"""The part that one context has in a site: its connection to the servers, and what is done over it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Protocol

import trio

from qmi.errors import QMI_ConnectionException
from qmi.site.attendance import Attendance, AttendanceServices
from qmi.site.client import ClientOptions, Server, SiteClient
from qmi.site.relay import LinkRelay, RelayServices
from qmi.site.subjects import connection_name, inbox_prefix
from qmi.site.trust import protection

_FIRST_ATTEMPT = 1.0
"""How long a context that starts waits for a server that does not answer, in seconds."""
_DRAIN = 1.0
"""How long a context that stops waits until the servers have what it has published, in seconds."""


class MembershipServices(AttendanceServices, RelayServices, Protocol):
    """What is needed of the context."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task that lives as long as the context."""
        ...


class Membership:
    """A context at its site.

    Args:
        services: The context.

    Attributes:
        client: Its connection to the servers.
        attendance: Who else is there.
        relay: Makes links through the servers; None if that is not wanted.

    Raises:
        QMI_ConfigurationException: If a file for TLS is not there or does not fit.
    """

    def __init__(self, services: MembershipServices) -> None:
        self._services = services
        config = services.config
        site, group = config.site, config.workgroup
        protected = protection(config.security, group)
        options = ClientOptions(
            [Server(address) for address in site.addresses],
            connection_name(services.name, services.origin.incarnation),
            inbox_prefix(group, services.name),
            buffer_bytes=site.buffer_bytes,
        )
        if protected is not None:
            options = replace(options, tls=protected[0], check_server=protected[1])
        self.client: SiteClient = SiteClient(options, services.loop)
        self.attendance: Attendance = Attendance(self.client, services)
        self.relay: LinkRelay | None = LinkRelay(self.client, self.attendance, services) if site.relay else None

    async def start(self) -> None:
        """Connect, and go on doing so.

        Waits for a moment, so that a program finds others by the site as soon as it has started; longer only if the
        site is required.

        Raises:
            QMI_ConnectionException: If it is required, and none is reached within ``limits.connect_timeout``.
        """
        self.attendance.start()
        if self.relay is not None:
            self.relay.start()
            self.attendance.on_gone.append(self.relay.context_gone)
        self._services.spawn(self.client.run)
        self._services.spawn(self.attendance.run)
        config = self._services.config
        if not config.site.required:
            await self._first_attempt()
            return
        with trio.move_on_after(config.limits.connect_timeout):
            await self.client.up.wait()
        if not self.client.is_up:
            raise QMI_ConnectionException(
                f"Context {self._services.name!r} reaches no server of its site, which is required (site.required): "
                f"{self.client.fault}"
            )

    async def _first_attempt(self) -> None:
        async def wait_for(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        with trio.move_on_after(_FIRST_ATTEMPT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for, self.client.up)
                nursery.start_soon(wait_for, self.client.failed)

    async def stop(self) -> None:
        """Let the servers have what was published."""
        await self.client.drain(_DRAIN)
