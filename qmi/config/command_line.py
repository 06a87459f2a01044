"""How tools that are commands of ``qmi``, too, tell errors: there, each is one line that begins with ``qmi:``.

By their own names (``qmi_proc``, ``python -m qmi.tools.certs``) they print what they always did.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

_COMMAND = "qmi "


class ToolParser(argparse.ArgumentParser):
    """A parser of a tool; the parsers of its subcommands are such, too."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            SystemExit: Always, with 2.
        """
        if not is_command(self.prog):
            super().error(message)
        self.exit(2, f"qmi: {message}; see '{self.prog} --help'\n")


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
