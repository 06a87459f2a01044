"""A question and its answer over TCP, awaited: through ``AsyncScpiProtocol``, and with a bare stream of trio."""

from __future__ import annotations

from typing import Any

from benchmarks.meter import microseconds_per_await
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.scpi_device import QUESTION
from benchmarks.server import served


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import trio

    with served("sockets:scpi") as port:
        ask = _bare if system.name == "trio_alone" else _protocol
        return {"value": trio.run(ask, int(port), seconds)}


async def _protocol(port: int, seconds: float) -> float:
    from qmi.core.scpi_protocol import AsyncScpiProtocol
    from qmi.core.transport import create_async_transport

    async with create_async_transport(f"tcp:127.0.0.1:{port}") as transport:
        scpi = AsyncScpiProtocol(transport, default_timeout=5.0)

        async def ask() -> float:
            return float(await scpi.ask("MEAS?"))

        return await microseconds_per_await(ask, seconds)


async def _bare(port: int, seconds: float) -> float:
    import trio

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:

        async def ask() -> float:
            await stream.send_all(QUESTION)
            data = await stream.receive_some()
            while not data.endswith(b"\n"):
                data += await stream.receive_some()
            return float(data)

        return await microseconds_per_await(ask, seconds)


MEASURE = Measure(
    title="a query over TCP through AsyncScpiProtocol, awaited",
    unit="µs",
    runs=("ours", "trio_alone"),
    goals=(Goal(versus="trio_alone", at_most=1.5),),
    measure=measure,
)
