"""The pages: which there are, and how a template becomes one.

A new page is a row of :data:`PAGES` and a template in ``templates/``. A template extends ``base.html`` and has the
blocks ``content``, ``scripts`` (modules of ``static/``, by ``{{ asset("site.js") }}``) and ``styles``. What a page
shows at once is given by its ``data`` function and stands in the page as JSON, in the element ``data``; everything else
comes by the API and by pushes. Templates know ``user`` (empty if nobody has logged in), ``csrf``, ``login_by``,
``token_file`` and ``path``.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from qmi._version import __version__
from qmi.presenting.json_values import dumps
from qmi.presenting.seen import as_json
from qmi.web.assets import link_to
from qmi.web.services import Services
from qmi.web.site import Site


class Page(NamedTuple):
    """A page.

    Attributes:
        path: Its address, with parameters in braces.
        template: Its template.
        title: What it is called, with the parameters of its address in braces.
        data: What it shows at once; None for nothing.
        in_menu: What the menu calls it; empty if it is not there.
        needs_login: Whether it is shown to nobody without a login, even where reading is free.
    """

    path: str
    template: str
    title: str
    data: Callable[[Site, Request], Awaitable[object]] | None = None
    in_menu: str = ""
    needs_login: bool = False


async def _contexts(site: Site, request: Request) -> object:
    return [as_json(seen) for seen in await site.look()]


LOGIN = "/login"

PAGES: tuple[Page, ...] = (
    Page("/", "site.html", "Laboratory", _contexts, "Laboratory"),
    Page("/o/{context}/{object}", "object.html", "{context}.{object}"),
    Page("/plots", "plots.html", "Plots", None, "Plots"),
    Page("/scans", "scans.html", "Scans", None, "Scans"),
    Page("/runs", "runs.html", "Runs", None, "Runs"),
    Page("/runs/{run}", "run.html", "{run}"),
    Page("/logs", "logs.html", "Logs", None, "Logs"),
    Page("/dashboards", "dashboards.html", "Dashboards", None, "Dashboards"),
    Page("/dashboards/{name}", "plots.html", "{name}"),
    Page("/doctor", "doctor.html", "Doctor", None, "Doctor"),
    Page(LOGIN, "login.html", "Log in"),
)
"""All pages."""


@cache
def environment() -> Environment:
    """What makes pages of templates."""
    made = Environment(
        loader=PackageLoader("qmi.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=link_to, version=__version__, menu=[page for page in PAGES if page.in_menu])
    made.filters["data"] = data_text
    return made


def data_text(value: object) -> str:
    """A value as JSON that may stand in a page: nothing in it ends the element that it stands in."""
    text = dumps(value)
    for character, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escaped)
    return text


def render(template: str, status: int = 200, **values: object) -> Response:
    """A page.

    Args:
        template: Its template.
        status: The status of the answer.
        values: What the template shows.
    """
    shown = {"user": "", "csrf": "", "login_by": "", "token_file": "", "path": {}, **values}
    return HTMLResponse(environment().get_template(template).render(shown), status)


def endpoint_of(page: Page, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """What answers a request for a page."""

    async def serve_page(request: Request) -> Response:
        caller = await services.door.caller(request)
        refusal = services.door.refusal(caller, request.headers, changes=False)
        if (refusal is not None or (page.needs_login and not caller.user)) and page.path != LOGIN:
            return RedirectResponse(f"{LOGIN}?{urlencode({'next': request.url.path})}", 303)
        data = None if page.data is None else await page.data(services.site, request)
        title = page.title.format_map(request.path_params)
        return render(
            page.template, page=page, title=title, data=data, path=request.path_params, user=caller.user,
            csrf=caller.csrf, login_by=services.door.login_by, token_file=os.path.basename(services.options.token_file),
        )  # fmt: skip

    return serve_page
