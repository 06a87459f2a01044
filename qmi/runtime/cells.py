"""Cells of IPython and notebooks: a program that is told to end while one runs ends when the cell has ended.

IPython goes on after whatever a cell raises, also after the exception that ends a program.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

from qmi.runtime.sigint import ProgramEnd


class _Events(Protocol):
    def register(self, event: str, function: object) -> None:
        """Have a function called; harmless if it is already."""


class Shell(Protocol):
    """What is needed of IPython."""

    events: _Events

    def ask_exit(self) -> None:
        """End as soon as the cell has ended."""


class _RanCell(Protocol):
    error_in_exec: BaseException | None


def end_with_cells(shell: Shell | None = None) -> None:
    """Have IPython end if a cell was ended by a signal that ends programs.

    Args:
        shell: The shell; None is the one that runs this code, if one does.
    """
    found = shell or _running_shell()
    if found is not None:
        found.events.register("post_run_cell", _cell_has_run)


def _running_shell() -> Any:
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def _cell_has_run(result: _RanCell) -> None:
    if isinstance(result.error_in_exec, ProgramEnd) and (shell := _running_shell()) is not None:
        shell.ask_exit()
