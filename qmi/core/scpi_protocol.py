"""SCPI over a transport."""

from qmi.core.exceptions import QMI_InstrumentException
from qmi.core.transport import QMI_Transport
from qmi.devices.scpi import ScpiProtocol

__all__ = ["QMI_InstrumentException", "QMI_Transport", "ScpiProtocol"]
