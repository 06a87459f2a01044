"""What happens when a lost connection is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from qmi.errors import QMI_InvalidValueException


class ConnectionEvent(NamedTuple):
    """Something that happened to the connection of a transport.

    Attributes:
        what: ``"lost"``, ``"restored"``, ``"failed"`` (an attempt to make it again came to nothing) or ``"replaced"``
            (another device answers there now).
        detail: What is known about it, for people.
    """

    what: str
    detail: str


ConnectionEvent.__module__ = "qmi.core.transport"


@dataclass(frozen=True)
class Reconnect:
    """How a lost connection is made again: by the next call, never by itself.

    The call that notices the loss fails. The next one that writes opens the connection anew, checks that the same
    device answers, and has the driver restore its settings before it goes on.

    Attributes:
        attempts: How often one call tries.
        delay: Time between the first two attempts in seconds; each later one takes ``factor`` times as long.
        factor: By how much the delay grows.
        max_delay: Longest time between two attempts, in seconds.
        identify: What tells one device from another: a question such as ``"*IDN?"``, which ends in a newline and is
            answered by one line, or a function of the transport that asks and returns what it was told; None does not
            look. Asked when the transport is opened first, and again on each new connection. For asynchronous
            transports the function may be asynchronous.
        restore: Called with the transport on each new connection, for the settings that the device has lost.
        on_event: Called with each :class:`ConnectionEvent`.
    """

    attempts: int = 3
    delay: float = 0.2
    factor: float = 2.0
    max_delay: float = 5.0
    identify: str | Callable[[Any], object] | None = None
    restore: Callable[[Any], object] | None = None
    on_event: Callable[[ConnectionEvent], object] | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise QMI_InvalidValueException(f"attempts must be >= 1, got {self.attempts!r}")
        for name in ("delay", "factor", "max_delay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise QMI_InvalidValueException(f"{name} must be a number >= 0, got {getattr(self, name)!r}")

    def delays(self) -> Iterator[float]:
        """The time to wait before each attempt, in seconds; the first one is made at once."""
        wait = 0.0
        following = min(self.delay, self.max_delay)
        for _ in range(self.attempts):
            yield wait
            wait, following = following, min(following * self.factor, self.max_delay)


def reconnect_of(value: object) -> Reconnect | None:
    """What ``reconnect=`` means: a :class:`Reconnect`, True or False, or the question that identifies a device.

    Raises:
        QMI_InvalidValueException: If it is none of these.
    """
    if isinstance(value, Reconnect):
        return value
    if value is None or value is False:
        return None
    if value is True:
        return Reconnect()
    if isinstance(value, str) and value.strip():
        word = value.strip().lower()
        if word in ("true", "false"):
            return Reconnect() if word == "true" else None
        return Reconnect(identify=value.strip())
    raise QMI_InvalidValueException(
        f"reconnect must be True, False, a Reconnect or a question such as '*IDN?', got {value!r}"
    )
