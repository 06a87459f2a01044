"""Cells of IPython in a terminal that await in asyncio: Ctrl-C cancels them.

IPython leaves the task of an interrupted cell as it was, so that its call would last, and its code would go on with the
next cell that awaits. Kernels of notebooks cancel theirs by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from IPython.core.async_helpers import get_asyncio_loop

T = TypeVar("T")
_ASYNCIO: Final = "asyncio"
_TERMINAL: Final = "TerminalInteractiveShell"


class Runners(Protocol):
    """What is needed of IPython."""

    loop_runner: object
    loop_runner_map: dict[str, tuple[object, bool]]


class CellRunner:
    """Runs a cell in the loop of IPython."""

    def __call__(self, cell: Coroutine[object, object, T]) -> T:
        """Run it to its end.

        Raises:
            KeyboardInterrupt: If it is interrupted again while it ends.
        """
        find: Any = get_asyncio_loop
        loop: asyncio.AbstractEventLoop = find()
        task = loop.create_task(cell)
        try:
            return loop.run_until_complete(task)
        except KeyboardInterrupt:
            if task.done():  # its own code was interrupted
                raise
            task.cancel("interrupted by Ctrl-C")
            with suppress(asyncio.CancelledError):
                return loop.run_until_complete(task)  # IPython has shown by which error it ended
            raise

    def __str__(self) -> str:
        return _ASYNCIO


def install(shell: Runners) -> None:
    """Let Ctrl-C cancel the cells of a terminal."""
    names = {base.__name__ for base in type(shell).__mro__}
    if _TERMINAL not in names or "loop_runner_map" in vars(shell):
        return
    runner = CellRunner()
    shell.loop_runner_map = {**shell.loop_runner_map, _ASYNCIO: (runner, True)}
    if str(shell.loop_runner) == _ASYNCIO:
        shell.loop_runner = runner


def remove(shell: Runners) -> None:
    """Take it back."""
    if "loop_runner_map" not in vars(shell):
        return
    del shell.loop_runner_map
    if isinstance(shell.loop_runner, CellRunner):
        shell.loop_runner = shell.loop_runner_map[_ASYNCIO][0]
