"""Which requests of a link are open, in both directions, and how each of them ends exactly once."""

from __future__ import annotations

from typing import Any, NamedTuple

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
from qmi.net.protocol.bounds import MAX_CREDIT
from qmi.net.protocol.events import CancelReceived, Event, ReplyReceived
from qmi.net.protocol.frames import ProtocolError
from qmi.net.protocol.memory_estimate import Cost
from qmi.net.protocol.request_memory import Share

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


def describe(message: Request | Signal) -> str:
    """Name object and method of a message, for a person."""
    if type(message) is Call:
        return f"{message.object}.{message.method}"
    if isinstance(message, Signal):
        return f"{message.object}.{message.signal}"
    return f"{message.object}.{_VERBS[type(message)]}"


class Served(NamedTuple):
    """A request of the other side, until this side has answered it.

    Attributes:
        streaming: Whether the answer is a stream.
        credit: Items that this side may still send.
        cancelled: Whether nobody waits for the answer any more.
    """

    streaming: bool = False
    credit: int = 0
    cancelled: bool = False


_FRESH = Served()


class _Costs:
    """How much memory the large ones among the requests of one side take up.

    Args:
        limit: How much they may.

    Attributes:
        by_number: The cost of each.
    """

    __slots__ = ("_limit", "_sum", "by_number")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.by_number: dict[int, int] = {}
        self._sum = 0

    def has_room(self, cost: int) -> bool:
        """Whether one more may be open."""
        return not cost or not self.by_number or self._sum + cost <= self._limit

    def add(self, number: int, cost: int) -> None:
        """One more is open."""
        self.by_number[number] = cost
        self._sum += cost

    def remove(self, number: int) -> bool:
        """A request is not open any more; whether it was a large one."""
        cost = self.by_number.pop(number, None)
        if cost is None:
            return False
        self._sum -= cost
        return True

    def clear(self) -> None:
        """None is open any more."""
        self.by_number.clear()
        self._sum = 0


