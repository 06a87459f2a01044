"""The bytes of a relayed link on their way through the servers of a site: rules, and nothing else.

A relayed link is two streams of bytes, one each way. Servers pass on messages, each at most once and those of one
sender in order, but they may lose some. So each message says at which byte of its stream it begins: if one is missing,
the stream is broken, and the link with it. The receiver says how many bytes it has handed over; a sender is never more
than :data:`WINDOW` ahead of that, so that no more waits anywhere.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error
from typing import Any, Final, NamedTuple

import cbor2

from qmi.names import is_valid_name

WINDOW: Final = 1 << 20
"""So many bytes may be under way."""
CHUNK: Final = 1 << 16
"""So many bytes are in one message at most."""
_GRANT: Final = WINDOW // 4
"""After so many bytes the receiver says what it has handed over."""
_HEAD: Final = Struct(">BQ")
OVERHEAD: Final = _HEAD.size
"""Bytes of a message besides those of the stream."""
_VERSION: Final = 1
_LONGEST_REASON: Final = 500


class RelayError(Exception):
    """What came does not fit what came before."""


class _Kind(IntEnum):
    DATA = 0
    GRANT = 1
    END = 2


class Ended(NamedTuple):
    """The other side has ended the link.

    Attributes:
        reason: Why; empty if all is well.
    """

    reason: str


class Flow:
    """Both streams of a relayed link, as one side sees them."""

    def __init__(self) -> None:
        self._sent = 0
        self._granted = 0
        self._received = 0
        self._handed_over = 0
        self._told = 0

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return min(WINDOW - (self._sent - self._granted), CHUNK)

    def data(self, chunk: bytes) -> bytes:
        """The message for the next bytes; at most :attr:`room`."""
        head = _HEAD.pack(_Kind.DATA, self._sent)
        self._sent += len(chunk)
        return head + chunk

    def end(self, reason: str = "") -> bytes:
        """The message that says that nothing follows."""
        return _HEAD.pack(_Kind.END, self._sent) + reason[:_LONGEST_REASON].encode("utf-8", "replace")

    def hand_over(self, size: int) -> bytes:
        """Bytes that came were handed over; the message that says so, empty if that has time."""
        self._handed_over += size
        if self._handed_over - self._told < _GRANT:
            return b""
        self._told = self._handed_over
        return _HEAD.pack(_Kind.GRANT, self._told)

    def came(self, message: bytes) -> bytes | Ended | None:
        """A message of the other side has come.

        Returns:
            Bytes that it has; that it ends the link; None if it only gives room.

        Raises:
            RelayError: If it makes no sense, or one before it is missing.
        """
        try:
            number, place = _HEAD.unpack_from(message)
            kind = _Kind(number)
        except (error, ValueError):
            raise RelayError("what came from the other side makes no sense") from None
        body = message[_HEAD.size :]
        if kind is _Kind.GRANT:
            if not self._granted <= place <= self._sent:
                raise RelayError("the other side has got more than was sent")
            self._granted = place
            return None
        if place != self._received:
            raise RelayError("the servers have lost something on the way")
        if kind is _Kind.END:
            return Ended(body[:_LONGEST_REASON].decode("utf-8", "replace"))
        self._received += len(body)
        if self._received - self._told > WINDOW:
            raise RelayError("the other side sends more than it may")
        return body


class Opening(NamedTuple):
    """Who wants a link, and where its messages go to.

    Attributes:
        context: Who it says it is; what it is, the link finds out.
        incarnation: Its incarnation.
        connection: Names the link.
    """

    context: str
    incarnation: str
    connection: str


def write_opening(opening: Opening) -> bytes:
    """The question for a link."""
    return cbor2.dumps([_VERSION, *opening])


def read_opening(payload: bytes) -> Opening | None:
    """Who wants a link; None if that makes no sense."""
    found = _plain(payload)
    if not isinstance(found, list) or len(found) != 4 or found[0] != _VERSION or not is_valid_name(found[1]):
        return None
    if not (_is_hex(found[2], 8) and _is_hex(found[3], 16)):
        return None
    return Opening(found[1], found[2], found[3])


def write_answer(refusal: str = "") -> bytes:
    """The answer to such a question: why there is no link; empty if there is one."""
    return cbor2.dumps([_VERSION, refusal])


def read_answer(payload: bytes) -> str | None:
    """Why the other side makes no link; empty if it makes one, None if its answer makes no sense."""
    found = _plain(payload)
    if not isinstance(found, list) or len(found) != 2 or found[0] != _VERSION or not isinstance(found[1], str):
        return None
    return found[1][:_LONGEST_REASON]


def _plain(payload: bytes) -> Any:
    try:
        return cbor2.loads(payload)
    except Exception:  # noqa: BLE001 - whatever somebody has sent
        return None


def _is_hex(value: object, size: int) -> bool:
    return isinstance(value, str) and len(value) == 2 * size and all(digit in "0123456789abcdef" for digit in value)
