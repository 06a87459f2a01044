"""Signals, runs, logs, dashboards and the session in the HTTP API."""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Send

import qmi.data
from qmi._version import __version__
from qmi.data.link_archive import copy_from
from qmi.data.rows import Row
from qmi.data.run_details import RunDetails, copy_so_far, details
from qmi.data.run_index import RunInfo
from qmi.errors import QMI_InvalidOperationException, QMI_UnknownNameException
from qmi.presenting.json_values import dumps
from qmi.presenting.value_text import json_of
from qmi.web.api import ApiCall
from qmi.web.api_errors import DriverError, RefusedError
from qmi.web.api_table import OPERATIONS
from qmi.web.api_values import JSON, json_response, made_aside, parts_response
from qmi.web.authorization import Refusal, cookie_name
from qmi.web.csv_program import make_csv
from qmi.web.display import shown_fields
from qmi.web.large_values import json_lazily, json_parts
from qmi.web.openapi import document
from qmi.web.pushes import USUAL_RATE, Had
from qmi.web.site import PATIENCE
from qmi.web.topics import read_log

T = TypeVar("T")

_SLOW = trio.CapacityLimiter(4)
_ROWS = 200


# Signals


async def list_signals(call: ApiCall) -> object:
    """The signals of all objects."""
    only = call.query.get("context")
    site = call.services.site
    found = [await site.look_at(only)] if only else await site.look(patience=PATIENCE)
    return [
        {"context": seen.name, "object": entry.name, **signal.to_plain()}
        for seen in found
        if seen.status is not None
        for entry in seen.status.objects
        for signal in entry.signals
    ]


async def events(call: ApiCall) -> object:
    """What happens, as server-sent events."""
    hub = call.services.hub
    names = call.query["topic"]
    if len(names) > 500:
        raise RefusedError(Refusal(400, f"500 topics at most, got {len(names)}"))
    for name in names:
        hub.check(name)
    after = call.query.get("after", [])
    if after and len(after) != len(names):
        raise RefusedError(Refusal(400, f"as many 'after' are needed as topics: {len(names)}, got {len(after)}"))
    found = {name: Had.of(text) for name, text in zip(names, after, strict=False)}
    had = {name: each for name, each in found.items() if each is not None}
    last = call.request.headers.get("last-event-id", "")
    stream = hub.events(names, last, call.query.get("rate", USUAL_RATE), had)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    user = call.caller.user
    presence = call.services.locks.page_of(user) if user and "locks" in names else nullcontext()
    return _Events(stream, presence, headers=headers, media_type="text/event-stream")


class _Events(StreamingResponse):
    """A stream that ends with its browser, also if that leaves while something is sent to it.

    Args:
        stream: What is sent.
        presence: What lasts as long as the stream.
        options: The headers, and the type.
    """

    def __init__(
        self, stream: AsyncGenerator[bytes, None], presence: AbstractContextManager[None], **options: Any
    ) -> None:
        super().__init__(stream, **options)
        self._presence = presence

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        try:
            with self._presence:
                await super().stream_response(send)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


# Runs


async def _in_thread(function: Callable[[], T]) -> T:
    try:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=_SLOW)
    except ImportError as error:
        raise QMI_InvalidOperationException(f"{error.name} is not installed: pip install 'qmi-trio[data]'") from error


def _run_json(info: RunInfo, context: str) -> dict[str, object]:
    return {
        "id": info.run_id, "name": info.name, "started": info.started.isoformat(),
        "ended": None if info.ended is None else info.ended.isoformat(), "state": info.state, "rows": info.rows,
        "tags": list(info.tags), "comment": info.comment, "context": context,
    }  # fmt: skip


async def _runs(call: ApiCall, **conditions: Any) -> list[RunInfo]:
    context = call.query.get("context")
    if context is not None:
        await call.services.site.connect(context)
    return list(await _in_thread(partial(qmi.data.runs, context=context, **conditions)))


async def list_runs(call: ApiCall) -> object:
    """The runs, newest first."""
    wanted = {name: call.query[name] for name in ("name", "tag", "state") if name in call.query}
    found = await _runs(call, limit=call.query.get("limit", 500), **wanted)
    context = call.query.get("context", "")
    return await made_aside(lambda: [_run_json(info, context) for info in reversed(found)], found)


