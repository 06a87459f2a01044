"""What a packet is for: the number that its body begins with.

Where a new kind has to be known: ``incoming`` (what it means), ``events`` and ``delivery`` (who hears of it),
``sending`` and ``link`` (how it is said), and, if the owner of a link hears of it, ``qmi.peers.connections`` and its
``_ConnectionHandler``.
"""

from __future__ import annotations

from enum import IntEnum


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
