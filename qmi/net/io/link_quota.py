"""How many links one machine may have, so that it cannot take those of all others."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from msgspec import Struct

from qmi.net.loopback import is_loopback

HERE = "this machine"
_IPV6_NETWORK = 64
_FEW = 8
"""A machine with fewer links may have one of those that are kept for others."""


@lru_cache(4096)
def machine_of(where: str) -> str:
    """Name the machine behind an address ``host:port``; all of a /64 network of IPv6 count as one."""
    host = where.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return HERE if is_loopback(host) else host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((int(address), _IPV6_NETWORK), strict=False)
            return HERE if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return HERE if address.is_loopback else str(address)


class Shares(Struct, frozen=True, kw_only=True):
    """The rule.

    Attributes:
        total: Links in all.
        per_address: Links of one other machine.
        local: Links of programs on this machine.
        kept: How many of all links are kept for machines that have few; of a small total, a tenth.
    """

    total: int
    per_address: int
    local: int
    kept: int

    def refusal(self, machine: str, own: int, taken: int) -> str | None:
        """Why a machine may not have one more link; None if it may.

        Args:
            machine: The machine.
            own: How many it has.
            taken: How many there are in all.
        """
        if taken >= self.total:
            return f"has {taken} links, which is its limit (limits.max_links)"
        if machine == HERE:
            if own >= self.local:
                return f"has {own} links of this machine, which is its limit (limits.max_local_links)"
        elif own >= self.per_address:
            return f"has {own} links of {machine}, which is its limit for an address (limits.max_links_per_address)"
        elif own >= _FEW and taken >= self.total - min(self.kept, self.total // 10):
            return f"has {taken} links, and keeps the rest for machines with fewer than {_FEW} (limits.reserved_links)"
        return None
