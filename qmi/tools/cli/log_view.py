"""How log records are shown: as lines of a log file, in the colour of their level."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from qmi.core.context import LogBatch, LogRecordStatus
from qmi.tools.cli.terminal import Terminal, Text, printable

_MARGIN = "    | "
_STYLES = ((logging.CRITICAL, "bold red"), (logging.ERROR, "red"), (logging.WARNING, "yellow"), (logging.INFO, ""))
_DIM = "dim"


class LogView:
    """Shows log records.

    Args:
        terminal: Where.
        several: Whether they are of several contexts, so that each line says of which.

    Attributes:
        terminal: Where.
    """

    def __init__(self, terminal: Terminal, *, several: bool = False) -> None:
        self.terminal = terminal
        self._several = several
        self._told: set[str] = set()

    def show_batch(self, name: str, batch: LogBatch) -> None:
        """Show the records of a context, and that some are missing."""
        self.tell_gap(name, batch)
        for record in batch.records:
            self.show(name, record)
        self.terminal.flush()

    def tell_gap(self, name: str, batch: LogBatch) -> None:
        """Say that records are missing."""
        if batch.lost:
            what = "1 record before these is" if batch.lost == 1 else f"{batch.lost} records before these are"
            self.terminal.note(f"context {name!r}: {what} not kept any more")
        if not batch.kept and name not in self._told:
            self._told.add(name)
            self.terminal.note(
                f"context {name!r} keeps no log records: its program was started without logging (init_logging=False)"
            )

    def show(self, name: str, record: LogRecordStatus) -> None:
        """Show a record."""
        if self.terminal.json:
            self.terminal.write_json({"asked": name, **record.to_plain(), "level_name": level_name(record)}, line=True)
            return
        origin = record.context or name
        where = f"{origin:<10} | " if self._several or origin != name else ""
        first, *more = record.message.split("\n")
        style = next((style for level, style in _STYLES if record.level >= level), _DIM)
        head = Text(f"{utc(record.time)} | ", _DIM).add(f"{level_name(record):<8}", style)
        self._line(head.add(f" | {where}{record.logger:<22} | ", _DIM).add(first, style))
        for line in more:
            self._line(Text(_MARGIN, _DIM).add(line, style))
        if record.trace:
            for line in record.trace.split("\n"):
                self._line(Text(_MARGIN, _DIM).add(line, style))

    def _line(self, text: Text) -> None:
        if not self.terminal.is_terminal:
            self.terminal.write(str(text).rstrip())
            return
        from rich.text import Text as RichText

        line = RichText.assemble(*((printable(piece), style) for piece, style in text.pieces))
        self.terminal.console.print(line, soft_wrap=True)


def level_name(record: LogRecordStatus) -> str:
    """The name of a record's level."""
    return logging.getLevelName(record.level)


def utc(moment: float) -> str:
    """A moment as in a log file."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):  # no program of this library sends that
        return f"{moment:g} s"
