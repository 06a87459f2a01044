from __future__ import annotations

import threading
from collections.abc import Callable

import trio


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody announces; the caller's time limit ends it."""
    while not condition():
        await trio.sleep(0.001)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    tick = threading.Event()
    for _ in range(20_000):
        if condition():
            return
        tick.wait(0.0005)
    raise AssertionError("it never came to that")
