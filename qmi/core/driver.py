"""All that the author of a driver needs."""

from qmi.actors.instrument import QMI_Instrument
from qmi.actors.interface import rpc_method
from qmi.actors.pubsub.signal import QMI_Signal
from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.devices.scpi_instrument import AsyncScpiInstrument, ScpiInstrument
from qmi.parameters.blocks import Block

__all__ = [
    "AsyncScpiInstrument",
    "AsyncTransportInstrument",
    "Block",
    "QMI_Instrument",
    "QMI_Signal",
    "ScpiInstrument",
    "TransportInstrument",
    "rpc_method",
]
