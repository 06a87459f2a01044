"""What the body of a frame says: which packet it is, which request it belongs to, and the message in it.

A body is always ``[kind, number, payload]``. The number is that of a request, or 0. Requests and signals are the
messages of :mod:`qmi.messages`, written as the list of their fields; each field is checked on arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from struct import Struct, pack
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
from qmi.net.codec import Codec, Encoded, encode_scalars
from qmi.net.codec_encode import SCALARS
from qmi.net.frames import Frame, ProtocolError


class Kind(IntEnum):
    """What a packet is for."""

    HELLO = 0
    REFUSAL = 1
    PING = 2
    PONG = 3
    GOODBYE = 4
    REQUEST = 5
    VALUE = 6
    FAILURE = 7
    CANCEL = 8
    SIGNAL = 9
    STREAM = 10
    CREDIT = 11
    ITEM = 12
    END = 13


REQUEST: Kind = Kind.REQUEST
VALUE: Kind = Kind.VALUE
SIGNAL: Kind = Kind.SIGNAL
"""Looking them up in the enum would take as long as writing a packet of that kind."""


class UnknownRequest(Exception):
    """A newer version asked for something that this version does not have."""


_HEAD = Struct(">BBBI")
_CODEC = Codec()


def head(kind: Kind, number: int) -> bytes:
    """Return the CBOR in front of a payload."""
    if number < 24:
        return bytes((0x83, kind, number))
    if number < 1 << 32:
        return _HEAD.pack(0x83, kind, 0x1A, number)
    return pack(">BBBQ", 0x83, kind, 0x1B, number)


def read_packet(codec: Codec, frame: Frame) -> tuple[int, int, Any]:
    """Decode a frame into kind, number and payload.

    Raises:
        ProtocolError: If it is no packet.
    """
    if len(frame.body) > _HEAD.size and (packet := _read_short(frame.body)) is not None:
        return packet
    body = codec.decode(*frame)
    if type(body) is not list or len(body) != 3:
        raise ProtocolError("a body is not made of kind, number and payload")
    kind, number, payload = body
    if type(kind) is not int or type(number) is not int:
        raise ProtocolError("a body is not made of kind, number and payload")
    return kind, number, payload


def _read_short(body: bytes | bytearray) -> tuple[int, int, Any] | None:
    """What most packets are: an answer that says nothing, or a call without arguments that came before."""
    start, kind, width, number = _HEAD.unpack_from(body)
    if start != 0x83 or width != 0x1A or number < 24:
        return None
    if kind == VALUE and body[_HEAD.size :] == b"\xf6":
        return kind, number, None
    if kind == REQUEST and body.endswith(_BARE) and len(body) < _SHORT:
        bare = _read_bare(bytes(body[_HEAD.size :]))
        if bare is not None:
            return kind, number, bare
    return None


class _Bare:
    """A call without arguments that was checked. No payload can pretend to be one, since no value becomes one."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call = call


_BARE = b"\x80\xa0\xf6\x80"
"""How a call ends that has no arguments, no token and no chain."""
_SHORT = 256


@lru_cache(1024)
def _read_bare(payload: bytes) -> _Bare | None:
    try:
        fields = _CODEC.decode(payload)
    except ProtocolError:
        return None
    if type(fields) is not list or not fields or type(fields[0]) is not int or fields[0] != _CALL:
        return None
    call = _read_call(fields)
    return None if call is None or call.args else _Bare(call)


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
_CALL = _NUMBERS[Call]
_NAMES = {cls: ("request", *(field.name for field in fields)) for cls, fields in _FIELDS.items()}


