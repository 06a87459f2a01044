"""The scans and queues of scans of a laboratory, as the contexts tell of them, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from qmi.errors import QMI_Exception, QMI_UnknownNameException, QMI_UnknownRpcException
from qmi.names import Address, is_valid_name
from qmi.presenting.seen import Seen
from qmi.scan.handles import SCANS
from qmi.scan.progress import ENDED, duration
from qmi.scan.running import ScanInfo
from qmi.tools.cli import overview
from qmi.tools.cli.errors import CommandError
from qmi.tools.cli.terminal import Block, Table, Text
from qmi.tools.cli.threads import each

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus
    from qmi.tools.cli.session import Laboratory

_QUEUE = "ScanQueue"
"""How the names of the classes of queues end, for programs of older versions, which do not tell which are some."""
OVER = ENDED | {"interrupted", "removed"}
"""The states of scans that will not go on."""
_STYLES = {"running": "green", "failed": "red", "aborted": "red", "interrupted": "red", "paused": "yellow"}
_WIDE = 120


class SeenScan(NamedTuple):
    """A scan.

    Attributes:
        context: Its context.
        queue: The queue that it is in; empty if it is in none.
        now: The time there, in seconds since 1970.
        info: What is known of it.
    """

    context: str
    queue: str
    now: float
    info: ScanInfo

    @property
    def left(self) -> float | None:
        """How long it will still take, in seconds; None if that cannot be told."""
        info = self.info
        if info.state in OVER or info.started is None or not info.points or info.length is None:
            return None
        return max(info.length - info.points, 0) * max(self.now - info.started, 0.0) / info.points

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {"context": self.context, "queue": self.queue or None, **self.info._asdict(), "left": self.left}


class SeenQueue(NamedTuple):
    """A queue of scans.

    Attributes:
        address: Its address.
        paused: Why it begins no scan; None if it is not paused.
    """

    address: str
    paused: str | None


@dataclass(frozen=True)
class SeenScans:
    """The scans of some contexts.

    Attributes:
        queues: The queues.
        scans: The scans, also those that have ended lately.
        contexts: The contexts that have answered.
        failed: Which contexts have not, and why.
    """

    queues: list[SeenQueue]
    scans: list[SeenScan]
    contexts: list[str]
    failed: dict[str, str]

    def as_json(self, *, ended: bool) -> dict[str, object]:
        """The same for programs.

        Args:
            ended: Whether scans are wanted that have ended, too.
        """
        return {
            "queues": [queue._asdict() for queue in self.queues],
            "scans": [seen.as_json() for seen in self.scans if ended or seen.info.state not in OVER],
        }

    def find(self, scan_id: str) -> SeenScan:
        """The scan of an id.

        Raises:
            CommandError: If there is none, or there are several.
        """
        from qmi.names import nearest

        found = [seen for seen in self.scans if seen.info.id == scan_id]
        going = [seen for seen in found if seen.info.state not in OVER]
        found = going or found
        if len(found) > 1:
            places = ", ".join(seen.context for seen in found)
            raise CommandError(f"there are scans {scan_id!r} in {places}: say --context")
        if not found:
            near = nearest(scan_id, [seen.info.id for seen in self.scans])
            where = f"in {', '.join(self.contexts)}" if self.contexts else "since no context answers"
            raise CommandError(
                f"no scan {scan_id!r} goes on or waits {where}"
                + (f". Did you mean {near!r}?" if near else "; 'qmi scan ls' lists them")
            )
        return found[0]


def look(lab: Laboratory, names: Sequence[str] = ()) -> SeenScans:
    """Ask contexts for their scans.

    Args:
        lab: The laboratory.
        names: The contexts; none means all.
    """
    queues: list[SeenQueue] = []
    scans: list[SeenScan] = []
    failed: dict[str, str] = {}
    seen = overview.look(lab, names)
    running = [context for context in seen if context.status is not None]
    for context in seen:
        if context.status is None and context.name in names:
            failed[context.name] = f"context {context.name!r} is {context.state}" + (
                f": {context.why}" if context.why else ""
            )
    for name in names:
        if name not in {context.name for context in seen}:
            failed[name] = str(lab.not_there(name))
    for context, answer in zip(running, each(lambda one: _ask(lab, one), running), strict=True):
        if isinstance(answer, QMI_Exception):
            failed[context.name] = f"context {context.name!r} does not tell of its scans: {answer}"
        else:
            queues += answer[0]
            scans += answer[1]
    return SeenScans(queues, scans, [context.name for context in running], failed)


def _ask(lab: Laboratory, context: Seen) -> tuple[list[SeenQueue], list[SeenScan]] | QMI_Exception:
    assert context.status is not None
    now, name = context.status.now, context.name
    queues: list[SeenQueue] = []
    found: list[SeenScan] = []
    try:
        for queue_name in _queues(lab, context.status, name):
            try:
                queue, scans = look_at_queue(lab, Address(name, queue_name), now)
            except (QMI_UnknownNameException, QMI_UnknownRpcException):  # removed meanwhile, or none at all
                continue
            queues.append(queue)
            found += scans
        known = {seen.info.id for seen in found}
        for info in infos(lab.call_object(Address(name, SCANS), "list_scans")):
            if info.id not in known:
                found.append(SeenScan(name, "", now, info))
    except (QMI_UnknownNameException, QMI_UnknownRpcException):  # a program that does not scan, or an older version
        pass
    except QMI_Exception as error:
        return error
    return queues, found


def _queues(lab: Laboratory, status: ContextStatus, context: str) -> list[str]:
    try:
        told = lab.call_object(Address(context, SCANS), "list_queues")
    except QMI_UnknownRpcException:  # an older version
        tasks = [entry for entry in status.objects if entry.category == "task"]
        return [entry.name for entry in tasks if entry.class_name.rpartition(".")[2].endswith(_QUEUE)]
    names = told if isinstance(told, list | tuple) else []
    return [name for name in names if isinstance(name, str) and is_valid_name(name)]


def look_at_queue(lab: Laboratory, address: Address, now: float) -> tuple[SeenQueue, list[SeenScan]]:
    """Ask a queue for its scans.

    Args:
        lab: The laboratory.
        address: The queue.
        now: The time there.

    Raises:
        QMI_Exception: If it is none, or does not answer.
    """
    reason = lab.call_object(address, "get_pause_reason")
    found = infos(lab.call_object(address, "list_scans"))
    queue = SeenQueue(str(address), reason if isinstance(reason, str) else None)
    return queue, [SeenScan(address.context, str(address), now, info) for info in found]


def infos(told: object) -> list[ScanInfo]:
    """What a program tells of scans; what is none is left out, since it may be of another version."""
    return [info for info in told if isinstance(info, ScanInfo)] if isinstance(told, list | tuple) else []


# How they are shown


def blocks(found: SeenScans, *, ended: bool, width: int) -> list[Block]:
    """Queues that are paused, and the scans.

    Args:
        found: They.
        ended: Whether scans are shown that have ended, too.
        width: Columns of the terminal.
    """
    return list(_blocks(found, ended=ended, wide=width >= _WIDE))


def _blocks(found: SeenScans, *, ended: bool, wide: bool) -> Iterator[Block]:
    shown = [seen for seen in found.scans if ended or seen.info.state not in OVER]
    for queue in found.queues:
        if queue.paused is not None:
            yield Text(queue.address, "bold").add(f" begins no scan: {queue.paused}", "yellow")
    if not shown:
        nothing = "no scans" if ended else "no scan goes on or waits"
        yield Text(nothing if found.contexts else "no context answers", "dim")
        return
    more = ("for", "since", "run", "comment") if wide else ("notes",)
    table = Table(("scan", "in", "state", "points", "left", "what", *more), right=("points", "left"), whole=("scan",))
    for seen in shown:
        info = seen.info
        left = None if seen.left is None else duration(seen.left)
        state = Text(info.state, _STYLES.get(info.state, "")).add(f": {info.reason}" if info.reason else "")
        notes = [who(info), since(info), info.run_id, info.comment] if wide else [" ".join(filter(None, _notes(info)))]
        table.add(info.id, seen.queue or seen.context, state, points(info), left, info.what, *notes)
    yield table


def _notes(info: ScanInfo) -> list[str]:
    return [f"for {who(info)}" if who(info) else "", f"({info.comment})" if info.comment else ""]


def points(info: ScanInfo) -> str:
    """How far a scan is."""
    return f"{info.points}" if info.length is None else f"{info.points}/{info.length}"


def who(info: ScanInfo) -> str:
    """Who wants a scan."""
    where = f"{info.user}@{info.host}" if info.user and info.host else info.user or info.host
    return f"{where} ({info.program})" if info.program and where else where or info.program


def since(info: ScanInfo) -> str:
    """When a scan began, or was given to a queue."""
    from qmi.tools.cli.ls_view import clock

    return clock(info.started or info.submitted or 0.0)
