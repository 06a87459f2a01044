"""Contexts."""

from qmi.blocking import QMI_Context
from qmi.context import Context

__all__ = ["Context", "QMI_Context"]
