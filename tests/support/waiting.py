from __future__ import annotations

from collections.abc import Callable

import trio


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody announces; the caller's time limit ends it."""
    while not condition():
        await trio.sleep(0.001)
