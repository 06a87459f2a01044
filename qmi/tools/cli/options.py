"""The parser of a command line, and the options that every command has."""

from __future__ import annotations

import argparse
import math
import re
import textwrap
from typing import NoReturn

from qmi.config.command_line import ExplainingParser
from qmi.errors import QMI_UsageException
from qmi.tools.cli.terminal import terminal_columns

COMMON = {"config": "", "json": False, "timeout": None, "workgroup": "", "as_name": ""}
"""What the common options are where they are not given."""

TAKE_A_VALUE = ("--config", "--timeout", "--workgroup", "--as")
_FLAGS = ("--json",)


_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


class CommandParser(ExplainingParser):
    """A parser whose errors are one line; the parsers of subcommands are such, too.

    Attributes:
        takes_command: Whether what comes after ``--`` is a command line of its own, ``command_line``.
    """

    takes_command: bool = False

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            QMI_UsageException: Always.
        """
        unknown, _, word = message.partition(": ")
        if unknown == "unrecognized arguments" and word.startswith("-"):
            from qmi.names import nearest

            option = word.split()[0].partition("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            near = nearest(option, [name for name in known if name.startswith("--")]) if option[2:] else None
            if near:
                raise QMI_UsageException(f"there is no option {option!r} of {self.prog!r}: did you mean {near!r}?")
        raise QMI_UsageException(f"{self.explained(message)}; see '{self.prog} --help'")

    def parse_command(self, arguments: list[str]) -> argparse.Namespace:
        """Read a command line; options may stand between arguments, except where there are subcommands.

        Raises:
            QMI_UsageException: If it is wrong.
        """
        for action in self._actions:
            if action.nargs == argparse.ZERO_OR_MORE and not action.option_strings:
                action.required = False  # it is named as missing otherwise, when another argument is missing
        given = argparse.Namespace(**COMMON)
        if self.takes_command and "--" in arguments:
            at = arguments.index("--")
            arguments, given.command_line = arguments[:at], arguments[at + 1 :]
        if any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions):
            return self.parse_args(arguments, given)
        return self.parse_intermixed_args(arguments, given)

    def allow_numbers(self) -> None:
        """Let ``-5V``, ``-1e-3`` and ``-inf`` be arguments and no options."""
        # argparse knows -5 and -.5 alone, and has no other way to be told.
        vars(self).update(_negative_number_matcher=_NEGATIVE)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has. A command with subcommands calls it for the parser of each of those, too.

    They have no defaults in the parser (a subcommand's would hide what was given before it), but in ``COMMON``.
    """
    group = parser.add_argument_group("options of every command")
    for names, help_text, metavar in (
        (["--config"], "configuration file, instead of the usual one", "FILE"),
        (["--workgroup"], "workgroup of the contexts, instead of the configured one", "NAME"),
    ):
        group.add_argument(*names, default=argparse.SUPPRESS, metavar=metavar, help=help_text)
    group.add_argument("--timeout", type=positive_seconds, default=argparse.SUPPRESS, metavar="S",
                       help="seconds to wait for an answer")  # fmt: skip
    group.add_argument("--as", dest="as_name", default=argparse.SUPPRESS, metavar="NAME",
                       help="name of this program for the contexts, where only operators may steer")  # fmt: skip
    group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


class HelpText(argparse.RawDescriptionHelpFormatter):
    """The help of a command, as wide as the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal_columns() - 2)


def make_parser(prog: str, description: str, *, add_help: bool = True) -> CommandParser:
    """A parser for one command.

    Args:
        prog: How the command is called.
        description: What it does.
        add_help: Whether it has the usual ``--help``; else the command has one of its own.
    """
    parser = CommandParser(
        prog=prog,
        description=textwrap.dedent(description).strip(),
        formatter_class=HelpText,
        allow_abbrev=False,
        add_help=add_help,
    )
    add_common(parser)
    return parser


def split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    """Split a command line into the options before the command, the command, and the rest."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        if arguments[place] in ("-h", "--help", "--version"):
            return arguments[:place], arguments[place], arguments[place + 1 :]
        name, equals, _ = arguments[place].partition("=")
        if name not in (*TAKE_A_VALUE, *_FLAGS):
            raise QMI_UsageException(f"there is no option {arguments[place]!r} before the command; see 'qmi --help'")
        if name in TAKE_A_VALUE and not equals:
            if place + 1 >= len(arguments):
                raise QMI_UsageException(f"{name} needs a value; see 'qmi --help'")
            place += 1
        place += 1
    if place >= len(arguments):
        return arguments, "", []
    return arguments[:place], arguments[place], arguments[place + 1 :]


def positive_seconds(text: str) -> float:
    """A number of seconds that somebody typed, for ``type=`` of an argument."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text!r}")
    return seconds


def positive_count(text: str) -> int:
    """How many things somebody wants, for ``type=`` of an argument."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return count


def row_number(text: str) -> int:
    """The number of a row that somebody typed, for ``type=`` of an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be the number of a row, 0 or more, got {text!r}")
    return int(text)


def seconds_of(text: str) -> float:
    """A length of time that somebody typed, such as ``90s``, in seconds; NaN if it is none."""
    from qmi.presenting.argument_text import duration

    try:
        return duration(text).total_seconds()
    except (ValueError, OverflowError):
        return math.nan
