"""What the operations of the HTTP API answer, as JSON Schema, for their description. Pure."""

# Schemas of records are made of their annotations, so that they say what is sent.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from qmi.actors.context_status import ContextStatus, SignalStatus
from qmi.actors.log_records import LogBatch, LogRecordStatus
from qmi.actors.tasks.settings_fields import SettingField
from qmi.presenting.seen import ENDING, NO_PORT, NOT_RUNNING, OUT_OF_REACH, RUNNING, SILENT
from qmi.scan.running import ScanInfo
from qmi.web.dashboard_schema import DASHBOARD
from qmi.web.lock_requests import LockRequest

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
VALUE: Schema = {
    "description": "a value of an instrument: members of enumerations by name; 'nan', 'inf' and '-inf' as strings; "
    "complex numbers as '(1+2j)'; bytes in hexadecimal. It can be sent back like this. Where large values are reduced: "
    "{'reduced': ...} with 'type', 'shape' or 'length', 'dtype', 'min' and 'max', and 'low' and 'high' of each 'step' "
    "numbers, or the 'first' items."
}
SECONDS: Schema = {"type": "number", "description": "seconds since 1970"}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def or_null(schema: Schema) -> Schema:
    """What a schema says, or null."""
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """A list of what a schema says."""
    return {"type": "array", "items": schema}


