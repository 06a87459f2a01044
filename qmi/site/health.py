"""How contexts are, in short: each says so at the site when that has changed, so that nobody need ask a thousand.

Servers keep what each has said last. It counts as long as its incarnation is there, which the servers know themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Final

import trio

from qmi.actors.context_status import ContextStatus, ObjectStatus, TaskStatus
from qmi.actors.plain_records import PlainRecord
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.site.client import SiteClient
from qmi.site.presence import ANNOUNCE_EVERY, Question, ask_for_last
from qmi.site.subjects import Kind, health_subject
from qmi.site.wire import Message

LOOK_EVERY: Final = 1.0
"""How often a context looks whether it has changed, in seconds."""
MOST_OBJECTS: Final = 1000
_LONGEST: Final = 200
_ANSWER: Final = 3.0


def in_short(status: ContextStatus) -> ContextStatus:
    """What is published of all that a context tells: what it is, and of its objects state, lock and how late they are.

    What changes all the time is left out, or rounded.
    """
    return ContextStatus(
        name=status.name,
        version=status.version,
        incarnation=status.incarnation,
        host=status.host,
        pid=status.pid,
        user=status.user,
        program=status.program[:_LONGEST],
        started=status.started,
        now=status.now,
        workgroup=status.workgroup,
        address=status.address,
        tls=status.tls,
        stopping=status.stopping,
        objects=tuple(map(_object_in_short, status.objects[:MOST_OBJECTS])),
        log=status.log,
        pages=status.pages,
    )


def _object_in_short(entry: ObjectStatus) -> ObjectStatus:
    return ObjectStatus(
        name=entry.name,
        category=entry.category,
        class_name=entry.class_name,
        state=entry.state,
        why=entry.why[:_LONGEST],
        lock=entry.lock,
        simulated=entry.simulated,
        configured=entry.configured,
        task=None if entry.task is None else _task_in_short(entry.task),
    )


def _task_in_short(task: TaskStatus) -> TaskStatus:
    return TaskStatus(
        state=task.state,
        reason=task.reason[:_LONGEST],
        failure=task.failure[:_LONGEST],
        failed=task.failed,
        restarts=task.restarts,
        period=task.period,
        policy=task.policy,
        iterations=min(task.iterations, 1),
        missed=task.missed,
        lateness_median=_rounded(task.lateness_median),
        lateness_p99=_rounded(task.lateness_p99),
        lateness_worst=_rounded(task.lateness_worst),
    )


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.1g}")


def write_health(status: ContextStatus) -> bytes:
    """What a context publishes. What is as it usually is, is left out: a thousand of them are read together."""
    return json.dumps(_plain(status)).encode()


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, PlainRecord):
        return value
    usual, keys = type(value)(), value.KEYS
    given = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return {keys.get(name, name): _plain(item) for name, item in given.items() if item != getattr(usual, name)}


def read_health(context: str, payload: bytes) -> ContextStatus | None:
    """What a context has published; None if it makes no sense.

    Args:
        context: Under whose name it was published.
        payload: What.
    """
    try:
        status = ContextStatus.from_plain(json.loads(payload))
    except (ValueError, RecursionError):
        return None
    return status if status.name == context and status.incarnation else None


def ask_how_they_are(
    workgroup: str, contexts: Sequence[str]
) -> Generator[Question, list[Message], dict[str, ContextStatus]]:
    """Ask the servers how contexts are.

    Args:
        workgroup: The workgroup of the site.
        contexts: Their names.

    Returns:
        How they are, by incarnation.
    """
    found = yield from ask_for_last(workgroup, Kind.HEALTH, contexts)
    read = [read_health(context, payload) for context, payload in found.items()]
    return {status.incarnation: status for status in read if status is not None}


class Health:
    """Says how a context is. On the loop.

    Args:
        client: The connection.
        workgroup: The workgroup of the site.
        context: The context.
        look: Gives all that it tells of itself.
    """

    def __init__(self, client: SiteClient, workgroup: str, context: str, look: Callable[[], ContextStatus]) -> None:
        self._client = client
        self._subject = health_subject(workgroup, context)
        self._look = look
        self._told: ContextStatus | None = None
        self._due = 0.0
        client.on_up.append(self._begin_anew)

    async def run(self) -> None:
        """Say it when it has changed, at most once a second, until cancelled."""
        while True:
            await self._client.up.wait()
            status = in_short(self._look())
            same = replace(status, now=0.0)
            if (same != self._told or trio.current_time() > self._due) and await self._say(status):
                self._told, self._due = same, trio.current_time() + ANNOUNCE_EVERY
            await trio.sleep(LOOK_EVERY)

    async def _say(self, status: ContextStatus) -> bool:
        data = write_health(status)
        if len(data) > self._client.max_payload:  # of very many objects: those that are as they should be are left out
            data = write_health(replace(status, objects=tuple(filter(_is_of_interest, status.objects))[:_LONGEST]))
        try:
            answer = await self._client.request(self._subject, data, timeout=_ANSWER)
        except (QMI_NotDeliveredException, QMI_TimeoutException):
            return False
        return b'"error"' not in answer.payload

    def _begin_anew(self) -> None:
        self._told = None  # another server may have kept nothing of it


def _is_of_interest(entry: ObjectStatus) -> bool:
    return bool(entry.why or entry.lock or entry.state not in ("open", "ready", "running"))
