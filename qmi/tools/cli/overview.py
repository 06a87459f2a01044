"""What contexts there are, on the network and in the configuration, and what each tells of itself.

Only ``$context`` of each is asked: no published method of any object runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qmi.actors.context_status import ContextStatus
from qmi.contexts.asked_status import status_by
from qmi.errors import QMI_ConnectionException, QMI_Exception
from qmi.names import HostPort
from qmi.tools.cli.threads import each

if TYPE_CHECKING:
    from qmi.net.discovery.packets import Answer
    from qmi.tools.cli.session import Laboratory

RUNNING = "running"
ENDING = "ending"
NOT_RUNNING = "not running"
SILENT = "no answer"
NO_PORT = "no port"


@dataclass(frozen=True)
class Seen:
    """A context, as it was found.

    Attributes:
        name: Its name.
        address: Where it is; None if that is not known.
        state: "running"; "ending"; "not running" if it is in the configuration and nobody is there; "no answer" if
            somebody is there and does not tell; "no port" if the configuration gives it none, so that nobody can see
            whether it runs.
        why: Why it is not running or does not answer; else empty.
        configured: Whether the configuration has it.
        pid: Its process; 0 if that is not known.
        version: The version of the library that it runs; empty if that is not known.
        tls: Whether it was asked over a protected link; None if it was not asked.
        round_trip: Seconds until a short question was answered; None if it did not answer.
        status: What it tells of itself; None if it did not answer.
    """

    name: str
    address: HostPort | None = None
    state: str = RUNNING
    why: str = ""
    configured: bool = False
    pid: int = 0
    version: str = ""
    tls: bool | None = None
    round_trip: float | None = None
    status: ContextStatus | None = None


def look(lab: Laboratory, names: Sequence[str] = ()) -> list[Seen]:
    """Find contexts and ask them what they tell of themselves.

    Args:
        lab: The laboratory.
        names: Those that are wanted; none means all that answer on the network or are in the configuration. One that is
            neither is left out.

    Returns:
        By name; several of one name if there are.

    Raises:
        QMI_ConnectionException: If the network cannot be asked.
    """
    configured = {name: lab.configured(name) for name in lab.config.contexts if not names or name in names}
    if names and all(configured.get(name) for name in names):
        answers: Sequence[Answer] = ()  # it is known where they are
    else:
        answers = lab.discover(names[0] if len(names) == 1 else "*")
    found: list[Seen] = []
    for answer in answers:
        if not names or answer.name in names:
            in_config = answer.name in configured
            found.append(
                Seen(answer.name, answer.address, configured=in_config, pid=answer.pid, version=answer.version)
            )
    there = {seen.name for seen in found}
    for name, address in configured.items():
        if name not in there:
            found.append(Seen(name, address, _unseen(lab, name), configured=True))
    seen_now = _ask_each(found, lambda seen: ask(lab, seen))
    for seen in seen_now:
        if seen.status is not None:
            lab.learned.saw_objects(seen.name, {entry.name: entry.class_name for entry in seen.status.objects})
    return seen_now


def _unseen(lab: Laboratory, name: str) -> str:
    return NO_PORT if lab.config.contexts[name].tcp_server_port is None else NOT_RUNNING


def _ask_each(found: Iterable[Seen], function: Callable[[Seen], Seen]) -> list[Seen]:
    found = sorted(found, key=lambda seen: (seen.name, str(seen.address)))
    return each(function, found)


def ask(lab: Laboratory, seen: Seen) -> Seen:
    """Ask a context what it tells of itself. From any thread."""
    if seen.address is None:
        return seen
    try:
        with lab.link.conversation(seen.name, seen.address, timeout=lab.timeout) as talk:
            seen = replace(seen, state=RUNNING, pid=talk.hello.pid, version=talk.hello.library, tls=lab.link.protected)
            begin = time.perf_counter()
            talk.call("get_version")
            seen = replace(seen, round_trip=time.perf_counter() - begin)
            status = status_by(seen.name, talk.call)
    except QMI_ConnectionException as error:
        return replace(seen, state=NOT_RUNNING, why=str(error.__cause__ or error))
    except QMI_Exception as error:
        return replace(seen, state=SILENT, why=str(error))
    return replace(seen, state=ENDING if status.stopping else RUNNING, status=status)


def as_json(seen: Seen) -> dict[str, object]:
    """A context for programs: what was found out about it, and in ``"status"`` all that it tells of itself."""
    status = seen.status
    return {
        "name": seen.name,
        "state": seen.state,
        "why": seen.why,
        "configured": seen.configured,
        "address": None if seen.address is None else str(seen.address),
        "host": status.host if status and status.host else None,
        "pid": seen.pid or None,
        "version": seen.version or None,
        "uptime": status.uptime if status and status.started else None,
        "tls": seen.tls,
        "round_trip": seen.round_trip,
        "objects": None if status is None else len(status.objects),
        "status": None if status is None else status.to_plain(),
    }
