"""What a caller sees of an error that an object raised."""

from __future__ import annotations

import threading

from qmi.errors import QMI_RuntimeException
from qmi.runtime.sigint import ProgramEnd


def text_of(error: BaseException) -> str:
    """The text of an error, whatever its author did."""
    try:
        return str(error)
    except Exception as fault:  # the author's mistake must not hide what happened
        return f"(its text cannot be shown: {type(fault).__name__})"


_BRIEF = 500


def brief_error(error: BaseException) -> str:
    """An error with its type, as a short text. Never raises, unless it is Ctrl-C that comes just now."""
    try:
        text = text_of(error)
    except BaseException as fault:
        if isinstance(fault, KeyboardInterrupt | ProgramEnd) and threading.current_thread() is threading.main_thread():
            raise
        text = f"(its text cannot be shown: {type(fault).__name__})"
    return f"{type(error).__name__}: {text}"[:_BRIEF]


def presentable(error: BaseException, where: str) -> BaseException:
    """The error as the caller gets it.

    SystemExit, KeyboardInterrupt and their like must not end the program of a caller who did not raise them. Only in
    the main thread a KeyboardInterrupt is what it seems: there Python raises it when somebody presses Ctrl-C. The same
    goes for what this library raises when the process is told to end.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, KeyboardInterrupt | ProgramEnd) and threading.current_thread() is threading.main_thread():
        return error
    wrapped = QMI_RuntimeException(f"{where} raised {type(error).__name__}: {text_of(error)}")
    wrapped.__cause__ = error
    return wrapped
