"""Which of the configured hosts are this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

_EVIDENT = {"localhost", "127.0.0.1", "::1"}


def own_addresses() -> frozenset[str]:
    """The names and addresses of this machine, in lower case."""
    import psutil  # here, since nobody has to ask for these where all programs are on one machine

    found = _names()
    for addresses in psutil.net_if_addrs().values():
        # An IPv6 address of one link has the name of its interface behind it.
        found.update(entry.address.partition("%")[0].lower() for entry in addresses)
    return frozenset(found)


def _names() -> set[str]:
    name = socket.gethostname().lower()
    return {*_EVIDENT, name, name.partition(".")[0]}


def local_hosts(configured: Iterable[str | None]) -> frozenset[str]:
    """The names and addresses of this machine, and those of the configured host names that lead to one of them.

    Only names that are not evident are looked up; one that cannot be is taken for another machine.
    """
    hosts = {host.lower() for host in configured if host}
    if hosts <= (evident := _names()):
        return frozenset(evident)
    own = own_addresses()
    found = set(own)
    for host in hosts:
        if host not in own and not _is_address(host) and _resolves_to(host, own):
            found.add(host)
    return frozenset(found)


def _resolves_to(host: str, own: frozenset[str]) -> bool:
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = [str(answer[4][0]).partition("%")[0] for answer in answers]
    return any(address in own or ipaddress.ip_address(address).is_loopback for address in addresses)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
