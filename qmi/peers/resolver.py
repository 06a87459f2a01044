"""Where a context of a name is: in the configuration, else on this machine, else anywhere on the network."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

import trio

from qmi.config.schema import CfgDiscovery, CfgQmi
from qmi.errors import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_PeerNotFoundException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.names import HostPort
from qmi.net.discovery.packets import Answer
from qmi.net.discovery.udp import ask
from qmi.net.protocol.bounds import describe_error
from qmi.peers.addresses import configured, each_program_once, everywhere
from qmi.peers.relaying import SiteRelay
from qmi.records import NamedTuple

_logger = logging.getLogger("qmi.core.messaging")


class PeerDescriptor(NamedTuple):
    """A context that was found on the network.

    Attributes:
        name: Its name.
        address_port: Where to connect to, as ``"host:port"``.
    """

    name: str
    address_port: str


PeerDescriptor.__module__ = "qmi.core.context"


class SiteDirectory(Protocol):
    """Knows who is at a site."""

    @property
    def is_up(self) -> bool:
        """Whether it can be asked now."""
        ...

    async def answers(self, pattern: str) -> list[Answer]:
        """Who is there and can be reached, as if they had answered on the network."""
        ...


async def find(
    config: CfgQmi, name: str, directory: SiteDirectory | None = None, relay: SiteRelay | None = None
) -> HostPort:
    """Where a context is.

    Args:
        config: The configuration.
        name: Its name.
        directory: Knows who is at the site.
        relay: Connects to contexts that cannot be reached otherwise.

    Raises:
        QMI_PeerNotFoundException: If it is not configured, and nobody answers.
        QMI_ConnectionException: If several answer, or the network cannot be asked.
    """
    if (where := configured(config, name)) is not None:
        return where
    # All answers, although the first one would do: of two programs of one name, none is the right one by chance.
    programs = each_program_once(await _at_site(directory, name) or await discover(config, None, name))
    if len(programs) == 1:
        return programs[0].address
    if programs:
        found = ", ".join(f"{answer.address} (pid {answer.pid})" for answer in programs)
        raise QMI_ConnectionException(
            f"{len(programs)} contexts on the network are called {name!r}: {found}. Give the address of the one "
            "that is meant, as 'host:port', or give them names of their own"
        )
    fault = ""
    if relay is not None:
        try:
            if (where := await relay.find(name)) is not None:
                return where
        except OSError as error:
            fault = f". At its site: {error}"
    known = "has no tcp_server_port in the configuration" if name in config.contexts else "is not in the configuration"
    raise QMI_PeerNotFoundException(
        f"Context {name!r} was not found: it {known}, and nobody of that name answered on the network. "
        "Is it running? Give its address as 'host:port' if you know it: host_port=\"192.168.1.20:40001\"" + fault
    )


async def discover(
    config: CfgQmi,
    workgroup: str | None,
    pattern: str,
    addresses: Sequence[str] | None = None,
    enough: int | None = None,
    directory: SiteDirectory | None = None,
) -> list[Answer]:
    """Look for contexts on the network, and at the site.

    Args:
        config: Tells where to ask, and for how long to wait for answers.
        workgroup: Their workgroup; None is that of this context.
        pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.
        addresses: Where to ask; None asks on this machine and wherever is configured.
        enough: Wait no longer when so many have answered.
        directory: Knows who is at the site; only contexts of this workgroup are there.

    Raises:
        QMI_ConnectionException: If the network cannot be asked.
        QMI_UsageException: If the workgroup or the pattern is too long.
    """
    if directory is None or workgroup not in (None, config.workgroup):
        return await _on_network(config, workgroup, pattern, addresses, enough)
    found: list[Answer] = []
    here: list[Answer] = []
    faults: list[QMI_Exception] = []

    async def ask_site() -> None:
        here.extend(await _at_site(directory, pattern))

    async def ask_network() -> None:
        try:
            found.extend(await _on_network(config, workgroup, pattern, addresses, enough))
        except QMI_Exception as error:
            faults.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_site)
        nursery.start_soon(ask_network)
    if faults and not here:
        raise faults[0]
    known = {answer.incarnation for answer in found}
    found += [answer for answer in here if answer.incarnation not in known]
    return sorted(found, key=lambda answer: (answer.name, answer.address))


async def _at_site(directory: SiteDirectory | None, pattern: str) -> list[Answer]:
    if directory is None or not directory.is_up:
        return []
    try:
        return await directory.answers(pattern)
    except (QMI_NotDeliveredException, QMI_TimeoutException) as error:
        _logger.warning("The site was not asked for contexts: %s", error)
        return []


async def _on_network(
    config: CfgQmi, workgroup: str | None, pattern: str, addresses: Sequence[str] | None, enough: int | None
) -> list[Answer]:
    settings = config.discovery
    try:
        return await ask(
            config.workgroup if workgroup is None else workgroup,
            pattern,
            addresses=everywhere(config) if addresses is None else addresses,
            port=settings.port,
            timeout=settings.timeout,
            enough=enough,
        )
    except ValueError as error:
        raise QMI_UsageException(str(error)) from error
    except (OSError, MemoryError) as error:  # no descriptor left, most of all
        raise QMI_ConnectionException(f"The network cannot be asked for contexts: {describe_error(error)}") from error


class PingedContext(NamedTuple):
    """What a context says of itself; names as bytes, as in the packet.

    Attributes:
        pid: Its process.
        name: Its name.
        workgroup_name: Its workgroup.
        port: Its TCP port.
    """

    pid: int
    name: bytes
    workgroup_name: bytes
    port: int


class PingPacket(NamedTuple):
    """An answer: the context that it came from."""

    context: PingedContext


class PingResponse(NamedTuple):
    """An answer, and how it came.

    Attributes:
        received_timestamp: When it came, in seconds since the epoch; the same for all answers to one question.
        incoming_address: Host and TCP port where the context can be reached.
        response_packet: What it says.
    """

    received_timestamp: float
    incoming_address: tuple[str, int]
    response_packet: PingPacket


def ping_qmi_contexts(
    workgroup_name_filter: str, context_name_filter: str = "*", timeout: float = 0.1
) -> list[PingResponse]:
    """Look for contexts on the network without having one.

    Args:
        workgroup_name_filter: Their workgroup.
        context_name_filter: Which names are wanted, with ``*``, ``?`` and ``[...]``.
        timeout: How long to wait for answers, in seconds.

    Raises:
        QMI_ConnectionException: If the network cannot be asked.
        QMI_UsageException: If a filter is too long.
    """
    from concurrent.futures import ThreadPoolExecutor

    config = CfgQmi(discovery=CfgDiscovery(timeout=timeout))
    with ThreadPoolExecutor(1, "ping") as pool:  # so that it can be called in a trio program, too
        answers = pool.submit(lambda: trio.run(discover, config, workgroup_name_filter, context_name_filter)).result()
    now = time.time()
    return [
        PingResponse(
            now,
            (answer.host, answer.port),
            PingPacket(PingedContext(answer.pid, answer.name.encode(), answer.workgroup.encode(), answer.port)),
        )
        for answer in answers
    ]


for _public in (PingPacket, PingResponse, PingedContext, ping_qmi_contexts):
    _public.__module__ = "qmi.core.context"
