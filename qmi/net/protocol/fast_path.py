"""Fast path, must equal :mod:`qmi.net.protocol.packets`: calls and signals whose arguments are scalars, and None.

That is what nearly every packet is; here it is written and read in one step. Each function does what the general way
would do, or returns None: then that has to be taken. Where it is taken each time, a call costs a quarter more.
``tests/net/protocol/test_fast_path.py`` compares both.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

from qmi.messages import Call, Signal
from qmi.net.codec import OTHER, Codec, copy_of_scalars, encode_each, encode_scalars
from qmi.net.codec.rows import SCALARS
from qmi.net.limits import ProtocolError
from qmi.net.protocol.bounds import EARLIEST, LATEST, MAX_CHAIN, MAX_INT, MAX_NAME, MAX_TOKEN
from qmi.net.protocol.kinds import REQUEST, VALUE

HEAD = Struct(">BBBI")
"""A body from its beginning to its payload, if the number of its request has more than one and at most four bytes."""

THREE_FIELDS = 0x83
FOUR_BYTES = 0x1A
"""What stands in front of its three fields, and in front of the number."""
WRITTEN = Struct(">5sI12xBBBI")
"""A frame without segments and with such a body, from its beginning to the payload: magic and version, the length of
the body, that there are no segments; and the body."""
READ = Struct(">4sBI13sBBI")
"""The same for who reads it: what is compared together is one field."""
SHORT = 256
"""Longer ones are not looked at here."""
UNREAD = object()
"""What :func:`read_payload` returns of what has to be read in the general way."""

_CALL = 0
"""The number of calls among requests; signals, which are none, bear the same."""
_BARE = b"\x80\xa0\xf6\x80"
"""No arguments, no arguments by name, no token, nobody who waits."""
_FLOAT = Struct(">Bd")
_FLOAT_HEAD = 0xFB
_SHORTEST = {b"\xf6": None, b"\xf4": False, b"\xf5": True, **{bytes((number,)): number for number in range(24)}}
"""Values of one byte."""
_FEW = 23
_LISTS = [bytes((0x80 + size,)) for size in range(_FEW + 1)]
"""The heads of lists of so many items; up to 23, the number of them fits into one byte."""
_TEXT = frozenset({str})
_CODEC = Codec()


@lru_cache(1024)
def _opening(size: int, name: str, member: str) -> bytes:
    """So many fields in a list, and the first three of them: what is the same for each call of a method."""
    payload = encode_scalars([_CALL, name, member])
    if payload is None or len(name) > MAX_NAME or len(member) > MAX_NAME:
        raise ValueError("these names cannot be sent")
    return bytes((0x80 + size,)) + payload[1:]


@lru_cache(1024)
def _bare(name: str, method: str) -> bytes:
    """A call without arguments."""
    return _opening(7, name, method) + _BARE


def encode_call(call: Call) -> bytes | None:
    """Encode a call."""
    args, kwargs = call.args, call.kwargs
    try:
        if not (args or kwargs or call.chain) and call.token is None:
            return _bare(call.object, call.method)
        opening = _opening(7, call.object, call.method)
    except (ValueError, TypeError):
        return None
    if len(args) > _FEW or not SCALARS.issuperset(map(type, kwargs.values())):
        return None
    if not SCALARS.issuperset(map(type, args)):
        args = tuple(map(copy_of_scalars, args))
        if OTHER in args:
            return None
    found = encode_each(args)
    if found is None:
        return None
    opening += _LISTS[len(args)] + found
    if not kwargs and call.token is None and not call.chain:
        return opening + _BARE[1:]
    if (kwargs and max(map(len, kwargs)) > MAX_NAME) or len(call.chain) > MAX_CHAIN:
        return None
    token = None if call.token is None else list(call.token)
    if token is not None and len(call.token.secret) > MAX_TOKEN:  # type: ignore[union-attr]
        return None
    rest = encode_scalars([dict(kwargs), token, list(call.chain)])
    return None if rest is None else opening + rest[1:]


def list_fields(call: Call) -> list[object] | None:
    """The fields of a call as :func:`~qmi.net.protocol.bounds.fields_to_wire` gives them, without token and chain."""
    args, kwargs = call.args, call.kwargs
    if call.token is not None or call.chain != () or type(args) is not tuple or type(kwargs) is not dict:
        return None
    if kwargs and not (_TEXT.issuperset(map(type, kwargs)) and max(map(len, kwargs)) <= MAX_NAME):
        return None
    try:
        _opening(7, call.object, call.method)  # it knows these names, or refuses them
    except (ValueError, TypeError):
        return None
    return [call.object, call.method, list(args), dict(kwargs), None, []]


def encode_signal(signal: Signal) -> bytes | None:
    """Encode a signal."""
    args = signal.args
    if len(args) > _FEW or not SCALARS.issuperset(map(type, args)):
        return None
    try:
        opening = _opening(6, signal.object, signal.signal)
        if not (0 <= signal.seqnr <= MAX_INT and EARLIEST <= signal.timestamp <= LATEST):
            return None
    except (ValueError, TypeError):
        return None
    rest = encode_each((*args, signal.seqnr, signal.timestamp))
    return None if rest is None else opening + _LISTS[len(args)] + rest


class Bare:
    """A call without arguments, already checked. No payload can pretend to be one, since no value becomes one."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Call = call


def read_body(body: bytes | bytearray) -> tuple[int, int, object] | None:
    """Read a packet whose payload :func:`read_payload` can read."""
    if not HEAD.size < len(body) < SHORT:
        return None
    start, kind, width, number = HEAD.unpack_from(body)
    if start != THREE_FIELDS or width != FOUR_BYTES:
        return None
    payload = read_payload(kind, bytes(body[HEAD.size :]))
    return None if payload is UNREAD else (kind, number, payload)


def read_payload(kind: int, payload: bytes) -> object:
    """Read an answer that is a float or has one byte, or a call without arguments: such are kept and come again."""
    if kind == VALUE:
        if len(payload) == _FLOAT.size and payload[0] == _FLOAT_HEAD:
            return _FLOAT.unpack(payload)[1]
        return _SHORTEST.get(payload, UNREAD)
    if kind == REQUEST and payload.endswith(_BARE):
        return _read_bare(payload) or UNREAD
    return UNREAD


@lru_cache(1024)
def _read_bare(payload: bytes) -> Bare | None:
    try:
        fields = _CODEC.decode(payload)
    except ProtocolError:
        return None
    call = read_call(fields) if type(fields) is list else None
    return None if call is None or call.args else Bare(call)


def read_call(fields: list[Any]) -> Call | None:
    """Check the fields of a call that shows no token and for whose caller nobody waits."""
    if len(fields) != 7:
        return None
    number, name, method, args, kwargs, token, chain = fields
    typed = type(name) is type(method) is str and type(args) is type(chain) is list and type(kwargs) is dict
    plain = type(number) is int and number == _CALL and token is None and not chain and not kwargs
    if not (typed and plain) or len(name) > MAX_NAME or len(method) > MAX_NAME:
        return None
    return Call(name, method, tuple(args), kwargs)


def read_signal(fields: list[Any]) -> Signal | None:
    """Check the fields of a signal."""
    if len(fields) != 6:
        return None
    _, name, signal, args, seqnr, timestamp = fields
    typed = type(name) is type(signal) is str and type(args) is list
    if not typed or type(seqnr) is not int or type(timestamp) is not float:
        return None
    if 0 <= seqnr <= MAX_INT and EARLIEST <= timestamp <= LATEST and len(name) <= MAX_NAME >= len(signal):
        return Signal(name, signal, tuple(args), seqnr, timestamp)
    return None
