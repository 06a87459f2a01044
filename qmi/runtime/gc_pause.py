"""Keeps the garbage collector still while a lot is made of which nothing is garbage: large messages, modules."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_mutex = threading.Lock()
_pausing: dict[object, int] = {}
"""Each pause, with its thread."""
_is_ours = False


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the garbage collector still. Several threads may do so at once; a program that has none keeps it off.

    Decoding makes hundreds of thousands of containers, none of which is garbage. The collector would look through all
    of them again and again, for five times as long as the decoding takes, and with the interpreter in its hands.
    """
    global _is_ours
    pause = object()
    try:
        with _mutex:
            if not _pausing and gc.isenabled():
                gc.disable()
                _is_ours = True
            _pausing[pause] = threading.get_ident()
        yield
    finally:
        with _mutex:
            _pausing.pop(pause, None)  # Ctrl-C may have come before it was there
            _resume_if_last()


def _resume_if_last() -> None:
    global _is_ours
    if not _pausing and _is_ours:
        _is_ours = False
        gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Import modules of the library without the collector, which would look through what they make many times.

    Afterwards what they have made counts as old, like everything else that has been there for long: the next passes do
    not look at it. To make old what is there is all that this asks of :func:`gc.freeze`, which :func:`gc.unfreeze`
    undoes at once. The pass before is for what the program has made and dropped just now, which has to go first.
    """
    with gc_paused():
        frees = _is_ours and gc.get_freeze_count() == 0
        if frees:
            gc.collect(1)
        yield
        if frees:
            gc.freeze()
            gc.unfreeze()


def _after_fork_in_child() -> None:
    # The pauses of threads that the child does not have are over.
    global _mutex
    _mutex = threading.Lock()
    for pause in [pause for pause, thread in _pausing.items() if thread != threading.get_ident()]:
        del _pausing[pause]
    _resume_if_last()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
