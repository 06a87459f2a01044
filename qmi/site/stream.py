"""What the servers of a site have kept of a signal, read from their stream."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Final

import trio

from qmi.errors import QMI_NotDeliveredException
from qmi.site.client import SiteClient
from qmi.site.envelope import Envelope, from_bytes
from qmi.site.wire import Message

BATCH: Final = 500
BATCH_BYTES: Final = 4 << 20
AT_ONCE: Final = 3
"""So many batches are asked for together: what is more than a server holds for one that reads slowly would make it
hang up, and everything would be asked for again."""
_NOTHING: Final = 404


class Stream:
    """A stream, such as that of signals.

    It is read by direct requests, which leave nothing behind at the servers.

    Args:
        client: The connection.
        name: What it is called.
    """

    def __init__(self, client: SiteClient, name: str) -> None:
        self._client = client
        self._subject = f"$JS.API.DIRECT.GET.{name}"
        self._reading = trio.CapacityLimiter(AT_ONCE)
        self._info = f"$JS.API.STREAM.INFO.{name}"

    async def read(self, subject: str, *, sequence: int = 1, begin: float | None = None) -> list[Envelope]:
        """What was published under a subject, in the order in which it was kept.

        Args:
            subject: The subject.
            sequence: From which sequence number on.
            begin: From when on, in seconds since the epoch, in place of that.

        Raises:
            QMI_NotDeliveredException: If there is no connection, or no stream.
            QMI_TimeoutException: If the servers say nothing.
        """
        messages = await self.messages(subject, sequence=sequence, begin=begin)
        return [envelope for message in messages if (envelope := from_bytes(message.payload)) is not None]

    async def messages(self, subject: str, *, sequence: int = 1, begin: float | None = None) -> list[Message]:
        """The same as messages, whatever they are; the header ``Nats-Sequence`` says where each is kept."""
        where: dict[str, object] = {"seq": max(sequence, 1)}
        if begin is not None:
            where = {"start_time": datetime.fromtimestamp(max(begin, 1.0), UTC).isoformat().replace("+00:00", "Z")}
        found: list[Message] = []
        while True:
            ask = {"next_by_subj": subject, "batch": BATCH, "max_bytes": BATCH_BYTES, **where}
            async with self._reading:
                *messages, end = await self._client.collect(self._subject, json.dumps(ask).encode())
            found += [message for message in messages if is_genuine(message, subject)]
            headers = end.headers
            if end.status == _NOTHING or not messages or headers.get("Nats-Num-Pending", "0") == "0":
                return found
            where = {"seq": int(messages[-1].headers["Nats-Sequence"]) + 1}

    async def last(self, subject: str) -> Envelope | None:
        """What was published last under a subject; None if that is nothing, or no signal.

        Raises:
            QMI_NotDeliveredException: If there is no connection, or no stream.
            QMI_TimeoutException: If the servers say nothing.
        """
        message = await self._client.request(self._subject, json.dumps({"last_by_subj": subject}).encode())
        return _envelope(message, subject)

    async def now(self) -> float:
        """What time it is by the servers' clock, which says when something was kept; in seconds since the epoch.

        Raises:
            QMI_NotDeliveredException: If there is no connection, or no stream.
            QMI_TimeoutException: If the servers say nothing.
        """
        message = await self._client.request(self._info)
        try:
            text = json.loads(message.payload)["ts"]
            whole, _, rest = text.rstrip("Z").partition(".")
            return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{rest or 0}")
        except (ValueError, KeyError, TypeError, AttributeError):  # an older server does not say
            return time.time()

    async def is_there(self) -> bool:
        """Whether there is a stream."""
        try:
            await self.last("qmi")
        except QMI_NotDeliveredException:
            return False
        return True


def is_genuine(message: Message, subject: str) -> bool:
    """Whether a message of a stream was published by whom its subject says."""
    # A server publishes the answer to such a request wherever the request says, and keeps it there. What a context has
    # published itself has these headers once, an answer that somebody had sent to another's subject has them twice.
    if message.status or message.head.count(b"Nats-Stream:") != 1:
        return False
    return message.headers.get("Nats-Subject") == subject


def _envelope(message: Message, subject: str) -> Envelope | None:
    return from_bytes(message.payload) if is_genuine(message, subject) else None
