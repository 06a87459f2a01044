"""Which requests of a link are open, in both directions, and how each of them ends exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from qmi.errors import QMI_NotDeliveredException, QMI_OutcomeUnknownException, QMI_RuntimeException
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    Failure,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
    Signal,
    Subscribe,
    Unsubscribe,
)
from qmi.net.events import CancelReceived, Event, ReplyReceived
from qmi.net.frames import ProtocolError

_VERBS: dict[type, str] = {
    Acquire: "lock",
    Release: "unlock",
    ForceRelease: "force_unlock",
    QueryLock: "is_locked",
    QueryStatistics: "statistics",
    Describe: "describe",
    Subscribe: "subscribe",
    Unsubscribe: "unsubscribe",
}
MAX_CREDIT = 1 << 20


def describe(message: Request | Signal) -> str:
    """Name object and method of a message, for a person."""
    if type(message) is Call:
        return f"{message.object}.{message.method}"
    if isinstance(message, Signal):
        return f"{message.object}.{message.signal}"
    return f"{message.object}.{_VERBS[type(message)]}"


class Phase(Enum):
    """Where a request of this side stands."""

    QUEUED = auto()
    SENT = auto()
    STREAMING = auto()
    CANCELLED = auto()


@dataclass(slots=True)
class Asked:
    """A request of this side.

    Attributes:
        what: Object and method.
        phase: Where it stands.
        credit: Items of its stream that the other side may still send.
    """

    what: str
    phase: Phase = Phase.QUEUED
    credit: int = 0


@dataclass(slots=True)
class Served:
    """A request of the other side, until this side has answered it.

    Attributes:
        streaming: Whether the answer is a stream.
        credit: Items that this side may still send.
        cancelled: Whether nobody waits for the answer any more.
    """

    streaming: bool = False
    credit: int = 0
    cancelled: bool = False


class OpenRequests:
    """The requests of both sides; numbers only ever grow, so that no late answer meets a new request.

    Args:
        limit: How many may be open in each direction.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._last_asked = 0
        self._last_served = 0
        self._asked: dict[int, Asked] = {}
        self._served: dict[int, Served] = {}

    @property
    def asked_count(self) -> int:
        """Requests of this side that have no answer yet, cancelled ones included."""
        return len(self._asked)

    @property
    def served_count(self) -> int:
        """Requests of the other side that have no answer yet."""
        return len(self._served)

    @property
    def is_full(self) -> bool:
        """Whether this side may open no more requests."""
        return len(self._asked) >= self.limit

    def too_many(self, what: str, peer: str) -> QMI_NotDeliveredException:
        """Return the error of a request that cannot be opened because of all the others."""
        return QMI_NotDeliveredException(
            f"{what} was not sent to {peer}: {self.limit} requests to it have no answer yet, which is the limit"
        )

    def ask(self, what: str) -> int:
        """Open a request of this side."""
        self._last_asked += 1
        self._asked[self._last_asked] = Asked(what)
        return self._last_asked

    def handed_over(self, number: int) -> None:
        """The transport is about to get the first byte of a request."""
        asked = self._asked.get(number)
        if asked is not None and asked.phase is Phase.QUEUED:
            asked.phase = Phase.SENT

    def cancel(self, number: int) -> bool:
        """Stop waiting for a request of this side; True if the other side must be told."""
        asked = self._asked.get(number)
        if asked is None or asked.phase is Phase.CANCELLED:
            return False
        if asked.phase is Phase.QUEUED:
            del self._asked[number]
            return False
        asked.phase = Phase.CANCELLED
        return True

    def answered(self, number: int, *, by_value: bool = False) -> bool:
        """The other side ended a request of this side; False if nobody waits for it any more.

        Raises:
            ProtocolError: If it was never asked, or is a stream and ended by a value.
        """
        asked = self._find_asked(number)
        if by_value and asked.phase is Phase.STREAMING:
            raise ProtocolError(f"request {number} is a stream, but was answered by a value")
        del self._asked[number]
        return asked.phase is not Phase.CANCELLED

    def stream_opened(self, number: int) -> bool:
        """The answer is a stream; False if nobody waits for it any more.

        Raises:
            ProtocolError: If it was never asked, or is a stream already.
        """
        asked = self._find_asked(number)
        if asked.phase is Phase.CANCELLED:
            return False
        if asked.phase is Phase.STREAMING:
            raise ProtocolError(f"request {number} was answered by a second stream")
        asked.phase = Phase.STREAMING
        return True

    def give_credit(self, number: int, count: int) -> bool:
        """This side takes more items; False if the stream has ended.

        Raises:
            QMI_RuntimeException: If the number of items makes no sense.
        """
        asked = self._asked.get(number)
        if asked is None or asked.phase is not Phase.STREAMING:
            return False
        if not 0 < count <= MAX_CREDIT - asked.credit:
            raise QMI_RuntimeException(
                f"Credit for {count} items of {asked.what}: expected 1 to {MAX_CREDIT - asked.credit}"
            )
        asked.credit += count
        return True

    def item_came(self, number: int) -> bool:
        """An item came; False if nobody reads the stream any more.

        Raises:
            ProtocolError: If it was not due.
        """
        asked = self._find_asked(number)
        if asked.phase is Phase.CANCELLED:
            return False
        if asked.phase is not Phase.STREAMING or asked.credit == 0:
            raise ProtocolError(f"an item came for request {number} without credit")
        asked.credit -= 1
        return True

    def stream_ended(self, number: int) -> bool:
        """A stream ended; False if nobody reads it any more.

        Raises:
            ProtocolError: If it is no stream.
        """
        asked = self._find_asked(number)
        if asked.phase not in (Phase.STREAMING, Phase.CANCELLED):
            raise ProtocolError(f"a stream ended for request {number}, which is none")
        return self.answered(number)

    def _find_asked(self, number: int) -> Asked:
        asked = self._asked.get(number)
        if asked is None or asked.phase is Phase.QUEUED:
            raise ProtocolError(f"an answer came to request {number}, which is not open")
        return asked

    def serve(self, number: int) -> bool:
        """Open a request of the other side; False if there are too many.

        Raises:
            ProtocolError: If the number was used before.
        """
        if number <= self._last_served:
            raise ProtocolError(f"request {number} came after request {self._last_served}: numbers only ever grow")
        self._last_served = number
        if len(self._served) >= self.limit:
            return False
        self._served[number] = Served()
        return True

    def served(self, number: int) -> Served:
        """Return a request of the other side.

        Raises:
            QMI_RuntimeException: If it is not open, which is a fault of this program.
        """
        found = self._served.get(number)
        if found is None:
            raise QMI_RuntimeException(f"Request {number} is not open; it was answered already, or never came")
        return found

    def finish(self, number: int) -> None:
        """This side has answered a request."""
        del self._served[number]

    def find_served(self, number: int) -> Served | None:
        """Return a request that the other side talks about, None if it has been answered.

        Raises:
            ProtocolError: If it never came.
        """
        if number > self._last_served or number < 1:
            raise ProtocolError(f"there was no request {number}")
        return self._served.get(number)

    def lose_all(self, peer: str, reason: str) -> list[Event]:
        """End every request; returns what its owners must be told."""
        events: list[Event] = []
        for number, asked in self._asked.items():
            if asked.phase is not Phase.CANCELLED:
                events.append(ReplyReceived(number, Failure(_lost(asked, peer, reason))))
        events += [CancelReceived(number) for number, served in self._served.items() if not served.cancelled]
        self._asked.clear()
        self._served.clear()
        return events


def not_delivered(what: str, peer: str, reason: str) -> QMI_NotDeliveredException:
    """Return the error of a request that never went out."""
    return QMI_NotDeliveredException(
        f"{what} was not delivered to {peer} ({reason}); it was not carried out, repeating it is safe"
    )


def _lost(asked: Asked, peer: str, reason: str) -> Exception:
    if asked.phase is Phase.QUEUED:
        return not_delivered(asked.what, peer, reason)
    return QMI_OutcomeUnknownException(
        f"Lost {peer} during {asked.what} ({reason}); the outcome is unknown, it may or may not have been carried out"
    )
