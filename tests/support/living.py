"""A context that somebody attacks: with an instrument, and another context that is linked with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from qmi.contexts.async_context import Context
from tests.support.devices import Bench
from tests.support.lab import config


class Living:
    """A context with an instrument, and another context that is linked with it."""

    def __init__(self, context: Context, other: Context, bench: Any, remote: Any) -> None:
        self.context = context
        self.other = other
        self.bench = bench
        self.remote = remote

    async def check(self) -> None:
        """The instrument answers here and over the link."""
        assert await self.bench.echo(1) == 1
        assert await self.remote.echo(2) == 2

    def faults(self) -> dict[str, int]:
        """What nobody foresaw, by cause."""
        return {cause: count for cause, count in self.context.network_failures().items() if "fault" in cause}


@asynccontextmanager
async def living() -> AsyncIterator[Living]:
    """Start both, and stop them."""
    async with Context("srv", config("srv")).running() as context, Context("good", config("good")).running() as other:
        bench = await context.make_instrument("bench", Bench)
        await other.connect_to_peer("srv", f"127.0.0.1:{context.connections.port}")
        yield Living(context, other, bench, await other.get_instrument("srv.bench"))
