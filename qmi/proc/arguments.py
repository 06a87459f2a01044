"""What may be typed behind ``qmi_proc``, and what does not go together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from qmi.config.command_line import ToolParser, is_command

COMMANDS = {
    "start": "start programs in the background",
    "stop": "stop programs: ask, then SIGTERM, then SIGKILL",
    "restart": "stop, then start; CONTEXT.OBJECT makes one instrument or task of it anew",
    "status": "show which programs run (without a name: all that are enabled)",
    "logs": "print the output of a program, of this machine or another one",
    "ps": "find all contexts that run on the network, and show what is in them",
    "server": "read 'START name' and 'STOP name [pid]' from the input; anything else ends it",
    "systemd": "write systemd user units for programs of this machine",
}

_ONLY_FOR = {
    "watch": ("--watch", ("status",)),
    "follow": ("--follow", ("logs",)),
    "output": ("--output", ("systemd",)),
    "json": ("--json", ("start", "stop", "restart", "status", "ps")),
    "all": ("--all", ("start", "stop", "restart", "status", "systemd")),
    "locals": ("--locals", ("start", "stop", "restart", "status", "systemd")),
    "names": ("a context name", ("start", "stop", "restart", "status", "logs", "systemd")),
}


class Arguments(NamedTuple):
    """A command line.

    Attributes:
        command: One of `COMMANDS`.
        names: Names of contexts.
        config: Configuration file; "" for the usual one.
        all: ``--all``
        locals: ``--locals``
        json: ``--json``
        watch: ``--watch``
        follow: ``--follow``
        output: Directory for units, or "".
    """

    command: str
    names: tuple[str, ...]
    config: str
    all: bool
    locals: bool
    json: bool
    watch: bool
    follow: bool
    output: str


def parse_arguments(arguments: Sequence[str] | None, program: str = "qmi_proc") -> Arguments:
    """Read a command line; options stand anywhere.

    Args:
        arguments: What was typed after the name of the program; None for the command line of this process.
        program: The name of the program, for help and errors.

    Raises:
        SystemExit: With 2 if it makes no sense, with 0 after ``--help``.
    """
    parser = make_parser(program)
    found = parser.parse_intermixed_args(arguments)
    if found.command is None and is_command(program):
        parser.error("say what to do, and with which contexts")
    if found.command is None:
        parser.print_help(sys.stderr)
        parser.exit(2, f"\n{program}: say what to do, and with which contexts\n")
    for name, (shown, commands) in _ONLY_FOR.items():
        if getattr(found, name) and found.command not in commands:
            parser.error(f"{shown} does not go with {found.command!r}, only with {', '.join(commands)}")
    if found.command == "logs" and len(found.names) != 1:
        parser.error("logs needs the name of one context")
    if found.watch and found.json:
        parser.error("give either --watch or --json, not both")
    return Arguments(**{**vars(found), "names": tuple(found.names)})


def make_parser(program: str) -> argparse.ArgumentParser:
    """The parser of the command line."""
    width = max(map(len, COMMANDS))
    parser = ToolParser(
        prog=program,
        usage=f"{program} command [context ...] [options]",
        description="Start, stop and watch the programs of the configuration, here and on other machines.",
        epilog="commands:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="command", help="what to do, see below")
    parser.add_argument("names", nargs="*", metavar="context", help="names of contexts of the configuration")
    parser.add_argument("--config", default="", metavar="FILE", help="configuration file, instead of the usual one")
    parser.add_argument("--all", action="store_true", help="all contexts that are enabled and have a program")
    parser.add_argument("--locals", action="store_true", help="those of them that belong on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--watch", action="store_true", help="status: keep the table up to date until Ctrl-C")
    parser.add_argument("-f", "--follow", action="store_true", help="logs: go on with what is added until Ctrl-C")
    parser.add_argument("--output", default="", metavar="DIR", help="systemd: directory, else ~/.config/systemd/user")
    return parser
