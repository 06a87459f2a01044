"""The way of this context's signals to its site. Each is encoded once, whoever listens, and never waited for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from qmi.errors import QMI_Exception
from qmi.messages import NO_MORE_SIGNALS, Origin, Signal
from qmi.net.codec import Codec
from qmi.net.protocol.packets import encode_message
from qmi.site.client import SiteClient
from qmi.site.envelope import MAX_SEGMENTS, Envelope, Form, from_bytes, join_incarnations, join_segments, plain_head
from qmi.site.subjects import signal_subject

_logger = logging.getLogger("qmi.core.site")

MAX_LISTENERS: Final = 4096
MAX_SIGNALS: Final = 20_000
"""So many may want the large signals of one name by their links, and of so many."""


class SignalLink(Protocol):
    """What is needed of a link."""

    @property
    def dropped_signals(self) -> int:
        """How many signals found no room on it."""

    def send_signal(self, signal: Signal) -> None:
        """Send a signal, or drop it."""


class PublishingServices(Protocol):
    """What is needed of the context."""

    @property
    def origin(self) -> Origin:
        """How others know this context."""

    def link_of(self, incarnation: str) -> SignalLink | None:
        """The link to a context, by its incarnation."""

    def published(self, name: str, signal: str) -> int:
        """How often a signal was published."""


class Publishing:
    """Publishes signals.

    Args:
        services: The context.
        client: The connection.
        codec: Encodes arguments.
        workgroup: The workgroup of the site.
    """

    def __init__(self, services: PublishingServices, client: SiteClient, codec: Codec, workgroup: str) -> None:
        self._services = services
        self._client = client
        self._codec = codec
        self._workgroup = workgroup
        self._incarnation = services.origin.incarnation
        self._bytes = bytes.fromhex(self._incarnation)
        self._subjects: dict[tuple[str, str], bytes] = {}
        # Changed on the loop, read with the broker's mutex by whoever publishes: a set is replaced, never changed.
        self._listeners: dict[tuple[str, str], frozenset[str]] = {}
        self._dropped = 0

    def send(self, signal: Signal, _: object) -> None:
        """Publish a signal. Called with the broker's mutex, in any thread; never waits.

        Raises:
            QMI_ValueNotSendableException: If an argument cannot be sent.
        """
        key = (signal.object, signal.signal)
        subject = self._subjects.get(key) or self._subject(key)
        payload = self._payload(signal)
        if len(payload) > self._client.max_payload:
            payload = self._by_links(signal)
        if not self._client.publish(subject, payload, kept=True):
            self._drop()
        elif self._dropped:
            _logger.warning("Signals go to the site again; %d were dropped", self._dropped)
            self._dropped = 0

    def _subject(self, key: tuple[str, str]) -> bytes:
        found = self._subjects[key] = signal_subject(self._workgroup, self._services.origin.context, *key).encode()
        return found

    def pending(self, topics: Sequence[tuple[str, str]]) -> list[int]:
        """The lowest number of each signal that the servers have not kept yet, -1 if there is none. On the loop."""
        lowest: dict[bytes, int] = {}
        for subject, payload in self._client.pending():
            envelope = from_bytes(payload)
            if envelope is not None:
                lowest[subject] = min(envelope.number, lowest.get(subject, envelope.number))
        return [lowest.get(self._subjects.get(key, b""), -1) for key in topics]

    def _payload(self, signal: Signal) -> bytes:
        stored = self._client.stored
        if signal.seqnr == NO_MORE_SIGNALS:
            number = self._services.published(signal.object, signal.signal)
            return Envelope(Form.END, self._incarnation, number, signal.timestamp, stored).to_bytes()
        body, segments = encode_message(self._codec, signal)
        if not segments:
            return plain_head(self._bytes, signal.seqnr, signal.timestamp, stored) + body
        if len(segments) > MAX_SEGMENTS or sum(one.nbytes for one in segments) > self._client.max_payload:
            return bytes(self._client.max_payload + 1)  # too large, whatever it is
        joined = join_segments(body, segments)
        return Envelope(Form.SEGMENTS, self._incarnation, signal.seqnr, signal.timestamp, stored, joined).to_bytes()

    def _by_links(self, signal: Signal) -> bytes:
        """Send it by the links of those who want it, and return what keeps its place at the site."""
        sent = []
        for incarnation in self._listeners.get((signal.object, signal.signal), ()):
            link = self._services.link_of(incarnation)
            if link is None:
                continue
            before = link.dropped_signals
            try:
                link.send_signal(signal)
            except QMI_Exception:  # it is gone, or takes no such signal
                continue
            if link.dropped_signals == before:
                sent.append(incarnation)
        body = join_incarnations(sent)
        number, time, stored = signal.seqnr, signal.timestamp, self._client.stored
        return Envelope(Form.LARGE, self._incarnation, number, time, stored, body).to_bytes()

    def _drop(self) -> None:
        if not self._dropped:
            what = f"{self._client.waiting / (1 << 20):.1f} MiB wait (site.buffer_bytes)"
            where = "" if self._client.is_up else f", and {self._client.fault}"
            _logger.warning("Signals to the site are dropped: %s%s", what, where)
        self._dropped += 1

    # Who wants large signals by links, on the loop

    def add_listener(self, name: str, signal: str, incarnation: str) -> None:
        """A context wants the large signals of an object by its link, if it has one."""
        known = self._listeners.get((name, signal), frozenset())
        if len(known) < MAX_LISTENERS and (known or len(self._listeners) < MAX_SIGNALS):
            self._listeners[name, signal] = known | {incarnation}

    def drop_listener(self, incarnation: str) -> None:
        """A context is gone."""
        for key, known in list(self._listeners.items()):
            if incarnation in known:
                left = known - {incarnation}
                if left:
                    self._listeners[key] = left
                else:
                    del self._listeners[key]
