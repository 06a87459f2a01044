"""Which addresses are this machine's own, out of reach for others."""

from __future__ import annotations

import ipaddress

LOOPBACK = "127.0.0.1"
LOOPBACK_BROADCAST = "127.255.255.255"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address or name, whatever zone it is in."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
