"""Parameters in the HTTP API. Of an object that cannot be asked, since it is locked, what was read last is told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from qmi.actors.interface import Interface
from qmi.actors.proxy import AsyncProxy
from qmi.errors import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_ObjectLockedException,
    QMI_TimeoutException,
)
from qmi.parameters.info import ParameterInfo
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.call_arguments import WrongArgument
from qmi.presenting.json_values import plain
from qmi.presenting.places import Place, allowed_async, find_places
from qmi.presenting.value_text import json_of
from qmi.web.api import ApiCall, proxy_of, read_aside
from qmi.web.api_errors import DriverError
from qmi.web.api_objects import TIMEOUT, interface_of
from qmi.web.api_values import made_aside, value_response
from qmi.web.topics import read_values, shown_of, told_of

_INFO_TIMEOUT = 3.0
"""How long an object may take to say which limits it has now, in seconds."""


async def get_parameters(call: ApiCall) -> object:
    """All parameters, with their values as they were read or set last."""
    proxy = await proxy_of(call)
    if interface_of(proxy).parameters is None:
        return []
    infos, note = await _infos(call, proxy)
    readings = await read_values(call.services.site, call.address)
    told = []
    for name, info in infos.items():
        entry: dict[str, object] = {**_record(info), "value": None, "time": None}
        if info.values is not None:
            entry["values"] = [json_of(value) for value in info.values]
        if name in readings:
            (place,) = find_places(proxy, call.address, name)
            value, when = readings[name]
            entry |= {**await made_aside(partial(shown_of, place, value), value), "time": when}
        told.append(entry | note)
    return told


async def _infos(call: ApiCall, proxy: AsyncProxy[Any]) -> tuple[Mapping[str, ParameterInfo], dict[str, object]]:
    """What the object says of its parameters now, or what it has said before, and then why it was not asked."""
    known = call.services.infos
    try:
        await _check_free(call, proxy)
        infos: dict[str, ParameterInfo] = await proxy.parameters(rpc_timeout=_INFO_TIMEOUT)
    except (QMI_ObjectLockedException, QMI_TimeoutException) as error:
        before = known.get(call.address, {})
        infos = {name: before.get(name, info) for name, info in _declared(interface_of(proxy)).items()}
        return infos, {"note": f"{error}. Its limits were not asked for; they may be others now"}
    known[call.address] = infos
    return infos, {}


async def _check_free(call: ApiCall, proxy: AsyncProxy[Any]) -> None:
    """See whether somebody else has locked the object: to ask it all the same would be an error in its log.

    Raises:
        QMI_ObjectLockedException: If so.
    """
    if proxy.__rpc__.token is None:
        lock = await proxy.lock_info()
        if lock is not None:
            raise QMI_ObjectLockedException(f"{call.address} is locked by {lock.describe()}")


def _declared(interface: Interface) -> dict[str, ParameterInfo]:
    """What is known of the parameters by their declaration alone."""
    parameters = interface.parameters
    found = {}
    for name in () if parameters is None else parameters.paths():
        brief = None if parameters is None else parameters.find(name)
        if brief is not None:
            found[name] = ParameterInfo(
                name, brief.type_name, brief.unit, doc=brief.doc, settable=brief.settable, gettable=brief.gettable
            )
    return found


def _record(info: object) -> dict[str, object]:
    found = plain(info)
    return found if isinstance(found, dict) else {}


async def _place(call: ApiCall) -> Place:
    path = call.path("path")
    if "*" in path or "?" in path:
        raise QMI_InvalidValueException(f"one value is asked for at a time, got {path!r}")
    (place,) = find_places(await proxy_of(call), call.address, path)
    return place


async def get_parameter(call: ApiCall) -> object:
    """Read a value."""
    place = await _place(call)
    if call.query.get("last"):
        known = await _last(call, place)
        if known is None:
            raise QMI_InvalidOperationException(f"{place.where} was not read or set yet: read it without 'last'")
        return await _response(call, place, *known)
    try:
        await _check_free(call, place.proxy)
        value = await place.get_async(TIMEOUT)
    except QMI_ObjectLockedException as error:
        known = await _last(call, place)
        if known is None:
            raise DriverError(error) from error
        return await _response(call, place, *known, f"{error}. This is what was read or set last")
    except Exception as error:  # of the driver, most likely
        raise DriverError(error) from error
    return await _response(call, place, value)


async def _last(call: ApiCall, place: Place) -> tuple[object, float] | None:
    return (await read_values(call.services.site, call.address)).get(place.path)


async def _response(call: ApiCall, place: Place, value: object, when: float | None = None, note: str = "") -> object:
    tell = shown_of if call.query.get("reduced") else told_of
    if when is None:
        return await value_response(value, partial(tell, place, value), call.accept)
    more = {"time": when, **({"note": note} if note else {})}
    answer = await value_response(value, lambda: {**tell(place, value), **more}, call.accept)
    answer.headers["x-qmi-time"] = f"{when:.6f}"
    return answer


async def set_parameter(call: ApiCall) -> object:
    """Set a value; it is checked first, as on the command line."""
    place = await _place(call)
    resolve = resolver(place.class_name, configured_modules(call.services.site.context.config))
    given = call.body["value"]
    try:
        value = await read_aside(partial(place.read_json, given, resolve), given)
    except WrongArgument:
        allowed = await allowed_async(place.proxy, place.path) if place.is_parameter else ""
        value = await read_aside(partial(place.read_json, given, resolve, allowed), given)
    try:
        await place.set_async(value, TIMEOUT)
    except Exception as error:  # of the driver, most likely
        raise DriverError(error, "value") from error
    return await made_aside(partial(told_of, place, value), value)
