"""What a peer link tells its owner: one type for each thing that can happen.

Nobody changes them; they are not frozen for the reason that :mod:`qmi.messages` gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from qmi.messages import Reply, Request, Signal
from qmi.net.protocol.handshake import Hello
from qmi.records import FieldRecord


class LossKind(Enum):
    """Why a link is gone."""

    CLOSED = "closed by this side"
    GOODBYE = "closed by the other side"
    DISCONNECTED = "connection ended"
    SILENT = "no sign of life"
    REFUSED = "refused"
    PROTOCOL = "protocol error"
    FAULT = "fault of this program"


@dataclass(slots=True, eq=False, repr=False)
class HelloReceived(FieldRecord):
    """The other side proved itself as far as it can; call ``accept`` or ``refuse``. Only on the listening side."""

    hello: Hello


@dataclass(slots=True, eq=False, repr=False)
class Connected(FieldRecord):
    """The handshake is done; requests may be sent."""

    hello: Hello


@dataclass(slots=True, eq=False, repr=False)
class RequestReceived(FieldRecord):
    """The other side asks for something. Answer it exactly once, also after a :class:`CancelReceived`."""

    number: int
    message: Request


@dataclass(slots=True, eq=False, repr=False)
class CancelReceived(FieldRecord):
    """The other side does not wait for this request (or read this stream) any more, or is gone."""

    number: int


@dataclass(slots=True, eq=False, repr=False)
class ReplyReceived(FieldRecord):
    """A request of this side has ended, by an answer of the other side or by the loss of the link."""

    number: int
    reply: Reply


@dataclass(slots=True, eq=False, repr=False)
class StreamOpened(FieldRecord):
    """The answer to a call is a stream: give credit, and as many items come."""

    number: int


@dataclass(slots=True, eq=False, repr=False)
class ItemReceived(FieldRecord):
    """The next item of a stream."""

    number: int
    value: object


@dataclass(slots=True, eq=False, repr=False)
class StreamEnded(FieldRecord):
    """A stream has no more items; the request has ended."""

    number: int


@dataclass(slots=True, eq=False, repr=False)
class CreditReceived(FieldRecord):
    """The consumer of a stream of this side can take this many more items."""

    number: int
    count: int


@dataclass(slots=True, eq=False, repr=False)
class SignalsReceived(FieldRecord):
    """Objects of the other side published signals, in this order: those that came without anything in between."""

    signals: list[Signal]


@dataclass(slots=True, eq=False, repr=False)
class LargeFrameReceived(FieldRecord):
    """A frame has come that is decoded beside the loop; see ``Connection.large_frame``."""


@dataclass(slots=True, eq=False, repr=False)
class PeerLost(FieldRecord):
    """The last event: the link is gone, for a reason that a person understands.

    Attributes:
        kind: What ended it.
        reason: The words for it.
        error: The exception that nobody foresaw, if that was it.
    """

    kind: LossKind
    reason: str
    error: Exception | None = field(default=None, compare=False, repr=False)


Event: TypeAlias = (
    HelloReceived
    | Connected
    | RequestReceived
    | CancelReceived
    | ReplyReceived
    | StreamOpened
    | ItemReceived
    | StreamEnded
    | CreditReceived
    | SignalsReceived
    | LargeFrameReceived
    | PeerLost
)
