"""What a packet about a request means, given the requests that are open: an event, nothing, or a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qmi.errors import QMI_Exception, QMI_RuntimeException, QMI_UnknownRpcException
from qmi.messages import Failure, Value
from qmi.net.protocol.bounds import MAX_CREDIT, check_payload
from qmi.net.protocol.events import (
    CancelReceived,
    CreditReceived,
    Event,
    ItemReceived,
    ReplyReceived,
    RequestReceived,
    SignalsReceived,
    StreamEnded,
    StreamOpened,
)
from qmi.net.protocol.frames import ProtocolError
from qmi.net.protocol.kinds import REQUEST, SIGNAL, VALUE, Kind
from qmi.net.protocol.packets import UnknownRequest, read_request, read_signal
from qmi.net.protocol.pending import OpenRequests

_NONE = Value(None)


class RequestRefused(Exception):
    """A request that is answered by an error at once, without anybody seeing it."""

    def __init__(self, error: QMI_Exception) -> None:
        super().__init__(str(error))
        self.error = error


def read_message(requests: OpenRequests, kind: int, number: int, payload: Any, *, newer: bool) -> Event | None:
    """Take note of a packet.

    Args:
        requests: The open requests of the link, which the packet changes.
        kind: What came.
        number: Which request it belongs to.
        payload: The message in it.
        newer: Whether the other side has a newer version, which may send what this version does not know.

    Returns:
        What the owner of the link must be told, None if that is nothing.

    Raises:
        ProtocolError: If the packet makes no sense.
        RequestRefused: If it is a request that must be answered by an error.
    """
    if kind == SIGNAL:
        return SignalsReceived([read_signal(payload, newer=newer)])
    if kind == REQUEST:
        return _on_request(requests, number, payload, newer)
    handler = _HANDLERS.get(kind)
    if handler is not None:
        if kind != VALUE:
            check_payload(kind, payload, newer=newer, fault=ProtocolError)
        return handler(requests, number, payload)
    if newer:
        return None
    raise ProtocolError(f"there is no packet of kind {kind}")


def _on_request(requests: OpenRequests, number: int, payload: Any, newer: bool) -> Event:
    if not requests.serve(number):
        fault = f"{requests.limit} requests of this peer have no answer yet, which is the limit"
        raise RequestRefused(QMI_RuntimeException(fault))
    try:
        return RequestReceived(number, read_request(payload, newer=newer))
    except (UnknownRequest, ProtocolError) as error:
        requests.finish(number)
        if isinstance(error, ProtocolError):
            raise
        raise RequestRefused(QMI_UnknownRpcException(str(error))) from None


def _on_cancel(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    served = requests.find_served(number)
    if served is None or served.cancelled:
        return None
    requests.note(number, cancelled=True)
    return CancelReceived(number)


def _on_credit(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    served = requests.find_served(number)
    if served is None or served.cancelled:
        return None
    if not served.streaming or served.credit + payload > MAX_CREDIT:
        raise ProtocolError(f"credit came for request {number}, which cannot have it")
    requests.note(number, credit=served.credit + payload)
    return CreditReceived(number, payload)


def _on_value(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    if not requests.answered(number, by_value=True):
        return None
    return ReplyReceived(number, _NONE if payload is None else Value(payload))


def _on_failure(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    return ReplyReceived(number, Failure(payload)) if requests.answered(number) else None


def _on_stream(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    return StreamOpened(number) if requests.stream_opened(number) else None


def _on_item(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    return ItemReceived(number, payload) if requests.item_came(number) else None


def _on_end(requests: OpenRequests, number: int, payload: Any) -> Event | None:
    return StreamEnded(number) if requests.stream_ended(number) else None


# What speaks of a request that is open; a newer version may say no more about it than this one.
_HANDLERS: dict[int, Callable[[OpenRequests, int, Any], Event | None]] = {
    Kind.VALUE: _on_value,
    Kind.FAILURE: _on_failure,
    Kind.CANCEL: _on_cancel,
    Kind.STREAM: _on_stream,
    Kind.CREDIT: _on_credit,
    Kind.ITEM: _on_item,
    Kind.END: _on_end,
}
