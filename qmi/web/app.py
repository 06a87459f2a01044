"""What answers requests: the routes, and what all of them go through."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qmi.config.validators import printable
from qmi.web import api_data, api_locks, api_objects, api_parameters, api_scans, api_tasks, metrics, traffic
from qmi.web.api import Handler, make_routes
from qmi.web.api_table import OPERATIONS
from qmi.web.assets import serve_asset
from qmi.web.guard import App, Guard
from qmi.web.pages import PAGES, Page, endpoint_of, render
from qmi.web.services import Services
from qmi.web.site import PATIENCE

_logger = logging.getLogger("qmi.web")

_ERROR_PAGE = Page("", "error.html", "")


HANDLERS: dict[str, Handler] = {
    operation.name: next(
        getattr(module, operation.name)
        for module in (api_objects, api_locks, api_tasks, api_parameters, api_scans, traffic, api_data)
        if hasattr(module, operation.name)
    )
    for operation in OPERATIONS
}
"""What carries out each operation of the API."""


def make_app(services: Services) -> App:
    """What answers requests.

    Args:
        services: What the server consists of.
    """
    routes = [
        *(Route(page.path, endpoint_of(page, services), methods=["GET"]) for page in PAGES),
        Route("/static/{name}", serve_asset, methods=["GET"]),
        Route("/metrics", _metrics_endpoint(services), methods=["GET"]),
        *make_routes(services, HANDLERS),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refusing(services), Exception: _failed})
    return Guard(app, services.door.refuse, encrypted=services.options.is_encrypted)


def _metrics_endpoint(services: Services) -> Callable[[Request], Awaitable[Response]]:
    async def serve_metrics(request: Request) -> Response:
        caller = await services.door.caller(request)
        refusal = services.door.refusal(caller, request.headers, changes=False)
        if refusal is not None:
            return error_response(request, refusal.status, "Refused", refusal.message, refusal.hint)
        found = await services.site.look(patience=PATIENCE)
        text = metrics.text_of(found, browsers=services.hub.browsers, topics=services.hub.topics)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    return serve_metrics


def _refusing(services: Services) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What answers a request for an address that there is not, or that is not for such a request."""

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        headers = error.headers if isinstance(error, HTTPException) else None
        allowed = (headers or {}).get("Allow", "")
        hint = (
            f"this address takes {allowed}" if allowed else "GET /api lists what there is" if _is_api(request) else ""
        )
        place = printable(request.url.path)
        if status == HTTPStatus.NOT_FOUND and _is_for_people(request):
            caller = await services.door.caller(request)  # the page still is one of those who have logged in
            return _error_page(status, f"There is no page {place}", user=caller.user, csrf=caller.csrf)
        return error_response(request, status, "Refused", f"{detail}: {request.method} {place}", hint, headers)

    return refuse


async def _failed(request: Request, error: Exception) -> Response:
    _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(request, 500, type(error).__name__, "the server failed; its log says why")


def error_response(
    request: Request, status: int, kind: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """What is answered to a request that is not carried out: a page for people, JSON for programs.

    Args:
        request: The request.
        status: The status.
        kind: The type of the error.
        message: What was found, and what was expected.
        hint: What to do; empty if the message says it.
        headers: Headers of the answer.
    """
    if _is_for_people(request):
        page = _error_page(status, message)
        page.headers.update(headers or {})
        return page
    told = {"type": kind, "message": message, **({"hint": hint} if hint else {})}
    return JSONResponse({"error": told}, status, headers)


def _error_page(status: int, message: str, **who: str) -> Response:
    return render("error.html", status, page=_ERROR_PAGE, title=f"Error {status}", message=message, data=None, **who)


def _is_for_people(request: Request) -> bool:
    return not _is_api(request) and "text/html" in request.headers.get("accept", "")


def _is_api(request: Request) -> bool:
    return f"{request.url.path}/".startswith("/api/")
