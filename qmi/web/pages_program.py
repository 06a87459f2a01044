"""The program that serves the pages of a section ``web``: ``python -m qmi.web.pages_program CONTEXT --config FILE``.

It is started by :mod:`qmi.web.pages_process`, to which it tells a line of JSON when the pages are served or when they
cannot be, and an empty object every few seconds. It ends when its standard input does: that is a pipe, which the system
closes with the other program whatever has ended that.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence

import trio

from qmi.config.command_line import ToolParser
from qmi.config.loader import load_config
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_Exception
from qmi.runtime.priority import give_way
from qmi.web.needed import not_installed
from qmi.web.options import Options, configured_options

_logger = logging.getLogger("qmi.web")

BEAT = 5.0
"""How often the other program is told that this one goes on, in seconds."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = ToolParser(prog="python -m qmi.web.pages_program", description="Serve the pages of a context.")
    parser.add_argument("context", help="name of the context that has the section web")
    parser.add_argument("--config", default="", metavar="FILE", help="configuration file, instead of the usual one")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the pages until standard input ends; returns the exit code."""
    given = make_parser().parse_args(arguments)
    try:
        config = load_config(given.config)
        trio.run(_serve, config, configured_options(config, given.context))
    except Exception as error:  # noqa: BLE001 - the boundary: whoever has started this is told, whatever it is
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(config: CfgQmi, options: Options) -> None:
    try:
        from qmi.web.server import serve
    except ImportError as error:
        raise not_installed(error) from error
    # No nursery is around it: what ends this program by a signal comes out of it as it is.
    with trio.CancelScope() as scope:
        trio.lowlevel.spawn_system_task(_end_with_parent, scope)
        trio.lowlevel.spawn_system_task(_beat)
        await serve(config, options, _say_nothing, task_status=_Teller(options))


class _Teller:
    """Tells whoever has started this that the pages are served.

    Args:
        options: How.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def started(self, value: str, /) -> None:
        """Tell the address."""
        _tell({"address": value, "token_file": self._options.token_file, "pid": os.getpid()})


async def _end_with_parent(scope: trio.CancelScope) -> None:
    # os.read and not sys.stdin: a thread that waits with the lock of a buffer in its hands keeps Python from ending.
    # The thread is left behind when this is cancelled.
    while await trio.to_thread.run_sync(_read, abandon_on_cancel=True):
        pass
    scope.cancel()


async def _beat() -> None:
    """Tell that this program is not frozen, nor its event loop held up: nothing, again and again."""
    while True:
        _tell({})
        await trio.sleep(BEAT)


def _read() -> bytes:
    try:
        return os.read(0, 512)
    except OSError:  # it was closed from the beginning
        return b""


def _say_nothing(text: str) -> None:
    """The token stands in its file, and not in what somebody prints."""


def _failed(error: Exception) -> int:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, QMI_Exception):
        why = str(error)
    else:
        _logger.error("The pages are served no longer", exc_info=error)
        why = f"{type(error).__name__}: {error}"
    _tell({"why": " ".join(why.split())})
    return 1


def _tell(told: dict[str, object]) -> None:
    try:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody is there any more, and this program ends soon
        pass


if __name__ == "__main__":
    give_way()
    sys.exit(main())
