"""A context, as it was found from outside: whether it runs, and what it tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from qmi.actors.context_status import ContextStatus
from qmi.names import HostPort

RUNNING = "running"
ENDING = "ending"
NOT_RUNNING = "not running"
SILENT = "no answer"
NO_PORT = "no port"
OUT_OF_REACH = "out of reach"


@dataclass(frozen=True)
class Seen:
    """A context, as it was found.

    Attributes:
        name: Its name.
        address: Where it is; None if that is not known.
        state: "running"; "ending"; "not running" if it is in the configuration and nobody is there; "no answer" if
            somebody is there and does not tell; "no port" if the configuration gives it none, so that nobody can see
            whether it runs; "out of reach" if it is at the site, and no address of it leads there from here.
        why: Why it is not running or does not answer; else empty.
        configured: Whether the configuration has it.
        pid: Its process; 0 if that is not known.
        version: The version of the library that it runs; empty if that is not known.
        tls: Whether it was asked over a protected link; None if it was not asked.
        round_trip: Seconds until a short question was answered; None if it did not answer.
        status: What it tells of itself; None if it did not answer.
        since: Since when it is not running or does not answer, in seconds since 1970; None if it does, or never did
            while somebody looked.
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
    since: float | None = None


def out_of_reach(name: str, *, configured: bool) -> Seen:
    """A context of the site that nothing leads to from here."""
    why = "it is at the site, and listens on addresses that do not lead there from this computer"
    return Seen(name, None, OUT_OF_REACH, why, configured=configured)


def as_json(seen: Seen) -> dict[str, object]:
    """A context for programs: what was found out about it, and in ``"status"`` all that it tells of itself."""
    status = seen.status
    return {
        "name": seen.name,
        "state": seen.state,
        "why": seen.why,
        "since": seen.since,
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
