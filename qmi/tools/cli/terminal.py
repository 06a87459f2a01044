"""Where a command writes to: tables for people, aligned plain text for pipes, JSON for programs.

Text from elsewhere may hold what a terminal would obey; all that goes through here is made printable.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

_GAP = "  "
_USUAL_COLUMNS = 80


def terminal_columns() -> int:
    """Columns of the terminal; 80 where there is none. As ``shutil`` says, without what it imports besides (3 ms)."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns <= 0:
        try:
            assert sys.__stdout__ is not None
            columns = os.get_terminal_size(sys.__stdout__.fileno()).columns
        except (AssertionError, ValueError, OSError):  # no output, a closed one, or no terminal
            columns = 0
    return columns if columns > 0 else _USUAL_COLUMNS


class Text:
    """A line with colours.

    Args:
        text: How it begins.
        style: A style of rich, such as "bold red"; "" is none.

    Attributes:
        pieces: Text and style of each piece.
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        self.pieces: list[tuple[str, str]] = [(text, style)]

    def add(self, text: str, style: str = "") -> Self:
        """Go on with a piece of another style."""
        self.pieces.append((text, style))
        return self

    def __str__(self) -> str:
        return printable("".join(text for text, _ in self.pieces))


class Table:
    """Rows under titles.

    Args:
        titles: What the columns are called.
        right: Titles of those that are aligned at the right: numbers.
        whole: Titles of those that are not folded where the terminal is narrow, so that they can be copied.

    Attributes:
        titles: What the columns are called.
        right: Those that are aligned at the right.
        whole: Those that are not folded.
        rows: The cells; None is an empty one.
        styles: A style for each row; may be shorter.
    """

    def __init__(self, titles: Sequence[str], right: Sequence[str] = (), whole: Sequence[str] = ()) -> None:
        self.titles = titles
        self.right = right
        self.whole = whole
        self.rows: list[Sequence[object]] = []
        self.styles: list[str] = []

    def add(self, *cells: object) -> None:
        """Add a row."""
        self.rows.append(cells)


Block: TypeAlias = Text | Table


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
        self.json: bool = json
        self.is_terminal: bool = self.out.isatty()
        self.colour: bool = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._console: Console | None = None
        for stream in (self.out, self.err):
            if hasattr(stream, "reconfigure"):  # a name that this encoding lacks must not end the command
                stream.reconfigure(errors="replace")

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 where there is none."""
        return terminal_columns()

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
            rows: The cells; None is an empty one, and a :class:`Text` has colours.
            styles: A style of rich for each row, such as "red"; "" is none.
        """
        table = Table(titles)
        table.rows.extend(tuple(row) for row in rows)
        table.styles.extend(styles)
        self.show([table])

    def show(self, blocks: Sequence[Block]) -> None:
        """Print tables and lines, one below the other."""
        if self.is_terminal:
            self.console.print(self.drawn(blocks))
        else:
            self.out.write("".join(aligned(block) if isinstance(block, Table) else f"{block}\n" for block in blocks))

    def drawn(self, blocks: Sequence[Block]) -> Group:
        """The same for rich, to be drawn on a terminal."""
        from rich.console import Group

        return Group(*(_drawn_table(block) if isinstance(block, Table) else _drawn_text(block) for block in blocks))

    def write_json(self, value: object, *, line: bool = False) -> None:
        """Print a value as JSON.

        Args:
            value: The value; what JSON does not have becomes what is nearest (:mod:`qmi.presenting.json_values`).
            line: Whether to print it on a single line, at once: one of many (JSON lines).
        """
        from qmi.presenting.json_values import dumps

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


class Nowhere(io.StringIO):
    """Swallows what is written: for a standard stream that was closed (``>&-``)."""

    def write(self, text: str) -> int:
        """Forget a text."""
        return len(text)


def one_line(text: str) -> str:
    """A text of several lines as one, for scripts that read one line for each error."""
    lines = [line.strip() for line in printable(text).splitlines()]
    joined = ""
    for line in filter(None, lines):
        joined += (" " if joined.endswith(":") else "; " if joined else "") + line
    return joined


def printable(text: str) -> str:
    """A text with what a terminal would obey written as escapes; newlines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def aligned(table: Table) -> str:
    """A table as text: one line for each row, columns aligned, nothing cut off."""
    lines = [[title.upper() for title in table.titles]]
    lines += [[_cell(cell).replace("\n", "; ") for cell in row] for row in table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.titles))]
    right = [title in table.right for title in table.titles]
    return "".join(
        _GAP.join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))


def _drawn_text(value: object) -> RichText:
    from rich.text import Text as Drawn

    if not isinstance(value, Text):
        return Drawn(_cell(value))
    drawn = Drawn()
    for text, style in value.pieces:
        drawn.append(printable(text), style or None)
    return drawn


def _drawn_table(table: Table) -> RichTable:
    from rich.table import Table as Drawn

    grid = Drawn(box=None, pad_edge=False, header_style="bold")
    for title in table.titles:
        justify: Literal["left", "right"] = "right" if title in table.right else "left"
        grid.add_column(title.upper(), overflow="fold", justify=justify, no_wrap=title in table.whole)
    for number, row in enumerate(table.rows):
        style = table.styles[number] if number < len(table.styles) else ""
        grid.add_row(*map(_drawn_text, row), style=style or None)
    return grid
