"""What becomes of a packet whose message cannot be rebuilt here: it ends its own call, never the link.

The frame is whole and its body is well-formed, so what follows it can be read. Only its value cannot be made: a type
of a newer version, more objects than the limit allows, an author's check that failed. Whoever waits for the value gets
an error that says so; a signal is dropped, and its receivers count it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from qmi.config.validators import printable
from qmi.errors import QMI_Exception, QMI_NotDeliveredException, QMI_ValueNotSendableException
from qmi.messages import Failure, Signal, Undecodable
from qmi.net.codec import UndecodableValue
from qmi.net.codec.budget import NotWellFormed, read_head
from qmi.net.limits import Buffer
from qmi.net.protocol.bounds import MAX_INT
from qmi.net.protocol.events import Event, ReplyReceived, SignalsReceived
from qmi.net.protocol.fast_path import FOUR_BYTES, HEAD, THREE_FIELDS
from qmi.net.protocol.kinds import Kind
from qmi.net.protocol.requests import OpenRequests

_MAX_NAME = 200


class UnaffordableValue(UndecodableValue):
    """There is no memory for a value now, or its sender has too many others."""


class Answer(NamedTuple):
    """A packet that must be sent because of it."""

    kind: Kind
    number: int
    error: QMI_Exception | None


_Outcome: TypeAlias = tuple[Event | None, Answer | None]


def read_undecodable(requests: OpenRequests, body: Buffer, fault: UndecodableValue) -> _Outcome:
    """End what the packet belongs to.

    Args:
        requests: The open requests of the link, which the packet changes.
        body: The body of the frame.
        fault: Why its value cannot be rebuilt.

    Returns:
        What the owner of the link must be told, and what must be sent; None for nothing.

    Raises:
        ProtocolError: If the packet makes no sense, or concerns the link itself.
    """
    body = bytes(body)
    try:
        size, place = _expect(body, 0, 4)
        kind, place = _expect(body, place, 0)
        number, place = _expect(body, place, 0)
    except NotWellFormed:
        raise fault from None
    handler = _HANDLERS.get(kind)
    if size != 3 or handler is None or number > MAX_INT:
        raise fault
    return handler(requests, number, body[place:], fault)


def _on_request(requests: OpenRequests, number: int, payload: bytes, fault: UndecodableValue) -> _Outcome:
    if requests.serve(number):
        requests.finish(number)
    what = ".".join(_names(payload)) or "a request"
    error: QMI_Exception
    if isinstance(fault, UnaffordableValue):
        error = QMI_NotDeliveredException(f"{what} was not carried out, repeating it later is safe: {fault}")
    else:
        error = _error(f"The arguments of {what} cannot be rebuilt there", fault)
    return None, Answer(Kind.FAILURE, number, error)


def _on_reply(requests: OpenRequests, number: int, payload: bytes, fault: UndecodableValue) -> _Outcome:
    error = _error(f"The result of {requests.what(number)} cannot be rebuilt here", fault)
    return (ReplyReceived(number, Failure(error)) if requests.answered(number) else None), None


def _on_failure(requests: OpenRequests, number: int, payload: bytes, fault: UndecodableValue) -> _Outcome:
    error = _error(f"{requests.what(number)} failed, but its error cannot be rebuilt here", fault)
    return (ReplyReceived(number, Failure(error)) if requests.answered(number) else None), None


def _on_item(requests: OpenRequests, number: int, payload: bytes, fault: UndecodableValue) -> _Outcome:
    if not requests.item_came(number):
        return None, None
    error = _error(f"An item of {requests.what(number)} cannot be rebuilt here", fault)
    requests.cancel(number)  # the stream goes on there until it hears of this
    return ReplyReceived(number, Failure(error)), Answer(Kind.CANCEL, number, None)


def _on_signal(requests: OpenRequests, number: int, payload: bytes, fault: UndecodableValue) -> _Outcome:
    names = _names(payload)
    if len(names) != 2:
        raise fault
    args = Undecodable()
    args.reason = str(fault)
    return SignalsReceived([Signal(names[0], names[1], args, 0, 0.0)]), None


_HANDLERS: dict[int, Callable[[OpenRequests, int, bytes, UndecodableValue], _Outcome]] = {
    Kind.REQUEST: _on_request,
    Kind.VALUE: _on_reply,
    Kind.FAILURE: _on_failure,
    Kind.ITEM: _on_item,
    Kind.SIGNAL: _on_signal,
}


def _error(text: str, fault: UndecodableValue) -> QMI_ValueNotSendableException:
    return QMI_ValueNotSendableException(f"{text}: {fault}")


def peek(body: Buffer) -> tuple[int, int] | None:
    """Return kind and number of a packet without decoding it; None if it is no packet."""
    if len(body) >= HEAD.size:
        first, kind, width, number = HEAD.unpack_from(body)
        if first == THREE_FIELDS and kind < 24 and width == FOUR_BYTES:  # as below: so nearly all packets begin
            return kind, number
    start = bytes(body[:20])
    try:
        size, place = _expect(start, 0, 4)
        kind, place = _expect(start, place, 0)
        number, place = _expect(start, place, 0)
    except NotWellFormed:
        return None
    return (kind, number) if size == 3 else None


def _expect(body: bytes, place: int, wanted: int) -> tuple[int, int]:
    """Return the argument of the item at that place, which is of that major type, and where its head ends."""
    if place >= len(body):
        raise NotWellFormed("it ends too early")
    major, argument, place = read_head(body, place)
    if major != wanted:
        raise NotWellFormed("it is of another type")
    return argument, place


def _names(payload: bytes) -> list[str]:
    """Return the names of object and member, with which every request and signal begins; none if they are not there."""
    found = []
    try:
        _, place = _expect(payload, 0, 4)
        _, place = _expect(payload, place, 0)
        for _ in range(2):
            size, place = _expect(payload, place, 3)
            if size > _MAX_NAME:
                return []
            found.append(printable(payload[place : place + size].decode()))
            place += size
    except (NotWellFormed, UnicodeDecodeError):
        return []
    return found
