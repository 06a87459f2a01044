"""What two programs say about requests on a link that is ready: calls, answers, streams, signals; and what is open.

:class:`RequestLayer` is the upper half of a :class:`~qmi.net.protocol.connection.Connection`; the lower half deals with
frames, the handshake, time and the end. What is said becomes buffers that must be written; what is heard becomes
events. Each request ends exactly once: :class:`OpenRequests` keeps book, in both directions.

Everything is called with the lock of the driver, but ``encode_*`` and ``cost_of``: these look at nothing that changes,
so that any thread may do the expensive part before it takes the lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from qmi.errors import (
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_OutcomeUnknownException,
    QMI_RuntimeException,
    QMI_UnknownRpcException,
    QMI_ValueNotSendableException,
)
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    Failure,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Reply,
    Request,
    Signal,
    Subscribe,
    Unsubscribe,
    Value,
)
from qmi.net.codec import Codec, Encoded, encode_scalars, make_encoded
from qmi.net.limits import Buffer, ProtocolError
from qmi.net.protocol.bounds import MAX_CREDIT, check_payload
from qmi.net.protocol.events import (
    CancelReceived,
    CreditReceived,
    Event,
    ItemReceived,
    PeerLost,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.fast_path import Bare, encode_call
from qmi.net.protocol.kinds import REQUEST, SIGNAL, VALUE, Kind
from qmi.net.protocol.memory_estimate import CHEAP, Cost, cost_of
from qmi.net.protocol.packets import (
    NOTHING,
    UnknownRequest,
    encode_fields,
    encode_message,
    read_request,
    read_signal,
    write_packet,
)
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
        queued: The numbers of the requests of this side of which nothing has gone out yet. Whoever writes one takes its
            number out.
        being_served: The requests of the other side that have no answer yet, by number.
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
        self.queued: set[int] = set()
        self._cancelled: set[int] = set()
        self._credit: dict[int, int] = {}  # of the streams: how many items the other side may still send
        self.being_served: dict[int, Served] = {}

    @property
    def asked_count(self) -> int:
        """Requests of this side that have no answer yet, cancelled ones included."""
        return len(self._asked)

    @property
    def served_count(self) -> int:
        """Requests of the other side that have no answer yet."""
        return len(self.being_served)

    def what(self, number: int) -> str:
        """Return what a request of this side asks for, for a message."""
        return self._asked.get(number, "a request")

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
        """Open a request of this side, which takes up so much memory if it is a large one.

        Returns:
            Its number; 0 if no more may be open.
        """
        if len(self._asked) >= self.limit:
            return 0
        number = self.last_asked + 1
        self._asked[number] = what
        self.queued.add(number)
        if cost:
            self._asked_costs.add(number, cost)
        self.last_asked = number
        return number

    def _free(self, number: int) -> None:
        if self._asked_costs.remove(number):
            self.lacks_room = False

    def taken_back(self, number: int) -> None:
        """The transport did not take the first byte of a request after all."""
        if number in self._asked and number not in self._cancelled:
            self.queued.add(number)

    def cancel(self, number: int) -> bool:
        """Stop waiting for a request of this side; True if the other side must be told."""
        if number not in self._asked or number in self._cancelled:
            return False
        if number in self.queued:
            self.queued.remove(number)
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
        if number not in self._asked or number in self.queued:
            return self._is_open(number)
        if self._credit and number in self._credit:
            if by_value and number not in self._cancelled:
                raise ProtocolError(f"request {number} is a stream, but was answered by a value")
            del self._credit[number]
        del self._asked[number]
        if self._asked_costs.by_number:
            self._free(number)
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
        if not 0 < number <= self.last_asked or number in self.queued:
            raise ProtocolError(f"an answer came to request {number}, which was not asked")
        return number in self._asked

    def has_room_to_serve(self, cost: int) -> bool:
        """Whether a large request of the other side may be open besides those that are."""
        return self._served_costs.has_room(cost)

    def note_cost(self, number: int, cost: Cost) -> None:
        """A request of the other side takes up so much memory, which was reserved, if it is open at all."""
        if number in self.being_served:
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
        if len(self.being_served) >= self.limit:
            return False
        self.being_served[number] = _FRESH
        return True

    def served(self, number: int) -> Served:
        """Return a request of the other side.

        Raises:
            QMI_RuntimeException: If it is not open, which is a fault of this program.
        """
        found = self.being_served.get(number)
        if found is None:
            raise QMI_RuntimeException(f"Request {number} is not open; it was answered already, or never came")
        return found

    def change_served(self, number: int, served: Served) -> None:
        """Change what is known of a request of the other side."""
        self.being_served[number] = served

    def finish(self, number: int) -> None:
        """This side has answered a request."""
        del self.being_served[number]
        if self._served_costs.by_number:
            self.free_served(number)

    def find_served(self, number: int) -> Served | None:
        """Return a request that the other side talks about, None if it has been answered.

        Raises:
            ProtocolError: If it never came.
        """
        if number > self._last_served or number < 1:
            raise ProtocolError(f"there was no request {number}")
        return self.being_served.get(number)

    def lose_all(self, peer: str, reason: str) -> list[Event]:
        """End every request; returns what its owners must be told."""
        events: list[Event] = []
        for number, what in self._asked.items():
            if number not in self._cancelled:
                error = self._lost(number, what, peer, reason)
                events.append(ReplyReceived(number, Failure(error)))
        events += [CancelReceived(number) for number, served in self.being_served.items() if not served.cancelled]
        self._asked.clear()
        self.queued.clear()
        self._cancelled.clear()
        self._credit.clear()
        self.being_served.clear()
        self._asked_costs.clear()
        self._served_costs.clear()
        if self._share is not None:
            self._share.clear()
        self.lacks_room = False
        return events

    def _lost(self, number: int, what: str, peer: str, reason: str) -> Exception:
        if number in self.queued:
            return not_delivered(what, peer, reason)
        return QMI_OutcomeUnknownException(
            f"Lost {peer} during {what} ({reason}); the outcome is unknown, it may or may not have been carried out"
        )


def not_delivered(what: str, peer: str, reason: str) -> QMI_NotDeliveredException:
    """Return the error of a request that never went out."""
    return QMI_NotDeliveredException(
        f"{what} was not delivered to {peer} ({reason}); it was not carried out, repeating it is safe"
    )


_HEAD = 11
"""How many bytes of a body are in front of the payload, at most."""
_COST_OF_HEAD = 2000
SMALL = CHEAP - _HEAD
"""A request of up to so many bytes, without segments, costs nothing that anybody counts."""
_NONE = Value(None)
_SHORT = frozenset({float, bool})
_LONG = 1 << 63


class RequestLayer(ABC):
    """The upper half of a :class:`~qmi.net.protocol.connection.Connection`.

    Args:
        codec: Encodes what is sent.
        open_requests: How many requests may be open in each direction.
        request_bytes: How much memory these may take up.
        share: What those of the other side take up, of what all links may.

    Attributes:
        is_ready: Whether the handshake is done and the link is there.
        requests: What is open on either side; with the lock of the driver, or for a guess.
        lost: Why the link is gone, None while it is there.
        outbox: What the protocol itself has to say.
        handed_over: To be called with the number of a request when the transport is about to get its first byte: from
            now on its loss is "outcome unknown".
        chain_there: Gives the waiting objects of a call the names that they have at the other side; None if these
            are the same.
    """

    def __init__(self, codec: Codec, open_requests: int, request_bytes: int, share: Share) -> None:
        self._codec = codec
        self.requests: OpenRequests = OpenRequests(open_requests, request_bytes, share)
        self.lost: PeerLost | None = None
        self.is_ready: bool = False
        self.outbox: list[Buffer] = []
        self.handed_over: Callable[[int], None] = self.requests.queued.discard
        self.chain_there: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """What messages call the other side."""

    @property
    def lacks_room(self) -> bool:
        """Whether requests are put off until the other side has answered some of the large ones that it has."""
        return self.requests.lacks_room

    # -- requests and signals of this side

    def encode_request(self, message: Request | Signal) -> Encoded:
        """Encode a message for :meth:`send_request` or :meth:`send_signal`; any thread may do that.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent, with the place where it sits.
        """
        if type(message) is Call:
            if self.chain_there is not None and message.chain:
                message = replace(message, chain=self.chain_there(message.chain))
            if (payload := encode_call(message)) is not None:  # as encode_message() begins
                return make_encoded((payload, []))
            return encode_fields(self._codec, message)
        return encode_message(self._codec, message)

    def cost_of(self, encoded: Encoded) -> int:
        """Estimate what a request takes up at the other side, in bytes of memory; 0 if it is small. Needs no lock."""
        payload, segments = encoded
        if len(payload) <= SMALL and not segments:
            return 0
        return cost_of(payload, sum(segment.nbytes for segment in segments)) + _COST_OF_HEAD

    def has_room_for(self, cost: int) -> bool:
        """Whether a request may go out, for the cost of those that the other side has not answered yet."""
        return not cost or not self.is_ready or self.requests.has_room_to_ask(cost)

    def send_request(self, message: Request, encoded: Encoded | None = None, cost: int = 0) -> tuple[int, list[Buffer]]:
        """Open a request, whose cost was found to have room.

        Returns:
            Its number, which is never used again, and what must be written.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone or not ready, or too many requests are open.
        """
        encoded = encoded or self.encode_request(message)
        if not self.is_ready:
            raise self._not_ready(message)
        what = f"{message.object}.{message.method}" if type(message) is Call else describe(message)
        number = self.requests.ask(what, cost)
        if not number:
            raise self.requests.too_many(what, self.title)
        return number, write_packet(REQUEST, number, encoded)

    def taken_back(self, number: int) -> None:
        """The transport did not get the first byte of this request after all."""
        self.requests.taken_back(number)

    def cancel_request(self, number: int) -> list[Buffer]:
        """Give up a request, or leave its stream. Nothing to write: take the request out of the queue."""
        return write_packet(Kind.CANCEL, number) if self.requests.cancel(number) else []

    def send_credit(self, number: int, count: int) -> list[Buffer]:
        """Allow the other side to send this many more items of a stream; nothing if the stream has ended."""
        if not self.requests.give_credit(number, count):
            return []
        return write_packet(Kind.CREDIT, number, Encoded(self._codec.encode(count).payload, []))

    def write_signal(self, signal: Signal) -> list[Buffer]:
        """Return the buffers of a signal, for :meth:`send_signal`; any thread may do that.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
        """
        return write_packet(SIGNAL, 0, self.encode_request(signal))

    def send_signal(self, signal: Signal, buffers: list[Buffer] | None = None) -> list[Buffer]:
        """Tell the other side of a signal.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone or not ready.
        """
        if not self.is_ready:
            raise self._not_ready(signal)
        return buffers or self.write_signal(signal)

    def _not_ready(self, message: Request | Signal) -> QMI_NotDeliveredException:
        reason = self.lost.reason if self.lost else "the link is not ready yet"
        return not_delivered(describe(message), self.title, reason)

    # -- answers of this side

    def encode_reply(self, reply: Reply) -> tuple[Kind, Encoded]:
        """Encode an answer for :meth:`send_reply`; any thread may do that. What cannot be sent becomes a failure."""
        if isinstance(reply, Value):
            value = reply.value
            if value is None:
                return VALUE, NOTHING
            if type(value) in _SHORT or (type(value) is int and -_LONG < value < _LONG):  # as the codec, in one step
                return VALUE, make_encoded((encode_scalars(value) or b"", []))
            try:
                return VALUE, self._codec.encode(reply.value, "result")
            except QMI_ValueNotSendableException as error:
                reply = Failure(error)
        return Kind.FAILURE, self._codec.encode(reply.error, "error")

    def send_reply(self, number: int, reply: Reply, encoded: tuple[Kind, Encoded] | None = None) -> list[Buffer]:
        """Answer a request, or end a stream by a failure. Nothing is written if the link is gone."""
        if self.lost is not None:
            return []
        kind, data = encoded or self.encode_reply(reply)
        requests = self.requests
        served = requests.being_served.get(number) or requests.served(number)  # which raises
        if served.streaming and kind is VALUE:
            raise QMI_RuntimeException(f"Request {number} is a stream; it ends by end_stream or a Failure")
        requests.finish(number)
        return write_packet(kind, number, data)

    def open_stream(self, number: int) -> list[Buffer]:
        """Answer a request by a stream; items may be sent once there is credit."""
        if self.lost is not None:
            return []
        self.requests.change_served(number, self.requests.served(number)._replace(streaming=True))
        self.requests.free_served(number)
        return write_packet(Kind.STREAM, number)

    def credit(self, number: int) -> int:
        """How many items may be sent now; none if nobody reads them any more."""
        if self.lost is not None:
            return 0
        served = self.requests.served(number)
        return 0 if served.cancelled else served.credit

    def send_item(self, number: int, value: object) -> list[Buffer]:
        """Send the next item of a stream; nothing is written if nobody reads it any more.

        Raises:
            QMI_ValueNotSendableException: If it cannot be sent; the stream is still open then.
            QMI_RuntimeException: If there is no credit, or no stream.
        """
        if self.lost is not None or (served := self.requests.served(number)).cancelled:
            return []
        if not served.streaming or served.credit < 1:
            raise QMI_RuntimeException(f"There is no credit for an item of request {number}")
        encoded = self._codec.encode(value, "item")
        self.requests.change_served(number, served._replace(credit=served.credit - 1))
        return write_packet(Kind.ITEM, number, encoded)

    def end_stream(self, number: int) -> list[Buffer]:
        """End a stream after its last item."""
        if self.lost is not None:
            return []
        if not self.requests.served(number).streaming:
            raise QMI_RuntimeException(f"Request {number} is no stream")
        self.requests.finish(number)
        return write_packet(Kind.END, number)

    # -- what came

    def _read_message(self, kind: int, number: int, payload: object, events: list[Event], *, newer: bool) -> None:
        """Take note of a packet of any kind that does not concern the link itself.

        Args:
            kind: What came.
            number: Which request it belongs to.
            payload: The message in it.
            events: Gets what the owner of the link must be told.
            newer: Whether the other side has a newer version, which may send what this version does not know.

        Raises:
            ProtocolError: If the packet makes no sense.
        """
        if kind == VALUE:
            if self.requests.answered(number, by_value=True):
                events.append(ReplyReceived(number, _NONE if payload is None else Value(payload)))
        elif kind == REQUEST:
            self._read_request(number, payload, events, newer)
        elif kind == SIGNAL:
            signal = read_signal(payload, newer=newer)
            last = events[-1] if events else None
            if type(last) is SignalsReceived:
                last.signals.append(signal)  # at most what one read has brought
            else:
                events.append(SignalsReceived([signal]))
        elif (reader := _READERS.get(kind)) is not None:
            check_payload(kind, payload, newer=newer, fault=ProtocolError)
            if (event := reader(self.requests, number, payload)) is not None:
                events.append(event)
        elif not newer:
            raise ProtocolError(f"there is no packet of kind {kind}")

    def _read_request(self, number: int, payload: object, events: list[Event], newer: bool) -> None:
        requests = self.requests
        if not requests.serve(number):
            fault = f"{requests.limit} requests of this peer have no answer yet, which is the limit"
            self._refuse(number, QMI_RuntimeException(fault))
            return
        try:
            request = payload.call if type(payload) is Bare else read_request(payload, newer=newer)
            events.append(RequestReceived(number, request))
        except ProtocolError:
            requests.finish(number)
            raise
        except UnknownRequest as error:
            requests.finish(number)
            self._refuse(number, QMI_UnknownRpcException(str(error)))

    def _refuse(self, number: int, error: QMI_Exception) -> None:
        # Nobody sees the request.
        self.outbox += write_packet(Kind.FAILURE, number, self._codec.encode(error))


# What speaks of a request that is open; a newer version may say no more about it than this one. Payloads were checked.


def _read_failure(requests: OpenRequests, number: int, error: BaseException) -> Event | None:
    return ReplyReceived(number, Failure(error)) if requests.answered(number) else None


def _read_cancel(requests: OpenRequests, number: int, _: object) -> Event | None:
    served = requests.find_served(number)
    if served is None or served.cancelled:
        return None
    requests.change_served(number, served._replace(cancelled=True))
    return CancelReceived(number)


def _read_credit(requests: OpenRequests, number: int, count: int) -> Event | None:
    served = requests.find_served(number)
    if served is None or served.cancelled:
        return None
    if not served.streaming or served.credit + count > MAX_CREDIT:
        raise ProtocolError(f"credit came for request {number}, which cannot have it")
    requests.change_served(number, served._replace(credit=served.credit + count))
    return CreditReceived(number, count)


def _read_stream(requests: OpenRequests, number: int, _: object) -> Event | None:
    return StreamOpened(number) if requests.stream_opened(number) else None


def _read_item(requests: OpenRequests, number: int, value: object) -> Event | None:
    return ItemReceived(number, value) if requests.item_came(number) else None


def _read_end(requests: OpenRequests, number: int, _: object) -> Event | None:
    return StreamEnded(number) if requests.stream_ended(number) else None


_READERS: dict[int, Callable[[OpenRequests, int, Any], Event | None]] = {
    Kind.FAILURE: _read_failure,
    Kind.CANCEL: _read_cancel,
    Kind.STREAM: _read_stream,
    Kind.CREDIT: _read_credit,
    Kind.ITEM: _read_item,
    Kind.END: _read_end,
}
