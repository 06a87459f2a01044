"""What the body of a frame says: which packet it is, which request it belongs to, and the message in it.

A body is always ``[kind, number, payload]``. The number is that of a request, or 0. Requests and signals are the
messages of :mod:`qmi.messages`, written as the list of their fields; each field is checked on arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import pack
from typing import Any, NamedTuple

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
    Token,
    Unsubscribe,
)
from qmi.net import shortcuts
from qmi.net.codec import Codec, Encoded
from qmi.net.frames import Frame, ProtocolError
from qmi.net.kinds import Kind


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
    found = codec.decode(body, segments)
    if type(found) is not list or len(found) != 3:
        raise ProtocolError("a body is not made of kind, number and payload")
    kind, number, payload = found
    if type(kind) is not int or type(number) is not int:
        raise ProtocolError("a body is not made of kind, number and payload")
    return kind, number, payload


class _Field(NamedTuple):
    name: str
    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
        return value

    return check


def _seconds(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"expected a number of seconds, got {type(value).__name__}")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise ValueError("expected a list of texts")
    return tuple(value)


def _arguments(value: Any) -> tuple[Any, ...]:
    return tuple(_exactly(list)(value))


def _keywords(value: Any) -> dict[str, Any]:
    if type(value) is not dict or any(type(key) is not str for key in value):
        raise ValueError("expected arguments by name")
    return value


def _token(value: Any) -> Token:
    if type(value) is not list or len(value) != 2 or type(value[0]) is not str or type(value[1]) is not bool:
        raise ValueError("expected a token")
    return Token(*value)


def _maybe(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _token_list(value: Any) -> Any:
    return None if value is None else [value.secret, value.custom]


_text = _exactly(str)
_OBJECT = _Field("object", _same, _text)
_SIGNAL = _Field("signal", _same, _text)
_ARGS = _Field("args", list, _arguments)
_FIELDS: Mapping[type, tuple[_Field, ...]] = {
    Call: (
        _OBJECT,
        _Field("method", _same, _text),
        _ARGS,
        _Field("kwargs", dict, _keywords),
        _Field("token", _token_list, _maybe(_token)),
        _Field("chain", list, _texts),
    ),
    Acquire: (
        _OBJECT,
        _Field("token", _token_list, _token),
        _Field("timeout", _same, _seconds),
        _Field("held", _token_list, _maybe(_token)),
    ),
    Release: (_OBJECT, _Field("token", _token_list, _maybe(_token)), _Field("context", _same, _maybe(_text))),
    ForceRelease: (_OBJECT,),
    QueryLock: (_OBJECT,),
    QueryStatistics: (_OBJECT,),
    Describe: (_OBJECT,),
    Subscribe: (_OBJECT, _SIGNAL),
    Unsubscribe: (_OBJECT, _SIGNAL),
    Signal: (_OBJECT, _SIGNAL, _ARGS, _Field("seqnr", _same, _exactly(int)), _Field("timestamp", _same, _seconds)),
}
_REQUESTS: tuple[type, ...] = (
    Call, Acquire, Release, ForceRelease, QueryLock, QueryStatistics, Describe, Subscribe, Unsubscribe,
)  # fmt: skip
_NUMBERS = {cls: number for number, cls in enumerate(_REQUESTS)}
_NAMES = {cls: ("request", *(field.name for field in fields)) for cls, fields in _FIELDS.items()}


def encode_message(codec: Codec, message: Request | Signal) -> Encoded:
    """Encode a request or signal.

    Raises:
        QMI_ValueNotSendableException: If an argument cannot be sent.
    """
    payload = None
    if isinstance(message, Call):
        payload = shortcuts.encode_call(message)
    elif isinstance(message, Signal):
        payload = shortcuts.encode_signal(message)
    if payload is not None:
        return Encoded(payload, [])
    cls = type(message)
    values = [_NUMBERS.get(cls, 0)]
    for field in _FIELDS[cls]:
        value = getattr(message, field.name)
        values.append(value if field.to_wire is _same else field.to_wire(value))
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
    if type(payload) is not list or not payload or type(payload[0]) is not int:
        raise ProtocolError("a request has no kind")
    if (call := shortcuts.read_call(payload)) is not None:
        return call
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
    fields = _FIELDS[cls]
    found = payload[1:]
    if len(found) < len(fields) or (len(found) > len(fields) and not newer):
        raise ProtocolError(f"{cls.__name__} has {len(fields)} fields, got {len(found)}")
    values = []
    for field, value in zip(fields, found, strict=False):
        try:
            values.append(field.from_wire(value))
        except ValueError as error:
            raise ProtocolError(f"{cls.__name__}.{field.name}: {error}") from None
    return cls(*values)
