"""Contexts, objects, parameters, methods, locks and tasks in the HTTP API."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from qmi.actors.interface import Interface
from qmi.actors.proxy import AsyncProxy
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.call_arguments import WrongArgument, bind_json
from qmi.presenting.members import methods, parameters
from qmi.presenting.methods import Found, find_method, method_json, setting_of
from qmi.presenting.places import allowed_async
from qmi.presenting.seen import as_json
from qmi.web.api import ApiCall, proxy_of, read_aside
from qmi.web.api_errors import DriverError
from qmi.web.api_locks import lock_json
from qmi.web.api_values import value_response
from qmi.web.display import shown, shown_fields
from qmi.web.large_values import json_lazily
from qmi.web.site import PATIENCE

TIMEOUT = 30.0
"""How long a call may take unless its request says otherwise, in seconds."""
ITEMS = 10_000
"""Of a stream, so many items are answered at most."""


async def list_contexts(call: ApiCall) -> object:
    """All contexts."""
    return [as_json(seen) for seen in await call.services.site.look(patience=PATIENCE)]


async def get_context(call: ApiCall) -> object:
    """One context."""
    return as_json(await call.services.site.look_at(call.path("context")))


# Objects


def interface_of(proxy: AsyncProxy[Any]) -> Interface:
    """What it offers."""
    found: Interface = proxy.__rpc_interface__
    return found


async def get_object(call: ApiCall) -> object:
    """What an object offers, and how it is."""
    address = call.address
    proxy = await proxy_of(call, fresh=True)
    interface = interface_of(proxy)
    status = (await call.services.site.look_at(address.context)).status
    entry = None if status is None else status.find(address.object)
    told: dict[str, object] = {
        "address": str(address),
        "category": interface.category,
        "class": interface.class_name,
        "doc": interface.doc,
        "methods": [method_json(name, method) for name, method in methods(interface)],
        "parameters": [
            {"name": name, "type": brief.type_name, "unit": brief.unit, "gettable": brief.gettable,
             "settable": brief.settable, "doc": brief.doc}
            for name, brief in parameters(interface)
        ],
        "properties": [
            {"name": entry.name, "type": entry.type_name, "doc": entry.doc} for entry in interface.properties.values()
        ],
        "constants": shown_fields(interface.constants),
        "signals": [{"name": signal.name, "types": list(signal.arg_types)} for signal in interface.signals],
        "status": None if entry is None else entry.to_plain(),
        "now": None if status is None else status.now,
        "lock": await lock_json(call, proxy),
    }  # fmt: skip
    return told


# Methods


async def _found(call: ApiCall) -> Found:
    return find_method(await proxy_of(call), call.address, call.path("path"))


async def get_method(call: ApiCall) -> object:
    """What a method takes and does."""
    found = await _found(call)
    sets = "" if found.brief is None else f"{found.prefix}{found.brief.name}"
    unit = "" if found.brief is None else found.brief.unit
    return {**method_json(call.path("path"), found.method), "sets": sets, "unit": unit}


async def call_method(call: ApiCall) -> object:
    """Call a method; its arguments are checked first, as on the command line."""
    found = await _found(call)
    given = call.body.get("arguments", [])
    timeout = call.body.get("timeout", TIMEOUT)
    resolve = resolver(found.class_name, configured_modules(call.services.site.context.config))

    def bound(allowed: str) -> tuple[list[object], dict[str, object]]:
        return bind_json(
            given, found.method.parameters, found.where, resolve=resolve, setting=setting_of(found),
            limits=lambda: allowed,
        )  # fmt: skip

    try:
        args, kwargs = await read_aside(partial(bound, ""), given)
    except WrongArgument:
        brief = found.brief
        allowed = "" if brief is None else await allowed_async(found.proxy, found.prefix + brief.name)
        args, kwargs = await read_aside(partial(bound, allowed), given)
    try:
        with trio.fail_after(timeout):
            result = await getattr(found.target, found.method.name)(*args, **kwargs)
            if found.method.kind.is_stream:
                result = [item async for item in _some(result)]
    except trio.TooSlowError:
        raise
    except Exception as error:  # of the driver, most likely
        raise DriverError(error, setting_of(found).name) from error
    tell = shown if call.query.get("reduced") else json_lazily
    return await value_response(result, lambda: {"result": tell(result)}, call.accept)


async def _some(stream: Any) -> Any:
    count = 0
    async for item in stream:
        yield item
        count += 1
        if count >= ITEMS:
            return
