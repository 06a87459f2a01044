"""The scans that go on in this program: what is known of each, and how others steer them."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple, Protocol

from qmi import html
from qmi.data.run_metadata import active_context
from qmi.errors import QMI_InvalidOperationException, QMI_UnknownNameException
from qmi.messages import Origin
from qmi.runtime.call_context import CALLER
from qmi.runtime.identity import own_identity

_KEPT: Final = 100
"""Of how many scans that have ended it is remembered how."""


class ScanInfo(NamedTuple):
    """What is known of a scan.

    Attributes:
        id: By which it is found again, in its context.
        what: What it sets, and how many points it has.
        state: "waiting" (in a queue), "running", "paused", "suspended ...", "stopping", "finishing", "done", "stopped",
            "aborted", "failed", "interrupted" (its program has ended), or "removed" (from a queue).
        reason: Why it waits, or has failed; else empty.
        points: How many points were measured.
        length: How many there are; None if that is not known.
        submitted: When it was given to a queue, in seconds since 1970; None if it was not.
        started: When it has begun; None if it has not.
        ended: When it has ended; None if it has not.
        user: Who wanted it.
        program: In which program.
        host: On which computer.
        comment: What is said of it.
        run_id: The run that keeps its rows; empty if there is none (yet).
    """

    id: str
    what: str
    state: str
    reason: str = ""
    points: int = 0
    length: int | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    user: str = ""
    program: str = ""
    host: str = ""
    comment: str = ""
    run_id: str = ""

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(lambda: scan_card(self), self)

    def __str__(self) -> str:
        points = f"{self.points}" if self.length is None else f"{self.points} of {self.length}"
        reason = f": {self.reason}" if self.reason else ""
        comment = f" ({self.comment})" if self.comment else ""
        return f"{self.id}{comment}, {self.what}: {self.state}{reason}, {points} points"


def scan_card(info: ScanInfo) -> html.Html:
    """What notebooks show of a scan."""
    points = f"{info.points} points" if info.length is None else f"{info.points} of {info.length} points"
    state = f"{info.state}: {info.reason}" if info.reason else info.state
    marks: list[object] = [html.mark(state, STATE_COLOURS.get(info.state, html.BUSY)), points]
    who = " ".join(text for text in (info.user, info.program, info.host) if text)
    told = (("comment", info.comment), ("run", info.run_id), ("for", who))
    rows = [(html.dim(name), text) for name, text in told if text]
    body = [html.bar(info.points, info.length), *([html.table(("", ""), rows)] if rows else [])]
    return html.card(info.id or info.what, info.what if info.id else "scan", marks, body)


STATE_COLOURS = {
    **dict.fromkeys(("running", "finishing"), html.BLUE),
    "done": html.GOOD,
    **dict.fromkeys(("failed", "aborted", "interrupted"), html.BAD),
    **dict.fromkeys(("new", "waiting", "stopped", "removed"), html.DIM),
}


class Label(NamedTuple):
    """What a scan is called, and who wanted it, where that is not the program that measures.

    Attributes:
        id: Its name.
        submitted: When it was given to a queue.
        user: Who.
        program: In which program.
        host: On which computer.
    """

    id: str
    submitted: float
    user: str
    program: str
    host: str


_LABEL: ContextVar[Label | None] = ContextVar("qmi_scan_label", default=None)


@contextmanager
def labelled(label: Label) -> Iterator[None]:
    """Have the scan that begins in this block be called so."""
    token = _LABEL.set(label)
    try:
        yield
    finally:
        _LABEL.reset(token)


class Owner(Protocol):
    """A context, as far as this needs to know it."""

    name: str
    origin: Origin

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, for the log."""


class Caller(NamedTuple):
    """Who asks for something.

    Attributes:
        text: Who.
        level: The level at which the log has it: what this program itself does is no warning.
    """

    text: str
    level: int

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of_now(cls, owner: Owner) -> Caller:
        """Who calls the direct method that runs now.

        Args:
            owner: The context of the object whose method it is.
        """
        origin = CALLER.get()
        level = logging.INFO if origin is None or origin == owner.origin else logging.WARNING
        return cls(owner.describe_origin(origin), level)


class Steerable(Protocol):
    """A scan, as far as others see and steer it."""

    @property
    def state(self) -> str:
        """How it is."""

    @property
    def progress(self) -> tuple[int, int | None]:
        """How many points were measured, and how many there are."""

    @property
    def summary(self) -> tuple[str, str, str]:
        """What it does, what is said of it, and the id of its run."""

    def pause(self) -> None:
        """Have it wait."""

    def resume(self) -> None:
        """Have it go on."""

    def stop(self) -> None:
        """Have it end after this point."""

    def abort(self) -> None:
        """Have it end now."""


