"""What a queue of scans has: what waits, in which order, what runs and has ended; and what is kept of that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from qmi.errors import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UnknownNameException
from qmi.scan.running import ScanInfo

_VERSION: Final = 1
_KEPT: Final = 100
"""How many scans that have ended are kept in the list."""


@dataclass(frozen=True)
class Queued:
    """A scan of the queue.

    Attributes:
        info: What is known of it.
        data: Its description, encoded.
    """

    info: ScanInfo
    data: bytes


class QueueState:
    """The scans of one queue. Not safe for threads.

    Args:
        name: The name of the queue, with which the ids of its scans begin.

    Attributes:
        waiting: Those that wait, the next one first.
        running: The one that runs.
        ended: Those that have ended, the last one last.
        paused: Why none is begun for now; None if it is.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self.waiting: list[Queued] = []
        self.running: Queued | None = None
        self.ended: deque[ScanInfo] = deque(maxlen=_KEPT)
        self.paused: str | None = None

    def next_id(self) -> str:
        """An id that no scan of the queue has, or had before."""
        self._number += 1
        return f"{self._name}-{self._number}"

    def infos(self) -> Iterator[ScanInfo]:
        """All of them: those that have ended first, those that wait last."""
        yield from self.ended
        if self.running is not None:
            yield self.running.info
        for queued in self.waiting:
            yield queued.info

    def find(self, scan_id: str) -> ScanInfo:
        """One of them.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
        """
        for info in self.infos():
            if info.id == scan_id:
                return info
        raise QMI_UnknownNameException(f"Queue {self._name} has no scan {scan_id!r}, or has forgotten it")

    def add(self, queued: Queued) -> None:
        """One more, which waits behind all others."""
        self.waiting.append(queued)

    def _position(self, scan_id: str, what: str) -> int:
        for position, queued in enumerate(self.waiting):
            if queued.info.id == scan_id:
                return position
        info = self.find(scan_id)
        hint = "stop_scan() or abort_scan() ends it" if info.ended is None else "it has ended"
        raise QMI_InvalidOperationException(f"Scan {scan_id} does not wait any more, and cannot be {what}: {hint}")

    def remove(self, scan_id: str, reason: str, now: float) -> ScanInfo:
        """Let one that waits wait no more.

        Raises:
            QMI_UnknownNameException: If there is none of that id.
            QMI_InvalidOperationException: If it does not wait.
        """
        queued = self.waiting.pop(self._position(scan_id, "removed"))
        info = queued.info._replace(state="removed", reason=reason, ended=now)
        self.ended.append(info)
        return info

    def move(self, scan_id: str, position: int) -> None:
        """Let one that waits be carried out earlier or later; errors as for :meth:`remove`.

        Args:
            scan_id: Its id.
            position: How many are before it then.

        Raises:
            QMI_InvalidValueException: If the position is no number from 0 on.
        """
        if isinstance(position, bool) or not isinstance(position, int) or position < 0:
            raise QMI_InvalidValueException(f"position must be an int of at least 0, got {position!r}")
        self.waiting.insert(position, self.waiting.pop(self._position(scan_id, "moved")))

    def take(self, now: float) -> Queued | None:
        """The next one, which runs from now on; None if there is none, or the queue is paused."""
        if self.paused is not None or not self.waiting:
            return None
        queued = self.waiting.pop(0)
        self.running = Queued(queued.info._replace(state="running", started=now), queued.data)
        return self.running

    def note(self, info: ScanInfo) -> None:
        """What is known now of the one that runs."""
        if self.running is not None:
            self.running = Queued(info, self.running.data)

    def end(self, info: ScanInfo) -> None:
        """The one that runs has ended."""
        self.running = None
        self.ended.append(info)

    def plain(self) -> dict[str, object]:
        """All of it as plain data, to be kept."""
        running = self.running
        return {
            "version": _VERSION,
            "number": self._number,
            "paused": self.paused,
            "waiting": [[list(queued.info), queued.data] for queued in self.waiting],
            "running": None if running is None else [list(running.info), running.data],
            "ended": [list(info) for info in self.ended],
        }

    @classmethod
    def of(cls, name: str, plain: object, now: float) -> QueueState:
        """A queue as it was kept. The one that ran then was interrupted.

        Args:
            name: Its name.
            plain: What was kept.
            now: The time, in seconds since 1970.

        Raises:
            QMI_InvalidValueException: If that are no such data.
        """
        state = cls(name)
        try:
            state._read(plain, now)
        except (KeyError, TypeError, ValueError) as error:
            raise QMI_InvalidValueException(f"that is no queue of scans: {type(error).__name__}: {error}") from error
        return state

    def _read(self, plain: object, now: float) -> None:
        if not isinstance(plain, Mapping) or plain["version"] != _VERSION:
            raise ValueError("it has another version")
        self._number = int(plain["number"])
        paused = plain["paused"]
        self.paused = None if paused is None else str(paused)
        self.waiting = [_queued(each) for each in plain["waiting"]]
        self.ended.extend(ScanInfo(*each) for each in plain["ended"])
        if plain["running"] is not None:
            info = _queued(plain["running"]).info
            reason = "the program of the queue was ended while it ran"
            self.ended.append(info._replace(state="interrupted", reason=reason, ended=now))


def _queued(plain: object) -> Queued:
    if not isinstance(plain, list) or len(plain) != 2 or not isinstance(plain[1], bytes):
        raise TypeError(f"a scan is {plain!r}")
    return Queued(ScanInfo(*plain[0]), plain[1])
