"""What is left of a driver when it is closed and removed: threads, tasks of the event loop, files, sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psutil
import trio

from qmi.actors.interface import rpc_method
from qmi.core.context import QMI_Context
from qmi.core.rpc import QMI_RpcObject
from qmi.testing.check_subject import Laboratory, Wanted
from qmi.testing.findings import DriverReport

_GRACE = 5.0
"""Real seconds in which a thread or a task that was told to end does so."""
_STEP = 0.005
"""How often they are looked at until then, in seconds."""


class _Looker(QMI_RpcObject):
    """Looks at the event loop from within."""

    @rpc_method
    async def tasks(self, known: frozenset[int]) -> dict[int, str]:
        """The tasks of the event loop that are not known, when those that end have ended."""
        deadline = trio.current_time() + (_GRACE if known else 0.0)
        while True:
            found = {id(task): task.name for task in _all_tasks() if id(task) not in known}
            if not found or trio.current_time() >= deadline:
                return found
            await trio.sleep(_STEP)  # nothing tells that a task of somebody else has ended


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    me = trio.lowlevel.current_task()
    while waiting:
        task = waiting.pop()
        if task is not me:
            yield task
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks


class _Found:
    """What there is at one time."""

    def __init__(self, context: QMI_Context, before: _Found | None = None) -> None:
        looker = context.get_rpc_object("looker")
        self.tasks: dict[int, str] = looker.tasks(frozenset(before.tasks if before else ()))
        self.threads = {thread for thread in threading.enumerate() if not _is_idle(thread)}
        process = psutil.Process()
        self.files = {(file.path, file.fd) for file in process.open_files()}
        self.sockets = {(socket.fd, str(socket.laddr)) for socket in process.net_connections()}


def check_leftovers(laboratory: Laboratory, wanted: Wanted, report: DriverReport) -> bool:
    """Check that an instrument that was made, opened, closed and removed leaves nothing behind.

    Args:
        laboratory: Where instruments are made.
        wanted: What to make.
        report: Where findings go.

    Returns:
        Whether that was possible.
    """
    laboratory.context.make_rpc_object("looker", _Looker)
    before = _Found(laboratory.context)
    with laboratory.subject(wanted, report, "leftovers") as subject:
        if subject is None:
            return False
        for path, parameter in subject.parameters().items():
            if parameter.gettable:
                subject.get(path)
                break
        subject.proxy.close()
    name = wanted.cls.__name__
    report.count("leftovers")
    after = _Found(laboratory.context, before)
    for thread in _still_alive(after.threads - before.threads):
        report.find("leftovers", name, f"the thread {thread.name!r} goes on when it is closed and removed")
    for task in after.tasks.values():
        report.find("leftovers", name, f"the task {task} of the event loop goes on when it is closed and removed")
    for path, _ in sorted(after.files - before.files):
        report.find("leftovers", name, f"the file {path} is still open when it is closed and removed")
    for _, address in sorted(after.sockets - before.sockets):
        report.find("leftovers", name, f"a socket ({address}) is still open when it is closed and removed")
    return True


def _is_idle(thread: threading.Thread) -> bool:
    # Threads of trio wait for more to do for a while, under this name; at work they have another one.
    return thread.name.lower().startswith(("trio thread", "dummy"))


def _still_alive(threads: set[threading.Thread]) -> list[threading.Thread]:
    end = time.perf_counter() + _GRACE
    while busy := [thread for thread in threads if thread.is_alive() and not _is_idle(thread)]:
        if time.perf_counter() >= end:
            return sorted(busy, key=lambda thread: thread.name)
        busy[0].join(_STEP)  # nothing tells that one of trio has become idle
    return []
