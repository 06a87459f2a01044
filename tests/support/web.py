"""The server of the pages in this process, and what a browser would send to it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import trio

from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.contexts.default import open_context
from qmi.web.options import Options
from qmi.web.server import serve
from tests.support.web_contract import check


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


class Pushed:
    """What a browser gets that wants some topics.

    Args:
        stream: The connection.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""
        self.values: dict[str, Any] = {}
        self.missed: dict[str, int] = {}

    async def until(self, topic: str, fits: Callable[[Any], bool]) -> Any:
        """Wait until the newest value of a topic fits."""
        with trio.fail_after(20):
            while not (topic in self.values and fits(self.values[topic])):
                await self._read()
        return self.values[topic]

    async def _read(self) -> None:
        self._rest += await self._stream.receive_some()
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and "topic" in (push := json.loads(line[6:])):
                self.values[push["topic"]] = push["value"]
                self.missed[push["topic"]] = push["missed"]


@asynccontextmanager
async def pushed(web: Web, *topics: str, auth: tuple[str, str] | None = None) -> AsyncIterator[Pushed]:
    """A browser that wants some topics, for the length of the block; of a user, if he is named with his password."""
    head = "" if auth is None else f"Authorization: Basic {base64.b64encode(':'.join(auth).encode()).decode()}\r\n"
    query = urlencode([("topic", topic) for topic in topics])
    async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
        await stream.send_all(f"GET /api/events?{query}&rate=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n".encode())
        yield Pushed(stream)


async def _read_and_check(answer: httpx.Response) -> None:
    await answer.aread()
    check(answer)


@asynccontextmanager
async def web_of(config: Path, lab: Context, options: Options) -> AsyncIterator[Web]:
    """A server of the pages, for the length of the block."""
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        starting = partial(serve, load_config(str(config)), options, said.append, init_logging=False)
        url = await nursery.start(starting)
        hooks = {"response": [_read_and_check]}
        async with httpx.AsyncClient(
            base_url=url, verify=False, trust_env=False, timeout=30.0, event_hooks=hooks
        ) as client:
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