def encode_message(codec: Codec, message: Request | Signal) -> Encoded:
    """Encode a request or signal.

    Raises:
        QMI_ValueNotSendableException: If an argument cannot be sent.
    """
    cls = type(message)
    if cls is Call or cls is Signal:
        payload = _encode_call(message) if cls is Call else _encode_signal(message)  # type: ignore[arg-type]
        if payload is not None:
            return Encoded(payload, [])
    values = [_NUMBERS.get(cls, 0)]
    for field in _FIELDS[cls]:
        value = getattr(message, field.name)
        values.append(value if field.to_wire is _same else field.to_wire(value))
    return codec.encode_fields(values, _NAMES[cls])


# Calls and signals whose arguments are scalars are nearly all that is ever sent. They come out as the general way would
# write them; what is the same each time is kept.


@lru_cache(4096)
def _opening(cls: type, name: str, member: str) -> bytes:
    """The beginning of a call or signal, up to the name of its method or signal."""
    size = len(_FIELDS[cls]) + 1
    payload = encode_scalars([_NUMBERS.get(cls, 0), name, member])
    if payload is None:
        raise ValueError("these names cannot be sent")
    return bytes((0x80 + size,)) + payload[1:]


def _encode_call(call: Call) -> bytes | None:
    args, kwargs, token, chain = call.args, call.kwargs, call.token, call.chain
    try:
        opening = _opening(Call, call.object, call.method)
    except (ValueError, TypeError):
        return None
    if not SCALARS.issuperset(map(type, args)):
        return None
    if not (kwargs or token or chain):
        found = encode_scalars(list(args)) if args else b"\x80"
        return None if found is None else opening + found + b"\xa0\xf6\x80"
    if not SCALARS.issuperset(map(type, kwargs.values())):
        return None
    rest = encode_scalars([list(args), dict(kwargs), _token_list(token), list(chain)])
    return None if rest is None else opening + rest[1:]


def _encode_signal(signal: Signal) -> bytes | None:
    if not SCALARS.issuperset(map(type, signal.args)):
        return None
    try:
        opening = _opening(Signal, signal.object, signal.signal)
    except (ValueError, TypeError):
        return None
    rest = encode_scalars([list(signal.args), signal.seqnr, signal.timestamp])
    return None if rest is None else opening + rest[1:]


def read_request(payload: Any, *, newer: bool) -> Request:
    """Check the fields of a request.

    Args:
        payload: The list that came.
        newer: Whether a newer version wrote it, which may know more requests and fields.

    Raises:
        ProtocolError: If it is none.
        UnknownRequest: If a newer version sent a request that this one does not have.
    """
    if type(payload) is _Bare:
        return payload.call
    if type(payload) is not list or not payload or type(payload[0]) is not int:
        raise ProtocolError("a request has no kind")
    if payload[0] == _CALL and (call := _read_call(payload)) is not None:
        return call
    if not 0 <= payload[0] < len(_REQUESTS):
        if newer:
            raise UnknownRequest(f"this version of QMI does not know requests of kind {payload[0]}")
        raise ProtocolError(f"there is no request of kind {payload[0]}")
    return _read(_REQUESTS[payload[0]], payload, newer=newer)  # type: ignore[no-any-return]


def _read_call(payload: list[Any]) -> Call | None:
    """The call of most calls: no lock, nobody waits for the caller; None if it may be another one, or none."""
    if len(payload) != 7:
        return None
    _, name, method, args, kwargs, token, chain = payload
    typed = type(name) is type(method) is str and type(args) is type(chain) is list and type(kwargs) is dict
    return Call(name, method, tuple(args), kwargs) if typed and token is None and not chain and not kwargs else None


def read_signal(payload: Any, *, newer: bool) -> Signal:
    """Check the fields of a signal.

    Raises:
        ProtocolError: If it is none.
    """
    if type(payload) is not list:
        raise ProtocolError("a signal is not a list of fields")
    if len(payload) == 6:
        _, name, signal, args, seqnr, timestamp = payload
        if type(name) is type(signal) is str and type(args) is list and type(seqnr) is int and type(timestamp) is float:
            return Signal(name, signal, tuple(args), seqnr, timestamp)
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