async def _details(call: ApiCall) -> RunDetails:
    context = call.query.get("context")
    if context is not None:
        await call.services.site.connect(context)
    return await _in_thread(partial(details, call.path("run"), context=context))


async def get_run(call: ApiCall) -> object:
    """What is known of a run."""
    known = await _details(call)
    context = call.query.get("context")
    async with qmi.data.follow(known.info.run_id, context=context) as follower:
        columns, coordinates, axes = dict(follower.columns), list(follower.coordinates), dict(follower.axes)
    told = await made_aside(partial(_details_json, known, axes), [known.metadata, known.gaps, axes])
    return {**_run_json(known.info, context or ""), "columns": columns, "coordinates": coordinates, **told}


def _details_json(known: RunDetails, axes: Mapping[str, Mapping[str, tuple[str, Any]]]) -> dict[str, object]:
    return {
        "axes": {
            column: {name: {"unit": unit, "values": json_of(values)} for name, (unit, values) in each.items()}
            for column, each in axes.items()
        },
        "comments": [{"time": when, "text": text} for when, text in known.comments],
        "metadata": json_of(dict(known.metadata)),
        "gaps": json_of([dict(gap) for gap in known.gaps]),
        "rows_lost": known.rows_lost,
    }


async def get_rows(call: ApiCall) -> object:
    """The rows of a run: those that there are."""
    limit, first, context = call.query.get("limit", 10_000), call.query.get("first", 0), call.query.get("context")
    if context is not None:
        await call.services.site.connect(context)
    tell = shown_fields if call.query.get("reduced") else _whole
    # As texts: a hundred thousand rows are many objects, through which Python would look again and again for garbage.
    parts: list[bytes] = []
    count, is_more = 0, False
    async with qmi.data.follow(call.path("run"), context=context, first=first) as follower:
        while not is_more and (rows := await follower.read_async(timeout=0.0 if count else 0.2)):
            is_more = count + len(rows) > limit
            rows = rows[: limit - count]
            if rows:
                parts += [b", " if count else b"", *await made_aside(partial(_rows_json, rows, tell), rows)]
            count += len(rows)
        end = dumps({"state": follower.state, "more": is_more})
    return parts_response([b'{"rows": [', *parts, b"], ", end[1:].encode(), b"\n"], JSON)


def _whole(row: Row) -> dict[str, object]:
    return {name: json_lazily(value) for name, value in row.items()}


def _rows_json(rows: Sequence[Row], tell: Callable[[Row], object]) -> list[bytes]:
    parts: list[bytes] = []
    for begin in range(0, len(rows), _ROWS):
        some = rows[begin : begin + _ROWS]
        told = [{"number": row.number, "time": row.time.isoformat(), "values": tell(row)} for row in some]
        first, *others = json_parts(told)
        parts += [b", " if begin else b"", first[1:], *others]
        parts[-1] = parts[-1][:-1]  # without the brackets
    return parts


async def _attachment(name: str, media_type: str, write: Callable[[Path], Awaitable[object]]) -> Response:
    """A file that is made for this answer, in a folder of its own, by a function that takes where."""
    folder = tempfile.TemporaryDirectory(prefix="qmi-web-", ignore_cleanup_errors=True)
    path = Path(folder.name, name)
    try:
        await write(path)
    except BaseException:
        folder.cleanup()
        raise
    return _Attachment(folder, path, media_type=media_type, filename=name)


