"""The HTTP API: how a request becomes a call of a handler, and what it returns or raises an answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qmi.actors.proxy import AsyncProxy
from qmi.config.validators import printable
from qmi.names import Address, is_valid_name
from qmi.web.api_errors import RefusedError, error_answer
from qmi.web.api_table import OPERATIONS, Operation, Query
from qmi.web.api_values import json_answer, made_aside
from qmi.web.authorization import Caller, Refusal
from qmi.web.large_values import is_large, read_in_steps
from qmi.web.lock_requests import signed
from qmi.web.schemas import fault_of, from_text
from qmi.web.services import Services

T = TypeVar("T")

BODY_PATIENCE = 60.0
"""For how long the body of a request may take to come, in seconds."""


@dataclass(frozen=True)
class ApiCall:
    """One request.

    Attributes:
        services: What the server consists of.
        request: The request.
        caller: Who sends it.
        query: The query parameters, checked.
        body: What was sent, checked.
    """

    services: Services
    request: Request
    caller: Caller
    query: Mapping[str, Any]
    body: Any

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    @property
    def address(self) -> Address:
        """The object that the path names.

        Raises:
            RefusedError: If these are no names.
        """
        params = self.request.path_params
        context = params["context"]
        name = next((params[kind] for kind in ("object", "task", "queue") if kind in params), "")
        if not is_valid_name(context) or not is_valid_name(name):
            raise RefusedError(Refusal(404, f"there is no object {context}.{name}"), "QMI_UnknownNameException")
        return Address(context, name)

    def signed(self, reason: str | None) -> str:
        """A reason that others read, with who gave it."""
        return signed(reason, self.caller.user)

    @property
    def accept(self) -> str:
        """Which types are wanted."""
        return self.request.headers.get("accept", "")


async def proxy_of(call: ApiCall, *, fresh: bool = False) -> AsyncProxy[Any]:
    """A proxy of the object that the path names, for whoever calls."""
    return await call.services.proxies.of(call.caller.user, call.address, fresh=fresh)


async def read_aside(read: Callable[[], T], given: object) -> T:
    """Read what was sent. The first value with a unit loads a large library: nobody else waits for that, or for much.

    Args:
        read: Reads it.
        given: What was sent.
    """
    return await made_aside(read, given) if "pint" in sys.modules else await trio.to_thread.run_sync(read)


Handler = Callable[[ApiCall], Awaitable[object]]
Endpoint = Callable[[Request], Awaitable[Response]]


def make_routes(services: Services, handlers: Mapping[str, Handler]) -> list[Route]:
    """The routes of all operations.

    Args:
        services: What the server consists of.
        handlers: What carries out each operation, by its name.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in OPERATIONS:
        endpoint = _endpoint(services, operation, handlers[operation.name])
        by_path.setdefault(operation.path, {})[operation.method] = endpoint
    # One route for each path: what is told of a method that it lacks is which ones it has.
    return [Route(path, _by_method(endpoints), methods=list(endpoints)) for path, endpoints in by_path.items()]


def _by_method(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    async def serve(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return serve


def _endpoint(services: Services, operation: Operation, handler: Handler) -> Endpoint:
    async def serve(request: Request) -> Response:
        caller = Caller()
        try:
            caller = await services.door.caller(request)
            _check_allowed(services, operation, caller, request)
            query = _query(operation, request)
            body = await _body(operation, request)
            result = await handler(ApiCall(services, request, caller, query, body))
            answer = result if isinstance(result, Response) else await json_answer(result)
        except Exception as error:
            answer = error_answer(error, request)
        if operation.changes:
            what = f"{request.method} {request.url.path}"
            services.door.log_change(caller.user or "nobody", request, what, _outcome(answer))
        return answer

    return serve


def _outcome(answer: Response) -> str:
    return "done" if answer.status_code < 400 else f"refused or failed ({answer.status_code})"


def _check_allowed(services: Services, operation: Operation, caller: Caller, request: Request) -> None:
    if operation.open_to_all:
        return
    refusal = services.door.refusal(caller, request.headers, changes=operation.changes)
    if refusal is None:
        return
    if refusal.status == 401:
        what = "the credentials in the header 'Authorization' are wrong"
        message = what if "authorization" in request.headers else refusal.message
        refusal = Refusal(401, message, f"{refusal.hint}, or {services.door.credentials}")
    raise RefusedError(refusal)


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    known = {query.name: query for query in operation.query}
    given = request.query_params.multi_items()
    if strange := [name for name, _ in given if name not in known]:
        listed = ", ".join(known) or "none"
        raise _bad(f"unknown query parameter {printable(strange[0])!r}; {operation.path} has {listed}")
    found: dict[str, Any] = {}
    for name, text in given:
        query = known[name]
        if query.several:
            found.setdefault(name, []).append(_read(query, text))
        elif name in found:
            raise _bad(f"query parameter {name!r} is given more than once")
        else:
            found[name] = _read(query, text)
    if lacking := [query.name for query in operation.query if query.required and query.name not in found]:
        raise _bad(f"query parameter {lacking[0]!r} is missing: {known[lacking[0]].about}")
    return found


def _read(query: Query, text: str) -> object:
    try:
        return from_text(text, query.schema)
    except ValueError as error:
        raise _bad(f"query parameter {query.name!r} {error}") from None


async def _body(operation: Operation, request: Request) -> object:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(Refusal(415, f"the body must be application/json, got {printable(kind)!r}"))
    try:
        with trio.fail_after(BODY_PATIENCE):
            content = await request.body()
    except trio.TooSlowError:  # who opens many of these would keep others out
        refusal = Refusal(408, f"the body has not come within {BODY_PATIENCE:g} s")
        raise RefusedError(refusal) from None
    if not content and "required" not in operation.body:
        return {}
    try:
        found = await made_aside(partial(_loaded, content), content)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is not valid JSON: {error}", _example(operation)) from None
    fault = fault_of(found, operation.body)
    if fault:
        raise _bad(fault, _example(operation))
    whole = [name for name, kind in operation.body.get("properties", {}).items() if kind.get("type") == "integer"]
    return {**found, **{name: int(found[name]) for name in whole if name in found}}  # 2.0 is a whole number in JSON


def _loaded(content: bytes) -> Any:
    if not is_large(content):
        found: Any = json.loads(content, parse_constant=_no_constant)
    else:
        found = read_in_steps(content, _no_constant)
    if b"\\u" in content:  # half of a character, which no text of other programs can have
        for part in json.JSONEncoder(ensure_ascii=False).iterencode(found):
            part.encode()
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number in JSON; send it as a string")


def _example(operation: Operation) -> str:
    return "" if operation.example is None else f"for example {json.dumps(operation.example)}"


def _bad(text: str, hint: str = "") -> RefusedError:
    return RefusedError(Refusal(400, text, hint), "BadRequest")
