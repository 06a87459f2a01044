"""Whether the next answer belongs to the next question.

A question goes out, its answer comes in. Where that is broken off between the two (a timeout, a cancellation, Ctrl-C),
the answer may still come, and would be taken for that of the next question. This module knows when that may be so, and
what ends it; the transports read and write.

::

    IDLE ──question──> ASKED ──read fails───> LATE     its answer may still come
                         ├──read not full──> UNSURE   a read that takes what comes: there may be more
                         └──write fails────> PARTIAL  the device holds a part of a question

All three are left before the next question: ``UNSURE`` by dropping what is there; ``LATE`` and ``PARTIAL`` by draining,
by a device clear, by a new connection, or by the driver's own function.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from qmi.errors import QMI_InvalidValueException


class Step(IntEnum):
    """How far an exchange has come; from ``UNSURE`` on something must be done before the next question."""

    IDLE = 0
    """Nothing was asked: what comes in was sent unasked."""
    ASKED = 1
    """A question is out, and every read since then was served."""
    UNSURE = 2
    """A read that takes what comes was not filled: there may be more."""
    LATE = 3
    """A read failed: its answer may still come."""
    PARTIAL = 4
    """A question went out in part."""
    LOST = 5
    """The connection is gone, and a new one is to be made."""


class Owed(NamedTuple):
    """What ends an answer that is still to come.

    Attributes:
        terminator: The bytes at its end; empty if it ends by its length.
        nbytes: Its length where it has no terminator.
        is_block: Whether it is an IEEE 488.2 block that says its length, with the terminator behind it.
        answers: How many answers are owed, where they have a terminator.
    """

    terminator: bytes = b""
    nbytes: int = 0
    is_block: bool = False
    answers: int = 1

    @property
    def is_counted(self) -> bool:
        """Whether nothing but a number of bytes is known."""
        return not self.terminator and not self.is_block

    def is_in(self, received: bytes | bytearray) -> bool:
        """Whether the whole answer is among what was received."""
        if self.is_block and (end := block_end(received)) is not None:
            return len(received) >= end + len(self.terminator)
        if self.terminator:
            return received.count(self.terminator) >= self.answers
        return len(received) >= self.nbytes


def block_end(received: bytes | bytearray) -> int | None:
    """Where an IEEE 488.2 block of definite length ends; None if this is no such block.

    Args:
        received: The block from its ``#`` on, or the beginning of one.
    """
    if received[:1] not in (b"#", b""):
        return None
    digits = received[1:2]
    if not digits:
        return 2
    if not digits.isdigit() or digits == b"0":
        return None
    size = received[2 : 2 + int(digits)]
    if len(size) < int(digits):
        return 2 + int(digits)
    return 2 + len(size) + int(size) if size.isdigit() else None


RECOVERIES = ("drain", "reconnect", "ignore")


class OutOfStep(NamedTuple):
    """What a transport does before it asks again when an answer is owed.

    Attributes:
        recovery: ``"drain"`` waits for the owed answer and drops it, and makes a new connection where it does not come
            in time; ``"reconnect"`` makes a new connection at once; ``"ignore"`` does nothing, as QMI always did.
        drain_timeout: For how long the owed answer is waited for, in seconds.
    """

    recovery: str = "drain"
    drain_timeout: float = 1.0


def checked_out_of_step(recovery: str, drain_timeout: float) -> OutOfStep:
    """The same, if it makes sense.

    Raises:
        QMI_InvalidValueException: If there is no such recovery, or the time is no number of seconds.
    """
    if recovery not in RECOVERIES:
        raise QMI_InvalidValueException(f"out_of_step must be one of {', '.join(RECOVERIES)}, got {recovery!r}")
    if not isinstance(drain_timeout, int | float) or not 0 <= drain_timeout < float("inf"):
        raise QMI_InvalidValueException(f"drain_timeout must be a number of seconds >= 0, got {drain_timeout!r}")
    return OutOfStep(recovery, float(drain_timeout))
