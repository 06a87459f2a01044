"""What a context tells of itself in one answer: its objects, locks, tasks, links and counters, as records.

All moments are seconds since 1970 by the clock of the context's computer; ``now`` is that clock. A record that is read
from what an older version sends has the defaults in place of what that version does not know.
"""

# Annotations are evaluated here: they say how the fields are read, and the classes name another module as theirs.

from dataclasses import dataclass, field
from typing import ClassVar

from qmi import html
from qmi.actors.plain_records import PlainRecord
from qmi.actors.status_words import busy_words, duration, error_words, late_words, lock_words, pages_words, short_class


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LockStatus(PlainRecord):
    """Who holds the lock of an object.

    Attributes:
        holder: Name of the context.
        label: The public label of the lock.
        since: When it was granted.
        reason: For what it was reserved; empty if nobody said it. Only then the others are known.
        user: Who reserved it.
        program: In which program.
        host: On which computer.
    """

    holder: str = ""
    label: str = ""
    since: float = 0.0
    reason: str = ""
    user: str = ""
    program: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BusyStatus(PlainRecord):
    """What an object does now.

    Attributes:
        what: The call, such as ``"get_sample()"``.
        context: Name of the context that asked for it; ``"for"`` in the plain data.
        since: When it began.
        where: In which line of the driver it is, ``"file:line in function"``; empty if that is not known.
    """

    KEYS: ClassVar[dict[str, str]] = {"context": "for"}

    what: str = ""
    context: str = ""
    since: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ErrorStatus(PlainRecord):
    """The last error of an object.

    Attributes:
        what: The call that failed.
        error: The error, with its type.
        time: When.
        context: Name of the context that had called; ``"for"`` in the plain data.
    """

    KEYS: ClassVar[dict[str, str]] = {"context": "for"}

    what: str = ""
    error: str = ""
    time: float = 0.0
    context: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SignalStatus(PlainRecord):
    """A signal of an object.

    Attributes:
        name: Its name.
        published: How often it was published.
        receivers: How many receivers of the same program have subscribed.
        peers: How many other contexts have.
    """

    name: str = ""
    published: int = 0
    receivers: int = 0
    peers: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TaskStatus(PlainRecord):
    """What a task does, and how punctual its loop is.

    Attributes:
        state: "new", "running", "ended", "failed" if an error ended it, or "restarting" if it will be started again.
        reason: Why it ended, if that is known.
        failure: The last error that ended it, also if it was started again since; empty if there was none.
        failed: When that was.
        restarts: How often it was started again.
        retry_in: Seconds until it is started again; negative if it is not.
        where: In which line it is, ``"file:line in function"``; empty if that is not known.
        period: The period of its loop in seconds; 0 if it has no loop.
        policy: What its loop does when an iteration is overdue.
        iterations: Iterations of its loop since it was last started.
        missed: Periods that its loop has missed since then.
        lateness_median: How late iterations started, in seconds.
        lateness_p99: The same, 99th percentile.
        lateness_worst: The same, worst case.
        lateness: How many iterations were at most so many seconds late, and later than the entry before.
    """

    state: str = ""
    reason: str = ""
    failure: str = ""
    failed: float = 0.0
    restarts: int = 0
    retry_in: float = -1.0
    where: str = ""
    period: float = 0.0
    policy: str = ""
    iterations: int = 0
    missed: int = 0
    lateness_median: float = 0.0
    lateness_p99: float = 0.0
    lateness_worst: float = 0.0
    lateness: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ObjectStatus(PlainRecord):
    """One object of a context.

    Attributes:
        name: Its name there.
        category: "instrument", "task" or "object".
        class_name: Its class, of a task that of the task itself; ``"class"`` in the plain data.
        state: An instrument is "open", "closed" or "unknown" (its driver alone knows, and is not asked); a task is as
            its :class:`TaskStatus` says; others are "ready". What the configuration lists may also be "waiting",
            "making" or "failed". "ending" while it is removed.
        why: Why it has failed; else empty.
        lock: Who holds its lock; None if nobody does.
        busy: What it does now; None if it is idle.
        queue: How many calls wait.
        calls: How many it has begun.
        errors: How many of them ended by an exception.
        last_error: The last one of those; None if there was none.
        simulated: Whether it is simulated, so that there is no device.
        configured: Whether the configuration lists it.
        task: Of a task, what it does; else None.
        signals: Its signals, as far as somebody has subscribed or one was published.
    """

    KEYS: ClassVar[dict[str, str]] = {"class_name": "class"}

    name: str = ""
    category: str = ""
    class_name: str = ""
    state: str = ""
    why: str = ""
    lock: LockStatus | None = None
    busy: BusyStatus | None = None
    queue: int = 0
    calls: int = 0
    errors: int = 0
    last_error: ErrorStatus | None = None
    simulated: bool = False
    configured: bool = False
    task: TaskStatus | None = None
    signals: tuple[SignalStatus, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LinkStatus(PlainRecord):
    """A link of a context to another one. Numbers that the system does not tell are negative.

    Attributes:
        context: The other context, as it is known in the context that tells.
        state: "up", "lost", or "reconnecting" while it is made again.
        why: Why it was lost; else empty.
        since: When it was made, or lost.
        name: What the other context calls itself.
        address: Where it is.
        outgoing: Whether the context that tells has made the connection.
        version: The version that the other one runs.
        pid: Its process.
        tls: Whether the link is protected.
        relayed: Whether it goes through a server of the site, at that address.
        heard: Seconds since something came from there.
        requests: How many requests were sent there.
        open_requests: How many of them have no answer yet.
        served_requests: How many requests of the other side have no answer yet.
        dropped_signals: How many signals were not sent there, since there was no room.
        bytes_sent: Bytes that the other side has confirmed.
        bytes_received: Bytes that have come from there.
        round_trip: Seconds until the other computer confirms, as the system estimates it.
    """

    context: str = ""
    state: str = ""
    why: str = ""
    since: float = 0.0
    name: str = ""
    address: str = ""
    outgoing: bool = False
    version: str = ""
    pid: int = 0
    tls: bool = False
    relayed: bool = False
    heard: float = 0.0
    requests: int = 0
    open_requests: int = 0
    served_requests: int = 0
    dropped_signals: int = 0
    bytes_sent: int = -1
    bytes_received: int = -1
    round_trip: float = -1.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SignalTotals(PlainRecord):
    """What has become of the signals of a context.

    Attributes:
        published: How many its objects have published.
        dropped: How many were not sent to other contexts, since there was no room on the link; counted for each link.
        receivers_dropped: How many the receivers that its program has now have dropped, since they were full.
    """

    published: int = 0
    dropped: int = 0
    receivers_dropped: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProcessStatus(PlainRecord):
    """What the process of a context uses. Numbers that the system does not tell are negative.

    Attributes:
        cpu: Seconds of processor time since it began.
        memory: Bytes of memory that it holds at most so far.
        threads: Threads of Python.
    """

    cpu: float = -1.0
    memory: int = -1
    threads: int = -1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogTotals(PlainRecord):
    """How many records the log of the program has got so far.

    Attributes:
        warnings: Those of level WARNING.
        errors: Those of level ERROR and above.
    """

    warnings: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PagesStatus(PlainRecord):
    """The pages that a program serves as a section ``web`` of the configuration says.

    Attributes:
        address: Where a browser finds them; empty while they are not served.
        why: Why they are not served; empty while they are, or are about to be.
        token_file: The file that has the token with which things may be changed, on the computer of the program; empty
            if users log in with a name and a password.
        pid: The process that serves them.
    """

    address: str = ""
    why: str = ""
    token_file: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ContextStatus(PlainRecord):
    """What a context tells of itself.

    Attributes:
        name: Its name.
        version: The version of this library that it runs.
        incarnation: Another one each time that a context of this name is started.
        host: Name of its computer.
        pid: Its process.
        python: The version of Python.
        platform: The operating system.
        user: Who runs it.
        program: What was started.
        started: When it was started.
        now: When it told this.
        workgroup: Its workgroup.
        address: Where others reach it, ``"host:port"``; empty if it does not listen.
        tls: Whether its links are protected.
        config_file: The configuration file; empty if there is none.
        stopping: Whether it is stopping, or was asked to.
        objects: Its objects, oldest first, and those of the configuration that are not there.
        links: Its links to other contexts.
        signals: What has become of its signals.
        failures: How often something of the network has failed, by what failed and why.
        process: What its process uses.
        log: What its program has logged.
        pages: The pages that it has served; None if its configuration has none.
    """

    name: str = ""
    version: str = ""
    incarnation: str = ""
    host: str = ""
    pid: int = 0
    python: str = ""
    platform: str = ""
    user: str = ""
    program: str = ""
    started: float = 0.0
    now: float = 0.0
    workgroup: str = ""
    address: str = ""
    tls: bool = False
    config_file: str = ""
    stopping: bool = False
    objects: tuple[ObjectStatus, ...] = ()
    links: tuple[LinkStatus, ...] = ()
    signals: SignalTotals = SignalTotals()
    failures: dict[str, int] = field(default_factory=dict)
    process: ProcessStatus = ProcessStatus()
    log: LogTotals = LogTotals()
    pages: PagesStatus | None = None

    @property
    def uptime(self) -> float:
        """For how long it runs, in seconds."""
        return max(self.now - self.started, 0.0) if self.started else 0.0

    def find(self, name: str) -> ObjectStatus | None:
        """One of its objects, by its name; None if there is none."""
        return next((entry for entry in self.objects if entry.name == name), None)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        marks = [
            html.mark("stopping" if self.stopping else f"up {duration(self.uptime)}", html.GOOD),
            *(html.dim(text) for text in (self.address, self.host, f"pid {self.pid}", f"qmi {self.version}")),
            html.dim("TLS" if self.tls else "no TLS"),
        ]
        body = []
        if self.pages is not None:
            body.append(html.dim(f"pages {pages_words(self.pages)}"))
        if self.objects:
            heads = ("object", "class", "state", "locked by", "busy with", "last error")
            body.append(html.table(heads, [_object(entry, self.now) for entry in self.objects]))
        if self.links:
            body.append(html.table(("link to", "state", "address", "version"), map(_link, self.links)))
        return html.card(self.name, "context", marks, body)


_COLOURS = {
    **dict.fromkeys(("open", "ready", "running", "up"), html.GOOD),
    **dict.fromkeys(("failed", "restarting", "lost"), html.BAD),
    **dict.fromkeys(("closed", "ending", "reconnecting"), html.BUSY),
}


def _state_mark(state: str, why: str = "") -> html.Html:
    """How something is, behind a dot."""
    return html.mark(f"{state}: {why}" if why else state, _COLOURS.get(state, html.DIM))


def _object(entry: ObjectStatus, now: float) -> tuple[object, ...]:
    state = _state_mark(entry.state, entry.why)
    if entry.task is not None and (late := late_words(entry.task)):
        state = html.Html(f"{state} {html.dim(f'late by {late}')}")
    return (
        entry.name,
        html.dim(short_class(entry.class_name) + (" (simulated)" if entry.simulated else "")),
        state,
        lock_words(entry.lock, now),
        busy_words(entry.busy, now),
        error_words(entry.last_error, now),
    )


def _link(link: LinkStatus) -> tuple[object, ...]:
    return link.context, _state_mark(link.state, link.why), link.address, link.version


for _public in (
    *(LockStatus, BusyStatus, ErrorStatus, SignalStatus, TaskStatus, ObjectStatus, LinkStatus, SignalTotals),
    *(ProcessStatus, LogTotals, PagesStatus, ContextStatus),
):
    _public.__module__ = "qmi.core.context"
