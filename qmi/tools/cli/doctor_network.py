"""What keeps other computers from being reached, as far as it can be found out from here: they are asked, twice."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from qmi.names import Relay
from qmi.net.loopback import is_loopback
from qmi.tools.cli.doctor_rules import Finding, found_by_name

if TYPE_CHECKING:
    from qmi.config.schema import CfgQmi
    from qmi.presenting.seen import Seen

_USUAL_PORTS = (22, 445, 135)
"""SSH, and two that Windows has: whether somebody listens there or not, a computer that is on mostly says so."""
_PATIENCE = 0.5
"""Seconds that each of them is waited for."""


def is_on(host: str, found: Iterable[Seen], ports: Sequence[int] = _USUAL_PORTS) -> bool:
    """Whether a computer answers at all: to another context of it, or at a port that computers have.

    Args:
        host: The computer.
        found: All contexts, as they were found.
        ports: The ports.
    """
    for seen in found:
        there = seen.address is not None and not isinstance(seen.address, Relay) and seen.address.host == host
        if there and (seen.status is not None or "nothing listens" in seen.why):
            return True
    return any(_says_something(host, port) for port in ports)


def _says_something(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # also what a router or a firewall says in its place
        return False
    return True


def discovery(config: CfgQmi, found: Iterable[Seen]) -> Iterator[Finding]:
    """Whether the contexts of other computers that answer over TCP also answer over UDP, by which they are found.

    Args:
        config: The configuration.
        found: All contexts, as they were found.
    """
    asked = {seen.name: address for seen in found if (address := _address(seen)) is not None}
    if not asked or not config.discovery.enabled:
        return
    from qmi.peers.addresses import everywhere

    directly = _heard(config, set(asked.values()))
    unseen = asked.keys() - _heard(config, everywhere(config)) if directly else asked.keys()
    for name, address in asked.items():
        yield found_by_name(name, address, config.discovery.port, answers=name in directly, is_seen=name not in unseen)


def _address(seen: Seen) -> str | None:
    """Where a context of another computer is that has answered; None for others, and for addresses of IPv6."""
    if seen.status is None or seen.address is None or isinstance(seen.address, Relay):
        return None
    with suppress(OSError, ValueError):
        address = socket.gethostbyname(seen.address.host)
        if not is_loopback(address) and ipaddress.ip_address(address).version == 4 and not _is_ours(address):
            return address
    return None


def _is_ours(address: str) -> bool:
    """Whether it is an address of this computer."""
    with socket.socket() as probe, suppress(OSError):
        probe.bind((address, 0))
        return True
    return False


def _heard(config: CfgQmi, addresses: Collection[str]) -> set[str]:
    """Who answers a question that is sent to some addresses."""
    from qmi.net.discovery.blocking import ask_blocking

    settings = config.discovery
    with suppress(OSError):
        answers = ask_blocking(config.workgroup, "*", addresses=addresses, port=settings.port, timeout=settings.timeout)
        return {answer.name for answer in answers}
    return set()
