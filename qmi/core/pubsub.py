"""Signals: what objects tell everybody who listens."""

from qmi.actors.receiver import QMI_SignalReceiver, ReceivedSignal, SignalReceiverDiscardPolicy
from qmi.actors.signals import QMI_RegisteredSignal, QMI_Signal, SignalDescription

__all__ = [
    "QMI_RegisteredSignal",
    "QMI_Signal",
    "QMI_SignalReceiver",
    "ReceivedSignal",
    "SignalDescription",
    "SignalReceiverDiscardPolicy",
]
