"""What contexts there are, on the network and in the configuration, and what each tells of itself.

Only ``$context`` of each is asked: no published method of any object runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qmi.contexts.asked_status import status_by
from qmi.errors import (
    QMI_ConfigurationException,
    QMI_ConnectionException,
    QMI_Exception,
    QMI_RuntimeException,
)
from qmi.names import CLI_PREFIX
from qmi.presenting.seen import ENDING, NO_PORT, NOT_RUNNING, RUNNING, SILENT, Seen, out_of_reach
from qmi.tools.cli.session import SITE_TIMEOUT
from qmi.tools.cli.threads import each

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus
    from qmi.net.discovery.packets import Answer
    from qmi.tools.cli.session import Laboratory

MANY = 50
"""So many contexts of a site are not asked one by one how they are, but the site is, for all of them."""


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
    here = lab.seen_here()
    passes = here is not None and here.name.startswith(CLI_PREFIX)
    if here is not None and passes and not names:
        configured.pop(here.name, None)  # a context of a command is nobody's laboratory
    if names and all(configured.get(name) for name in names):
        answers: Sequence[Answer] = ()  # it is known where they are
    else:
        answers = lab.discover(names[0] if len(names) == 1 else "*")
    found: list[Seen] = []
    told = {} if names else _told_at_the_site(lab, answers)
    for answer in answers:
        if not names or answer.name in names:
            seen = Seen(
                answer.name, answer.address, configured=answer.name in configured, pid=answer.pid,
                version=answer.version, status=told.get(answer.incarnation),
            )  # fmt: skip
            found.append(replace(seen, state=ENDING) if seen.status and seen.status.stopping else seen)
    if here is not None and (here.name in names or not (names or passes)):
        # It needs no port to be asked. One that has been found is another of that name, if it is another program.
        same = [seen for seen in found if seen.name == here.name and seen.pid == here.pid]
        address = same[0].address if same else here.address
        found = [seen for seen in found if seen not in same]
        found.append(replace(here, address=address, configured=here.name in configured))
    found += _out_of_reach(lab, names)
    found += [
        Seen(name, server, configured=name in lab.config.contexts)
        for name, server in lab.relayed.items()
        if not names or name in names
    ]
    there = {seen.name for seen in found}
    for name, address in configured.items():
        if name not in there:
            found.append(Seen(name, address, _unseen(lab, name), configured=True))
    seen_now = _ask_each(found, lambda seen: ask(lab, seen))
    for seen in seen_now:
        if seen.status is not None:
            lab.learned.saw_objects(seen.name, {entry.name: entry.class_name for entry in seen.status.objects})
    return seen_now


def _told_at_the_site(lab: Laboratory, answers: Sequence[Answer]) -> dict[str, ContextStatus]:
    """How contexts are, by incarnation, where there are so many of them that it would take long to ask each."""
    if not lab.config.site.enabled or len(answers) < MANY:
        return {}
    from qmi.proc.site_status import how_they_are

    names = sorted({answer.name for answer in answers})
    try:
        told = how_they_are(lab.config, names, timeout=min(lab.timeout, SITE_TIMEOUT))
    except (QMI_RuntimeException, QMI_ConfigurationException) as error:
        lab.site_fault = str(error)
        return {}
    now = time.time()  # what is old is not less true, since each says it when it has changed
    return {incarnation: replace(status, now=max(now, status.now)) for incarnation, status in told.items()}


def _out_of_reach(lab: Laboratory, names: Sequence[str]) -> list[Seen]:
    return [
        out_of_reach(name, configured=name in lab.config.contexts)
        for name in lab.out_of_reach
        if not names or name in names
    ]


def _unseen(lab: Laboratory, name: str) -> str:
    return NO_PORT if lab.config.contexts[name].tcp_server_port is None else NOT_RUNNING


def _ask_each(found: Iterable[Seen], function: Callable[[Seen], Seen]) -> list[Seen]:
    found = sorted(found, key=lambda seen: (seen.name, str(seen.address)))
    return each(function, found)


def ask(lab: Laboratory, seen: Seen) -> Seen:
    """Ask a context what it tells of itself. From any thread."""
    if seen.address is None or seen.status is not None:
        return seen
    try:
        with lab.link.conversation(seen.name, seen.address, timeout=lab.timeout) as talk:
            seen = replace(seen, state=RUNNING, pid=talk.hello.pid, version=talk.hello.library, tls=lab.link.protected)
            seen = replace(seen, address=talk.where)
            begin = time.perf_counter()
            talk.call("get_version")
            seen = replace(seen, round_trip=time.perf_counter() - begin)
            status = status_by(seen.name, talk.call)
    except QMI_ConnectionException as error:
        return replace(seen, state=NOT_RUNNING, why=str(error.__cause__ or error))
    except QMI_Exception as error:
        return replace(seen, state=SILENT, why=str(error))
    return replace(seen, state=ENDING if status.stopping else RUNNING, status=status)
