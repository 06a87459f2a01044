"""This computer, as a site knows it: how it is told from others, and at which addresses it may be reached."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from qmi.net.loopback import is_loopback

_WILDCARDS: Final = ("0.0.0.0", "::")


def own_hosts(listening: Sequence[str], seen_as: str) -> tuple[str, ...]:
    """Addresses at which others may try to reach what listens here, the best one first.

    Args:
        listening: What is listened on; a wildcard stands for all addresses.
        seen_as: The address of this computer as the server sees it; empty if that is not known.
    """
    found = [host for host in listening if host not in _WILDCARDS]
    if len(found) < len(listening):
        found += [seen_as] if seen_as else []
        found += ["127.0.0.1", *_network_addresses()]
    return tuple(dict.fromkeys(found))[:16]


def _network_addresses() -> list[str]:
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    with suppress(psutil.Error, OSError):
        return [
            entry.address
            for entries in psutil.net_if_addrs().values()
            for entry in entries
            if entry.family in families and not is_loopback(entry.address) and "%" not in entry.address
        ]
    return []


def machine() -> str:
    """Tells this computer, and the network that it (or a container on it) sees, from others."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(os.readlink("/proc/self/ns/net"))
    return "-".join(parts) or f"{socket.gethostname()}-{uuid.getnode():x}"
