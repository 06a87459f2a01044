"""How races are hunted: threads that switch as often as they can, tasks in random order, thousands of rounds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROUNDS = int(os.environ.get("QMI_RACE_ROUNDS", "0"))
"""Rounds of each hunt; 0 takes what each test takes for a quick one (``make races`` takes many more)."""
_MANY = 50
"""So many threads do not keep the ones of a hunt from their work."""


LIMIT = 20.0 + ROUNDS / 20
"""How long anything that is waited for may take, in seconds: longer where there are more rounds of it."""


def many(quick: int) -> int:
    """How much of something to do."""
    return ROUNDS or quick


def rounds(quick: int) -> Iterator[int]:
    """Try so often; a quick hunt ends early on a machine that is busy with other things."""
    end = time.monotonic() + (2.0 if not ROUNDS else float("inf"))
    for number in range(many(quick)):
        if number and time.monotonic() > end:
            return
        yield number


@contextmanager
def restless_threads() -> Iterator[None]:
    """Let the interpreter switch threads whenever it can; in the quick run, as often as a busy machine can bear."""
    let_idle_threads_end()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-9 if ROUNDS else 2e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def let_idle_threads_end() -> None:
    """Wait until the threads have ended that trio keeps for the next one who needs some, if there are many of them.

    A test may leave a thousand of them behind, which end by themselves 10 s later, all in the same moment. Restless
    threads would take the interpreter from each other then, a thousand at a time, and nothing moves for minutes.
    """
    if threading.active_count() < _MANY:
        return
    end = time.monotonic() + 15
    for thread in threading.enumerate():
        if thread.name.startswith("Trio thread"):  # the others are at work, and have the name of what they do
            thread.join(max(0.0, end - time.monotonic()))


def at_once(*functions: Callable[[], object]) -> None:
    """Run functions in threads that begin together; raises what one of them raises, and if one of them hangs."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            barrier.wait(LIMIT)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
