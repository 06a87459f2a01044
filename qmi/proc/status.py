"""What is known of each context, as a person and as a program reads it."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from qmi.proc.helper_protocol import already_running


class State(enum.Enum):
    """How a context is, or how the command about it ended."""

    STARTED = "STARTED"
    RUNNING = "RUNNING"
    ALREADY_RUNNING = "already running"
    OFFLINE = "OFFLINE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    WAITING = "waiting"
    STARTING = "starting"
    STOPPING = "stopping"
    ASKING = "asking"

    @property
    def final(self) -> bool:
        """Whether nothing more will come."""
        return self not in (State.WAITING, State.STARTING, State.STOPPING, State.ASKING)


_FAILED = re.compile(r"process \d+ failed: ")


def failed_text(pid: int, failure: str, words: str) -> str:
    """What is said of a program that was started and has failed since."""
    return f"process {pid} failed: {failure}. {words}"


def exit_code_offline(reason: str) -> int:
    """The exit code for a program that does not run, by what is said of it, here or by another machine."""
    return EXIT_FAILED if _FAILED.match(reason) else EXIT_OK


EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


class Status(Struct):
    """One context as a command sees it.

    Attributes:
        name: Name of the context.
        host: Host as configured.
        state: How it is.
        pid: Its process, if known.
        version: Its version of this library, if known.
        seconds: For how long it has been running, or how long the command took.
        detail: Why, when that is not evident; may have several lines (the end of a program's output).
        exit_code: What this means for the exit code of the command.
    """

    name: str
    host: str
    state: State
    pid: int | None = None
    version: str = ""
    seconds: float | None = None
    detail: str = ""
    exit_code: int = EXIT_OK

    @property
    def label(self) -> str:
        """The state in words: ``RUNNING``, ``already running (PID=12, QMI=1.0)``."""
        if self.state is State.ALREADY_RUNNING and self.pid is not None:
            return already_running(self.pid, self.version)
        return self.state.value


_UNREADY = {"waiting": "waits to be made", "making": "is still being made"}
"""What a context says of an object that was not tried yet -> what is shown of it."""


class ObjectState(Struct):
    """How an instrument or task of a context is, as the context says.

    Attributes:
        name: Its name.
        state: "ready", "failed", ...
        reason: Why.
        since: When it came into that state, in seconds since 1970; 0 if that is not known.
    """

    name: str
    state: str
    reason: str
    since: float = 0.0

    @property
    def unready(self) -> bool:
        """Whether it is still to be made, opened or started for the first time."""
        return self.state in _UNREADY

    def __str__(self) -> str:
        if self.unready:
            return f"{self.name} {_UNREADY[self.state]}"
        since = ""
        if self.since > 0:
            since = f" (since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC)"
        return f"{self.name} {self.state}" + (f": {self.reason}" if self.reason else "") + since


_LATEST = 4e9
"""A time, in seconds since 1970, after which there is something wrong with it: another program may say anything."""


def configured_objects(told: object) -> list[ObjectState]:
    """What a context says of the objects that its configuration lists; what makes no sense is left out."""
    found = []
    for entry in told if isinstance(told, list | tuple) else ():
        fields = entry[:5] if isinstance(entry, list | tuple) else ()
        if len(fields) == 5 and all(isinstance(text, str) for text in fields):
            name, _, _, state, reason = fields
            since = entry[5] if len(entry) > 5 else 0.0
            known = since if type(since) is float and 0.0 < since < _LATEST else 0.0
            found.append(ObjectState(name, state, " ".join(reason.split()), known))
    return found


def exit_code(statuses: Iterable[Status]) -> int:
    """The exit code for a command about all of these: the worst one."""
    return max((status.exit_code for status in statuses), default=EXIT_OK)


def plain(status: Status) -> str:
    """One line, fit for grep, and further lines, indented, for details."""
    facts = []
    if status.state is not State.ALREADY_RUNNING:
        if status.pid is not None:
            facts.append(f"PID={status.pid}")
        if status.version:
            facts.append(f"QMI={status.version}")
    line = f"{status.name}: {status.label}" + (f" ({', '.join(facts)})" if facts else "")
    first, *more = status.detail.splitlines() or [""]
    return "\n".join([line + (f": {first}" if first else ""), *("    " + text for text in more)])


def as_json(statuses: Iterable[Status]) -> str:
    """All of them as a JSON list, with null for what is not known."""
    rows = [
        {
            "name": status.name,
            "host": status.host,
            "state": status.state.value,
            "pid": status.pid,
            "version": status.version or None,
            "seconds": None if status.seconds is None else round(status.seconds, 3),
            "detail": status.detail or None,
        }
        for status in statuses
    ]
    return json.dumps(rows, indent=2)


def duration(seconds: float | None) -> str:
    """A time as people say it: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, ``4 d 3 h``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {small_unit}"
    return f"{whole} s"
