"""A question and its answer over TCP, from a script: through ``ScpiProtocol``, and with a plain socket."""

from __future__ import annotations

import socket
from typing import Any

from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.scpi_device import QUESTION, receive_line
from benchmarks.server import served


def measure(system: Any, variant: str, seconds: float) -> Figures:
    with served("sockets:scpi") as port:
        if system.name == "sockets":
            return _plain(int(port), seconds)
        from qmi.core.scpi_protocol import ScpiProtocol
        from qmi.core.transport import create_transport

        transport = create_transport(f"tcp:127.0.0.1:{port}")
        transport.open()
        scpi = ScpiProtocol(transport, default_timeout=5.0)
        value = microseconds_per_call(lambda: float(scpi.ask("MEAS?")), seconds)
        transport.close()
        return {"value": value}


def _plain(port: int, seconds: float) -> Figures:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> float:
            sock.sendall(QUESTION)
            return float(receive_line(sock))

        return {"value": microseconds_per_call(ask, seconds)}


MEASURE = Measure(
    title="a query over TCP through ScpiProtocol, from a script",
    unit="µs",
    runs=("ours", "upstream", "sockets"),
    goals=(Goal(versus="sockets", at_most=1.3), Goal(versus="upstream", at_most=0.8)),
    measure=measure,
)
