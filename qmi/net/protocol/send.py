"""What a link may say, and when: requests, answers, streams and signals become buffers that must be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qmi.errors import QMI_RuntimeException, QMI_ValueNotSendableException
from qmi.messages import Call, Failure, Reply, Request, Signal, Value
from qmi.net.codec import Codec, Encoded
from qmi.net.protocol.events import PeerLost
from qmi.net.protocol.frames import Buffer, pack, small_frame
from qmi.net.protocol.kinds import REQUEST, VALUE, Kind
from qmi.net.protocol.memory_estimate import CHEAP, cost_of
from qmi.net.protocol.packets import encode_message, head
from qmi.net.protocol.pending import OpenRequests, describe, not_delivered
from qmi.net.protocol.request_memory import Share

_HEAD = 11
"""How many bytes of a body are in front of the payload, at most."""
_COST_OF_HEAD = 2000
_NOTHING = Encoded(b"\xf6", [])


def write_packet(kind: Kind, number: int, encoded: Encoded = _NOTHING) -> list[Buffer]:
    """Return the buffers of a packet."""
    payload, segments = encoded
    if segments:
        return pack(head(kind, number) + payload, segments)
    return [small_frame(head(kind, number), payload)]


class Sending(ABC):
    """The sending half of a :class:`~qmi.net.protocol.connection.Connection`.

    Args:
        codec: Encodes what is sent.
        open_requests: How many requests may be open in each direction.
        request_bytes: How much memory these may take up.
        share: What those of the other side take up, of what all links may.

    Attributes:
        is_ready: Whether the handshake is done and the link is there.
        chain_there: Gives the waiting objects of a call the names that they have at the other side; None if these
            are the same.
    """

    def __init__(self, codec: Codec, open_requests: int, request_bytes: int, share: Share) -> None:
        self._codec = codec
        self._requests = OpenRequests(open_requests, request_bytes, share)
        self._lost: PeerLost | None = None
        self.is_ready: bool = False
        self.chain_there: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None

    @property
    def lost(self) -> PeerLost | None:
        """Why the link is gone, None while it is there."""
        return self._lost

    @property
    @abstractmethod
    def title(self) -> str:
        """What messages call the other side."""

    def encode_request(self, message: Request | Signal) -> Encoded:
        """Encode a message for :meth:`send_request` or :meth:`send_signal`; any thread may do that.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent, with the place where it sits.
        """
        if self.chain_there is not None and type(message) is Call and message.chain:
            message = replace(message, chain=self.chain_there(message.chain))
        return encode_message(self._codec, message)

    @property
    def next_number(self) -> int:
        """The number of the request that is sent next."""
        return self._requests.last_asked + 1

    @property
    def lacks_room(self) -> bool:
        """Whether requests are put off until the other side has answered some of the large ones that it has."""
        return self._requests.lacks_room

    def cost_of(self, encoded: Encoded) -> int:
        """Estimate what a request takes up at the other side, in bytes of memory; 0 if it is small. Needs no lock."""
        payload, segments = encoded
        if len(payload) <= CHEAP - _HEAD and not segments:
            return 0
        return cost_of(payload, sum(segment.nbytes for segment in segments)) + _COST_OF_HEAD

    def has_room_for(self, cost: int) -> bool:
        """Whether a request may go out, for the cost of those that the other side has not answered yet."""
        return not cost or not self.is_ready or self._requests.has_room_to_ask(cost)

    def send_request(self, message: Request, encoded: Encoded | None = None, cost: int = 0) -> tuple[int, list[Buffer]]:
        """Open a request, whose cost was found to have room.

        Returns:
            Its number, which is never used again, and what must be written.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone or not ready, or too many requests are open.
        """
        encoded = encoded or self.encode_request(message)
        self._check_ready(message)
        if self._requests.is_full:
            raise self._requests.too_many(describe(message), self.title)
        number = self._requests.ask(describe(message), cost)
        return number, write_packet(REQUEST, number, encoded)

    def handed_over(self, number: int) -> None:
        """The transport is about to get the first byte of this request: from now on its loss is "outcome unknown"."""
        self._requests.handed_over(number)

    def taken_back(self, number: int) -> None:
        """The transport did not get the first byte of this request after all."""
        self._requests.taken_back(number)

    def cancel_request(self, number: int) -> list[Buffer]:
        """Give up a request, or leave its stream. Nothing to write: take the request out of the queue."""
        return write_packet(Kind.CANCEL, number) if self._requests.cancel(number) else []

    def send_credit(self, number: int, count: int) -> list[Buffer]:
        """Allow the other side to send this many more items of a stream; nothing if the stream has ended."""
        if not self._requests.give_credit(number, count):
            return []
        return write_packet(Kind.CREDIT, number, Encoded(self._codec.encode(count).payload, []))

    def send_signal(self, signal: Signal, encoded: Encoded | None = None) -> list[Buffer]:
        """Tell the other side of a signal.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
            QMI_NotDeliveredException: If the link is gone or not ready.
        """
        encoded = encoded or self.encode_request(signal)
        self._check_ready(signal)
        return write_packet(Kind.SIGNAL, 0, encoded)

    def encode_reply(self, reply: Reply) -> tuple[Kind, Encoded]:
        """Encode an answer for :meth:`send_reply`; any thread may do that. What cannot be sent becomes a failure."""
        if isinstance(reply, Value):
            if reply.value is None:
                return VALUE, _NOTHING
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
        if self._requests.served(number).streaming and kind is VALUE:
            raise QMI_RuntimeException(f"Request {number} is a stream; it ends by end_stream or a Failure")
        self._requests.finish(number)
        return write_packet(kind, number, data)

    def open_stream(self, number: int) -> list[Buffer]:
        """Answer a request by a stream; items may be sent once there is credit."""
        if self.lost is not None:
            return []
        self._requests.note(number, streaming=True)
        self._requests.free_served(number)
        return write_packet(Kind.STREAM, number)

    def credit(self, number: int) -> int:
        """How many items may be sent now; none if nobody reads them any more."""
        if self.lost is not None:
            return 0
        served = self._requests.served(number)
        return 0 if served.cancelled else served.credit

    def send_item(self, number: int, value: Any) -> list[Buffer]:
        """Send the next item of a stream; nothing is written if nobody reads it any more.

        Raises:
            QMI_ValueNotSendableException: If it cannot be sent; the stream is still open then.
            QMI_RuntimeException: If there is no credit, or no stream.
        """
        if self.lost is not None or (served := self._requests.served(number)).cancelled:
            return []
        if not served.streaming or served.credit < 1:
            raise QMI_RuntimeException(f"There is no credit for an item of request {number}")
        encoded = self._codec.encode(value, "item")
        self._requests.note(number, credit=served.credit - 1)
        return write_packet(Kind.ITEM, number, encoded)

    def end_stream(self, number: int) -> list[Buffer]:
        """End a stream after its last item."""
        if self.lost is not None:
            return []
        if not self._requests.served(number).streaming:
            raise QMI_RuntimeException(f"Request {number} is no stream")
        self._requests.finish(number)
        return write_packet(Kind.END, number)

    def _check_ready(self, message: Request | Signal) -> None:
        if not self.is_ready:
            reason = self.lost.reason if self.lost else "the link is not ready yet"
            raise not_delivered(describe(message), self.title, reason)
