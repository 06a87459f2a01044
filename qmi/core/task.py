"""Tasks: procedures that run in the background of a program."""

from qmi.actors.interface import rpc_method
from qmi.actors.pubsub.signal import QMI_RegisteredSignal, QMI_Signal, SignalDescription
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.actors.tasks.loop_task import QMI_LoopTask
from qmi.actors.tasks.restart import RestartRule
from qmi.actors.tasks.runner import QMI_TaskRunner, TaskFailure, TaskState, TaskStatistics
from qmi.actors.tasks.schedule import QMI_LoopTaskMissedLoopPolicy
from qmi.actors.tasks.task import QMI_Task
from qmi.core.exceptions import (
    QMI_TaskInitException,
    QMI_TaskRunException,
    QMI_TaskStopException,
    QMI_UsageException,
    QMI_WrongThreadException,
)
from qmi.core.thread import QMI_Thread

__all__ = [
    "QMI_LoopTask",
    "QMI_LoopTaskMissedLoopPolicy",
    "QMI_RegisteredSignal",
    "QMI_RpcObject",
    "QMI_Signal",
    "QMI_Task",
    "QMI_TaskInitException",
    "QMI_TaskRunException",
    "QMI_TaskRunner",
    "QMI_TaskStopException",
    "QMI_Thread",
    "QMI_UsageException",
    "QMI_WrongThreadException",
    "RestartRule",
    "SignalDescription",
    "TaskFailure",
    "TaskState",
    "TaskStatistics",
    "rpc_method",
]
