"""Contexts at a site, for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from qmi.actors.proxy import AsyncProxy
from qmi.actors.pubsub.receiver import QMI_SignalReceiver
from qmi.config.schema import CfgQmi, CfgSite
from qmi.contexts.async_context import Context
from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.site.engine import SiteEngine
from qmi.site.subjects import Kind, every, stream_name
from tests.support.lab import config
from tests.support.site_clients import options, running


class Horn(QMI_Instrument):
    """Publishes what it is told."""

    sig = QMI_Signal([object])
    other = QMI_Signal([int, str])

    @rpc_method
    def blow(self, *args: object) -> None:
        """Publish."""
        self.sig.publish(*args)

    @rpc_method
    def blow_many(self, begin: int, end: int) -> None:
        """Publish numbers."""
        for number in range(begin, end):
            self.sig.publish(number)


def at_site(name: str, *ports: int, **settings: Any) -> CfgQmi:
    """The configuration of a context that is at a site; it listens, unless it has no name here."""
    site = settings.pop("site", {})
    made = config(name, **settings)
    made.site = CfgSite(servers=[f"nats://127.0.0.1:{port}" for port in ports], **site)
    return made


async def make_stream(port: int, workgroup: str = "default", *, patience: float = 0.0, **settings: object) -> None:
    """Have a server keep signals; servers that have just met may refuse that for some seconds."""
    stream = {
        "name": stream_name(workgroup),
        "subjects": [every(workgroup, Kind.SIGNAL)],
        "allow_direct": True,
        "max_msgs_per_subject": 1000,
        **settings,
    }
    end = trio.current_time() + patience
    async with running(options(port, name="maker")) as client:
        said = b""
        while True:
            for what in ("CREATE", "UPDATE"):  # it may be there with other settings
                with suppress(QMI_TimeoutException, QMI_NotDeliveredException):
                    subject = f"$JS.API.STREAM.{what}.{stream['name']}"
                    answer = await client.request(
                        subject, json.dumps(stream).encode(), timeout=2.0 if patience else 6.0
                    )
                    said = answer.payload
                    if "error" not in json.loads(said):
                        return
            if trio.current_time() > end:
                raise AssertionError(said)


def engine_of(context: Context) -> SiteEngine:
    """What a context does at its site."""
    site = context.signalling.site
    assert isinstance(site, SiteEngine)
    return site


@dataclass
class Pair:
    """A publisher and a subscriber.

    Attributes:
        lab: The publisher's context.
        desk: The subscriber's.
        horn: The publisher.
        receiver: What the subscriber has subscribed with.
    """

    lab: Context
    desk: Context
    horn: AsyncProxy[Horn]
    receiver: QMI_SignalReceiver = field(default_factory=lambda: QMI_SignalReceiver(report_gaps=True))

    async def subscribe(self, **history: Any) -> None:
        """Subscribe."""
        await self.desk.subscribe_signal("lab", "horn", "sig", self.receiver, **history)

    async def next(self, count: int = 1) -> list[object]:
        """The next signals, as values, and gaps as texts."""
        return [await next_value(self.receiver) for _ in range(count)]


async def next_value(receiver: QMI_SignalReceiver) -> object:
    """The value of the next signal; of a gap its text, with how many are missing."""
    with trio.fail_after(20):
        signal = await receiver.next_signal()
    if signal.is_gap:
        return f"{signal.gap} {signal.missing}" if signal.missing else signal.gap
    return signal.args[0]


@asynccontextmanager
async def pair(port: int, *, link: bool = False, **settings: Any) -> AsyncIterator[Pair]:
    """A publisher and a subscriber at a site."""
    lab = Context("lab", at_site("lab", port, **settings))
    desk = Context("desk", at_site("", port, **settings))
    async with lab.running(), desk.running():
        horn = await lab.make_instrument("horn", Horn)
        if link:
            await desk.connect_to_peer("lab", f"127.0.0.1:{lab.connections.port}")
        yield Pair(lab, desk, horn)


@asynccontextmanager
async def cut_off(context: Context) -> AsyncIterator[None]:
    """The connection of a context to its site is lost, and comes back at the end of the block."""
    client, gate = engine_of(context).client, trio.Event()
    connect, up = client._open, client.up

    async def wait_and_connect(server: Any) -> Any:
        with trio.CancelScope(shield=True):
            await gate.wait()
        client._open = connect  # type: ignore[method-assign]
        return await connect(server)

    client._open = wait_and_connect  # type: ignore[method-assign]
    is_down = trio.Event()
    client.on_down.append(lambda reason: is_down.set())
    client._hang_up("it is cut off by a test")
    await is_down.wait()
    client.on_down.pop()
    assert client.up is not up
    try:
        yield
    finally:
        gate.set()
        await client.up.wait()


def follow(context: QMI_Context) -> QMI_SignalReceiver:
    """Subscribe to the horn."""
    receiver = QMI_SignalReceiver(report_gaps=True)
    context.subscribe_signal("lab", "horn", "sig", receiver)
    return receiver


def told(receiver: QMI_SignalReceiver, count: int) -> list[object]:
    """The next signals, as values, and gaps as texts."""
    found = [receiver.get_next_signal(timeout=20.0) for _ in range(count)]
    return [signal.gap if signal.is_gap else signal.args[0] for signal in found]
