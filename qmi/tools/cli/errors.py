"""How a command ends: exit codes, and errors that are for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qmi.errors import QMI_ConfigurationException, QMI_Exception, QMI_UsageException

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

DEBUG_VARIABLE = "QMI_DEBUG"
"""With any value, errors are shown with their tracebacks, and the log is on standard error."""


class CommandError(QMI_Exception):
    """A command could not do what was wanted; its text is for the user.

    Args:
        text: What was found, what was expected, what to do.
        code: The exit code.
    """

    def __init__(self, text: str, code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.code = code


def code_of(error: BaseException) -> int:
    """The exit code of a command that ended by an error."""
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_USAGE if isinstance(error, QMI_UsageException | QMI_ConfigurationException) else EXIT_FAILED


@contextmanager
def user_errors(where: str) -> Iterator[None]:
    """Turn what a driver raises into the error of a command, with the name of what failed.

    Args:
        where: What is called.
    """
    try:
        yield
    except (QMI_Exception, BrokenPipeError):
        raise
    except Exception as error:  # of a driver; it is raised again
        raise CommandError(f"{where} failed: {type(error).__name__}: {error}") from error
