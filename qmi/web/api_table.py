"""The operations of the HTTP API: one table, of which routes, checks and the description in OpenAPI are made. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from qmi.config.validators import LOG_LEVELS
from qmi.data.index_queries import STATES
from qmi.web.dashboard_schema import DASHBOARD

Schema = Mapping[str, Any]
ANSWERS = ("shown", "kept")

TEXT: Schema = {"type": "string"}
REASON: Schema = {"type": "string", "maxLength": 1000}  # others are told, over and over
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
    """A query parameter.

    Attributes:
        name: Its name.
        about: What it means.
        schema: Its schema.
        several: Whether it may be repeated.
        required: Whether it must be given.
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
        query: The query parameters.
        body: What is sent; None for nothing.
        media: Of which types the answer can be.
        open_to_all: Whether it needs no login, not even where reading needs one.
        unknown: Whether the path names something that may not be there.
        example: An example of what is sent; None if that is empty or anything.
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
    example: Mapping[str, object] | None = None


_ARRAYS = ("application/json", "application/cbor", "application/x-npy")
_CONTEXT = Query("context", "runs of the computer of this context; without it, of this computer")
_ONE_CONTEXT = Query("context", "only this context")
_REDUCED = Query("reduced", "large values as in events: what they are, how large, and part of them", FLAG)
_OBJECT_PATH = "/api/objects/{context}/{object}"
_TASK_PATH = "/api/tasks/{context}/{task}"
_SCAN_PATH = "/api/scans/{context}/{scan}"
_QUEUE_PATH = "/api/queues/{context}/{queue}"
_LOCK_TIMEOUT: Schema = {"type": "number", "minimum": 0, "maximum": 60}
_CALL_TIMEOUT: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 24 * 3600}

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/api", "list_operations", "The operations of this API, a line each", "Session", unknown=False),
    Operation("GET", "/api/contexts", "list_contexts", "All contexts and their status", "Contexts", unknown=False),
    Operation("GET", "/api/contexts/{context}", "get_context", "One context", "Contexts"),
    Operation("GET", _OBJECT_PATH, "get_object", "What an object offers, and its status", "Objects"),
    Operation("GET", f"{_OBJECT_PATH}/parameters", "get_parameters",
              "All parameters with units, limits and last known values, large ones reduced; the device is not asked",
              "Objects"),
    Operation("GET", f"{_OBJECT_PATH}/parameters/{{path}}", "get_parameter",
              "Read a parameter, property or constant; if somebody else has locked the object: the last known value",
              "Objects", media=_ARRAYS,
              query=(Query("last", "the last known value and its time; the device is not asked", FLAG), _REDUCED)),
    Operation("PUT", f"{_OBJECT_PATH}/parameters/{{path}}", "set_parameter", "Set a parameter or property", "Objects",
              changes=True, body=fields(("value",), value=ANYTHING), example={"value": "300 mV"}),
    Operation("GET", f"{_OBJECT_PATH}/methods/{{path}}", "get_method", "Signature and documentation of a method",
              "Objects"),
    Operation("POST", f"{_OBJECT_PATH}/methods/{{path}}", "call_method", "Call a method", "Objects", changes=True,
              query=(_REDUCED,), body=fields(arguments={"anyOf": [OBJECT, LIST]}, timeout=_CALL_TIMEOUT), media=_ARRAYS,
              example={"arguments": {"points": 1000}}),
    Operation("GET", f"{_OBJECT_PATH}/traffic", "get_traffic", "The recorded traffic between instrument and device",
              "Objects",
              query=(Query("after", "only records after this number", WHOLE),
                     Query("limit", "maximum number of records", {"type": "integer", "minimum": 1, "maximum": 1000}),
                     Query("run", "the 'run' of the answer that 'after' comes from"))),
    Operation("PUT", f"{_OBJECT_PATH}/traffic", "set_traffic", "Start or stop recording the traffic", "Objects",
              changes=True, body=fields(("on",), on=FLAG), example={"on": True}),
    Operation("GET", f"{_OBJECT_PATH}/lock", "get_lock",
              "Who holds the lock, and who asks for it where that is a user of the pages", "Locks"),
    Operation("POST", f"{_OBJECT_PATH}/lock", "take_lock", "Lock an object; the timeout is the time to wait for it",
              "Locks", changes=True, body=fields(reason=REASON, timeout=_LOCK_TIMEOUT),
              example={"reason": "alignment"}),
    Operation("DELETE", f"{_OBJECT_PATH}/lock", "release_lock", "Unlock an object", "Locks", changes=True,
              query=(Query("force", "take the lock away from somebody else, who is notified", FLAG),
                     Query("reason", "with force: why", REASON))),
    Operation("POST", f"{_OBJECT_PATH}/lock/request", "request_lock", "Ask the holder of the lock to release it",
              "Locks", changes=True, body=fields(reason=REASON), example={"reason": "calibration at noon"}),
    Operation("PUT", f"{_OBJECT_PATH}/lock/request", "answer_request",
              "Answer a request for the lock that you hold: that it was shown to you, or that you keep the lock",
              "Locks", changes=True, body=fields(("id", "state"), id=WHOLE, state={"type": "string", "enum": ANSWERS}),
              example={"id": 1, "state": "kept"}),
    Operation("POST", f"{_TASK_PATH}/start", "start_task", "Start a task", "Tasks", changes=True),
    Operation("POST", f"{_TASK_PATH}/stop", "stop_task", "Request a task to stop", "Tasks", changes=True),
    Operation("GET", f"{_TASK_PATH}/settings", "get_settings", "The settings of a task", "Tasks"),
    Operation("PUT", f"{_TASK_PATH}/settings", "set_settings", "Change some settings of a task", "Tasks",
              changes=True, body=OBJECT, example={"target": 21.5}),
    Operation("GET", "/api/signals", "list_signals", "The signals of all objects", "Signals", query=(_ONE_CONTEXT,)),
    Operation("GET", "/api/events", "events", "Values, signals, rows and log records as server-sent events", "Signals",
              query=(Query("topic", "site, status:CONTEXT, value:CONTEXT.OBJECT.NAME, signal:CONTEXT.OBJECT.NAME, "
                           "rows:RUN, scans, queues, locks, log:CONTEXT, traffic:CONTEXT.OBJECT",
                           several=True, required=True),
                     Query("after", "for each topic, in the same order: what you have of it, as SOURCE.NUMBER, of "
                           "'sources' of the event hello and 'number' of the last event; - for nothing", several=True),
                     Query("rate", "maximum number of events of a topic per second",
                           {"type": "number", "minimum": 0.1, "maximum": 100})),
              media=("text/event-stream",)),
    Operation("GET", "/api/scans", "list_scans", "The running scans", "Scans", query=(_ONE_CONTEXT,)),
    Operation("GET", _SCAN_PATH, "get_scan", "A running scan, or one that has ended recently", "Scans"),
    *(Operation("POST", f"{_SCAN_PATH}/{what}", f"{what}_scan", about, "Scans", changes=True)
      for what, about in (("pause", "Pause a scan before its next point"), ("resume", "Resume a paused scan"),
                          ("stop", "End a scan after the current point"), ("abort", "End a scan immediately"))),
    Operation("GET", "/api/queues", "list_queues", "The queues of scans with all their scans", "Scans",
              query=(_ONE_CONTEXT,)),
    Operation("GET", _QUEUE_PATH, "get_queue", "One queue", "Scans"),
    Operation("POST", f"{_QUEUE_PATH}/pause", "pause_queue", "Pause a queue; the running scan continues", "Scans",
              changes=True, body=fields(reason=REASON), example={"reason": "the cryostat is warm"}),
    Operation("POST", f"{_QUEUE_PATH}/resume", "resume_queue", "Resume a paused queue", "Scans", changes=True),
    Operation("POST", f"{_QUEUE_PATH}/scans/{{scan}}/move", "move_scan",
              "Move a waiting scan; position 0 makes it the next one", "Scans", changes=True,
              body=fields(("position",), position={"type": "integer", "minimum": 0, "maximum": 10**6}),
              example={"position": 0}),
    Operation("DELETE", f"{_QUEUE_PATH}/scans/{{scan}}", "remove_scan", "Remove a waiting scan", "Scans", changes=True),
    Operation("GET", "/api/runs", "list_runs", "The runs, newest first", "Runs",
              query=(_CONTEXT, Query("name", "only runs of this name; * matches anything"),
                     Query("tag", "only runs with this tag"),
                     Query("state", "only runs in this state", {"type": "string", "enum": STATES}),
                     Query("limit", "maximum number of runs", {"type": "integer", "minimum": 1, "maximum": 10000}))),
    Operation("GET", "/api/runs/{run}", "get_run", "A run and its columns", "Runs", query=(_CONTEXT,)),
    Operation("GET", "/api/runs/{run}/rows", "get_rows", "The rows of a run, also while it is recorded", "Runs",
              query=(_CONTEXT, Query("first", "number of the first row", WHOLE),
                     Query("limit", "maximum number of rows", {"type": "integer", "minimum": 1, "maximum": 100000}),
                     _REDUCED)),
    Operation("GET", "/api/runs/{run}/file", "get_file", "The netCDF file of a finished run", "Runs",
              query=(_CONTEXT,), media=("application/x-netcdf",)),
    Operation("GET", "/api/runs/{run}/csv", "get_csv",
              "A run as comma-separated values; of one that is still recorded, the rows so far", "Runs",
              query=(_CONTEXT,), media=("text/csv",)),
    Operation("GET", "/api/logs/{context}", "get_log", "The log of a context", "Logs",
              query=(Query("after", "only records after this number", WHOLE),
                     Query("level", "lowest level", {"type": "string", "enum": LOG_LEVELS}),
                     Query("limit", "maximum number of records", {"type": "integer", "minimum": 1, "maximum": 1000}),
                     Query("run", "the 'run' of the answer that 'after' comes from"))),
    Operation("GET", "/api/doctor", "doctor", "The findings of 'qmi doctor', with what to do", "Logs", unknown=False),
    Operation("GET", "/api/dashboards", "list_dashboards", "The names of the dashboards", "Dashboards", unknown=False),
    Operation("GET", "/api/dashboards/{name}", "get_dashboard", "A dashboard", "Dashboards"),
    Operation("PUT", "/api/dashboards/{name}", "put_dashboard", "Save a dashboard", "Dashboards", changes=True,
              body=DASHBOARD, example={"panels": [{"kind": "value", "text": "lab.psu.voltage"}]}),
    Operation("DELETE", "/api/dashboards/{name}", "delete_dashboard", "Delete a dashboard", "Dashboards",
              changes=True),
    Operation("GET", "/api/session", "get_session", "Who is logged in", "Session", open_to_all=True, unknown=False),
    Operation("POST", "/api/login", "login", "Log in with the token, or with user and password", "Session",
              open_to_all=True, unknown=False, body=fields(token=TEXT, user=TEXT, password=TEXT)),
    Operation("POST", "/api/logout", "logout", "Log out", "Session", open_to_all=True, unknown=False),
    Operation("GET", "/api/openapi.json", "describe", "The OpenAPI description", "Session", open_to_all=True,
              unknown=False),
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
