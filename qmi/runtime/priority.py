"""How programs that show things stand back behind programs that measure."""

from __future__ import annotations

import os
from contextlib import suppress

LESS = 5
"""Of the system's 19 steps; where both want a processor, who measures gets three quarters of it."""


def give_way() -> None:
    """Have programs that measure go first, where this one and they want the same processor."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(LESS)
