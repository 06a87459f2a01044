"""Asks the network for names to complete, for 300 ms at most; what comes later is not waited for."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from qmi.errors import QMI_Exception
from qmi.names import Address
from qmi.runtime.flags import Flag
from qmi.tools.cli.completion_cache import Cache, file_of, learn
from qmi.tools.cli.options import COMMON

if TYPE_CHECKING:
    from qmi.tools.cli.session import Laboratory

T = TypeVar("T")

LONGEST = 0.3
"""How long the network is waited for, in seconds."""
_QUIET = 0.06
"""No more contexts answer if none has for so long, in seconds."""


def in_time(ask: Callable[[Laboratory], T], config: str, workgroup: str = "") -> T | None:
    """Ask something of a laboratory, for completion; None if it takes too long, or fails.

    Args:
        ask: Asks it; called in another thread.
        config: As given with ``--config``.
        workgroup: As given.
    """
    from qmi.tools.cli.session import lab_of

    try:
        lab = lab_of(Namespace(**{**COMMON, "config": config, "workgroup": workgroup, "timeout": LONGEST}))
    except QMI_Exception:
        return None
    lab.quiet = _QUIET
    found: list[T] = []

    def run() -> None:
        try:
            found.append(ask(lab))
        except (QMI_Exception, ValueError):  # then nothing is known
            pass
        finally:
            done.set()

    done = Flag()
    # A daemon: names of hosts, which no timeout ends, are looked up in it.
    threading.Thread(target=run, daemon=True).start()
    done.wait(LONGEST)
    return found[0] if found else None


def fetch(config: str, workgroup: str, context: str, name: str) -> Cache:
    """Ask for contexts, the objects of a context, or what an object offers, and remember what comes.

    Args:
        config: As given with ``--config``.
        workgroup: As given.
        context: The context; empty for all contexts.
        name: The object; empty for all objects.
    """
    # What takes time here, and is no waiting for the network.
    from qmi.tools.cli import ls_object, overview

    def ask(lab: Laboratory) -> Cache:
        with suppress(QMI_Exception, ValueError):  # then nothing more is known
            if name:
                ls_object.describe(lab, str(Address(context, name)))
            elif context:
                overview.look(lab, [context])
            else:
                lab.discover()
        return lab.learned

    learned = in_time(ask, config, workgroup)
    if learned is None:
        return Cache()
    learn(file_of(config, workgroup), learned)
    return learned