def ref(name: str) -> Schema:
    """One of :data:`SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(_always: Mapping[str, Schema], /, _about: str = "", **sometimes: Schema) -> Schema:
    """The schema of an object that has some fields always, and others sometimes."""
    found: dict[str, Any] = {"type": "object", "properties": {**_always, **sometimes}, "required": list(_always)}
    return {**found, "description": _about} if _about else found


_NAMES: dict[type, str] = {LogBatch: "Log", LogRecordStatus: "LogRecord"}


def name_of(cls: type) -> str:
    """What a record is called among :data:`SCHEMAS`."""
    return _NAMES.get(cls, cls.__name__)


_SCALARS: dict[object, Schema] = {str: TEXT, int: WHOLE, float: NUMBER, bool: FLAG}


def schema_of(hint: Any) -> Schema:
    """What JSON has for values of a type of which records are made."""
    if is_dataclass(hint) and isinstance(hint, type):
        return ref(name_of(hint))
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        (wanted,) = (argument for argument in arguments if argument is not NoneType)
        return or_null(schema_of(wanted))
    if get_origin(hint) is tuple:
        return list_of(schema_of(arguments[0]) if arguments[-1] is Ellipsis else {})
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    return _SCALARS[hint]


def record(cls: type) -> Schema:
    """The schema of a record: a dataclass, or a named tuple."""
    hints = get_type_hints(cls)
    names = [field.name for field in fields_of(cls)] if is_dataclass(cls) else list(getattr(cls, "_fields", ()))
    keys: Mapping[str, str] = getattr(cls, "KEYS", {})
    return answer({keys.get(name, name): schema_of(hints[name]) for name in names}, (cls.__doc__ or "").splitlines()[0])


def records_in(cls: type) -> set[type]:
    """The records that a record consists of, itself included."""
    found: set[type] = {cls}
    for hint in get_type_hints(cls).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                found |= records_in(part)
    return found


_BRIEF = {"name": TEXT, "type": TEXT, "unit": TEXT, "gettable": FLAG, "settable": FLAG, "doc": TEXT}
_ELSEWHERE = {**TEXT, "description": "the user of the pages of another server who holds it; else empty"}
_TOLD = {
    "time": {**or_null(SECONDS), "description": "when it was read or set last, in seconds since 1970"},
    "note": {**TEXT, "description": "why this is not what the object tells now, such as that somebody has locked it"},
}
_METHOD = {
    "name": TEXT,
    "doc": TEXT,
    "parameters": list_of(answer({"name": TEXT, "kind": TEXT, "type": or_null(TEXT), "default": or_null(TEXT)})),
    "returns": or_null(TEXT),
    "kind": TEXT,
}
_RUN = {
    "id": TEXT, "name": TEXT, "started": MOMENT, "ended": or_null(MOMENT),
    "state": {**TEXT, "enum": ["running", "done", "failed", "interrupted"]}, "rows": WHOLE, "tags": list_of(TEXT),
    "comment": TEXT, "context": TEXT,
}  # fmt: skip
_SCAN: Mapping[str, Schema] = record(ScanInfo)["properties"]

SCHEMAS: Mapping[str, Schema] = {
    **{name_of(cls): record(cls) for cls in sorted(records_in(ContextStatus) | records_in(LogBatch), key=name_of)},
    "Context": answer(
        {
            "name": TEXT,
            "state": {**TEXT, "enum": [RUNNING, ENDING, NOT_RUNNING, SILENT, NO_PORT, OUT_OF_REACH]},
            "why": TEXT, "since": or_null(SECONDS),
            "configured": FLAG, "address": or_null(TEXT), "host": or_null(TEXT), "pid": or_null(WHOLE),
            "version": or_null(TEXT), "uptime": or_null(NUMBER), "tls": or_null(FLAG), "round_trip": or_null(NUMBER),
            "objects": or_null(WHOLE), "status": or_null(ref("ContextStatus")),
        },
        "A context, as it was found.",
    ),
    "Object": answer(
        {
            "address": TEXT, "category": TEXT, "class": TEXT, "doc": TEXT, "methods": list_of(ref("Method")),
            "parameters": list_of(answer(_BRIEF)),
            "properties": list_of(answer({"name": TEXT, "type": or_null(TEXT), "doc": TEXT})),
            "constants": {"type": "object"},
            "signals": list_of(answer({"name": TEXT, "types": list_of(TEXT)})),
            "status": or_null(ref("ObjectStatus")), "now": or_null(SECONDS), "lock": or_null(ref("Lock")),
        },
        "What an object offers, and how it is.",
    ),
    "Parameter": answer(
        {
            **_BRIEF, "limits": or_null(list_of(or_null(NUMBER))), "limits_vary": FLAG,
            "values": or_null(list_of({})), "step": or_null(NUMBER), "poll": or_null(NUMBER), "command": TEXT,
            "value": VALUE, "time": _TOLD["time"],
        },
        "A parameter, and its value as it was read or set last.",
        member=TEXT,
        note=_TOLD["note"],
    ),
    "Value": answer({"value": VALUE}, "A value, and what belongs to it.", unit=TEXT, member=TEXT, **_TOLD),
    "Method": answer(_METHOD, "A method.", sets=TEXT, unit=TEXT),
    "Lock": answer(
        {
            "context": TEXT, "label": TEXT, "since": SECONDS, "reason": TEXT, "user": TEXT, "program": TEXT,
            "host": TEXT, "describe": TEXT, "mine": FLAG,
            "web_user": {**TEXT, "description": "the user of the pages who holds it; empty if it is another program"},
            "web_user_elsewhere": _ELSEWHERE,
        },
        "Who holds a lock.",
    ),
    "LockRequest": {
        **record(LockRequest), "description": "Somebody asks a user of the pages for a lock, or has taken it.",
    },
    "SettingField": record(SettingField),
    "Scan": answer({"context": TEXT, **_SCAN}, "A scan."),
    "Queue": answer(
        {"context": TEXT, "queue": TEXT, "paused": or_null(TEXT), "scans": list_of(ref("Scan"))}, "A queue of scans."
    ),
    "Run": answer(_RUN, "A run."),
    "Row": answer({"number": WHOLE, "time": MOMENT, "values": {"type": "object"}}, "A row of a run."),
    "Finding": answer(
        {"level": {**TEXT, "enum": ["ok", "warning", "fault"]}, "what": TEXT, "found": TEXT, "todo": TEXT},
        "Something that was looked at.",
    ),
    "Error": answer(
        {"error": answer({"type": TEXT, "message": TEXT}, hint={**TEXT, "description": "what to do"}, argument=TEXT)}
    ),
}  # fmt: skip
"""What has a name in the description."""

_TRAFFIC: Mapping[str, Schema] = {"transport": FLAG, "on": FLAG, "by": TEXT, "since": NUMBER}
_LOCK = answer({"lock": or_null(ref("Lock"))})
_ADDRESS = answer({"address": TEXT})
_NAME = answer({"name": TEXT})

ANSWERS: Mapping[str, Schema] = {
    "list_operations": list_of(answer({"method": TEXT, "path": TEXT, "about": TEXT, "changes": FLAG})),
    "list_contexts": list_of(ref("Context")),
    "get_context": ref("Context"),
    "get_object": ref("Object"),
    "get_parameters": list_of(ref("Parameter")),
    "get_parameter": ref("Value"),
    "set_parameter": ref("Value"),
    "get_method": ref("Method"),
    "call_method": answer({"result": VALUE}),
    "get_traffic": answer({**record(LogBatch)["properties"], **_TRAFFIC}),
    "set_traffic": answer(_TRAFFIC),
    "get_lock": answer({"lock": or_null(ref("Lock")), "requests": list_of(ref("LockRequest"))}),
    "take_lock": _LOCK,
    "release_lock": _LOCK,
    "request_lock": answer(
        {
            "told": {
                **or_null(TEXT),
                "description": "who was told; null if nobody holds it, or no page of the user who does is open",
            },
            "web_user": TEXT,
            "web_user_elsewhere": _ELSEWHERE,
            "pages": {**or_null(WHOLE), "description": "how many pages of the user who holds it are open"},
        },
        request=ref("LockRequest"),
    ),
    "answer_request": answer({"requests": list_of(ref("LockRequest"))}),
    "start_task": _ADDRESS,
    "stop_task": _ADDRESS,
    "get_settings": answer({"settings": {}, "pending": {}, "fields": list_of(ref("SettingField"))}),
    "set_settings": answer({"settings": {}}),
    "list_signals": list_of(answer({"context": TEXT, "object": TEXT, **record(SignalStatus)["properties"]})),
    "list_scans": list_of(ref("Scan")),
    **dict.fromkeys(("get_scan", "pause_scan", "resume_scan", "stop_scan", "abort_scan"), ref("Scan")),
    "list_queues": list_of(ref("Queue")),
    **dict.fromkeys(("get_queue", "pause_queue", "resume_queue", "move_scan", "remove_scan"), ref("Queue")),
    "list_runs": list_of(ref("Run")),
    "get_run": answer(
        {
            **_RUN, "columns": {"type": "object", "additionalProperties": TEXT}, "coordinates": list_of(TEXT),
            "axes": {"type": "object", "additionalProperties": {"type": "object"}},
            "comments": list_of(answer({"time": MOMENT, "text": TEXT})), "metadata": {"type": "object"},
            "gaps": list_of({"type": "object"}), "rows_lost": WHOLE,
        }
    ),
    "get_rows": answer({"rows": list_of(ref("Row")), "state": _RUN["state"], "more": FLAG}),
    "get_log": ref("Log"),
    "doctor": list_of(ref("Finding")),
    "list_dashboards": list_of(TEXT),
    "get_dashboard": answer(
        {"panels": DASHBOARD["properties"]["panels"]},
        faults={**list_of(TEXT), "description": "what is wrong with the file, of which the rest is left out"},
    ),
    "put_dashboard": _NAME,
    "delete_dashboard": _NAME,
    "get_session": answer(
        {
            "user": or_null(TEXT), "csrf": or_null(TEXT), "login": {**TEXT, "enum": ["token", "password"]},
            "may": answer({"read": FLAG, "change": FLAG}),
        }
    ),
    "login": answer({"user": TEXT, "csrf": TEXT}),
    "logout": answer({"user": {"type": "null"}}),
    "describe": {"type": "object"},
}  # fmt: skip
"""What each operation answers as JSON, by its name; one that answers only something else is not here."""
