"""How far a scan is, shown to whoever waits for it: a bar on a terminal, a line in a notebook, lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from qmi import html

EVERY = 10.0
"""How often a line is written where lines stay, in seconds."""
REFRESH = 0.1
"""How often what is shown in place is renewed, at most, in seconds."""


def progress_text(done: int, total: int | None, elapsed: float, state: str) -> str:
    """Points, rate and time left, as a text.

    Args:
        done: How many points were measured.
        total: How many there are, if that is known.
        elapsed: How long they took, in seconds.
        state: How the scan is.
    """
    parts = [f"{done} of {total} points" if total is not None else f"{done} points"]
    if done and elapsed > 0:
        rate = done / elapsed
        parts.append(f"{rate:.3g} per s" if rate >= 1 else f"{1 / rate:.3g} s each")
        if total is not None and state not in ENDED:
            parts.append(f"{duration(max(total - done, 0) / rate)} left")
    parts.append(f"{state} after {duration(elapsed)}" if state in ENDED else state)
    return ", ".join(parts)


ENDED = frozenset({"done", "stopped", "aborted", "failed"})


def duration(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display(Protocol):
    """Where the progress is shown."""

    every: float

    def show(self, text: str, done: int) -> None:
        """Show it now."""

    def close(self) -> None:
        """It will not change any more."""


class Lines:
    """Lines of a file or a pipe."""

    every = EVERY

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, text: str, done: int) -> None:
        """Write a line."""
        print(text, file=self._file, flush=True)

    def close(self) -> None:
        """Nothing is open."""


class Bar:
    """A bar on a terminal, which keeps what is printed above it."""

    every = REFRESH

    def __init__(self, console: Console, total: int | None) -> None:
        columns = (BarColumn(), TextColumn("{task.description}"))
        # What is printed to a pipe beside the terminal must go on to go there.
        redirect = bool(sys.stdout and sys.stdout.isatty())
        self._progress = Progress(*columns, console=console, auto_refresh=False, redirect_stdout=redirect)
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def show(self, text: str, done: int) -> None:
        """Draw it anew."""
        self._progress.update(self._task, completed=done, description=text, refresh=True)

    def close(self) -> None:
        """Leave it on the screen."""
        self._progress.stop()


class Handle(Protocol):
    """What a notebook has shown, and can change."""

    def update(self, data: dict[str, str], /, *, raw: bool) -> object:
        """Show this instead."""


class Cell:
    """A line and a bar below the cell of a notebook, which change as the scan goes on.

    Args:
        total: How many points there are, if that is known.
    """

    every = REFRESH

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        from IPython.display import display

        show: Callable[..., Handle | None] = display
        self._handle = show({"text/plain": ""}, raw=True, display_id=True)

    def show(self, text: str, done: int) -> None:
        """Change them."""
        if self._handle is not None:
            shown = f"<div>{html.inline(text)}</div>{html.bar(done, self._total)}"
            self._handle.update({"text/plain": text, "text/html": shown}, raw=True)

    def close(self) -> None:
        """Leave it there."""


def find_display(total: int | None, file: TextIO) -> Display:
    """How to show progress here.

    Args:
        total: How many points there are, if that is known.
        file: Where to, outside of notebooks.
    """
    console = Console(file=file)
    if console.is_jupyter:
        return Cell(total)
    return Bar(console, total) if console.is_terminal else Lines(file)


class ShownProgress:
    """Shows how far a scan is, not more often than somebody can read it.

    Args:
        display: Where.
        total: How many points there are, if that is known.
        clock: Tells the time, in seconds.
    """

    def __init__(self, display: Display, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._display = display
        self._total = total
        self._clock = clock
        self._began = self._last = clock()

    def update(self, done: int, state: str) -> None:
        """So many points were measured."""
        now = self._clock()
        if now - self._last >= self._display.every:
            self._last = now
            self._display.show(progress_text(done, self._total, now - self._began, state), done)

    def end(self, done: int, state: str) -> None:
        """The scan has ended."""
        try:
            self._display.show(progress_text(done, self._total, self._clock() - self._began, state), done)
        finally:
            self._display.close()
