"""What the body of a frame says: which packet it is, which request it belongs to, and the message in it.

A body is always ``[kind, number, payload]``. The number is that of a request, or 0. Requests and signals are the
messages of :mod:`qmi.messages`, written as the list of their fields. What each field may hold is in
:mod:`qmi.net.protocol.bounds`; it is checked on both sides, when a field is written and when it is read.
"""

from __future__ import annotations

from struct import pack
from typing import Any

from qmi.errors import QMI_ValueNotSendableException
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Request,
    Signal,
    Subscribe,
    Unsubscribe,
)
from qmi.net.codec import Codec, Encoded
from qmi.net.protocol import fast_path as shortcuts
from qmi.net.protocol import plain
from qmi.net.protocol.bounds import KIND, MAX_INT, MESSAGES, OutOfBounds, describe_value, fields_to_wire
from qmi.net.protocol.frames import Frame, ProtocolError
from qmi.net.protocol.kinds import Kind

_LAST_KIND = KIND.high


class UnknownRequest(Exception):
    """A newer version asked for something that this version does not have."""


def head(kind: Kind, number: int) -> bytes:
    """Return the CBOR in front of a payload."""
    if number < 24:
        return bytes((0x83, kind, number))
    if number < 1 << 32:
        return shortcuts.HEAD.pack(0x83, kind, 0x1A, number)
    return pack(">BBBQ", 0x83, kind, 0x1B, number)


def read_packet(codec: Codec, frame: Frame) -> tuple[int, int, Any]:
    """Decode a frame into kind, number and payload.

    Raises:
        ProtocolError: If it is no packet.
    """
    body, segments = frame
    if not segments and (packet := shortcuts.read_body(body)) is not None:
        return packet
    return _check_packet(codec.decode(body, segments))


def read_first_packet(frame: Frame) -> tuple[int, int, Any]:
    """Decode a frame that came before the handshake was done: only plain values are decoded for a stranger.

    Raises:
        ProtocolError: If it is no packet, or contains anything but plain values.
    """
    if frame.segments:
        raise ProtocolError("a frame with segments came before the handshake was done")
    return _check_packet(plain.decode(frame.body))


def _check_packet(found: Any) -> tuple[int, int, Any]:
    if type(found) is not list or len(found) != 3:
        raise ProtocolError("a body is not made of kind, number and payload")
    kind, number, payload = found
    if type(kind) is not int or type(number) is not int:
        raise ProtocolError("a body is not made of kind, number and payload")
    if not (0 <= kind <= _LAST_KIND and 0 <= number <= MAX_INT):
        raise ProtocolError(f"a packet has kind {describe_value(kind)} and number {describe_value(number)}")
    return kind, number, payload


_REQUESTS: tuple[type, ...] = (
    Call, Acquire, Release, ForceRelease, QueryLock, QueryStatistics, Describe, Subscribe, Unsubscribe,
)  # fmt: skip
_NUMBERS = {cls: number for number, cls in enumerate(_REQUESTS)}
_NAMES = {cls: ("request", *(field.name for field in fields)) for cls, fields in MESSAGES.items()}


def encode_message(codec: Codec, message: Request | Signal) -> Encoded:
    """Encode a request or signal.

    Raises:
        QMI_ValueNotSendableException: If an argument cannot be sent, or a field is out of bounds.
    """
    payload = fields = None
    if isinstance(message, Call):
        payload = shortcuts.encode_call(message)
        fields = shortcuts.list_fields(message) if payload is None else None
    elif isinstance(message, Signal):
        payload = shortcuts.encode_signal(message)
    if payload is not None:
        return Encoded(payload, [])
    cls = type(message)
    try:
        values = [_NUMBERS.get(cls, 0), *(fields or fields_to_wire(message))]
    except OutOfBounds as error:
        raise QMI_ValueNotSendableException(f"{cls.__name__} cannot be sent: {error}") from None
    return codec.encode_fields(values, _NAMES[cls])


def read_request(payload: Any, *, newer: bool) -> Request:
    """Check the fields of a request.

    Args:
        payload: The list that came.
        newer: Whether a newer version wrote it, which may know more requests and fields.

    Raises:
        ProtocolError: If it is none.
        UnknownRequest: If a newer version sent a request that this one does not have.
    """
    if type(payload) is shortcuts.Bare:
        return payload.call
    if type(payload) is list and (call := shortcuts.read_call(payload)) is not None:
        return call
    if type(payload) is not list or not payload or not KIND.accepts(payload[0]):
        raise ProtocolError("a request has no kind")
    if not 0 <= payload[0] < len(_REQUESTS):
        if newer:
            raise UnknownRequest(f"this version of QMI does not know requests of kind {payload[0]}")
        raise ProtocolError(f"there is no request of kind {payload[0]}")
    return _read(_REQUESTS[payload[0]], payload, newer=newer)  # type: ignore[no-any-return]


def read_signal(payload: Any, *, newer: bool) -> Signal:
    """Check the fields of a signal.

    Raises:
        ProtocolError: If it is none.
    """
    if type(payload) is not list:
        raise ProtocolError("a signal is not a list of fields")
    if (signal := shortcuts.read_signal(payload)) is not None:
        return signal
    return _read(Signal, payload, newer=newer)  # type: ignore[no-any-return]


def _read(cls: type, payload: list[Any], *, newer: bool) -> Any:
    fields = MESSAGES[cls]
    found = payload[1:]
    if len(found) < len(fields) or (len(found) > len(fields) and not newer):
        raise ProtocolError(f"{cls.__name__} has {len(fields)} fields, got {len(found)}")
    try:
        return cls(*[field.read(value) for field, value in zip(fields, found, strict=False)])
    except OutOfBounds as error:
        raise ProtocolError(f"{cls.__name__}.{error}") from None
