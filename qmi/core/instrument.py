"""Instrument drivers."""

from qmi.actors.instrument import QMI_Instrument, QMI_InstrumentIdentification

__all__ = ["QMI_Instrument", "QMI_InstrumentIdentification"]
