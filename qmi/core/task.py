"""Tasks: procedures that run in the background of a program."""

from qmi.actors.loop_task import QMI_LoopTask
from qmi.actors.restart import RestartRule
from qmi.actors.schedule import QMI_LoopTaskMissedLoopPolicy
from qmi.actors.task import QMI_Task
from qmi.actors.task_runner import QMI_TaskRunner, TaskState, TaskStatistics

__all__ = [
    "QMI_LoopTask",
    "QMI_LoopTaskMissedLoopPolicy",
    "QMI_Task",
    "QMI_TaskRunner",
    "RestartRule",
    "TaskState",
    "TaskStatistics",
]
