"""Signals: publish and subscribe."""

from qmi.actors.proxy import ProxySignal as QMI_SignalSubscriber
from qmi.actors.pubsub.receiver import QMI_SignalReceiver, ReceivedSignal, SignalReceiverDiscardPolicy
from qmi.actors.pubsub.signal import QMI_RegisteredSignal, QMI_Signal, SignalDescription
from qmi.core.exceptions import (
    QMI_MessageDeliveryException,
    QMI_RuntimeException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UsageException,
)

__all__ = [
    "QMI_MessageDeliveryException",
    "QMI_RegisteredSignal",
    "QMI_RuntimeException",
    "QMI_Signal",
    "QMI_SignalReceiver",
    "QMI_SignalSubscriber",
    "QMI_SignalSubscriptionException",
    "QMI_TimeoutException",
    "QMI_UsageException",
    "ReceivedSignal",
    "SignalDescription",
    "SignalReceiverDiscardPolicy",
]
