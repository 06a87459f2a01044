"""Instrument drivers."""

from qmi.actors.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.actors.interface import rpc_method
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.core.exceptions import QMI_InvalidOperationException

__all__ = [
    "QMI_Instrument",
    "QMI_InstrumentIdentification",
    "QMI_InvalidOperationException",
    "QMI_RpcObject",
    "rpc_method",
]
