"""The operations of the HTTP API: one table, of which routes, checks and the description in OpenAPI are made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qmi.config.validators import LOG_LEVELS
from qmi.data.index_queries import STATES

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
OBJECT: Schema = {"type": "object"}
LIST: Schema = {"type": "array", "items": {}}


def fields(_required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """The schema of an object with these fields."""
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(_required)} if _required else found


class Query(NamedTuple):
    """What may stand behind the question mark.

    Attributes:
        name: Its name.
        about: What it says.
        schema: What it may be.
        several: Whether it may be there several times.
        required: Whether it must be there.
    """

    name: str
    about: str
    schema: Schema = TEXT
    several: bool = False
    required: bool = False


class Operation(NamedTuple):
    """Something that can be asked or done.

    Attributes:
        method: The method of HTTP.
        path: Its path, with parameters in braces.
        name: Its name, which its handler has, too.
        about: What it does, in a line.
        group: Under which heading it stands.
        changes: Whether it changes something, for which a login is needed.
        query: What may stand behind the question mark.
        body: What is sent; None for nothing.
        media: Of which types the answer can be.
        open_to_all: Whether it needs no login, not even where reading needs one.
        unknown: Whether the path names something that may not be there.
    """

    method: str
    path: str
    name: str
    about: str
    group: str
    changes: bool = False
    query: tuple[Query, ...] = ()
    body: Schema | None = None
    media: tuple[str, ...] = ("application/json",)
    open_to_all: bool = False
    unknown: bool = True


_ARRAYS = ("application/json", "application/cbor", "application/x-npy")
_CONTEXT = Query("context", "the context; without it, this computer")
_ONE_CONTEXT = Query("context", "only this context")
_OBJECT_PATH = "/api/objects/{context}/{object}"
_TASK_PATH = "/api/tasks/{context}/{task}"
_SCAN_PATH = "/api/scans/{context}/{scan}"
_QUEUE_PATH = "/api/queues/{context}/{queue}"
_CALL_TIMEOUT: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 24 * 3600}

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/api", "list_operations", "What this API can do, a line each", "Session", unknown=False),
    Operation("GET", "/api/contexts", "list_contexts", "All contexts, and what each tells of itself", "Contexts",
              unknown=False),
    Operation("GET", "/api/contexts/{context}", "get_context", "One context", "Contexts"),
    Operation("GET", _OBJECT_PATH, "get_object", "What an object offers, and how it is", "Objects"),
    Operation("GET", f"{_OBJECT_PATH}/parameters", "get_parameters",
              "All parameters with their units, limits and values as they were last read; the device is not asked",
              "Objects"),
    Operation("GET", f"{_OBJECT_PATH}/parameters/{{path}}", "get_parameter",
              "Read a parameter, property or constant; of an object that somebody has locked, what was read last",
              "Objects", media=_ARRAYS,
              query=(Query("last", "what was read or set last, with its time; the device is not asked", FLAG),)),
    Operation("PUT", f"{_OBJECT_PATH}/parameters/{{path}}", "set_parameter", "Set a parameter or property", "Objects",
              changes=True, body=fields(("value",), value=ANYTHING)),
    Operation("GET", f"{_OBJECT_PATH}/methods/{{path}}", "get_method", "What a method takes and does", "Objects"),
    Operation("POST", f"{_OBJECT_PATH}/methods/{{path}}", "call_method", "Call a method", "Objects", changes=True,
              body=fields(arguments={"anyOf": [OBJECT, LIST]}, timeout=_CALL_TIMEOUT),
              media=_ARRAYS),
    Operation("GET", f"{_OBJECT_PATH}/traffic", "get_traffic",
              "What the instrument and its device have said to each other, as far as it is kept", "Objects",
              query=(Query("after", "records after this one", WHOLE),
                     Query("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": 1000}),
                     Query("run", "where 'after' was told"))),
    Operation("PUT", f"{_OBJECT_PATH}/traffic", "set_traffic",
              "Switch on or off that what the instrument and its device say to each other is kept", "Objects",
              changes=True, body=fields(("on",), on=FLAG)),
    Operation("GET", f"{_OBJECT_PATH}/lock", "get_lock", "Who holds the lock", "Locks"),
    Operation("POST", f"{_OBJECT_PATH}/lock", "take_lock", "Lock an object for the one who is logged in", "Locks",
              changes=True, body=fields(reason=TEXT, timeout={"type": "number", "minimum": 0, "maximum": 60})),
    Operation("DELETE", f"{_OBJECT_PATH}/lock", "release_lock", "Unlock an object", "Locks", changes=True,
              query=(Query("force", "also if somebody else holds the lock, who is told", FLAG),
                     Query("reason", "with force: why"))),
    Operation("POST", f"{_OBJECT_PATH}/lock/request", "request_lock", "Ask whoever holds the lock to give it back",
              "Locks", changes=True, body=fields(reason=TEXT)),
    Operation("POST", f"{_TASK_PATH}/start", "start_task", "Start a task", "Tasks", changes=True),
    Operation("POST", f"{_TASK_PATH}/stop", "stop_task", "Have a task stop", "Tasks", changes=True),
    Operation("GET", f"{_TASK_PATH}/settings", "get_settings", "The settings of a task", "Tasks"),
    Operation("PUT", f"{_TASK_PATH}/settings", "set_settings", "Change settings of a task; others stay", "Tasks",
              changes=True, body=OBJECT),
    Operation("GET", "/api/signals", "list_signals", "The signals of all objects", "Signals", query=(_ONE_CONTEXT,)),
    Operation("GET", "/api/events", "events", "What happens, as server-sent events", "Signals",
              query=(Query("topic", "what is wanted: site, status:CONTEXT, value:CONTEXT.OBJECT.NAME, "
                           "signal:CONTEXT.OBJECT.NAME, rows:RUN, scans, queues, log:CONTEXT, "
                           "traffic:CONTEXT.OBJECT",
                           several=True, required=True),
                     Query("rate", "no more than so many values of a topic a second",
                           {"type": "number", "minimum": 0.1, "maximum": 100})),
              media=("text/event-stream",)),
    Operation("GET", "/api/scans", "list_scans", "The scans that go on", "Scans and runs", query=(_ONE_CONTEXT,)),
    Operation("GET", _SCAN_PATH, "get_scan", "One of them, or one that has ended not long ago", "Scans and runs"),
    *(Operation("POST", f"{_SCAN_PATH}/{what}", f"{what}_scan", about, "Scans and runs", changes=True)
      for what, about in (("pause", "Have a scan wait before its next point"), ("resume", "Have it go on"),
                          ("stop", "Have it end after this point"), ("abort", "Have it end now"))),
    Operation("GET", "/api/queues", "list_queues", "The queues of scans, and what runs and waits in each",
              "Scans and runs", query=(_ONE_CONTEXT,)),
    Operation("GET", _QUEUE_PATH, "get_queue", "One of them", "Scans and runs"),
    Operation("POST", f"{_QUEUE_PATH}/pause", "pause_queue", "Have a queue begin no other scan", "Scans and runs",
              changes=True, body=fields(reason=TEXT)),
    Operation("POST", f"{_QUEUE_PATH}/resume", "resume_queue", "Have it go on", "Scans and runs", changes=True),
    Operation("POST", f"{_QUEUE_PATH}/scans/{{scan}}/move", "move_scan",
              "Have a scan that waits come earlier or later: so many that wait are before it then", "Scans and runs",
              changes=True, body=fields(("position",), position={"type": "integer", "minimum": 0, "maximum": 10**6})),
    Operation("DELETE", f"{_QUEUE_PATH}/scans/{{scan}}", "remove_scan", "Remove a scan that waits", "Scans and runs",
              changes=True),
    Operation("GET", "/api/runs", "list_runs", "The runs, newest first", "Scans and runs",
              query=(_CONTEXT, Query("name", "only those of this name; * stands for anything"),
                     Query("tag", "only those with this tag"),
                     Query("state", "only those that are in this state", {"type": "string", "enum": STATES}),
                     Query("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": 10000}))),
    Operation("GET", "/api/runs/{run}", "get_run", "What is known of a run", "Scans and runs", query=(_CONTEXT,)),
    Operation("GET", "/api/runs/{run}/rows", "get_rows", "The rows of a run, those so far of one that lasts",
              "Scans and runs",
              query=(_CONTEXT, Query("first", "from this row on", WHOLE),
                     Query("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": 100000}))),
    Operation("GET", "/api/runs/{run}/file", "get_file", "The netCDF file of a run that has ended", "Scans and runs",
              query=(_CONTEXT,), media=("application/x-netcdf",)),
    Operation("GET", "/api/runs/{run}/csv", "get_csv", "A run as comma-separated values", "Scans and runs",
              query=(_CONTEXT,), media=("text/csv",)),
    Operation("GET", "/api/logs/{context}", "get_log", "What a context has logged", "Logs",
              query=(Query("after", "records after this one", WHOLE),
                     Query("level", "the lowest level that is wanted", {"type": "string", "enum": LOG_LEVELS}),
                     Query("limit", "at most so many", {"type": "integer", "minimum": 1, "maximum": 1000}),
                     Query("run", "where 'after' was told"))),
    Operation("GET", "/api/doctor", "doctor", "What 'qmi doctor' finds: each fault, and what to do about it", "Logs",
              unknown=False),
    Operation("GET", "/api/dashboards", "list_dashboards", "The dashboards that there are", "Dashboards",
              unknown=False),
    Operation("GET", "/api/dashboards/{name}", "get_dashboard", "A dashboard", "Dashboards"),
    Operation("PUT", "/api/dashboards/{name}", "put_dashboard", "Keep a dashboard", "Dashboards", changes=True,
              body=OBJECT),
    Operation("DELETE", "/api/dashboards/{name}", "delete_dashboard", "Delete a dashboard", "Dashboards",
              changes=True),
    Operation("GET", "/api/session", "get_session", "Who is logged in", "Session", open_to_all=True, unknown=False),
    Operation("POST", "/api/login", "login", "Log in", "Session", open_to_all=True, unknown=False,
              body=fields(token=TEXT, user=TEXT, password=TEXT)),
    Operation("POST", "/api/logout", "logout", "Log out", "Session", open_to_all=True, unknown=False),
    Operation("GET", "/api/openapi.json", "describe", "This description", "Session", open_to_all=True, unknown=False),
)  # fmt: skip
"""All operations."""


def path_names(path: str) -> list[str]:
    """The parameters of a path."""
    return [part.partition("}")[0] for part in path.split("{")[1:]]


PATH_SCHEMAS: Mapping[str, Schema] = {
    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "description": "name of a dashboard"},
    "context": {"type": "string", "minLength": 1, "description": "name of a context"},
    "object": {"type": "string", "minLength": 1, "description": "name of an instrument, a task or another object"},
    "task": {"type": "string", "minLength": 1, "description": "name of a task"},
    "queue": {"type": "string", "minLength": 1, "description": "name of a queue of scans"},
    "scan": {"type": "string", "minLength": 1, "description": "id of a scan"},
    "run": {"type": "string", "minLength": 1, "description": "id of a run; or a name, for the newest run of it"},
    "path": {"type": "string", "minLength": 1, "description": "its name; of a channel, such as 'outputs[1].voltage'"},
}
"""What the parameters of paths are."""
