"""Who runs this program: what others are told of somebody who reserves something."""

from __future__ import annotations

import functools
import os
import socket
import sys

from qmi.records import NamedTuple


class Identity(NamedTuple):
    """Who runs a program.

    Attributes:
        user: Name of the user.
        program: What was started: ``align.py``, ``python -m lab.align``, or ``python`` for a prompt.
        host: Name of the computer.
    """

    user: str
    program: str
    host: str


@functools.cache
def own_identity() -> Identity:
    """Who runs this one, as far as the system tells; what it does not tell is empty."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in a container
        user = ""
    return Identity(user, _program(), socket.gethostname())


def name_program(name: str) -> None:
    """Say what this program is, where the name of what was started does not: ``qmi web``.

    Args:
        name: What others are told.
    """
    global _name
    _name = name
    own_identity.cache_clear()


_name = ""


def _program() -> str:
    if _name:
        return _name
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    started = sys.argv[0] if sys.argv else ""
    return os.path.basename(started) if started not in ("", "-c", "-") else "python"
