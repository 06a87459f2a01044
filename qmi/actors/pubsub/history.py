"""What a subscriber gets of what was published before: the last value, or a stretch of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from qmi.actors.pubsub.receiver import Delivered, QMI_SignalReceiver
from qmi.actors.pubsub.subscriptions import Topic
from qmi.errors import QMI_UsageException
from qmi.records import NamedTuple

Since: TypeAlias = datetime | timedelta | float | None
"""From when on: a time with a timezone, or how long ago, as a timedelta or in seconds."""


class History(NamedTuple):
    """What somebody wants of what was published before.

    Attributes:
        seconds: What was published in so many seconds until now; None: the last value alone.
        begin: What was published since then, in seconds since the epoch; None: ``seconds`` says it.
    """

    seconds: float | None = None
    begin: float | None = None


def wanted_history(last: object, since: object) -> History | None:
    """What a user wants.

    Args:
        last: Whether the last value is wanted.
        since: From when on: a time with a timezone, or how long ago, as a timedelta or in seconds.

    Raises:
        QMI_UsageException: If it is neither.
    """
    if not isinstance(last, bool):
        raise QMI_UsageException(f"last must be True or False, got {last!r}")
    if since is None:
        return History() if last else None
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise QMI_UsageException(
                f"since must be a datetime with a timezone, got {since!r}; datetime.now(UTC) has one"
            )
        return History(begin=since.timestamp())
    seconds = since.total_seconds() if isinstance(since, timedelta) else since
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise QMI_UsageException(
            f"since must be a datetime with a timezone, or how long ago: a timedelta or >= 0 seconds, got {since!r}"
        )
    return History(seconds=float(seconds))


class Past(NamedTuple):
    """A signal that was published before.

    Attributes:
        told: The signal.
        is_current: Whether its publisher is the one that publishes now, and not one before a restart.
        gap: Why signals may be missing before it; empty if none are.
        missing: How many, if that is known.
    """

    told: Delivered
    is_current: bool = True
    gap: str = ""
    missing: int = 0


class _Event(NamedTuple):
    """What came in place of a signal."""

    is_gap: bool
    what: str
    missing: int


class Joiner(QMI_SignalReceiver):
    """Stands in for a receiver until it has got what was published before: what comes meanwhile waits.

    The broker calls it with its mutex.

    Args:
        receiver: Who subscribes.
    """

    def __init__(self, receiver: QMI_SignalReceiver) -> None:
        super().__init__()
        self.receiver: QMI_SignalReceiver = receiver
        self._waiting: list[Sequence[Delivered] | _Event] = []

    def deliver(self, told: Sequence[Delivered]) -> None:
        """Signals come."""
        self._waiting.append(told)

    def mark_gap(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Signals of a topic may be missing."""
        self._waiting.append(_Event(True, gap, missing))

    def report(self, topic: Topic, gap: str, missing: int = 0) -> None:
        """Something happened."""
        self._waiting.append(_Event(False, gap, missing))

    def miss(self) -> None:
        """A signal came that could not be rebuilt here."""
        self.receiver.miss()

    def add_source(self) -> None:
        """The receiver was subscribed to one more topic."""
        self.receiver.add_source()

    def remove_source(self, topic: Topic, why: str | None = None) -> None:
        """The receiver is subscribed to one topic less."""
        if why is not None:
            self.join(topic, (), 0)
        self.receiver.remove_source(topic, why)

    def join(self, topic: Topic, past: Iterable[Past], due: int) -> None:
        """Hand on what was published before, and what has come since.

        Args:
            topic: The topic.
            past: What was published before.
            due: The number of the signal that comes next.
        """
        first = due
        for waiting in self._waiting:
            if not isinstance(waiting, _Event):
                first = waiting[0][4]
                break
        for one in past:
            if one.is_current and one.told[4] >= first:  # it has come since, or comes
                break
            if one.gap:
                self.receiver.mark_gap(topic, one.gap, one.missing)
            self.receiver.deliver((one.told,))
        for waiting in self._waiting:
            if not isinstance(waiting, _Event):
                self.receiver.deliver(waiting)
            elif waiting.is_gap:
                self.receiver.mark_gap(topic, waiting.what, waiting.missing)
            else:
                self.receiver.report(topic, waiting.what, waiting.missing)
