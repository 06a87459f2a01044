"""A binary block of 8 MiB into an array, over TCP."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from benchmarks.meter import microseconds_per_call
from benchmarks.plan import Figures, Goal, Measure
from benchmarks.scpi_device import BLOCK, BLOCK_QUESTION, BLOCK_SIZE
from benchmarks.server import served
from benchmarks.systems.sockets import receive_into


def measure(system: Any, variant: str, seconds: float) -> Figures:
    import numpy

    with served("sockets:scpi") as port:
        if system.name == "sockets":
            with socket.create_connection(("127.0.0.1", int(port))) as sock:
                head, tail = memoryview(bytearray(len(BLOCK) - BLOCK_SIZE - 1)), memoryview(bytearray(1))

                def plain() -> Any:
                    sock.sendall(BLOCK_QUESTION)
                    receive_into(sock, head)
                    array = numpy.empty(BLOCK_SIZE, numpy.uint8)
                    receive_into(sock, array.data)
                    receive_into(sock, tail)
                    return array

                return _rate(plain, seconds)
        from qmi.core.scpi_protocol import ScpiProtocol
        from qmi.core.transport import create_transport

        transport = create_transport(f"tcp:127.0.0.1:{port}")
        transport.open()
        scpi: Any = ScpiProtocol(transport, default_timeout=5.0)

        def upstream() -> Any:
            scpi.write("CURV?")
            return numpy.frombuffer(scpi.read_binary_data(), numpy.uint8)

        figures = _rate(upstream if system.name == "upstream" else lambda: scpi.ask_array("CURV?"), seconds)
        transport.close()
        return figures


def _rate(read: Callable[[], Any], seconds: float) -> Figures:
    assert len(read()) == BLOCK_SIZE
    return {"value": BLOCK_SIZE / microseconds_per_call(read, seconds, warm_up=3)}


MEASURE = Measure(
    title="an 8 MiB binary block into an array",
    unit="MB/s",
    runs=("ours", "upstream", "sockets"),
    goals=(Goal(versus="sockets", at_least=0.8),),
    measure=measure,
)
