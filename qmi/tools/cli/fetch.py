"""Asks the network for names to complete, for 300 ms at most; what comes later is not waited for."""

from __future__ import annotations

import threading
from argparse import Namespace

from qmi.errors import QMI_Exception
from qmi.names import Address
from qmi.tools.cli.completion_cache import Cache, file_of, learn
from qmi.tools.cli.options import COMMON

LONGEST = 0.3
"""How long the network is waited for, in seconds."""
_QUIET = 0.06
"""No more contexts answer if none has for so long, in seconds."""


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
    from qmi.tools.cli.session import Laboratory, lab_of

    if name:
        import qmi.peers.references  # noqa: F401

    try:
        lab = lab_of(Namespace(**{**COMMON, "config": config, "workgroup": workgroup, "timeout": LONGEST}))
    except QMI_Exception:
        return Cache()
    lab.quiet = _QUIET

    def ask(lab: Laboratory) -> None:
        try:
            if name:
                ls_object.describe(lab, str(Address(context, name)))
            elif context:
                overview.look(lab, [context])
            else:
                lab.discover()
        except (QMI_Exception, ValueError):  # then nothing more is known
            pass
        finally:
            done.set()

    done = threading.Event()
    # A daemon: names of hosts, which no timeout ends, are looked up in it.
    threading.Thread(target=ask, args=(lab,), daemon=True).start()
    if not done.wait(LONGEST):
        return Cache()
    learn(file_of(config, workgroup), lab.learned)
    return lab.learned
