"""How states look on a terminal: a table that keeps itself up to date."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from qmi.proc.helper_protocol import clean
from qmi.proc.render import Reporter
from qmi.proc.status import State, Status, duration

_STYLES = {
    State.STARTED: "green",
    State.RUNNING: "green",
    State.ALREADY_RUNNING: "green",
    State.OFFLINE: "yellow",
    State.STOPPED: "cyan",
    State.FAILED: "bold red",
    State.UNKNOWN: "magenta",
}


def table(statuses: Sequence[Status]) -> Table:
    """The states as a table: name, host, state, process, version, how long; details below each."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NAME", "HOST", "STATE", "PID", "QMI"):
        grid.add_column(title, no_wrap=title in ("NAME", "PID"), overflow="fold")
    grid.add_column("FOR", justify="right", no_wrap=True)
    for status in statuses:
        state = Text(status.label, _STYLES.get(status.state, "dim"))
        if status.detail:
            state.append("\n" + "\n".join(clean(line) for line in status.detail.splitlines()), "default")
        pid = "" if status.pid is None else str(status.pid)
        grid.add_row(
            Text(status.name), Text(status.host), state, pid, Text(clean(status.version)), duration(status.seconds)
        )
    return grid


class LiveReporter(Reporter):
    """A table on a terminal that changes in place; contexts that are at work show for how long."""

    def __init__(self, console: Console) -> None:
        self._rows: dict[str, tuple[Status, float]] = {}
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=8)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        self._live.stop()

    def update(self, status: Status) -> None:
        """Take note of a context's new state."""
        with self._lock:
            before = self._rows.get(status.name)
            # Asking again must not make the table flicker: what was known stays until something else is.
            fresh = status.state in (State.WAITING, State.ASKING) and before is not None and before[0].state.final
            if not fresh:
                self._rows[status.name] = (status, time.monotonic())

    def _table(self) -> Table:
        now = time.monotonic()
        with self._lock:
            rows = list(self._rows.values())
        return table([status if status.state.final else _aged(status, now - since) for status, since in rows])


def _aged(status: Status, seconds: float) -> Status:
    return Status(status.name, status.host, status.state, status.pid, status.version, seconds, status.detail)
