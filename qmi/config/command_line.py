"""How tools that are commands of ``qmi``, too, tell errors: there, each is one line that begins with ``qmi:``.

By their own names (``qmi_proc``, ``python -m qmi.tools.certs``) they print what they always did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import NoReturn

_COMMAND = "qmi "
_MISSING = "the following arguments are required: "


class ExplainingParser(argparse.ArgumentParser):
    """A parser whose errors name the choices that there are, and what a misspelt command probably means."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        # argparse has no public way to say this otherwise; its own text differs between versions of Python.
        if action.choices is None or value in action.choices:
            return
        choices = _listed(action.choices)
        if action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, f"must be one of {choices}, got {value!r}")
        from qmi.names import nearest

        near = nearest(str(value), map(str, action.choices))
        meant = f"did you mean {near!r}? There are" if near else "there are"
        raise argparse.ArgumentError(None, f"there is no command {value!r} of {self.prog!r}: {meant} {choices}")

    def explained(self, message: str) -> str:
        """A message of argparse, with the commands that there are if the command is what is missing."""
        missing = message.removeprefix(_MISSING)
        for action in self._actions:
            if action.nargs == argparse.PARSER and action.choices is not None and missing != message:
                names = (action.metavar, action.dest, f"{{{','.join(map(str, action.choices))}}}")
                if missing in names:
                    return f"{self.prog!r} needs a command: {_listed(action.choices)}"
        return message


def _listed(choices: Iterable[object]) -> str:
    return ", ".join(map(str, choices))


class ToolParser(ExplainingParser):
    """A parser of a tool; the parsers of its subcommands are such, too."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            SystemExit: Always, with 2.
        """
        if not is_command(self.prog):
            super().error(self.explained(message))
        self.exit(2, f"qmi: {self.explained(message)}; see '{self.prog} --help'\n")


def is_command(program: str) -> bool:
    """Whether a tool is used as a command of ``qmi``: its parser is called "qmi proc"."""
    return program.startswith(_COMMAND)


def tell_error(text: str, program: str, otherwise: str = "") -> None:
    """Say on standard error what went wrong.

    Args:
        text: The error; the faults of a configuration are several lines.
        program: How the tool was called.
        otherwise: What the error begins with if it was not called as a command of ``qmi``.
    """
    lines = [f"qmi: {line}" for line in text.splitlines()] if is_command(program) else [f"{otherwise}{text}"]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
