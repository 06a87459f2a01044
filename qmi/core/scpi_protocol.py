"""SCPI over a transport."""

from qmi.core.exceptions import QMI_InstrumentException, QMI_ScpiException
from qmi.core.transport import QMI_Transport
from qmi.devices.async_scpi import AsyncScpiProtocol
from qmi.devices.scpi import ScpiProtocol

__all__ = ["AsyncScpiProtocol", "QMI_InstrumentException", "QMI_ScpiException", "QMI_Transport", "ScpiProtocol"]
