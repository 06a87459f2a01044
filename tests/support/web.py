"""The server of the pages in this process, and what a browser would send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import trio

from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.contexts.default import open_context
from qmi.web.options import Options
from qmi.web.server import serve


@dataclass
class Web:
    """A server that runs.

    Attributes:
        url: Where it is.
        client: Sends requests to it.
        said: What it has printed.
        lab: The context that it shows.
    """

    url: str
    client: httpx.AsyncClient
    lab: Context
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return httpx.URL(self.url).port or 0

    @property
    def token(self) -> str:
        """The token that it has printed."""
        return self.said[-1].partition("#token=")[2]


@asynccontextmanager
async def web_of(config: Path, lab: Context, options: Options) -> AsyncIterator[Web]:
    """A server of the pages, for the length of the block."""
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        starting = partial(serve, load_config(str(config)), options, said.append, init_logging=False)
        url = await nursery.start(starting)
        async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False) as client:
            yield Web(url, client, lab, said)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def web_and_lab(config: Path, options: Options | None = None) -> AsyncIterator[Web]:
    """A context named lab and a server that shows it, for the length of the block."""
    async with (
        open_context("lab", config=load_config(str(config)), init_logging=False) as lab,
        web_of(config, lab, options or Options(bind="127.0.0.1:0", dashboards=str(config.parent / "boards"))) as found,
    ):
        yield found
