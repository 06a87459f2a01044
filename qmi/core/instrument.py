"""Instrument drivers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from qmi.actors.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.actors.interface import rpc_method
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.safe_states import SafeWhen
from qmi.core.exceptions import QMI_InvalidOperationException

if TYPE_CHECKING:
    from qmi.devices.instrument import AsyncTransportInstrument, TransportInstrument

__all__ = [
    "AsyncTransportInstrument",
    "QMI_Instrument",
    "QMI_InstrumentIdentification",
    "QMI_InvalidOperationException",
    "QMI_RpcObject",
    "SafeWhen",
    "TransportInstrument",
    "rpc_method",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Import the drivers with a transport when one is asked for: others need no transports."""
        if name in ("AsyncTransportInstrument", "TransportInstrument"):
            return getattr(importlib.import_module("qmi.devices.instrument"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