class _Entry:
    """One scan that goes on."""

    def __init__(self, scan: Steerable, context: str, label: Label | None) -> None:
        self.scan = scan
        self.context = context
        self.started = time.time()
        self.label = label
        identity = own_identity()
        self.who: tuple[str, str, str] = (
            (identity.user, identity.program, identity.host)
            if label is None
            else (label.user, label.program, label.host)
        )

    def info(self, scan_id: str, ended: float | None = None, reason: str = "") -> ScanInfo:
        """What is known of it."""
        points, length = self.scan.progress
        what, comment, run_id = self.scan.summary
        submitted = None if self.label is None else self.label.submitted
        state, (user, program, host) = self.scan.state, self.who
        return ScanInfo(
            *(scan_id, what, state, reason, points, length, submitted, self.started, ended),
            *(user, program, host, comment, run_id),
        )


Listener = Callable[[ScanInfo], object]


class RunningScans:
    """The scans that go on in this program.

    Scans begin and end in the main thread, where Ctrl-C may raise an exception at each line: at the end of a ``with``
    block, too, before its mutex is released. So :meth:`add` and :meth:`remove` have none. Each change of a table is one
    step of the interpreter, and who reads one takes a copy.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._ended: deque[tuple[str, ScanInfo]] = deque(maxlen=_KEPT)
        self._mutex = threading.Lock()  # of those who change the listeners
        self._listeners: tuple[tuple[str, Listener], ...] = ()
        self._numbers = itertools.count(1)
        # Of this program: a name that somebody has kept must not stand for a scan of another one.
        self._prefix = secrets.token_hex(2)

    def add(self, scan: Steerable) -> str:
        """A scan begins, in the thread or task that calls.

        Returns:
            What it is called; empty if the program has no context, so that nobody else can ask for it.
        """
        context = active_context()
        if context is None:
            return ""
        label = _LABEL.get()
        entry = _Entry(scan, context.name, label)
        name = "" if label is None else label.id
        if not name or self._entries.setdefault(name, entry) is not entry:
            name = f"{self._prefix}-{next(self._numbers)}"
            self._entries[name] = entry
        self._tell(entry.context, entry.info(name))
        return name

    def changed(self, scan_id: str) -> None:
        """The state of a scan has changed."""
        entry = self._entries.get(scan_id)
        if entry is not None and self._listeners:
            self._tell(entry.context, entry.info(scan_id))

    def remove(self, scan: Steerable, reason: str = "") -> None:
        """A scan has ended; nothing is done about one that was not added.

        Args:
            scan: The scan.
            reason: The error that it ended by; empty for none.
        """
        # By the scan itself: Ctrl-C may have come before it has got its name.
        found = [(name, entry) for name, entry in self._entries.copy().items() if entry.scan is scan]
        if not found:
            return
        ((scan_id, entry),) = found
        info = entry.info(scan_id, time.time(), reason)
        self._ended.append((entry.context, info))  # first, so that it is always in one of the tables
        self._entries.pop(scan_id, None)
        self._tell(entry.context, info)

    def _tell(self, context: str, info: ScanInfo) -> None:
        for name, listener in self._listeners:
            if name == context:
                listener(info)

    def listen(self, context: str, listener: Listener) -> Callable[[], None]:
        """Have a function called when a scan of a context begins, ends or changes its state; from any thread.

        Returns:
            What ends that.
        """
        found = (context, listener)
        with self._mutex:
            self._listeners = (*self._listeners, found)

        def end() -> None:
            with self._mutex:
                self._listeners = tuple(each for each in self._listeners if each is not found)

        return end

    def infos(self, context: str) -> list[ScanInfo]:
        """The scans that go on in a context."""
        return [entry.info(name) for name, entry in self._entries.copy().items() if entry.context == context]

    def info(self, context: str, scan_id: str) -> ScanInfo:
        """One of them, or one that has ended not long ago.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        entry = self._entries.get(scan_id)  # looked at first: then it may be in the other table, and not before
        ended = [info for name, info in self._ended.copy() if name == context and info.id == scan_id]
        if entry is not None and entry.context == context:
            return entry.info(scan_id)
        if ended:
            return ended[-1]
        raise QMI_UnknownNameException(f"No scan {scan_id!r} goes on in context {context!r}, or has ended lately")

    def steerable(self, context: str, scan_id: str) -> Steerable:
        """One of them, to steer it.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
            QMI_InvalidOperationException: If it has ended.
        """
        entry = self._entries.get(scan_id)
        if entry is not None and entry.context == context:
            return entry.scan
        raise QMI_InvalidOperationException(f"Scan {scan_id!r} has ended: {self.info(context, scan_id).state}")


RUNNING: Final = RunningScans()
"""Those of this program."""

for _public in (ScanInfo,):
    _public.__module__ = "qmi.scan"
