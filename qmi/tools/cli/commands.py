"""Which commands there are. A new command is a line here and a module; nothing else knows of it.

The module of a command has two functions, and is imported only when the command is chosen::

    def add_arguments(parser: CommandParser) -> None: ...
    def run(arguments: Namespace, terminal: Terminal) -> int: ...   # the exit code

It may have a ``DESCRIPTION`` for its help, and ``OWN_HELP = True`` if it answers ``--help`` itself.
A command that another tool carries out (``main`` is its function) gets the rest of the command line as it was typed.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
        help: What it does, in a line.
        module: The module that does it.
        main: For another tool: its function there. It takes the arguments and the name of the command, and returns
            the exit code.
        parser: What makes the parser of such a tool, of the name of the command: ``"module:function"``.
    """

    help: str
    module: str
    main: str = ""
    parser: str = ""


GROUPS: dict[str, dict[str, Command]] = {
    "look": {
        "ls": Command("show the contexts that there are, and what is in them", "qmi.tools.cli.ls"),
        "devices": Command("show what is plugged in, and how it is reached", "qmi.tools.cli.devices"),
        "doctor": Command("look at what a laboratory stands on, and say what to do", "qmi.tools.cli.doctor"),
        "web": Command("show the laboratory in a browser", "qmi.tools.cli.web"),
        "log": Command("show what contexts have logged, and follow it", "qmi.tools.cli.log"),
        "shell": Command("start IPython with what is in the contexts, by its names", "qmi.tools.cli.shell"),
    },
    "objects": {
        "call": Command("call a method of an object, or list its methods", "qmi.tools.cli.call"),
        "get": Command("read parameters of objects", "qmi.tools.cli.parameters"),
        "set": Command("set a parameter of an object", "qmi.tools.cli.parameters"),
        "snapshot": Command(
            "show or keep all parameters of an object, or what has changed", "qmi.tools.cli.parameters"
        ),
        "monitor": Command("print signals and parameters as they come", "qmi.tools.cli.monitor"),
        "lock": Command("lock an object while the command runs", "qmi.tools.cli.locks"),
        "reserve": Command("reserve an object for something, until it is unlocked", "qmi.tools.cli.locks"),
        "unlock": Command("give a reservation back, or take a lock away", "qmi.tools.cli.locks"),
        "restore": Command("set what differs from a snapshot in a file", "qmi.tools.cli.parameters"),
    },
    "data": {
        "data": Command("find, show, plot, follow and export runs", "qmi.tools.cli.data"),
        "scan": Command("see and steer scans and queues of scans, and begin one", "qmi.tools.cli.scan"),
    },
    "programs": {
        "config": Command("check a configuration file, or show the settings in force", "qmi.tools.cli.config"),
        "proc": Command(
            "start, stop and watch the programs of the configuration",
            "qmi.tools.proc",
            "main",
            "qmi.proc.arguments:make_parser",
        ),
        "site": Command("start, stop and look at the servers that contexts exchange signals by", "qmi.tools.cli.site"),
        "serve": Command(
            "serve the instruments and tasks that the configuration lists",
            "qmi.tools.serve",
            "main",
            "qmi.tools.serve:make_parser",
        ),
    },
    "drivers and certificates": {
        "driver": Command(
            "begin, check and describe a driver of your own",
            "qmi.tools.driver.cli",
            "main",
            "qmi.tools.driver.cli:make_parser",
        ),
        "drivers": Command(
            "fetch drivers that others wrote", "qmi.tools.drivers", "main", "qmi.tools.drivers:make_parser"
        ),
        "certs": Command(
            "make the certificates of contexts, for TLS", "qmi.tools.certs", "main", "qmi.tools.certs:make_parser"
        ),
    },
    "this command": {
        "completion": Command("print what makes a shell complete the commands of qmi", "qmi.tools.cli.completion"),
    },
}
"""Heading in the help -> name of the command -> the command."""


def find(name: str) -> Command | None:
    """The command of that name; None if there is none."""
    return next((commands[name] for commands in GROUPS.values() if name in commands), None)


def names() -> list[str]:
    """The names of all commands, in the order of the help."""
    return [name for commands in GROUPS.values() for name in commands]
