"""How long a test that runs in trio may take, before pytest-timeout ends the whole run of the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

import pytest
import trio

FRACTION = 0.8
"""How much of the time limit of pytest-timeout a test has, until it alone fails, at the ``await`` where it hangs."""


def limit_trio_tests(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Have pytest-trio run each async test with a limit; call it before pytest-trio marks the tests itself."""
    default = config.getoption("timeout") or float(config.getini("timeout") or 0.0)
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds = mark.args[0] if mark else default
        if trio_test(item) and seconds:
            item.add_marker(pytest.mark.trio(run=partial(run_within, FRACTION * seconds)))


def trio_test(item: pytest.Item) -> bool:
    """Whether pytest-trio runs this test."""
    function = getattr(item, "obj", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return iscoroutinefunction(function)


def run_within(
    seconds: float, function: Callable[[], Awaitable[None]], *, clock: trio.abc.Clock | None, **rest: Any
) -> None:
    async def limited() -> None:
        with trio.fail_after(
            seconds if clock is None else float("inf")
        ):  # a clock of the test jumps as far as it likes
            await function()

    trio.run(limited, clock=clock, **rest)
