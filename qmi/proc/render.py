"""How states reach the reader: plain lines or JSON here; `qmi.proc.live_table` has the table for a terminal."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self, TextIO

from qmi.proc.helper_protocol import clean
from qmi.proc.status import Status, as_json, plain


class Reporter(ABC):
    """Is told of every change, from any thread, and shows what it wants of it."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the end."""

    @abstractmethod
    def update(self, status: Status) -> None:
        """Take note of a context's new state."""


class PlainReporter(Reporter):
    """One line for each context, when it is known how it ended.

    Args:
        file: Where to print.
        in_order: Whether each line waits for those of the contexts before it.
    """

    def __init__(self, file: TextIO, *, in_order: bool = False) -> None:
        self._file = file
        self._in_order = in_order
        self._rows: dict[str, Status] = {}
        self._shown: dict[str, str] = {}
        self._lock = threading.Lock()

    def update(self, status: Status) -> None:
        """Print the states that are the last ones, and not the same as before."""
        with self._lock:
            self._rows[status.name] = status
            for row in self._rows.values() if self._in_order else [status]:
                if not row.state.final:
                    return
                text = "\n".join(clean(line) for line in plain(row).splitlines())
                if self._shown.get(row.name) != text:
                    self._shown[row.name] = text
                    write_line(self._file, text)


class JsonReporter(Reporter):
    """A JSON list at the end."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows: dict[str, Status] = {}
        self._lock = threading.Lock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the list."""
        write_line(self._file, as_json(self._rows.values()))

    def update(self, status: Status) -> None:
        """Keep the state for the end."""
        with self._lock:
            self._rows[status.name] = status


def write_line(file: TextIO, text: str) -> None:
    """Print text, at once."""
    file.write(text + "\n")
    file.flush()
