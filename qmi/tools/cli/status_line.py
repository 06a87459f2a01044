"""A line on standard error that changes in place on a terminal, below what is printed meanwhile."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from qmi.tools.cli.terminal import Terminal, printable


class StatusLine:
    """The line; ``with`` it. In a pipe or a file it is written once, at the end.

    Args:
        terminal: Where to.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._err = terminal.err
        self._changes = terminal.err.isatty() and os.environ.get("TERM") != "dumb"
        self._terminal = terminal
        self._text = ""
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()
        if self._text:
            self._terminal.note(self._text)

    def show(self, text: str) -> None:
        """Show this from now on; empty for nothing."""
        self._text = text
        if self._changes:
            self._err.write(f"\r\x1b[K{printable(text).replace(chr(10), ' ')[: self._terminal.width - 1]}")
            self._err.flush()
            self._shown = True

    def clear(self) -> None:
        """Make room for a line that is printed."""
        if self._shown:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._shown = False
