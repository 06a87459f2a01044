"""The files that browsers load: scripts, styles and the library that draws plots.

All have one version, which is a part of their addresses, also where one script names another: so a browser that was
here before asks for none of them again, and never mixes those of two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from qmi.errors import QMI_ConfigurationException

PLOT_LIBRARY = ("uPlot.iife.js", "uPlot.min.css")
"""What browsers get of uPlot, from the package uplot-python."""
_WORTH_PACKING = 1024
_IMPORT = re.compile(rb'(?<=from "\./)[\w.]+\.js(?=";)')
"""Where one of the scripts names another."""


@dataclass(frozen=True)
class Asset:
    """A file that browsers load.

    Attributes:
        content: Its bytes.
        packed: The same by gzip; empty if that is not shorter.
        media_type: What it is.
        version: Changes with the content of any of them.
    """

    content: bytes
    packed: bytes
    media_type: str
    version: str


def asset_of(name: str, content: bytes, version: str) -> Asset:
    """A file as browsers get it."""
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    text = kind.startswith(("text/", "image/svg", "application/json"))
    packed = gzip.compress(content, mtime=0) if text and len(content) >= _WORTH_PACKING else b""
    media_type = f"{kind}; charset=utf-8" if text else kind
    return Asset(content, packed, media_type, version)


@cache
def assets() -> Mapping[str, Asset]:
    """All of them, by name. They are read once, so a change of the package needs another start.

    Raises:
        QMI_ConfigurationException: If the package that has the plots is not installed.
    """
    found = {
        entry.name: entry.read_bytes()
        for entry in resources.files("qmi.web").joinpath("static").iterdir()
        if entry.is_file()
    }
    own = [name for name in found if name.endswith(".js")]
    folder = _folder_of_plots()
    found.update({name: (folder / name).read_bytes() for name in PLOT_LIBRARY})
    summary = hashlib.sha256()
    for name in sorted(found):
        summary.update(name.encode() + found[name])
    version = summary.hexdigest()[:16]
    for name in own:
        found[name] = _IMPORT.sub(rb"\g<0>?v=" + version.encode(), found[name])
    return {name: asset_of(name, content, version) for name, content in found.items()}


def _folder_of_plots() -> Path:
    # The package is not imported: that would import IPython.
    package = importlib.util.find_spec("uplot")
    for place in () if package is None else package.submodule_search_locations or ():
        folder = Path(place) / "static"
        if (folder / PLOT_LIBRARY[0]).is_file():
            return folder
    raise QMI_ConfigurationException("The pages need the package uplot-python: pip install 'qmi-trio[web]'")


def link_to(name: str) -> str:
    """The address of a file on this server, which changes with its content.

    Raises:
        KeyError: If there is no such file.
    """
    return f"/static/{name}?v={assets()[name].version}"


async def serve_asset(request: Request) -> Response:
    """Answer a request for ``/static/{name}``."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    # With its version in the address it is never asked for again; without, a browser asks whether it has changed.
    is_versioned = request.query_params.get("v") == asset.version
    headers = {
        "etag": f'"{asset.version}"',
        "cache-control": "public, max-age=31536000, immutable" if is_versioned else "no-cache",
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(None, 304, headers)
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    if asset.packed and takes_gzip:
        return Response(asset.packed, 200, {**headers, "content-encoding": "gzip"}, asset.media_type)
    return Response(asset.content, 200, headers, asset.media_type)
