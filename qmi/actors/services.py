"""What an actor needs of the context that it lives in, and what it tells about itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from qmi.actors.worker import Worker
from qmi.messages import Origin
from qmi.runtime.wakeup import Loop


class ActorServices(Protocol):
    """What an actor needs of the context that it lives in."""

    loop: Loop
    origin: Origin
    facade: Any

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""

    def address_of(self, origin: Origin) -> str:
        """Where a context is, for people; empty for this one, and for one that there is no link to."""

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread. From any thread."""


class ActorStatistics(NamedTuple):
    """What an object has done and is doing.

    Attributes:
        calls: Number of turns that it has begun.
        errors: How many of them ended by an exception.
        queue_length: Number of turns that wait.
        busy_with: What it does now, or None.
        busy_for: For how long, in seconds.
        busy_for_context: Name of the context that asked for it, or None.
        thread: Whether it has a thread of its own.
    """

    calls: int
    errors: int
    queue_length: int
    busy_with: str | None
    busy_for: float
    busy_for_context: str | None
    thread: bool
