"""What an actor needs of the context that it lives in, and what its parts need of the actor.

The parts (:mod:`qmi.actors.lock_manager`, :mod:`qmi.actors.streams`) know the actor by these protocols alone, so that
imports go one way: the actor knows its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol

from qmi.actors.future import Callee, Turn
from qmi.actors.mailbox import Mailbox
from qmi.actors.worker import Worker
from qmi.messages import Origin
from qmi.names import Address
from qmi.records import NamedTuple
from qmi.runtime.call_context import Facade
from qmi.runtime.wakeup import Loop


class ActorServices(Protocol):
    """What an actor needs of the context that it lives in."""

    loop: Loop
    origin: Origin

    @property
    def facade(self) -> Facade:
        """The context as blocking code sees it."""

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task in the context's nursery; False if that takes no more. On the loop only."""

    def address_of(self, origin: Origin) -> str:
        """Where a context is, for people; empty for this one, and for one that there is no link to."""

    def start_worker(self, worker: Worker) -> None:
        """Give a worker its thread. From any thread."""

    def tell_former_holder(self, where: str, former: Origin, by: str, reason: str) -> None:
        """Tell a context that its lock on an object was taken by force. Never waits."""


class OpenStream(Protocol):
    """A generator that was given to a caller, as the actor sees it."""

    is_async: bool

    def close(self) -> object:
        """End it where it stands; in the loop, something to await."""

    async def finish(self) -> None:
        """The same for who is in the loop."""


class StreamActor(Callee, Protocol):
    """What a stream needs of its actor."""

    def enter(self, turn: Turn) -> None:
        """Put a turn in line, and see to it if it is its turn already."""

    def forget_stream(self, stream: OpenStream) -> None:
        """A stream has ended."""


class LockedActor(Protocol):
    """What a lock needs of its actor."""

    address: Address
    where: str
    mailbox: Mailbox[Turn]
    host: ActorServices

    def enter(self, turn: Turn) -> None:
        """Put a turn in line, and see to it if it is its turn already."""

    def dispatch(self, turn: Turn | None) -> None:
        """See to it that the current turn, and all that can be done at once after it, is done."""

    def spawn(self, turn: Turn, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Run a turn in the event loop; False if that has ended."""

    def explain_busy(self) -> str:
        """What keeps the object from answering, or an empty string."""

    def lock_lost(self, origin: Origin) -> Turn | None:
        """The turn that is due since the program is gone that held the lock; None if there is none."""


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
