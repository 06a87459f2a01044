"""A driver as somebody writes it for QMI, which runs with this library and with upstream's."""

from __future__ import annotations

from typing import Any

from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import ScpiProtocol
from qmi.core.transport import create_transport


class Meter(QMI_Instrument):
    """A meter on TCP."""

    def __init__(self, context: Any, name: str, transport: str) -> None:
        super().__init__(context, name)
        self._transport = create_transport(transport)
        self._scpi = ScpiProtocol(self._transport, default_timeout=5.0)

    @rpc_method
    def open(self) -> None:
        self._transport.open()
        super().open()

    @rpc_method
    def close(self) -> None:
        super().close()
        self._transport.close()

    @rpc_method
    def measure(self) -> float:
        return float(self._scpi.ask("MEAS?"))
