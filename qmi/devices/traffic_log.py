"""The last exchanges of an instrument with its device, in memory, while somebody wants to see them.

Nothing is kept, and lines have nothing more to do, until it is switched on; see :mod:`qmi.devices.traffic`.
"""

from __future__ import annotations

import logging
import threading
import time

from qmi.devices.traffic import (
    PREFIX,
    Watched,
    add_recorder,
    quoted,
    remove_recorder,
    traffic_name,
    watched_lines,
)
from qmi.runtime.log_ring import LogRing

UNREAD_SECONDS = 3600.0
"""A log that nobody has read for so long switches itself off, in seconds."""
_RECORDS = 2_000
_CHARACTERS = 500_000
_SHOWN = 4_000
"""Bytes of one exchange that are kept; the rest is only counted."""
_SILENT = "message"
"""The event that only says where a message begins."""


class TrafficLog:
    """What went over the transports of one instrument since it was switched on. Safe for threads.

    Args:
        instrument: Its name.

    Attributes:
        ring: The records; they have the texts of the logger ``qmi.traffic.<instrument>``.
        by: Who has switched it on; empty while it is off.
        since: When that was, in seconds since 1970; 0 while it is off.
    """

    def __init__(self, instrument: str) -> None:
        self._name = traffic_name(instrument)
        # Recorders are added and removed with it held; lines tell what happens without it.
        self._mutex = threading.Lock()
        self._read = 0.0
        self.ring: LogRing = LogRing(_RECORDS, _CHARACTERS)
        self.by: str = ""
        self.since: float = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return self.ring.feeders > 0

    @property
    def has_transport(self) -> bool:
        """Whether there is a transport of that instrument."""
        return any(line.traffic_name == self._name for line in watched_lines())

    def switch_on(self, by: str) -> None:
        """Begin, unless it is on.

        Args:
            by: Who wants it.
        """
        with self._mutex:
            if not self.is_on:
                self.by, self.since = by, time.time()
                self.was_read()
                self.ring.feeders = 1
                add_recorder(self)

    def switch_off(self) -> None:
        """End; what was kept can still be read."""
        with self._mutex:
            if self.is_on:
                remove_recorder(self)
                self.ring.feeders = 0
                self.by, self.since = "", 0.0

    def was_read(self) -> None:
        """Somebody reads it."""
        self._read = time.monotonic()

    def note(self, line: Watched, event: str, data: bytes) -> None:
        """Something happened, in the thread that the driver works in; see :class:`~qmi.devices.traffic.Recorder`."""
        if line.traffic_name != self._name or event == _SILENT or not self.is_on:
            return
        if time.monotonic() - self._read > UNREAD_SECONDS:
            self.switch_off()
            return
        # As the logger says it.
        text = f"{event} {len(data)} {quoted(data[:_SHOWN])}" if data else event
        record = logging.LogRecord(f"{PREFIX}.{self._name}", logging.DEBUG, "", 0, text, None, None)
        self.ring.add(record, text, "")
