"""The HTTP API: how a request becomes a call of a handler, and what it returns or raises an answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qmi.config.validators import printable
from qmi.names import Address, is_valid_name
from qmi.web.api_errors import RefusedError, error_answer
from qmi.web.api_table import OPERATIONS, Operation, Query
from qmi.web.api_values import json_response
from qmi.web.authorization import Caller, Refusal
from qmi.web.schemas import fault_of, from_text
from qmi.web.services import Services


@dataclass(frozen=True)
class ApiCall:
    """One request.

    Attributes:
        services: What the server consists of.
        request: The request.
        caller: Who sends it.
        query: What stands behind the question mark, checked.
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

    @property
    def accept(self) -> str:
        """Which types are wanted."""
        return self.request.headers.get("accept", "")


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
            answer = result if isinstance(result, Response) else json_response(result)
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
    if refusal is not None:
        raise RefusedError(refusal)


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    known = {query.name: query for query in operation.query}
    given = request.query_params.multi_items()
    if strange := [name for name, _ in given if name not in known]:
        listed = ", ".join(known) or "nothing"
        raise _bad(f"there is no {printable(strange[0])!r} behind the question mark: {operation.path} takes {listed}")
    found: dict[str, Any] = {}
    for name, text in given:
        query = known[name]
        if query.several:
            found.setdefault(name, []).append(_read(query, text))
        elif name in found:
            raise _bad(f"{name} stands there twice")
        else:
            found[name] = _read(query, text)
    if lacking := [query.name for query in operation.query if query.required and query.name not in found]:
        raise _bad(f"{lacking[0]} is missing behind the question mark")
    return found


def _read(query: Query, text: str) -> object:
    try:
        return from_text(text, query.schema)
    except ValueError as error:
        raise _bad(f"{query.name} {error}") from None


async def _body(operation: Operation, request: Request) -> object:
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(Refusal(415, f"what is sent must be application/json, got {printable(kind)!r}"))
    content = await request.body()
    if not content and "required" not in operation.body:
        return {}
    try:
        found = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _bad(f"what was sent is no JSON: {error}") from None
    fault = fault_of(found, operation.body)
    if fault:
        raise _bad(fault)
    whole = [name for name, kind in operation.body.get("properties", {}).items() if kind.get("type") == "integer"]
    return {**found, **{name: int(found[name]) for name in whole if name in found}}  # 2.0 is a whole number in JSON


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON: send it as a text")


def _bad(text: str) -> RefusedError:
    return RefusedError(Refusal(400, text), "BadRequest")
