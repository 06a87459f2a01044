"""How a context is asked what it tells of itself: in one question, or in the words of older versions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from qmi.actors.context_status import ContextStatus, ObjectStatus, TaskStatus
from qmi.errors import QMI_UnknownRpcException

_TASK_STATES = ("new", "running", "ended", "failed", "restarting")


async def asked_status(name: str, ask: Callable[[str], Awaitable[object]]) -> ContextStatus:
    """Ask a context what it tells of itself, whichever version it runs; from a trio task.

    Args:
        name: The context, as it is known here.
        ask: Calls a method of its ``$context``, which needs no arguments.

    Returns:
        What it tells; of an older version no more than its version, process and objects.

    Raises:
        Exception: What a call raises.
    """
    try:
        status = ContextStatus.from_plain(await ask("get_status"))
    except QMI_UnknownRpcException:
        return await _asked_of_old(name, ask)
    return status if status.name else replace(status, name=name)


def status_by(name: str, ask: Callable[[str], object]) -> ContextStatus:
    """The same for blocking callers.

    Args:
        name: The context, as it is known here.
        ask: Calls a method of its ``$context``, which needs no arguments.

    Raises:
        Exception: What a call raises.
    """

    async def ask_now(method: str) -> object:
        return ask(method)

    questions = asked_status(name, ask_now)
    try:
        questions.send(None)  # nothing in it waits, so that it ends at once
    except StopIteration as end:
        status: ContextStatus = end.value
        return status
    raise AssertionError("asking has waited for something")


async def _asked_of_old(name: str, ask: Callable[[str], Awaitable[object]]) -> ContextStatus:
    found = {"name": name, "version": await ask("get_version"), "pid": await ask("get_pid")}
    try:
        listed = await ask("list_objects")
    except QMI_UnknownRpcException:  # of a version that is older still
        listed = await ask("get_rpc_object_descriptors")
    objects = tuple(map(_object_of_old, listed)) if isinstance(listed, list | tuple) else ()
    return replace(ContextStatus.from_plain(found), objects=tuple(entry for entry in objects if entry.name))


def _object_of_old(entry: object) -> ObjectStatus:
    if not isinstance(entry, list | tuple) or not all(isinstance(text, str) for text in entry):
        try:
            # A descriptor; it may be a stand-in of something unknown: all that is read of it are these.
            named = entry.address.object, entry.category, entry.interface.class_name  # type: ignore[attr-defined]
        except AttributeError:
            return ObjectStatus()
        return ObjectStatus.from_plain(dict(zip(("name", "category", "class"), named, strict=True)))
    address, category, class_name, shown, told = (*entry, "", "", "", "", "")[:5]
    if not class_name:  # the configuration lists it, and it has failed
        told = told or "failed"
    state, _, why = told.partition(": ")
    task = TaskStatus.from_plain({"state": state}) if category == "task" and state in _TASK_STATES else None
    known = {"name": address.rpartition(".")[2], "category": category, "class": shown, "state": state, "why": why}
    return replace(ObjectStatus.from_plain(known), task=task)
