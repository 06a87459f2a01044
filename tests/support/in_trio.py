from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

T = TypeVar("T")


def in_trio(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of an async function: it runs in a loop of its own, and for 20 s at most."""

    @functools.wraps(function)
    def test(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            with trio.fail_after(20):
                await function(*args, **kwargs)

        trio.run(main)

    return test


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody announces; the caller's time limit ends it."""
    while not condition():
        await trio.sleep(0.001)
