"""What shells and notebooks show of a proxy: how its object is, and the last known values of its parameters.

Nothing of the object runs for it and no turn of it is taken, so that one that is busy, locked or stuck is shown like
any other: only its context is asked, for a moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from qmi import html
from qmi.actors.context_status import ContextStatus, ObjectStatus
from qmi.actors.presentation import shown_class
from qmi.actors.status_words import busy_words, duration, error_words, late_words, lock_words
from qmi.config.validators import printable
from qmi.errors import QMI_Exception, QMI_UnknownRpcException
from qmi.messages import Call
from qmi.names import CONTEXT_OBJECT_NAME, Address
from qmi.parameters.snapshot import show_value
from qmi.runtime.wakeup import ThreadWaker

if TYPE_CHECKING:
    from qmi.actors.call import Handle
    from qmi.actors.future import QMI_RpcFuture
    from qmi.actors.interface import ParameterBrief

PATIENCE: Final = 0.3
"""How long the context is waited for, in seconds."""
_TEXT_ROWS: Final = 60
_TEXT_WIDTH: Final = 40
"""As many characters of a value are shown in lines, which a terminal of usual width has place for."""
_STATE_COLOURS: Final = {
    "open": html.GOOD,
    "ready": html.GOOD,
    "running": html.GOOD,
    "failed": html.BAD,
    "restarting": html.BAD,
    "closed": html.BUSY,
    "ending": html.BUSY,
}


@dataclass(frozen=True)
class Facts:
    """What is known of an object.

    Attributes:
        status: What its context tells of it; None if that is not known.
        now: The clock of its context, in seconds since 1970.
        values: The last values of its parameters, each with its time.
        why: Why its status is not known.
    """

    status: ObjectStatus | None = None
    now: float = 0.0
    values: Mapping[str, tuple[object, float]] = field(default_factory=dict)
    why: str = ""


def gather(handle: Handle, patience: float = PATIENCE) -> Facts:
    """Ask the context of an object how the object is.

    Args:
        handle: The object.
        patience: How long to wait for an answer at most, in seconds.
    """
    context = Address(handle.address.context, CONTEXT_OBJECT_NAME)
    name = handle.address.object
    asked: list[QMI_RpcFuture[Any]] = [handle.router.request(context, Call(CONTEXT_OBJECT_NAME, "get_status"))]
    if handle.interface.parameters is not None:
        asked.append(handle.router.request(context, Call(CONTEXT_OBJECT_NAME, "get_readings", (name,))))
    try:
        # On the loop of the own context nobody could bring an answer while this waits; what is here has answered.
        end = time.monotonic() + (0.0 if handle.router.loop.is_here() else patience)
        for future in asked:
            _wait(future, end)
        told, *values = asked
        return _facts(name, handle, told, _readings(values[0]) if values else {})
    finally:
        for future in asked:
            future.cancel()


def _wait(future: QMI_RpcFuture[Any], end: float) -> None:
    # Not by future.wait(), which is refused in a cell that runs on trio: a moment of this loop does no harm.
    waker = ThreadWaker()
    future.add_done_callback(waker.wake)
    if not future.done():
        waker.wait(max(end - time.monotonic(), 0.0))


def _facts(name: str, handle: Handle, told: QMI_RpcFuture[Any], values: dict[str, tuple[object, float]]) -> Facts:
    context = handle.address.context
    if not told.done():
        return Facts(values=values, why=f"context {context!r} does not answer")
    error = told.error()
    if isinstance(error, QMI_UnknownRpcException):
        return Facts(values=values, why=f"context {context!r} runs an older version, which does not tell how it is")
    if error is not None:
        text = str(error) if isinstance(error, QMI_Exception) else f"{type(error).__name__}: {error}"
        return Facts(values=values, why=text)
    status = ContextStatus.from_plain(told.result())
    found = status.find(name)
    return Facts(found, status.now, values, "" if found else f"context {context!r} has no {name!r} any more")


def _readings(future: QMI_RpcFuture[Any]) -> dict[str, tuple[object, float]]:
    """The last values, as another program has told them: it may be of any version, and tell anything."""
    plain: object = future.result() if future.done() and future.error() is None else {}
    found: dict[str, tuple[object, float]] = {}
    for name, pair in plain.items() if isinstance(plain, dict) else ():
        if isinstance(name, str) and isinstance(pair, tuple | list) and len(pair) == 2:
            moment = pair[1] if isinstance(pair[1], int | float) else math.nan
            found[name] = (pair[0], moment)
    return found


# As HTML


def as_html(handle: Handle, facts: Facts) -> str:
    """The object as a card, with a table of its parameters."""
    body: list[html.Html] = []
    if facts.why:
        body.append(html.Html(f"<div>{html.mark(facts.why, html.BAD)}</div>"))
    rows = _rows(handle, facts)
    if rows:
        cells = [(name, html.dim("-") if value is None else value, unit, html.dim(when), html.dim(kind))
                 for name, value, unit, when, kind in rows]  # fmt: skip
        body.append(html.table(("parameter", "value", "unit", "when", "kind"), cells, right=("value",)))
    return html.card(str(handle.address), shown_class(handle.interface), _marks(facts), body)


def _marks(facts: Facts) -> list[html.Html]:
    status, now = facts.status, facts.now
    if status is None:
        return []
    marks = [html.mark(_state(status), _STATE_COLOURS.get(status.state, html.DIM))]
    busy = busy_words(status.busy, now)
    if busy:
        queue = f", {status.queue} waiting" if status.queue else ""
        marks.append(html.mark(f"busy with {busy}{queue}", html.BUSY))
    lock = lock_words(status.lock, now)
    if lock:
        marks.append(html.mark(f"locked by {lock}", html.BLUE))
    if status.task is not None and (late := late_words(status.task)):
        marks.append(html.dim(f"late by {late}"))
    if status.last_error is not None:
        marks.append(html.mark(f"last error: {error_words(status.last_error, now)}", html.DIM))
    return marks


def _state(status: ObjectStatus) -> str:
    state = "state unknown" if status.state == "unknown" else status.state or "there"
    return f"{state}: {status.why}" if status.why else state


# As text


def as_text(title: str, handle: Handle, facts: Facts) -> str:
    """The same in lines, below what is always shown of the proxy."""
    lines = [title]
    if facts.why:
        lines.append(f"  {printable(html.text_of(facts.why))}")
    status = facts.status
    if status is not None:
        busy, lock = busy_words(status.busy, facts.now), lock_words(status.lock, facts.now)
        said = [_state(status), f"busy with {busy}" if busy else "idle", f"locked by {lock}" if lock else "not locked"]
        lines.append(f"  {printable(', '.join(said))}")
        if status.last_error is not None:
            lines.append(f"  last error: {printable(error_words(status.last_error, facts.now))}")
    rows = _rows(handle, facts)
    cells = [(name, f"{_short(value)} {_short(unit)}".rstrip() if value is not None else "-", when, kind)
             for name, value, unit, when, kind in rows[:_TEXT_ROWS]]  # fmt: skip
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    if len(rows) > _TEXT_ROWS:
        lines.append(f"  … and {len(rows) - _TEXT_ROWS} more parameters")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 1]}…"


def _rows(handle: Handle, facts: Facts) -> list[tuple[str, str | None, str, str, str]]:
    """Name, value, unit, age and kind of each parameter."""
    parameters = handle.interface.parameters
    if parameters is None:
        return []
    rows = []
    for path in parameters.paths():
        brief = parameters.find(path)
        if brief is None:
            continue
        known = facts.values.get(path)
        value = None if known is None else printable(html.text_of(known[0], _value_text))
        rows.append((path, value, printable(brief.unit), _age(known, facts.now), _kind(brief)))
    return rows


def _value_text(value: object) -> str:
    return f"{value:.7g}" if type(value) is float else value if isinstance(value, str) else show_value(value)


def _kind(brief: ParameterBrief) -> str:
    return "setting" if brief.settable else "reading"


def _age(known: tuple[object, float] | None, now: float) -> str:
    if known is None:
        return "not read yet"
    moment = known[1]
    return f"{duration(now - moment)} ago" if now and math.isfinite(moment) else ""


# For shells and notebooks


def shown_html(handle: Handle, instead: object) -> str:
    """What a notebook shows of a proxy."""
    return html.shown_or(lambda: as_html(handle, gather(handle)), instead)


def shown_text(handle: Handle, instead: object) -> str:
    """What an interactive shell shows of a proxy."""
    title = html.text_of(instead, repr)
    try:
        return as_text(title, handle, gather(handle))
    except Exception:  # noqa: BLE001 - a display must not fail, whatever other programs have told
        return title


def shown_both(handle: Handle, instead: object) -> dict[str, str]:
    """Both, for which the context is asked once."""
    title = html.text_of(instead, repr)
    try:
        facts = gather(handle)
        return {"text/plain": as_text(title, handle, facts), "text/html": as_html(handle, facts)}
    except Exception:  # noqa: BLE001 - as above
        return {"text/plain": title}
