"""The HTTP API: how a request becomes a call of a handler, and what it returns or raises an answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qmi.config.validators import printable
from qmi.errors import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_MessageDeliveryException,
    QMI_ObjectLockedException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UnknownRpcException,
    QMI_UsageException,
)
from qmi.names import Address, is_valid_name
from qmi.presenting.call_arguments import WrongArgument
from qmi.web.api_table import OPERATIONS, Operation, Query
from qmi.web.api_values import json_response
from qmi.web.authorization import Caller, Refusal
from qmi.web.schemas import fault_of, from_text
from qmi.web.services import Services

_logger = logging.getLogger("qmi.web")


class RefusedError(Exception):
    """A request is not carried out."""

    def __init__(self, refusal: Refusal, kind: str = "Refused") -> None:
        super().__init__(refusal.message)
        self.refusal: Refusal = refusal
        self.kind: str = kind


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
        context, name = params["context"], params.get("object") or params.get("task") or ""
        if not is_valid_name(context) or not is_valid_name(name):
            raise RefusedError(Refusal(404, f"there is no object {context}.{name}"), "QMI_UnknownNameException")
        return Address(context, name)

    @property
    def accept(self) -> str:
        """Which types are wanted."""
        return self.request.headers.get("accept", "")


Handler = Callable[[ApiCall], Awaitable[object]]


def make_routes(services: Services, handlers: Mapping[str, Handler]) -> list[Route]:
    """The routes of all operations.

    Args:
        services: What the server consists of.
        handlers: What carries out each operation, by its name.
    """
    return [
        Route(operation.path, _endpoint(services, operation, handlers[operation.name]), methods=[operation.method])
        for operation in OPERATIONS
    ]


def _endpoint(services: Services, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        caller = Caller()
        try:
            caller = await services.door.caller(request)
            _check_allowed(services, operation, caller, request)
            query = _query(operation, request)
            body = await _body(operation, request)
            result = await handler(ApiCall(services, request, caller, query, body))
        except Exception as error:
            answer = error_answer(error, request)
        else:
            answer = result if isinstance(result, Response) else json_response(result)
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
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is no number of JSON: send it as a text")


def _bad(text: str) -> RefusedError:
    return RefusedError(Refusal(400, text), "BadRequest")


# Errors

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (WrongArgument, 422),
    (QMI_ObjectLockedException, 423),
    (QMI_ConnectionException, 503),
    (QMI_MessageDeliveryException, 503),
    (QMI_TimeoutException, 504),
    (QMI_UnknownNameException, 404),
    (QMI_UnknownRpcException, 404),
    (QMI_InvalidOperationException, 409),
    (QMI_UsageException, 400),
)


def status_of(error: Exception) -> int:
    """The status for an error: what the object raised is 502, as of a server behind this one."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 502)


class DriverError(Exception):
    """What an object raised.

    Args:
        error: The error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def error_answer(error: Exception, request: Request) -> Response:
    """What is answered in place of a result."""
    told: dict[str, object]
    if isinstance(error, RefusedError):
        status, kind, text = error.refusal.status, error.kind, error.refusal.message
        told = {"type": kind, "message": text}
        if error.refusal.hint:
            told["hint"] = error.refusal.hint
    elif isinstance(error, DriverError):
        cause = error.error
        status = status_of(cause) if isinstance(cause, QMI_Exception) else 502
        told = {"type": type(cause).__name__, "message": printable(str(cause)) or type(cause).__name__}
    elif isinstance(error, QMI_Exception):
        status, told = status_of(error), {"type": type(error).__name__, "message": printable(str(error))}
    elif isinstance(error, trio.TooSlowError):
        status, told = 504, {"type": "TooSlow", "message": "there was no answer in time"}
    elif isinstance(error, ClientDisconnect):
        status, told = 400, {"type": "BadRequest", "message": "the request has not come to its end"}
    else:
        _logger.error("%s %s failed", request.method, printable(request.url.path), exc_info=error)
        status, told = 500, {"type": type(error).__name__, "message": "the server failed; its log says why"}
    argument = getattr(error.error if isinstance(error, DriverError) else error, "argument", "")
    if isinstance(argument, str) and argument:
        told["argument"] = argument
    headers = {"www-authenticate": 'Bearer realm="qmi"'} if status == 401 else None
    return JSONResponse({"error": told}, status, headers)