class _Attachment(FileResponse):
    """A file that goes with its folder when it was sent, or could not be."""

    def __init__(self, folder: tempfile.TemporaryDirectory[str], path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._folder = folder

    async def __call__(self, *arguments: Any) -> None:
        """Send it."""
        # Whoever gets it may have all of it, and the server end, before a task in the background has begun.
        try:
            await super().__call__(*arguments)
        finally:
            self._folder.cleanup()


def _still_runs(info: RunInfo) -> RefusedError:
    hint = f"GET /api/runs/{info.run_id}/rows has the rows so far; the topic rows:{info.run_id} pushes new ones"
    return RefusedError(Refusal(409, f"run {info.run_id} is still recorded: its file is made when it ends", hint))


async def get_csv(call: ApiCall) -> object:
    """A run as comma-separated values; of one that goes on, the rows so far."""
    info = (await _details(call)).info
    context = call.query.get("context")

    async def write(path: Path) -> None:
        run = info.file
        if context is not None or info.state == "running":
            run = await _in_thread(partial(copy_so_far, info.run_id, path.parent, context=context))
        await make_csv(run, path)

    so_far = "-so-far" if info.state == "running" else ""
    return await _attachment(f"{info.run_id}{so_far}.csv", "text/csv", write)


async def get_file(call: ApiCall) -> object:
    """The netCDF file of a run that has ended."""
    info = (await _details(call)).info
    if info.state == "running":
        raise _still_runs(info)
    context = call.query.get("context")
    if context is None:
        if not info.file.is_file():
            raise QMI_UnknownNameException(f"the file {info.file} is gone")
        return FileResponse(info.file, media_type="application/x-netcdf", filename=info.file.name)

    async def copy(path: Path) -> None:
        await _in_thread(partial(copy_from, context, info.run_id, path))

    return await _attachment(f"{info.run_id}.nc", "application/x-netcdf", copy)


# Logs


async def get_log(call: ApiCall) -> object:
    """What a context has logged."""
    asked = {key: call.query[key] for key in ("after", "level", "limit", "run") if key in call.query}
    return (await read_log(call.services.site, call.path("context"), **asked)).to_plain()


async def doctor(call: ApiCall) -> object:
    """What the doctor finds."""
    try:
        return await call.services.doctor.findings()
    except Exception as error:  # the command has failed
        raise DriverError(error) from error


# Dashboards


async def list_dashboards(call: ApiCall) -> object:
    """The dashboards that there are."""
    return call.services.dashboards.names()


async def get_dashboard(call: ApiCall) -> object:
    """A dashboard."""
    return call.services.dashboards.get(call.path("name"))


async def put_dashboard(call: ApiCall) -> object:
    """Keep a dashboard."""
    call.services.dashboards.put(call.path("name"), call.body)
    return {"name": call.path("name")}


async def delete_dashboard(call: ApiCall) -> object:
    """Delete a dashboard."""
    call.services.dashboards.delete(call.path("name"))
    return {"name": call.path("name")}


# The session


async def get_session(call: ApiCall) -> object:
    """Who is logged in."""
    user = call.caller.user
    free = call.services.options.reading_is_free
    return {
        "user": user or None,
        "csrf": call.caller.csrf or None,
        "login": call.services.door.login_by,
        "may": {"read": bool(user) or free, "change": bool(user)},
    }


async def login(call: ApiCall) -> object:
    """Log in with the token, or with name and password."""
    door = call.services.door
    waited = door.seconds_to_wait(call.request)
    if waited:
        raise RefusedError(Refusal(429, f"too many wrong logins: wait {math.ceil(waited)} s"), wait=waited)
    if door.login_by == "token":
        user = await door.user_by_token(call.body.get("token", ""), call.request)
    else:
        user = await door.user_by_password(call.body.get("user", ""), call.body.get("password", ""), call.request)
    if user is None:
        what = "the token" if door.login_by == "token" else "the name or the password"
        raise RefusedError(Refusal(401, f"{what} is wrong"))
    cookie, session = door.begin(user, call.request)
    answer = json_response({"user": user, "csrf": session.csrf})
    name = cookie_name(call.request.headers.get("host", ""))
    answer.set_cookie(
        name, cookie, httponly=True, samesite="strict", secure=call.services.options.is_encrypted, path="/"
    )
    return answer


async def logout(call: ApiCall) -> object:
    """Log out."""
    call.services.door.end(call.request)
    answer = json_response({"user": None})
    answer.delete_cookie(cookie_name(call.request.headers.get("host", "")), path="/")
    return answer


async def list_operations(call: ApiCall) -> object:
    """What this API can do."""
    return [
        {"method": each.method, "path": each.path, "about": each.about, "changes": each.changes} for each in OPERATIONS
    ]


async def describe(call: ApiCall) -> object:
    """The description of the API."""
    return document(OPERATIONS, __version__)
