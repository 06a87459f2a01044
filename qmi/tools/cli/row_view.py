"""Rows of runs as lines, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

from qmi.data.follower import Follower
from qmi.data.rows import Row
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK
from qmi.tools.cli.results import cell_of
from qmi.tools.cli.terminal import Terminal

_NARROWEST = 10
_TIME = "%Y-%m-%d %H:%M:%S"


class RowPrinter:
    """Prints rows under the names of their columns, or as JSON, one on each line.

    Args:
        columns: The names of the columns, with their units.
        terminal: Where to print.
    """

    def __init__(self, columns: Mapping[str, str], terminal: Terminal) -> None:
        self._heads = {name: f"{name} [{unit}]" if unit else name for name, unit in columns.items()}
        self._terminal = terminal

    def begin(self) -> None:
        """Print the names of the columns."""
        if not self._terminal.json:
            heads = [head.rjust(_NARROWEST) for head in self._heads.values()]
            self._terminal.write("  ".join(["time".ljust(len("2026-11-26 14:05:01.000")), *heads]))
            self._terminal.flush()

    def __call__(self, row: Row) -> None:
        """Print a row."""
        if self._terminal.json:
            self._terminal.write_json({"number": row.number, "time": row.time, "values": dict(row)}, line=True)
            return
        moment = row.time.astimezone()
        cells = [
            _cell(row.get(name)).replace("\n", " ").rjust(max(len(head), _NARROWEST))
            for name, head in self._heads.items()
        ]
        self._terminal.write("  ".join([f"{moment:{_TIME}}.{moment.microsecond // 1000:03d}", *cells]).rstrip())


def print_rows(follower: Follower, terminal: Terminal) -> int:
    """Print the rows of a run until it ends, or until Ctrl-C; returns the exit code.

    1 if the run has failed, or was cut short.
    """
    try:
        with follower:
            show = RowPrinter(follower.columns, terminal)
            show.begin()
            while rows := follower.read():
                for row in rows:
                    show(row)
                terminal.flush()
            if follower.state in ("failed", "interrupted"):
                terminal.error(
                    f"run {follower.run_id} {'has failed' if follower.state == 'failed' else 'was cut short'}"
                )
                return EXIT_FAILED
    except KeyboardInterrupt:  # the usual end
        pass
    return EXIT_OK


def _cell(value: object) -> str:
    # As many digits as people read; JSON has all of them.
    return f"{value:.12g}" if isinstance(value, float) else cell_of(value)
