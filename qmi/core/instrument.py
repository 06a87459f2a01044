"""Instrument drivers."""

from qmi.actors.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.actors.interface import rpc_method
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument

__all__ = [
    "AsyncTransportInstrument",
    "QMI_Instrument",
    "QMI_InstrumentIdentification",
    "QMI_InvalidOperationException",
    "QMI_RpcObject",
    "TransportInstrument",
    "rpc_method",
]
