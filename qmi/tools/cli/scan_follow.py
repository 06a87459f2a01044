"""``qmi scan follow``: the progress and the rows of a scan that goes on elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qmi.scan.handles import ScanHandle
from qmi.scan.progress import progress_text
from qmi.scan.running import ScanInfo
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK
from qmi.tools.cli.row_view import RowPrinter
from qmi.tools.cli.scan_list import OVER
from qmi.tools.cli.status_line import StatusLine
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.data.follower import Follower

LOOK = 0.5
"""How often it is asked how far the scan is, in seconds."""
WELL = frozenset({"done", "stopped"})


def follow_scan(
    handle: ScanHandle, terminal: Terminal, *, first: int = 0, sleep: Callable[[float], object] = time.sleep
) -> int:
    """Print the rows of a scan and how far it is until it ends, or until Ctrl-C, which leaves it as it is.

    Args:
        handle: The scan; it may wait in a queue. Its context is connected.
        terminal: Where to print.
        first: The number of the first row that is wanted.
        sleep: Waits so many seconds.

    Returns:
        The exit code: 1 if it has failed, or was aborted, interrupted or removed.
    """
    with StatusLine(terminal) as line, ExitStack() as stack:
        try:
            info = _go(handle, terminal, line, stack, first, sleep)
        except KeyboardInterrupt:  # the usual end
            return EXIT_OK
        line.show("" if terminal.json else str(info))
    return EXIT_OK if info.state in WELL else EXIT_FAILED


def _go(
    handle: ScanHandle, terminal: Terminal, line: StatusLine, stack: ExitStack, first: int,
    sleep: Callable[[float], object],
) -> ScanInfo:  # fmt: skip
    rows: Follower | None = None
    show: RowPrinter | None = None
    told: tuple[object, ...] = ()
    while True:
        info = handle.info()
        if terminal.json and told != (told := (info.state, info.reason, info.points)):
            terminal.write_json(state_json(info), line=True)
        elif not terminal.json:
            line.show(text_of(info, time.time()))
        if rows is None and info.run_id:
            rows = stack.enter_context(handle.follow(first=first))
            show = RowPrinter(rows.columns, terminal)
            line.clear()
            show.begin()
        if rows is None or show is None:
            if info.state in OVER:
                return info
            sleep(LOOK)
            continue
        found = rows.read(timeout=LOOK)
        if found:
            line.clear()
        for row in found:
            show(row)
        terminal.flush()
        if not found and rows.state != "running":
            return _last(handle, terminal, sleep)


def _last(handle: ScanHandle, terminal: Terminal, sleep: Callable[[float], object]) -> ScanInfo:
    """How it has ended: its run ends a moment earlier."""
    while (info := handle.info()).state not in OVER:
        sleep(LOOK / 10)
    if terminal.json:
        terminal.write_json(state_json(info), line=True)
    return info


def state_json(info: ScanInfo) -> dict[str, object]:
    """How a scan is, for programs."""
    return {
        "scan": info.id, "state": info.state, "reason": info.reason, "points": info.points, "length": info.length,
        "run_id": info.run_id or None,
    }  # fmt: skip


def text_of(info: ScanInfo, now: float) -> str:
    """How a scan is, in a line."""
    if info.started is None:
        return f"{info.id} is {info.state}" + (f": {info.reason}" if info.reason else "")
    elapsed = max((info.ended or now) - info.started, 0.0)
    reason = f" ({info.reason})" if info.reason else ""
    return f"{info.id}: {progress_text(info.points, info.length, elapsed, info.state)}{reason}"
