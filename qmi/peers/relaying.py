"""How a context is connected to: directly, or else through a server of the site in the middle."""

from __future__ import annotations

import socket
from typing import Final, Protocol

from qmi.names import HostPort, Relay
from qmi.peers.connector import tcp_connect

PATIENCE: Final = 3.0
"""How long an address may say nothing before a context is connected to through the site, in seconds."""


class SiteRelay(Protocol):
    """Connects to contexts through the servers of a site."""

    async def find(self, name: str) -> Relay | None:
        """Through which server a context can be reached; None if none of that name is at the site.

        Raises:
            OSError: If it cannot be, although it is there.
        """
        ...

    async def only_by_it(self, pattern: str) -> list[tuple[str, Relay]]:
        """The contexts that are reached in no other way, each with the server; none if the site cannot be asked."""
        ...

    async def stop(self) -> None:
        """Let the last words of links out that have been closed."""
        ...

    async def open(self, name: str) -> tuple[socket.socket, Relay] | None:
        """Connect to it; None if none of that name is at the site.

        Raises:
            OSError: If that is not possible.
        """
        ...


async def reach(name: str, where: HostPort, timeout: float, relay: SiteRelay | None) -> tuple[socket.socket, HostPort]:
    """Connect to a context: directly, and only if that fails through the site.

    Args:
        name: Its name.
        where: Its address.
        timeout: Within which time it has to be reached directly, in seconds.
        relay: Connects through the site; None: nothing does.

    Returns:
        The connection, and where it leads.

    Raises:
        OSError: If that is not possible.
    """
    if relay is None:
        return await tcp_connect(where, timeout), where
    fault: OSError | None = None
    if not isinstance(where, Relay):
        try:
            return await tcp_connect(where, min(timeout, PATIENCE)), where
        except OSError as error:
            fault = error
    try:
        found = await relay.open(name)
    except OSError as error:
        if fault is None:
            raise
        raise type(fault)(f"{_text(fault)}; nor through the site: {_text(error)}") from error
    if found is not None:
        return found
    if isinstance(fault, TimeoutError) and timeout > PATIENCE:
        return await tcp_connect(where, timeout - PATIENCE), where
    raise fault or ConnectionError("no context of that name is at the site")


def _text(error: OSError) -> str:
    return error.strerror or str(error)
