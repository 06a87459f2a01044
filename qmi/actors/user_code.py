"""Which line of a stack is the driver's: for messages that say where something stands.

A stack has layers that nobody is helped by: this library, trio, and the standard library, in which a driver sleeps or
reads a socket. Own files are known by the package that they are in, wherever it is installed; what a user writes and
what a user could have written (the drivers of this package) is the driver's.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FrameType

import trio

_PACKAGE = Path(__file__).parents[1]
_LIKE_USERS = tuple(f"{_PACKAGE / name}{os.sep}" for name in ("instruments", "tools"))
_OWN = f"{_PACKAGE}{os.sep}"
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_TRIO = f"{Path(trio.__file__).parent}{os.sep}"


@cache
def _standard() -> tuple[str, ...]:
    import sysconfig  # which takes as long to import as a tenth of this library

    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)}
    return tuple(f"{path}{os.sep}" for path in paths if path)


def is_drivers(filename: str) -> bool:
    """Whether a file belongs to a driver or to what a driver uses, not to what runs it."""
    if filename.startswith(_LIKE_USERS):
        return True
    if filename.startswith(("<frozen", _OWN)):
        return False
    if filename.startswith(_TRIO):
        return False
    # Installed packages lie below the standard library.
    return not filename.startswith(_standard()) or any(part in filename for part in _INSTALLED)


def line_of_driver(entries: Iterable[traceback.FrameSummary]) -> str:
    """The innermost line of a stack that is a driver's: ``file:line in function``, or an empty string.

    Args:
        entries: The stack, outermost first.
    """
    for entry in reversed(list(entries)):
        if is_drivers(entry.filename):
            return f"{entry.filename}:{entry.lineno} in {entry.name}"
    return ""


def line_in_thread(frame: FrameType, outermost: str) -> str:
    """The same for a thread, looking no further out than a function of this library.

    Args:
        frame: Where the thread stands.
        outermost: File of the function that runs everything else in the thread.
    """
    stack = traceback.extract_stack(frame)
    base = max((index for index, entry in enumerate(stack) if entry.filename == outermost), default=-1)
    return line_of_driver(stack[base + 1 :])
