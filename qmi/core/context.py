"""Contexts."""

from qmi.actors.context_object import ConfiguredObject
from qmi.actors.context_status import (
    BusyStatus,
    ContextStatus,
    ErrorStatus,
    LinkStatus,
    LockStatus,
    LogTotals,
    ObjectStatus,
    ProcessStatus,
    SignalStatus,
    SignalTotals,
    TaskStatus,
)
from qmi.actors.interface import rpc_method
from qmi.actors.log_records import LogBatch, LogRecordStatus
from qmi.contexts.async_context import Context
from qmi.contexts.blocking_context import QMI_Context
from qmi.contexts.reservations import ReleaseRequest
from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject, QMI_RpcProxy
from qmi.core.task import QMI_Task, QMI_TaskRunner
from qmi.peers.resolver import PeerDescriptor, ping_qmi_contexts

__all__ = [
    "BusyStatus",
    "CfgContext",
    "CfgQmi",
    "ConfiguredObject",
    "Context",
    "ContextStatus",
    "ErrorStatus",
    "LinkStatus",
    "LockStatus",
    "LogBatch",
    "LogRecordStatus",
    "LogTotals",
    "ObjectStatus",
    "PeerDescriptor",
    "ProcessStatus",
    "QMI_Context",
    "QMI_Instrument",
    "QMI_RpcObject",
    "QMI_RpcProxy",
    "QMI_Task",
    "QMI_TaskRunner",
    "ReleaseRequest",
    "SignalStatus",
    "SignalTotals",
    "TaskStatus",
    "ping_qmi_contexts",
    "rpc_method",
]
