"""How long a program that comes late takes to have the last values of a thousand signals.

It subscribes to each with ``last=True``, and has the last value of all of them: "together" in as many tasks, "script"
one after the other, as a blocking program does.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.plan import Figures, Goal, Measure


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import trio

    from benchmarks.site.many import OBJECTS, SIGNALS
    from benchmarks.site.server import bench_server, site_context
    from benchmarks.web.stage import helper

    topics = [(f"many{place}", f"sig_{number}") for place in range(OBJECTS) for number in range(SIGNALS)]
    with bench_server() as server, helper("benchmarks.site.many", str(server.config)) as publisher:
        publisher.answer()
        if variant == "together":
            return {"value": trio.run(_together, server, topics)}
        with site_context(server, "desk"):
            return {"value": _script(topics)}


async def _together(server: Any, topics: list[tuple[str, str]]) -> float:
    import trio

    from qmi.config.loader import load_config
    from qmi.contexts.async_context import Context
    from qmi.core.pubsub import QMI_SignalReceiver

    async with Context("desk", load_config(server.config)).running() as desk:

        async def one(name: str, signal: str) -> None:
            receiver = QMI_SignalReceiver()
            await desk.subscribe_signal("bench", name, signal, receiver, last=True)
            assert (await receiver.next_signal()).args == (1,)

        begin = time.monotonic()
        async with trio.open_nursery() as nursery:
            for topic in topics:
                nursery.start_soon(one, *topic)
        return time.monotonic() - begin


def _script(topics: list[tuple[str, str]]) -> float:
    import qmi
    from qmi.core.pubsub import QMI_SignalReceiver

    begin = time.monotonic()
    for name, signal in topics:
        receiver = QMI_SignalReceiver()
        qmi.context().subscribe_signal("bench", name, signal, receiver, last=True)
        assert receiver.get_next_signal(timeout=10.0).args == (1,)
    return time.monotonic() - begin


MEASURE = Measure(
    title="last values of 1,000 signals for a program that comes late",
    unit="s",
    runs=("ours:together", "ours:script"),
    goals=(Goal(run="ours:together", at_most=2.0), Goal(run="ours:script", at_most=5.0)),
    measure=measure,
)
