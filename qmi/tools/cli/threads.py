"""Many questions at once, each in a thread that nobody has to wait for at the end of the command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from qmi.runtime.flags import take

A = TypeVar("A")
R = TypeVar("R")

_AT_ONCE = 16


def each(function: Callable[[A], R], arguments: Sequence[A], *, at_once: int = _AT_ONCE) -> list[R]:
    """Call a function for each argument, in daemon threads; Ctrl-C ends the wait at once.

    Args:
        function: The function.
        arguments: The arguments.
        at_once: How many threads there are at most.

    Returns:
        The results, in the order of the arguments.

    Raises:
        BaseException: The first error of a call.
    """
    if len(arguments) < 2:
        return [function(argument) for argument in arguments]
    work: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[tuple[int, R | None, BaseException | None]] = SimpleQueue()
    for number in range(len(arguments)):
        work.put(number)

    def run() -> None:
        while True:
            try:
                number = work.get_nowait()
            except Empty:
                return
            try:
                done.put((number, function(arguments[number]), None))
            except BaseException as error:  # noqa: BLE001 - goes to the caller
                done.put((number, None, error))

    for _ in range(min(at_once, len(arguments))):
        threading.Thread(target=run, name="qmi", daemon=True).start()
    results: dict[int, R] = {}
    for _ in arguments:
        number, result, error = take(done)
        if error is not None:
            raise error
        results[number] = result  # type: ignore[assignment]
    return [results[number] for number in range(len(arguments))]
