"""The command ``qmi``: finds the command that is meant, runs it, and makes an exit code of how that went.

0: as wanted. 1: something failed. 2: the command line or the configuration is wrong. 130: Ctrl-C.

Nothing is imported here but what ``qmi --help`` needs: neither trio nor rich.
"""

from __future__ import annotations

import _thread
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from qmi._version import __version__
from qmi.errors import QMI_ConfigurationException, QMI_Exception, QMI_UsageException
from qmi.tools.cli.commands import GROUPS, Command, find, names
from qmi.tools.cli.errors import (
    DEBUG_VARIABLE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    code_of,
)
from qmi.tools.cli.options import make_parser, split
from qmi.tools.cli.terminal import Nowhere, Terminal, one_line

COMPLETE = "__complete"
"""The command that the scripts of shells call."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        arguments: The command line without the name of the program; None for that of this process.

    Returns:
        The exit code.
    """
    sys.stdout = sys.stdout or Nowhere()
    sys.stderr = sys.stderr or Nowhere()
    terminal = Terminal()
    own = arguments is None
    if own:
        sys.unraisablehook = _notice_ctrl_c
    try:
        try:
            code = carry_out(list(sys.argv[1:] if arguments is None else arguments), terminal)
        finally:
            terminal.flush()
    except BrokenPipeError:
        # The reader had enough (as in "| head"). Nothing is left to flush when Python exits.
        terminal.abandon()
        code = EXIT_FAILED
    except SystemExit as end:  # of a parser, after --help or a wrong command line of another tool
        code = end.code if isinstance(end.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception as error:  # the boundary: whatever went wrong is one line, and an exit code
        code = _tell(error, terminal)
    if own:
        # Nothing is left to interrupt: a second Ctrl-C would only print how Python ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _notice_ctrl_c(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupt again if Ctrl-C came where Python ignores exceptions, such as in what an import does at its end."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # From another thread: this one has left the place that ignores exceptions before that thread begins, and if it
        # is in the next such place, this function is called once more.
        if sys.platform == "win32":
            _thread.start_new_thread(_thread.interrupt_main, ())
        else:
            _thread.start_new_thread(signal.pthread_kill, (_thread.get_ident(), signal.SIGINT))
    else:
        sys.__unraisablehook__(unraisable)


def carry_out(arguments: list[str], terminal: Terminal) -> int:
    """Carry out a command line; errors are raised.

    Args:
        arguments: The command line without the name of the program.
        terminal: Where to print.

    Returns:
        The exit code.
    """
    if arguments[:1] == [COMPLETE]:
        return _complete(arguments[1:], terminal)
    before, name, rest = split(arguments)
    if name == "help" and rest:  # as in git
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        terminal.write(help_text())
        return EXIT_OK
    if not name:
        if before:
            raise QMI_UsageException("there are options and no command; see 'qmi --help'")
        terminal.write(help_text())
        return EXIT_USAGE
    if name == "--version":
        terminal.write(f"qmi {__version__}")
        return EXIT_OK
    command = find(name)
    if command is None:
        raise QMI_UsageException(_unknown(name))
    module = importlib.import_module(command.module)
    if command.main:
        code: object = getattr(module, command.main)([*rest, *before], f"qmi {name}")
    else:
        described = module.__dict__.get("DESCRIPTION") or command.help
        parser = make_parser(f"qmi {name}", described, add_help=not module.__dict__.get("OWN_HELP"))
        module.add_arguments(parser)
        given = parser.parse_command([*before, *rest])
        terminal.json = given.json
        code = module.run(given, terminal)
    return code if isinstance(code, int) else EXIT_OK


def _complete(arguments: list[str], terminal: Terminal) -> int:
    """Tell a shell what the word at the cursor can become; whatever goes wrong, that is nothing."""
    from qmi.tools.cli.candidates import answer
    from qmi.tools.cli.fetch import fetch

    try:
        found = answer(arguments, fetch)
    except Exception:  # the boundary: an error would be printed into the line that is being typed
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return EXIT_FAILED
    terminal.out.write(found)
    return EXIT_OK


def _tell(error: Exception, terminal: Terminal) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        import traceback

        terminal.err.write("".join(traceback.format_exception(error)))
    elif isinstance(error, QMI_ConfigurationException):
        terminal.error(str(error))  # a line for each fault
    elif isinstance(error, QMI_Exception):
        terminal.error(one_line(str(error)))
    elif isinstance(error, OSError) and error.strerror:
        terminal.error(one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror))
    else:
        terminal.error(one_line(f"{type(error).__name__}: {error} ({DEBUG_VARIABLE}=1 shows where)"))
    return code_of(error)


def _unknown(name: str) -> str:
    from qmi.names import nearest

    near = nearest(name, names())
    return f"there is no command {name!r}" + (f": did you mean {near!r}?" if near else "; see 'qmi --help'")


def help_text() -> str:
    """What ``qmi --help`` prints."""
    width = max(map(len, names()))
    lines = [
        "usage: qmi COMMAND [arguments] [options]",
        "",
        "Look at a laboratory of contexts, and steer it. An object is written CONTEXT.OBJECT, what it has",
        "CONTEXT.OBJECT.NAME.",
    ]
    for heading, commands in GROUPS.items():
        lines += ["", f"{heading}:", *(_help_line(name, command, width) for name, command in commands.items())]
    lines += [
        "",
        "options of every command:",
        "  -h, --help        show how a command is used",
        "  --config FILE     configuration file, instead of the usual one",
        "  --workgroup NAME  workgroup of the contexts, instead of the configured one",
        "  --timeout S       seconds to wait for an answer",
        "  --as NAME         name of this program for the contexts",
        "  --json            print JSON",
        "",
        "  --version         print the version of the library",
        "",
        "Exit code: 0 as wanted, 1 something failed, 2 the command line or the configuration is wrong, 130 Ctrl-C.",
    ]
    return "\n".join(lines)


def _help_line(name: str, command: Command, width: int) -> str:
    return f"  {name:<{width}}  {command.help}"


if __name__ == "__main__":
    sys.exit(main())
