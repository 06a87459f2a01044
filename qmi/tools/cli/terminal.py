"""Where a command writes to: tables for people, aligned plain text for pipes, JSON for programs.

Text from elsewhere may hold what a terminal would obey; all that goes through here is made printable.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_GAP = "  "


class Terminal:
    """Standard output and standard error of a command.

    Args:
        out: Where to print.
        err: Where errors and remarks go.
        json: Whether JSON is wanted.

    Attributes:
        out: Where to print.
        err: Where errors and remarks go.
        json: Whether JSON is wanted (``--json``).
        is_terminal: Whether ``out`` is a terminal.
        colour: Whether it may be coloured: a terminal, and neither ``NO_COLOR`` nor ``TERM=dumb``.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, *, json: bool = False) -> None:
        self.out: TextIO = sys.stdout if out is None else out
        self.err: TextIO = sys.stderr if err is None else err
        self.json = json
        self.is_terminal = self.out.isatty()
        self.colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._console: Console | None = None
        for stream in (self.out, self.err):
            if hasattr(stream, "reconfigure"):  # a name that this encoding lacks must not end the command
                stream.reconfigure(errors="replace")

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 where there is none."""
        return shutil.get_terminal_size().columns

    @property
    def console(self) -> Console:
        """A console of rich. Importing it takes long; only what draws on a terminal needs it."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.out, highlight=False, markup=False, emoji=False,
                                    no_color=not self.colour, force_terminal=self.is_terminal)  # fmt: skip
        return self._console

    # Output

    def write(self, text: str = "") -> None:
        """Print lines."""
        self.out.write(printable(text) + "\n")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[object]], *, styles: Sequence[str] = ()) -> None:
        """Print a table: with bold titles, folded to the width, on a terminal; else aligned text, a line for each row.

        Args:
            titles: What the columns are called.
            rows: The cells; None is an empty one. On a terminal, a cell may be something that rich draws.
            styles: A style of rich for each row, such as "red"; "" is none.
        """
        if not self.is_terminal:
            self.out.write(aligned(titles, rows))
            return
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=None, pad_edge=False, header_style="bold")
        for title in titles:
            grid.add_column(title.upper(), overflow="fold")
        for number, row in enumerate(rows):
            cells = [cell if hasattr(cell, "__rich_console__") else Text(_cell(cell)) for cell in row]
            grid.add_row(*cells, style=styles[number] if number < len(styles) else None)
        self.console.print(grid)

    def write_json(self, value: object, *, line: bool = False) -> None:
        """Print a value as JSON.

        Args:
            value: The value; what JSON does not have becomes what is nearest (:mod:`qmi.tools.cli.json_values`).
            line: Whether to print it on a single line, at once: one of many (JSON lines).
        """
        from qmi.tools.cli.json_values import dumps

        self.out.write(dumps(value, indent=None if line else 2) + "\n")
        if line:
            self.out.flush()

    def error(self, text: str) -> None:
        """Say on standard error what went wrong; each line begins with the name of the program."""
        lines = printable(text).splitlines() or ["failed"]
        self.flush()  # so that it comes after what was printed before
        self.err.write("".join(f"qmi: {line}\n" for line in lines))
        self.err.flush()

    note = error

    def flush(self) -> None:
        """Send what was printed on its way."""
        self.out.flush()

    def abandon(self) -> None:
        """Nobody reads any more: let Python's own flush at the exit go nowhere."""
        with suppress(OSError, ValueError):  # it is no real file
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())


def printable(text: str) -> str:
    """A text with what a terminal would obey written as escapes; newlines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def aligned(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as text: one line for each row, columns aligned, nothing cut off."""
    lines = [[title.upper() for title in titles], *([_cell(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    return "".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))
