"""Contexts."""

from qmi.blocking import QMI_Context
from qmi.context import Context
from qmi.finding import PeerDescriptor

__all__ = ["Context", "PeerDescriptor", "QMI_Context"]
