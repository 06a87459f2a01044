"""Scans that go on, and queues of scans, in the HTTP API."""

from __future__ import annotations

from typing import Any

from qmi.errors import QMI_Exception, QMI_UnknownNameException
from qmi.scan.handles import SCANS
from qmi.web.api import ApiCall
from qmi.web.api_errors import DriverError, RefusedError
from qmi.web.authorization import Refusal
from qmi.web.scans import list_queues as queues_of
from qmi.web.scans import list_scans as scans_of
from qmi.web.scans import queue_json, scan_json
from qmi.web.site import PATIENCE

TIMEOUT = 10.0
"""How long what is asked of a scan or a queue may take, in seconds."""


async def list_scans(call: ApiCall) -> object:
    """The scans that go on."""
    site = call.services.site
    await site.look(patience=PATIENCE)
    return await scans_of(site, call.query.get("context", ""))


async def _ask(call: ApiCall, what: str = "") -> object:
    context, scan = call.path("context"), call.path("scan")
    await call.services.site.connect(context)
    proxy: Any = await call.services.site.context.get_rpc_object(f"{context}.{SCANS}")
    try:
        if what:
            await getattr(proxy, what)(scan, rpc_timeout=TIMEOUT)
        return scan_json(context, await proxy.get_scan(scan, rpc_timeout=TIMEOUT))
    except QMI_UnknownNameException as error:
        hint = "GET /api/scans lists the running scans, GET /api/queues those that wait"
        raise RefusedError(Refusal(404, str(error), hint), type(error).__name__) from error


async def get_scan(call: ApiCall) -> object:
    """How a scan is, or how it has ended."""
    return await _ask(call)


async def pause_scan(call: ApiCall) -> object:
    """Have a scan wait before its next point."""
    return await _ask(call, "pause_scan")


async def resume_scan(call: ApiCall) -> object:
    """Have a scan go on."""
    return await _ask(call, "resume_scan")


async def stop_scan(call: ApiCall) -> object:
    """Have a scan end after this point."""
    return await _ask(call, "stop_scan")


async def abort_scan(call: ApiCall) -> object:
    """Have a scan end now."""
    return await _ask(call, "abort_scan")


# Queues


async def list_queues(call: ApiCall) -> object:
    """The queues of scans."""
    site = call.services.site
    await site.look(patience=PATIENCE)
    return await queues_of(site, call.query.get("context", ""))


async def _queue(call: ApiCall, what: str = "", *args: object) -> object:
    proxy: Any = await call.services.proxies.of(call.caller.user, call.address)
    await queue_json(proxy, call.address, TIMEOUT)  # raises if it is none
    if what:
        try:
            await getattr(proxy, what)(*args, rpc_timeout=TIMEOUT)
        except QMI_Exception as error:
            raise DriverError(error) from error
    return await queue_json(proxy, call.address, TIMEOUT)


async def get_queue(call: ApiCall) -> object:
    """One queue."""
    return await _queue(call)


async def pause_queue(call: ApiCall) -> object:
    """Have a queue begin no other scan."""
    return await _queue(call, "pause_queue", call.signed(call.body.get("reason")))


async def resume_queue(call: ApiCall) -> object:
    """Have a queue go on."""
    return await _queue(call, "resume_queue")


async def move_scan(call: ApiCall) -> object:
    """Have a scan that waits come earlier or later."""
    return await _queue(call, "move_scan", call.path("scan"), call.body["position"])


async def remove_scan(call: ApiCall) -> object:
    """Remove a scan that waits."""
    return await _queue(call, "remove_scan", call.path("scan"))
