"""What answers requests: the routes, and what all of them go through."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from qmi.web.assets import serve_asset
from qmi.web.guard import App, Guard, Scope
from qmi.web.options import Options
from qmi.web.pages import PAGES, Page, endpoint_of, render
from qmi.web.site import Site

_logger = logging.getLogger("qmi.web")

_ERROR_PAGE = Page("", "error.html", "")


def make_app(site: Site, options: Options) -> App:
    """What answers requests.

    Args:
        site: The contexts.
        options: How the server runs.
    """
    routes = [
        *(Route(page.path, endpoint_of(page, site), methods=["GET"]) for page in PAGES),
        Route("/static/{name}", serve_asset, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    return Guard(app, _nobody_is_refused, encrypted=options.is_encrypted)


def _nobody_is_refused(scope: Scope, headers: Headers) -> tuple[int, str] | None:
    return None


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return error_response(request, status, "Refused", f"{detail}: {request.method} {request.url.path}")


async def _failed(request: Request, error: Exception) -> Response:
    _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(request, 500, type(error).__name__, "the server failed; its log says why")


def error_response(request: Request, status: int, kind: str, message: str, hint: str = "") -> Response:
    """What is answered to a request that is not carried out: a page for people, JSON for programs.

    Args:
        request: The request.
        status: The status.
        kind: The type of the error.
        message: What was found, and what was expected.
        hint: What to do; empty if the message says it.
    """
    if not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", ""):
        return render("error.html", status, page=_ERROR_PAGE, title=f"Error {status}", message=message, data=None)
    told = {"type": kind, "message": message, **({"hint": hint} if hint else {})}
    return JSONResponse({"error": told}, status)
