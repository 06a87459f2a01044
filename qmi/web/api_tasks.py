"""Tasks and their settings in the HTTP API."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from qmi.actors.future import call_async
from qmi.actors.tasks.settings_fields import SettingField
from qmi.errors import QMI_Exception, QMI_InvalidOperationException, QMI_UnknownRpcException
from qmi.messages import Call
from qmi.names import CONTEXT_OBJECT_NAME, Address, nearest
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue, make_unknown
from qmi.presenting.annotation_types import ForeignType, Resolve, foreign_type, type_of
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.argument_text import Unfit, read_json
from qmi.presenting.call_arguments import WrongArgument, shown
from qmi.presenting.value_text import json_of
from qmi.web.api import ApiCall, proxy_of, read_aside
from qmi.web.api_errors import DriverError
from qmi.web.api_objects import TIMEOUT, interface_of
from qmi.web.api_values import made_aside


async def _task(call: ApiCall) -> Any:
    proxy: Any = await proxy_of(call)
    if interface_of(proxy).category != "task":
        raise QMI_InvalidOperationException(f"{call.address} is no task")
    return proxy


async def start_task(call: ApiCall) -> object:
    """Start a task."""
    try:
        await (await _task(call)).start(rpc_timeout=TIMEOUT)
    except QMI_Exception as error:
        raise DriverError(error) from error
    return {"address": str(call.address)}


async def stop_task(call: ApiCall) -> object:
    """Have a task stop."""
    await (await _task(call)).stop(rpc_timeout=TIMEOUT)
    return {"address": str(call.address)}


# Settings


async def _describe(call: ApiCall) -> tuple[str, dict[str, SettingField]]:
    """The full name of the class of the settings, and its fields; none where that is not known."""
    address = call.address
    request = Call(CONTEXT_OBJECT_NAME, "describe_settings", (address.object,))
    try:
        found = await call_async(
            call.services.site.context.request(Address(address.context, CONTEXT_OBJECT_NAME), request)
        )
    except QMI_UnknownRpcException:  # of an older version
        return "", {}
    described = found if isinstance(found, dict) else {}
    name, fields = described.get("class"), described.get("fields")
    known = [SettingField.from_plain(field) for field in fields] if isinstance(fields, list) else []
    return name if isinstance(name, str) else "", {field.name: field for field in known if field.name}


async def get_settings(call: ApiCall) -> object:
    """The settings of a task, and those that it will take."""
    proxy = await _task(call)
    _, fields = await _describe(call)
    return {
        "settings": await _json_aside(await proxy.get_settings(rpc_timeout=TIMEOUT)),
        "pending": await _json_aside(await proxy.get_pending_settings(rpc_timeout=TIMEOUT)),
        "fields": [field.to_plain() for field in fields.values()],
    }


async def set_settings(call: ApiCall) -> object:
    """Change some settings of a task; the others stay as they are."""
    proxy = await _task(call)
    current = await proxy.get_pending_settings(rpc_timeout=TIMEOUT)
    if current is None:
        current = await proxy.get_settings(rpc_timeout=TIMEOUT)
    class_name, fields = await _describe(call)
    resolve = resolver(class_name, configured_modules(call.services.site.context.config))
    changed = await read_aside(partial(merged, current, call.body, call.address, fields, resolve), call.body)
    try:
        await proxy.set_settings(changed, rpc_timeout=TIMEOUT)
    except QMI_Exception as error:  # what the class of the settings says of them, in the program that has it
        raise DriverError(error) from error
    return {"settings": await _json_aside(changed)}


async def _json_aside(value: object) -> object:
    return await made_aside(partial(json_of, value), value)


def merged(
    settings: Any,
    changes: Mapping[str, object],
    address: Address,
    fields: Mapping[str, SettingField],
    resolve: Resolve,
) -> object:
    """Settings with some of them changed; each is of the type that its class declares, else of the one that it has.

    Args:
        settings: The settings.
        changes: What is changed.
        address: The task.
        fields: What the class of the settings declares.
        resolve: Finds the types that annotations name.

    Raises:
        WrongArgument: If there is no such setting, or it is of another type.
        QMI_InvalidOperationException: If these settings have no names.
    """
    known = _values(settings)
    if known is None:
        raise QMI_InvalidOperationException(f"the settings of {address} have no names")
    given = {name: _read(known, name, value, address, fields.get(name), resolve) for name, value in changes.items()}
    if isinstance(settings, UnknownTypeValue):  # of a class that is not here
        values = {**known, **given}
        acting = tuple(values.values()) if isinstance(settings, tuple) else None
        return make_unknown(settings.type_kind, settings.type_name, values, settings.reason, acting)
    try:
        if isinstance(settings, dict):
            return {**known, **given}
        if isinstance(settings, tuple) and hasattr(settings, "_replace"):
            return settings._replace(**given)
        return dataclasses.replace(settings, **given)
    except (ValueError, TypeError) as error:  # of its __post_init__
        name = next(iter(changes)) if len(changes) == 1 else ""
        raise WrongArgument(f"{address} does not take these settings: {error}", name) from error


def _values(settings: Any) -> dict[Any, object] | None:
    if isinstance(settings, UnknownTypeValue):
        return dict(settings.fields)
    if isinstance(settings, dict):
        return dict(settings)
    if isinstance(settings, tuple) and hasattr(settings, "_asdict"):
        return dict(settings._asdict())
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return None


def _read(
    known: Mapping[Any, object],
    name: str,
    value: object,
    address: Address,
    field: SettingField | None,
    resolve: Resolve,
) -> object:
    if name not in known:
        near = nearest(name, map(str, known))
        hint = f". Did you mean {near!r}?" if near else ""
        raise WrongArgument(f"{address} has no setting {name!r}; it has {', '.join(map(str, known))}{hint}", name)
    if field is not None and not field.settable:
        raise WrongArgument(f"setting {name!r} of {address} cannot be given: the task makes it of the others", name)
    unit = "" if field is None else field.unit
    kind = Any if field is None else type_of(field.type or None, resolve)
    if kind is Any and known[name] is not None and not (field is not None and field.type in ("Any", "object")):
        kind = type(known[name])
    before = known[name]
    if isinstance(before, UnknownTypeValue) and before.type_kind is NamedKind.ENUM and _is_foreign(kind):
        kind = foreign_type(*before.type_name.split(":", 1))  # of a class within another one, this has the right name
    try:
        if field is not None and field.choices and _is_foreign(kind):
            value = _member(value, field.choices)
        return read_json(value, kind, unit)
    except Unfit as error:
        hint = f". {error.hint}" if error.hint else ""
        wanted = f"setting {name!r} of {address} must be {error.expected}, got {shown(value)}{hint}"
        raise WrongArgument(wanted, name) from None


def _is_foreign(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ForeignType)


def _member(value: object, names: Sequence[str]) -> str:
    """The name of a member of an enumeration that is not here."""
    for name in names:
        if isinstance(value, str) and value.rpartition(".")[2].lower() == name.lower():
            return name
    raise Unfit(", ".join(names[:-1]) + " or " * (len(names) > 1) + names[-1])
