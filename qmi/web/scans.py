"""The scans of the contexts and their queues, as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from qmi.errors import QMI_Exception, QMI_InvalidOperationException, QMI_UnknownNameException
from qmi.names import Address
from qmi.scan import ScanInfo
from qmi.scan.handles import SCANS
from qmi.web.site import Site

TIMEOUT = 2.0
"""How long one question may take while all contexts are asked, in seconds."""


def scan_json(context: str, info: object) -> dict[str, object]:
    """What is known of a scan; its program may be of another version."""
    return {"context": context, **info._asdict()} if isinstance(info, ScanInfo) else {"context": context}


async def queue_json(proxy: Any, address: Address, timeout: float = TIMEOUT) -> dict[str, object]:
    """What a queue does: why it is paused, and its scans, those that have ended first and those that wait last.

    Args:
        proxy: A proxy of it.
        address: Its address.
        timeout: How long each question may take, in seconds.

    Raises:
        QMI_InvalidOperationException: If it is no queue.
        QMI_Exception: If it does not answer.
    """
    if "get_pause_reason" not in proxy.__rpc_interface__.methods:
        raise QMI_InvalidOperationException(f"{address} is no queue of scans; GET /api/queues lists those that are")
    told = await proxy.list_scans(rpc_timeout=timeout)
    return {
        "context": address.context,
        "queue": address.object,
        "paused": await proxy.get_pause_reason(rpc_timeout=timeout),
        "scans": [scan_json(address.context, info) for info in told if isinstance(info, ScanInfo)],
    }


async def list_queues(site: Site, only: str = "") -> list[dict[str, object]]:
    """The queues of all contexts that are connected, or of one.

    Raises:
        QMI_UnknownNameException: If there is no context of that name.
        QMI_Exception: If that one cannot be asked.
    """
    return await _of_all(site, only, _queues_of)


async def list_scans(site: Site, only: str = "") -> list[dict[str, object]]:
    """The scans that go on, of all contexts that are connected or of one.

    Raises:
        QMI_UnknownNameException: If there is no context of that name.
        QMI_Exception: If that one cannot be asked.
    """
    return await _of_all(site, only, _scans_of)


async def _of_all(
    site: Site, only: str, ask: Callable[[Site, str], Awaitable[list[dict[str, object]]]]
) -> list[dict[str, object]]:
    if only:
        await site.connect(only)
        return await ask(site, only)
    names = [seen.name for seen in site.seen() if site.context.has_peer_context(seen.name)]
    found: dict[str, list[dict[str, object]]] = {}

    async def ask_one(name: str) -> None:
        # One that does not answer keeps nobody from the others.
        with trio.move_on_after(TIMEOUT), suppress(QMI_Exception):
            found[name] = await ask(site, name)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(ask_one, name)
    return [entry for name in names for entry in found.get(name, [])]


async def _scans_of(site: Site, name: str) -> list[dict[str, object]]:
    try:
        proxy: Any = await site.context.get_rpc_object(f"{name}.{SCANS}")
    except QMI_UnknownNameException:  # its program does not scan
        site.check(name)
        return []
    told = await proxy.list_scans(rpc_timeout=TIMEOUT)
    return [scan_json(name, info) for info in told if isinstance(info, ScanInfo)]


async def _queues_of(site: Site, name: str) -> list[dict[str, object]]:
    try:
        proxy: Any = await site.context.get_rpc_object(f"{name}.{SCANS}")
    except QMI_UnknownNameException:  # its program does not scan
        site.check(name)
        return []
    found = []
    for queue in await proxy.list_queues(rpc_timeout=TIMEOUT):
        address = Address(name, str(queue))
        found.append(await queue_json(await site.context.get_rpc_object(str(address)), address))
    return found
