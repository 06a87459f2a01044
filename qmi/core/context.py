"""Contexts."""

from qmi.blocking import QMI_Context
from qmi.connections import PeerDescriptor
from qmi.context import Context

__all__ = ["Context", "PeerDescriptor", "QMI_Context"]
