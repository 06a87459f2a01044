"""Random bytes that nobody can guess: what ``secrets`` offers, without the hashing that it imports (5 ms)."""

from __future__ import annotations

import os

__all__ = ["random_bytes"]


def random_bytes(count: int) -> bytes:
    """So many bytes from the operating system."""
    return os.urandom(count)
