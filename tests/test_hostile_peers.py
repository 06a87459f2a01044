"""Whatever a peer sends, as a client or as a server: its own link ends at most, and the context lives."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmi.context import Context
from qmi.errors import QMI_Exception
from qmi.messages import Call
from qmi.names import Address
from qmi.net import bounds
from qmi.net.bounds import Field
from qmi.net.codec import Codec
from qmi.net.events import LossKind
from qmi.net.frames import Buffer, pack
from qmi.net.handshake import Hello
from qmi.net.kinds import Kind
from tests.support.devices import Bench
from tests.support.extremes import HUGE, ODD, bad_packets, beyond, messages, odd_packets, packet, within
from tests.support.lab import config
from tests.support.raw import Raw, client, server


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


@asynccontextmanager
async def living() -> AsyncIterator[Living]:
    async with Context("srv", config("srv")).running() as context, Context("good", config("good")).running() as other:
        bench = await context.make_instrument("bench", Bench)
        await other.connect_to_peer("srv", f"127.0.0.1:{context.connections.port}")
        yield Living(context, other, bench, await other.get_instrument("srv.bench"))


def run(test: Callable[[Living], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(60):
            async with living() as lab:
                await test(lab)
                await lab.check()

    trio.run(main)


BAD = {name: [packet for _, packet in group] for name, group in groupby(bad_packets(), key=lambda pair: pair[0])}


@pytest.mark.parametrize("side", [client, server], ids=["client", "server"])
@pytest.mark.parametrize("name", BAD)
def test_fault_41_packet_out_of_bounds_ends_its_own_link_alone(
    name: str, side: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def test(lab: Living) -> None:
        for number, buffers in enumerate(BAD[name]):
            async with side(lab.context, f"raw{number}") as raw:
                await raw.send(buffers)
                lost = await raw.read_to_the_end()
                # It says why, unless some of what it did not read made the system cut the connection.
                assert lost.kind in (LossKind.GOODBYE, LossKind.DISCONNECTED), lost
                if lost.kind is LossKind.GOODBYE:
                    assert "fault of this program" not in lost.reason
        assert not [cause for cause in lab.context.network_failures() if "fault" in cause]

    run(test)
    assert "fault of this program" not in caplog.text
