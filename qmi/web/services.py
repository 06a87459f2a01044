"""What the server consists of, for those who answer requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from qmi.actors.proxy import AsyncProxy
from qmi.names import Address
from qmi.parameters.info import ParameterInfo
from qmi.web.dashboards import Dashboards
from qmi.web.doctor import Doctor
from qmi.web.door import Door
from qmi.web.lock_requests import LockRequests
from qmi.web.options import Options
from qmi.web.pushes import Hub
from qmi.web.site import Site

_PROXY_SECONDS = 5.0
_MOST_PROXIES = 2000


class Proxies:
    """Proxies of objects for each user, so that a lock is one of a user and not of all who look.

    Args:
        site: The contexts.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._found: dict[tuple[str, str], tuple[AsyncProxy[Any], float]] = {}

    async def of(self, user: str, address: Address, *, fresh: bool = False) -> AsyncProxy[Any]:
        """A proxy of an object for a user.

        Args:
            user: The user; empty for whoever only looks.
            address: The object.
            fresh: Whether what it offers is asked for anew.

        Raises:
            QMI_UnknownNameException: If there is no such object.
            QMI_ConnectionException: If its context cannot be reached.
        """
        key = (user, str(address))
        known = self._found.get(key)
        now = trio.current_time()
        if known is not None and not fresh and now - known[1] < _PROXY_SECONDS:
            return known[0]
        await self._site.connect(address.context)
        proxy = await self._site.context.get_rpc_object(str(address))
        known = self._found.get(key)  # meanwhile there may be another one, with the lock
        if known is not None:
            proxy.__rpc__.token = known[0].__rpc__.token  # the lock is the user's, whatever the object offers now
        elif len(self._found) >= _MOST_PROXIES:
            without = (each for each, (proxy, _) in self._found.items() if proxy.__rpc__.token is None)
            self._found.pop(next(without, next(iter(self._found))))
        self._found[key] = proxy, now
        return proxy

    def note_lock(self, user: str, address: Address, proxy: AsyncProxy[Any]) -> None:
        """Keep the proxy with which a user has locked an object: his next requests use it.

        While the lock was waited for, other requests may have made another one, which does not have it.
        """
        self._found[user, str(address)] = proxy, trio.current_time()

    def note_release(self, user: str, address: Address) -> None:
        """Note that a user holds the lock of an object no more."""
        known = self._found.get((user, str(address)))
        if known is not None:
            known[0].__rpc__.token = None


@dataclass(frozen=True)
class Services:
    """What the server consists of.

    Attributes:
        site: The contexts.
        door: Who may do what.
        hub: What is pushed.
        proxies: Proxies for each user.
        locks: The locks of users, and who asks for them.
        options: How the server runs.
        dashboards: What users have arranged.
        doctor: Looks at what the laboratory stands on.
        infos: What objects have said of their parameters last.
    """

    site: Site
    door: Door
    hub: Hub
    proxies: Proxies
    locks: LockRequests
    options: Options
    dashboards: Dashboards
    doctor: Doctor
    infos: dict[Address, dict[str, ParameterInfo]] = field(default_factory=dict)
