from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.net.link import Link
from tests.support.devices import AsyncBench, Bench
from tests.support.lab import address, eventually, make_context


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


@pytest.fixture
def lab() -> Iterator[Lab]:
    with make_context("here") as here, make_context("there") as there:
        made = Lab(here, there)
        yield made
        made.actual().gate.set()
        eventually(made.nothing_is_open)
