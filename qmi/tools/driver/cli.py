"""The command line for authors of drivers: its subcommands, and what becomes of their errors.

::

    python -m qmi.tools.driver new acme_psu             # a package with driver, simulator, tests and page
    python -m qmi.tools.driver check acme_psu           # what every driver has to get right, tried on this one

A driver is named as ``MODULE:CLASS`` or ``FILE.py:CLASS``; the class may be left out where there is only one.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from qmi.config.command_line import ToolParser, tell_error
from qmi.errors import QMI_Exception
from qmi.tools.cli.errors import CommandError

COMMANDS = {
    "new": "write the package of a new driver, with simulator, tests and page",
    "check": "try on a driver what every driver has to get right, on its simulated device",
    "simulate": "serve the simulated device of a driver over TCP or on a pseudo-terminal",
    "docs": "print the tables of a driver's page: parameters, methods, signals",
    "stub": "write the types of a driver, for programs that use it from afar and do not have it",
}
"""Each command, which is a module of this package with ``add_arguments()`` and ``run()``, and what it does."""


_PROGRAM = "python -m qmi.tools.driver"


def main(arguments: Sequence[str] | None = None, program: str = _PROGRAM) -> int:
    """Carry out a command line.

    Args:
        arguments: What follows the command; None for those of this process.
        program: The name of the command, for help and errors.

    Returns:
        The exit code: 0; 1 for a failure, or for findings of ``check``; 2 for a wrong command line, or an
        address that cannot be had; 130 after Ctrl-C.
    """
    try:
        given = make_parser(program).parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    try:
        code: int = importlib.import_module(f"{__package__}.{given.command}").run(given)
    except (QMI_Exception, OSError) as error:
        tell_error(str(error), program, "error: ")
        return error.code if isinstance(error, CommandError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return code


def make_parser(program: str = _PROGRAM) -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = ToolParser(
        prog=program,
        description="Begin a driver, check it, and make from it what others need.",
        epilog="TARGET is MODULE:CLASS, such as acme_psu:AcmePsu, or FILE.py:CLASS; without :CLASS it is the only "
        "driver that the module has.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(COMMANDS)}}}")
    for name, does in COMMANDS.items():
        command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.")
        importlib.import_module(f"{__package__}.{name}").add_arguments(command)
    return parser
