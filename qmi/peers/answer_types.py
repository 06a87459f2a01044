"""What may be the answer to which request: checked when it comes, so that no caller meets something of another type."""

from __future__ import annotations

from collections.abc import Mapping

from qmi.actors.context_object import ObjectListing
from qmi.actors.interface import Interface
from qmi.errors import QMI_RuntimeException
from qmi.messages import (
    Acquire,
    Describe,
    ForceRelease,
    LockAnswer,
    LockInfo,
    QueryLock,
    Release,
    Subscribe,
    Unsubscribe,
)
from qmi.net.protocol.bounds import NAME, NOTHING, TIMESTAMP, Bound, Exactly, Field, Maybe, Record, Text, describe_value

ANSWERS: Mapping[type, Bound] = {
    Acquire: Exactly(LockAnswer),
    Release: Exactly(bool),
    ForceRelease: NOTHING,
    QueryLock: Maybe(
        Record(LockInfo, (Field("context", NAME), Field("label", NAME), Field("since", TIMESTAMP))),
    ),
    Describe: Exactly(Interface),
    Subscribe: NOTHING,
    Unsubscribe: NOTHING,
}
"""The answer to a call is the user's, and any value; statistics are only shown."""


_SHOWN = Text(1 << 16)
_LISTING = Record(ObjectListing, tuple(Field(name, _SHOWN) for name in ObjectListing._fields))


def check_listing(told: list[ObjectListing]) -> None:
    """Check what another context says of its objects.

    Raises:
        QMI_RuntimeException: If a field is no text.
    """
    for entry in told:
        if not _LISTING.accepts(entry):
            found = ", ".join(map(describe_value, entry))
            raise QMI_RuntimeException(f"an object is described by texts; got {found}")


def find_fault(bound: Bound, value: object, what: str, peer: str) -> QMI_RuntimeException | None:
    """Return the error of a request whose answer makes no sense, None if it does.

    Args:
        bound: What the answer may be.
        value: The answer.
        what: The request, for the message.
        peer: Who has answered.
    """
    if bound.accepts(value):
        return None
    return QMI_RuntimeException(f"{peer} answered {what} with {describe_value(value)}; expected {bound.expected}")
