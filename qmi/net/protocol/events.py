"""What a peer link tells its owner: one type for each thing that can happen.

Nobody changes them.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from qmi.messages import Reply, Request, Signal
from qmi.net.protocol.handshake import Hello
from qmi.net.protocol.link_ends import LossKind


class HelloReceived(Struct):
    """The other side proved itself as far as it can; call ``accept`` or ``refuse``. Only on the listening side."""

    hello: Hello


class Connected(Struct):
    """The handshake is done; requests may be sent."""

    hello: Hello


class RequestReceived(Struct):
    """The other side asks for something. Answer it exactly once, also after a :class:`CancelReceived`."""

    number: int
    message: Request


class CancelReceived(Struct):
    """The other side does not wait for this request (or read this stream) any more, or is gone."""

    number: int


class ReplyReceived(Struct):
    """A request of this side has ended, by an answer of the other side or by the loss of the link."""

    number: int
    reply: Reply


class StreamOpened(Struct):
    """The answer to a call is a stream: give credit, and as many items come."""

    number: int


class ItemReceived(Struct):
    """The next item of a stream."""

    number: int
    value: object


class StreamEnded(Struct):
    """A stream has no more items; the request has ended."""

    number: int


class CreditReceived(Struct):
    """The consumer of a stream of this side can take this many more items."""

    number: int
    count: int


class SignalsReceived(Struct):
    """Objects of the other side published signals, in this order: those that came without anything in between."""

    signals: list[Signal]


class LargeFrameReceived(Struct):
    """A frame has come that is decoded beside the loop; see ``Connection.large_frame``."""


class PeerLost(Struct):
    """The last event: the link is gone, for a reason that a person understands.

    Attributes:
        kind: What ended it.
        reason: The words for it.
        error: The exception that nobody foresaw, if that was it.
    """

    kind: LossKind
    reason: str
    error: Exception | None = None


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
