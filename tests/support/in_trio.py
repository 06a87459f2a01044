from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

import trio

T = TypeVar("T")


@overload
def in_trio(function: Callable[..., Awaitable[None]], /) -> Callable[..., None]: ...


@overload
def in_trio(*, limit: float) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]: ...


def in_trio(function: Callable[..., Awaitable[None]] | None = None, /, *, limit: float = 20.0) -> Any:
    """Make a test of an async function: it runs in a loop of its own.

    Args:
        function: The test.
        limit: How long it may take, in seconds.
    """
    if function is None:
        return functools.partial(_in_trio, limit=limit)
    return _in_trio(function, limit=limit)


def _in_trio(function: Callable[..., Awaitable[None]], *, limit: float) -> Callable[..., None]:
    @functools.wraps(function)
    def test(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            with trio.fail_after(limit):
                await function(*args, **kwargs)

        trio.run(main)

    return test


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody announces; the caller's time limit ends it."""
    while not condition():
        await trio.sleep(0.001)