class OpenRequests:
    """The requests of both sides; numbers only ever grow, so that no late answer meets a new request.

    Args:
        limit: How many may be open in each direction.
        limit_bytes: How much memory they may take up in each direction; a single one is always allowed.
        share: What those of the other side take up, of what all links of the context may; None: nothing counts it.

    Attributes:
        last_asked: The number of the last request of this side; they are counted from 1.
        lacks_room: Whether a request of this side had to be put off because of the bytes of others, and no answer to
            one of these has come since.
    """

    def __init__(self, limit: int, limit_bytes: int = 96 << 20, share: Share | None = None) -> None:
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.lacks_room: bool = False
        self._asked_costs = _Costs(limit_bytes)
        self._served_costs = _Costs(limit_bytes)
        self._share = share
        self.last_asked: int = 0
        self._last_served = 0
        # What is open on this side, with what it is; and the few of which there is more to say. An object for each
        # would be work for the garbage collector.
        self._asked: dict[int, str] = {}
        self._queued: set[int] = set()
        self._cancelled: set[int] = set()
        self._credit: dict[int, int] = {}  # of the streams: how many items the other side may still send
        self._served: dict[int, Served] = {}

    @property
    def asked_count(self) -> int:
        """Requests of this side that have no answer yet, cancelled ones included."""
        return len(self._asked)

    @property
    def served_count(self) -> int:
        """Requests of the other side that have no answer yet."""
        return len(self._served)

    def what(self, number: int) -> str:
        """Return what a request of this side asks for, for a message."""
        return self._asked.get(number, "a request")

    @property
    def is_full(self) -> bool:
        """Whether this side may open no more requests."""
        return len(self._asked) >= self.limit

    def too_many(self, what: str, peer: str) -> QMI_NotDeliveredException:
        """Return the error of a request that cannot be opened because of all the others."""
        return QMI_NotDeliveredException(
            f"{what} was not sent to {peer}: {self.limit} requests to it have no answer yet, which is the limit"
        )

    def has_room_to_ask(self, cost: int) -> bool:
        """Whether a large request may go out. If not, :attr:`lacks_room` is set until that may have changed."""
        if cost and not self._asked_costs.has_room(cost):
            self.lacks_room = True
            return False
        return True

    def ask(self, what: str, cost: int = 0) -> int:
        """Open a request of this side, which takes up so much memory if it is a large one."""
        number = self.last_asked + 1
        self._asked[number] = what
        self._queued.add(number)
        if cost:
            self._asked_costs.add(number, cost)
        self.last_asked = number
        return number

    def _free(self, number: int) -> None:
        if self._asked_costs.remove(number):
            self.lacks_room = False

    def handed_over(self, number: int) -> None:
        """The transport is about to get the first byte of a request."""
        self._queued.discard(number)

    def taken_back(self, number: int) -> None:
        """The transport did not take the first byte of a request after all."""
        if number in self._asked and number not in self._cancelled:
            self._queued.add(number)

    def cancel(self, number: int) -> bool:
        """Stop waiting for a request of this side; True if the other side must be told."""
        if number not in self._asked or number in self._cancelled:
            return False
        if number in self._queued:
            self._queued.remove(number)
            del self._asked[number]
            self._free(number)
            return False
        self._cancelled.add(number)
        return True

    def answered(self, number: int, *, by_value: bool = False) -> bool:
        """The other side ended a request of this side; False if nobody waits for it any more.

        Raises:
            ProtocolError: If it was never asked, or is a stream and ended by a value.
        """
        if number not in self._asked or number in self._queued:
            return self._is_open(number)
        if by_value and number in self._credit and number not in self._cancelled:
            raise ProtocolError(f"request {number} is a stream, but was answered by a value")
        del self._asked[number]
        if self._asked_costs.by_number:
            self._free(number)
        self._credit.pop(number, None)
        if number in self._cancelled:
            self._cancelled.remove(number)
            return False
        return True

    def stream_opened(self, number: int) -> bool:
        """The answer is a stream; False if nobody waits for it any more.

        Raises:
            ProtocolError: If it was never asked, or is a stream already.
        """
        if not self._is_open(number) or number in self._cancelled:
            return False
        if number in self._credit:
            raise ProtocolError(f"request {number} was answered by a second stream")
        self._credit[number] = 0
        self._free(number)
        return True

    def give_credit(self, number: int, count: int) -> bool:
        """This side takes more items; False if the stream has ended.

        Raises:
            QMI_RuntimeException: If the number of items makes no sense.
        """
        credit = self._credit.get(number)
        if credit is None or number in self._cancelled:
            return False
        if not 0 < count <= MAX_CREDIT - credit:
            raise QMI_RuntimeException(
                f"Credit for {count} items of {self._asked[number]}: expected 1 to {MAX_CREDIT - credit}"
            )
        self._credit[number] = credit + count
        return True

    def item_came(self, number: int) -> bool:
        """An item came; False if nobody reads the stream any more.

        Raises:
            ProtocolError: If it was not due.
        """
        if not self._is_open(number) or number in self._cancelled:
            return False
        if not self._credit.get(number):
            raise ProtocolError(f"an item came for request {number} without credit")
        self._credit[number] -= 1
        return True

    def stream_ended(self, number: int) -> bool:
        """A stream ended; False if nobody reads it any more.

        Raises:
            ProtocolError: If it is no stream.
        """
        if not self._is_open(number):
            return False
        if number not in self._credit and number not in self._cancelled:
            raise ProtocolError(f"a stream ended for request {number}, which is none")
        return self.answered(number)

    def _is_open(self, number: int) -> bool:
        # What comes to a request that is not open any more is dropped: this side may have forgotten it, and the link is
        # for all others, too.
        if not 0 < number <= self.last_asked or number in self._queued:
            raise ProtocolError(f"an answer came to request {number}, which was not asked")
        return number in self._asked

    def has_room_to_serve(self, cost: int) -> bool:
        """Whether a large request of the other side may be open besides those that are."""
        return self._served_costs.has_room(cost)

    def note_cost(self, number: int, cost: Cost) -> None:
        """A request of the other side takes up so much memory, which was reserved, if it is open at all."""
        if number in self._served:
            self._served_costs.add(number, cost.total)
            if self._share is not None:
                self._share.assign(number)

    def free_served(self, number: int) -> None:
        """A request of the other side is answered, or is by a stream, whose items count for themselves."""
        if self._served_costs.remove(number) and self._share is not None:
            self._share.remove(number)

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
        self._served[number] = _FRESH
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

    def note(self, number: int, **changes: Any) -> None:
        """Change what is known of a request of the other side."""
        self._served[number] = self.served(number)._replace(**changes)

    def finish(self, number: int) -> None:
        """This side has answered a request."""
        del self._served[number]
        if self._served_costs.by_number:
            self.free_served(number)

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
        for number, what in self._asked.items():
            if number not in self._cancelled:
                error = self._lost(number, what, peer, reason)
                events.append(ReplyReceived(number, Failure(error)))
        events += [CancelReceived(number) for number, served in self._served.items() if not served.cancelled]
        self._asked.clear()
        self._queued.clear()
        self._cancelled.clear()
        self._credit.clear()
        self._served.clear()
        self._asked_costs.clear()
        self._served_costs.clear()
        if self._share is not None:
            self._share.clear()
        self.lacks_room = False
        return events

    def _lost(self, number: int, what: str, peer: str, reason: str) -> Exception:
        if number in self._queued:
            return not_delivered(what, peer, reason)
        return QMI_OutcomeUnknownException(
            f"Lost {peer} during {what} ({reason}); the outcome is unknown, it may or may not have been carried out"
        )


def not_delivered(what: str, peer: str, reason: str) -> QMI_NotDeliveredException:
    """Return the error of a request that never went out."""
    return QMI_NotDeliveredException(
        f"{what} was not delivered to {peer} ({reason}); it was not carried out, repeating it is safe"
    )
