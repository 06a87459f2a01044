"""Two contexts with a link, and what one of them uses of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import qmi
from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.core.context import Context, QMI_Context
from qmi.net.io.link import Link
from tests.support.devices import AsyncBench, Bench
from tests.support.lab import address, config


class Lab:
    """Two contexts that are connected: ``here`` uses what ``there`` has."""

    def __init__(self, here: QMI_Context, there: QMI_Context) -> None:
        self.here, self.there = here, there
        there.make_instrument("bench", Bench)
        there.make_instrument("async", AsyncBench)
        here.connect_to_peer("there", address(there))
        self.bench: Any = here.get_instrument("there.bench")
        self.coro: Any = here.get_instrument("there.async")

    def actual(self, name: str = "bench") -> Any:
        actor = self.there.async_context.registry.get(name)
        assert actor is not None
        return actor.object

    def link(self, context: QMI_Context, peer: str) -> Link:
        link = context.async_context.connections.link_to(peer)
        assert link is not None
        return link

    def nothing_is_open(self) -> bool:
        ours, theirs = self.link(self.here, "there"), self.link(self.there, "here")
        serving = self.there.async_context.connections._serving[theirs]
        return ours.open_requests == 0 and serving.count == 0


@asynccontextmanager
async def two_contexts() -> AsyncIterator[tuple[Context, Context]]:
    """Two contexts in this loop; the first one is connected to the second one, which has a bench of each kind."""
    async with (
        Context("there", config("there")).running() as there,
        Context("here", config()).running() as here,
    ):
        await there.make_instrument("bench", Bench)
        await there.make_instrument("async", AsyncBench)
        await here.connect_to_peer("there", f"127.0.0.1:{there.connections.port}")
        yield here, there


def object_of(context: Context, name: str) -> Any:
    actor = context.registry.get(name)
    assert actor is not None
    return actor.object


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Context, Context]]:
    """Two contexts in one loop, with a link between them."""
    config = CfgQmi(
        contexts={"srv": CfgContext(host="127.0.0.1", tcp_server_port=0)}, discovery=CfgDiscovery(enabled=False)
    )
    async with AsyncExitStack() as stack:
        srv, cli = [
            await stack.enter_async_context(qmi.open_context(name, None, init_logging=False, config=config))
            for name in ("srv", "cli")
        ]
        await cli.connect_to_peer("srv", f"127.0.0.1:{srv.connections.port}")
        yield srv, cli
