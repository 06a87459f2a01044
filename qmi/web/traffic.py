"""What an instrument and its device say to each other: read for pages, switched on and off, as the API has it."""

from __future__ import annotations

import trio

from qmi.actors.future import call_async
from qmi.core.context import LogBatch
from qmi.devices.traffic_service import TRAFFIC
from qmi.errors import QMI_InvalidOperationException, QMI_TimeoutException, QMI_UnknownNameException
from qmi.messages import Call
from qmi.names import Address
from qmi.web.api import ApiCall
from qmi.web.pushes import Topic
from qmi.web.site import Site

_WAIT = 20.0
_PATIENCE = 10.0
_NO_TRANSPORT = {"transport": False, "on": False, "by": "", "since": 0.0}


def publish_records(topic: Topic, batch: LogBatch) -> None:
    """Publish records, each with its number and the run that it counts in, so that nobody shows one twice.

    Args:
        topic: Where they are published.
        batch: The records, and how many before them are lost.
    """
    if batch.lost:
        first = batch.records[0].number if batch.records else batch.last + 1
        topic.publish({"lost": batch.lost, "number": first - 1, "run": batch.run})
    for record in batch.records:
        topic.publish({**record.to_plain(), "run": batch.run})


async def publish_traffic(site: Site, topic: Topic, address: Address) -> None:
    """Publish what is kept, as it comes: records as those of the log, or how many are lost."""
    after: int | None = None
    run = ""
    while True:
        await site.connect(address.context)
        batch = await _read(site, address, {"after": after, "limit": 200, "wait": _WAIT, "run": run})
        publish_records(topic, batch)
        after, run = batch.last, batch.run


async def get_traffic(call: ApiCall) -> object:
    """What is kept of the traffic of an instrument, and whether it is."""
    address, site = call.address, call.services.site
    await site.connect(address.context)
    state = await _state(site, address)
    if not state["transport"] and not state["on"]:
        return {**state, **LogBatch(kept=False).to_plain()}
    asked = {key: call.query[key] for key in ("after", "limit", "run") if key in call.query}
    return {**(await _read(site, address, asked)).to_plain(), **state}


async def set_traffic(call: ApiCall) -> object:
    """Switch it on or off."""
    address, site = call.address, call.services.site
    await site.connect(address.context)
    is_on = call.body["on"]
    if is_on and not (await _state(site, address))["transport"]:
        raise QMI_InvalidOperationException(
            f"{address} has no transport in its program now, so that nothing can be seen of what it says to its device"
        )
    await _ask(site, address, "start_traffic" if is_on else "stop_traffic")
    return await _state(site, address)


async def _state(site: Site, address: Address) -> dict[str, object]:
    try:
        found = await _ask(site, address, "get_traffic")
    except QMI_UnknownNameException:
        site.check(address.context)
        await site.context.get_rpc_object(str(address))  # raises if it is not there
        return _NO_TRANSPORT
    return {**_NO_TRANSPORT, **(found if isinstance(found, dict) else {})}


async def _read(site: Site, address: Address, request: dict[str, object]) -> LogBatch:
    return LogBatch.from_plain(await _ask(site, address, "read_traffic", request))


async def _ask(site: Site, address: Address, method: str, request: dict[str, object] | None = None) -> object:
    where = Address(address.context, TRAFFIC)
    with trio.move_on_after(_WAIT + _PATIENCE):
        return await call_async(site.context.request(where, Call(TRAFFIC, method, (address.object,), request or {})))
    raise QMI_TimeoutException(f"{where} has not answered within {_WAIT + _PATIENCE:g} s")
