"""Contexts."""

from qmi.context import Context
from qmi.blocking import QMI_Context

__all__ = ["Context", "QMI_Context"]
