"""How ``qmi ls`` shows contexts and what is in them: for a wide terminal or a pipe in columns, else with notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qmi.actors.context_status import ContextStatus, LinkStatus, ObjectStatus
from qmi.actors.status_words import (
    busy_words,
    duration,
    error_words,
    late_words,
    lock_words,
    pages_words,
    short_class,
    short_time,
)
from qmi.names import ASKER_PREFIX
from qmi.presenting import seen as seen_states
from qmi.presenting.seen import Seen
from qmi.tools.cli.terminal import Block, Table, Text

_BAD = "red"
_GOOD = "green"
_DIM = "dim"
_STATE_STYLES = {
    seen_states.RUNNING: _GOOD,
    seen_states.ENDING: "magenta",
    seen_states.NOT_RUNNING: _DIM,
    seen_states.NO_PORT: _DIM,
    seen_states.SILENT: _BAD,
    seen_states.OUT_OF_REACH: _DIM,
    "open": _GOOD,
    "failed": _BAD,
    "restarting": _BAD,
    "lost": _BAD,
    "reconnecting": "magenta",
    "up": _GOOD,
    "closed": "magenta",
}

WIDE = 140
"""From how many columns on a terminal has place for everything side by side."""


def contexts(found: Sequence[Seen]) -> list[Block]:
    """A line for each context."""
    titles = ("name", "state", "address", "host", "qmi", "up", "tls", "round trip", "objects")
    table = Table(titles, right=("up", "round trip", "objects"))
    for seen in found:
        status = seen.status
        state = seen.state + (f": {seen.why}" if seen.why and seen.state == seen_states.SILENT else "")
        table.add(
            seen.name,
            Text(state, _STATE_STYLES.get(seen.state, "")),
            seen.address,
            status.host if status else None,
            seen.version,
            duration(status.uptime) if status and status.started else None,
            None if seen.tls is None else "yes" if seen.tls else "no",
            None if seen.round_trip is None else short_time(seen.round_trip),
            _count(status),
        )
    return [table]


def _count(status: ContextStatus | None) -> str | None:
    if status is None:
        return None
    failed = sum(entry.state == "failed" for entry in status.objects)
    return f"{len(status.objects)}" + (f" ({failed} failed)" if failed else "")


def one_context(seen: Seen, *, wide: bool) -> list[Block]:
    """A context, its objects, its tasks and its links.

    Args:
        seen: The context.
        wide: Whether there is place for everything side by side.
    """
    blocks: list[Block] = [headline(seen)]
    status = seen.status
    if status is None:
        return blocks
    if status.pages is not None:
        words = pages_words(status.pages)
        blocks.append(Text("pages ").add(words, _GOOD if status.pages.address else _BAD if status.pages.why else ""))
    tasks = [entry for entry in status.objects if entry.category == "task"]
    others = [entry for entry in status.objects if entry.category != "task"]
    if others:
        blocks += [Text(), _objects(others, status.now, wide=wide)]
    if tasks:
        blocks += [Text(), _tasks(tasks, status.now, wide=wide)]
    if not status.objects:
        blocks += [Text(), Text("no objects", _DIM)]
    links = [link for link in status.links if not link.context.startswith(ASKER_PREFIX)]  # such as ours
    if links:
        blocks += [Text(), _links(links, wide=wide)]
    return blocks


def headline(seen: Seen) -> Text:
    """Name, address and what else is known of a context, in a line."""
    text = Text(seen.name, "bold").add(f" {seen.state}", _STATE_STYLES.get(seen.state, ""))
    status = seen.status
    facts = [f"at {seen.address}"] if seen.address else []
    if status is not None:
        facts += [f"on {status.host}"] if status.host else []
        facts += [f"up {duration(status.uptime)}"] if status.started else []
    facts += [f"qmi {seen.version}"] if seen.version else []
    facts += [f"pid {seen.pid}"] if seen.pid else []
    facts += ["TLS" if seen.tls else "no TLS"] if seen.tls is not None else []
    facts += [f"round trip {short_time(seen.round_trip)}"] if seen.round_trip is not None else []
    facts += [f"run by {status.user}"] if status is not None and status.user else []
    text.add(" " + ", ".join(facts) if facts else "")
    if seen.why:
        text.add(f": {seen.why}")
    if seen.state == seen_states.NO_PORT:
        text.add(": the configuration gives it no tcp_server_port, so nobody can see whether it runs")
    return text


def _objects(objects: Sequence[ObjectStatus], now: float, *, wide: bool) -> Table:
    more = ("locked by", "busy with", "last error") if wide else ("notes",)
    table = Table(("object", "class", "state", "queue", "calls", "errors", *more), right=("queue", "calls", "errors"))
    for entry in objects:
        lock, busy = lock_words(entry.lock, now), busy_words(entry.busy, now)
        error = error_words(entry.last_error, now)
        notes = (
            [lock, busy, error] if wide else [_notes((("locked by", lock), ("busy with", busy), ("failed:", error)))]
        )
        table.add(entry.name, _class(entry), _state(entry), entry.queue, entry.calls, entry.errors, *notes)
    return table


def _tasks(tasks: Sequence[ObjectStatus], now: float, *, wide: bool) -> Table:
    middle = ("period", "late", "missed")
    more = ("restarts", "locked by", "last failure") if wide else ("notes",)
    table = Table(("task", "class", "state", *middle, *more), right=("missed", "restarts"))
    for entry in tasks:
        task = entry.task
        lock = lock_words(entry.lock, now)
        failure = task.failure if task is not None and task.failure != entry.why else ""
        restarts = task.restarts if task is not None else 0
        loop: list[object] = [None, None, None]
        if task is not None and task.period:
            loop = [short_time(task.period), late_words(task), task.missed]
        again = f"{restarts} times" if restarts else ""
        notes = [("locked by", lock), ("failed:", failure), ("restarted", again)]
        table.add(
            entry.name, _class(entry), _state(entry), *loop, *((restarts, lock, failure) if wide else [_notes(notes)])
        )
    return table


def _links(links: Sequence[LinkStatus], *, wide: bool) -> Table:
    more = ("version", "pid", "requests", "dropped signals", "since") if wide else ()
    table = Table(
        ("link to", "state", "address", "tls", "round trip", *more), right=("round trip", "requests", "dropped signals")
    )
    for link in links:
        state = Text(link.state, _STATE_STYLES.get(link.state, "")).add(f": {link.why}" if link.why else "")
        trip = short_time(link.round_trip) if link.round_trip >= 0 else None
        facts = (link.version, link.pid or None, link.requests, link.dropped_signals, clock(link.since)) if wide else ()
        table.add(link.context, state, link.address, "yes" if link.tls else "no", trip, *facts)
    return table


def clock(moment: float) -> str:
    """A moment by the clock of this computer."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) if moment else ""


def _class(entry: ObjectStatus) -> str:
    return short_class(entry.class_name) + (" (simulated)" if entry.simulated else "")


def _state(entry: ObjectStatus) -> Text:
    text = Text(entry.state, _STATE_STYLES.get(entry.state, ""))
    return text.add(f": {entry.why}") if entry.why else text


def _notes(notes: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{what} {text}" for what, text in notes if text)
