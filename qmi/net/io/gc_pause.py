"""Keeps the garbage collector still while a large message is decoded.

Decoding makes hundreds of thousands of containers, none of which is garbage. The collector would look through all of
them again and again, for five times as long as the decoding takes, and with the interpreter in its hands.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_mutex = threading.Lock()
_resting = 0
_is_ours = False


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the collector still. Several threads may do so at once; a program that has switched it off keeps it off."""
    global _resting, _is_ours
    with _mutex:
        if not _resting and gc.isenabled():
            gc.disable()
            _is_ours = True
        _resting += 1
    try:
        yield
    finally:
        with _mutex:
            _resting -= 1
            if not _resting and _is_ours:
                _is_ours = False
                gc.enable()
