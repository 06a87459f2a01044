"""What is missing in a recording: each time at which signals may have been missed, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_TEXTS: Final = {
    "dropped": "signals are missing: more came than could be recorded, or than the link could take",
    "lost": "the link is lost, and is being restored",
    "resumed": "the link is back; what was published meanwhile is missing",
    "restarted": "its program was started anew; what was published meanwhile is missing",
    "ended": "nothing comes any more: the object was removed, or its context has stopped or was disconnected",
    "refused": "a value does not go with its column",
    "found": "it is there, and recorded from now on",
    "absent": "it is not there yet",
}


@dataclass(frozen=True)
class Gap:
    """A time at which signals may be missing in a recording.

    Attributes:
        source: What is recorded, such as ``"lab.nsg.sig_sample"``.
        kind: "dropped" (more came than could be taken), "lost", "resumed" or "restarted" (the link, and what came
            back), "ended" (the object is gone for good), "refused" (a value that its column cannot have), or with
            ``reconnect=True`` "absent" and "found".
        time: When it was noticed, in UTC.
        row: The number of the row before which it was noticed.
        missing: How many signals are missing; None if that is not known.
        detail: What else is known.
    """

    source: str
    kind: str
    time: datetime
    row: int
    missing: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        count = "" if self.missing is None else f" ({self.missing} missing)"
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.source}, before row {self.row}: {self.kind}{count}, {_TEXTS.get(self.kind, '')}{detail}"

    def to_event(self) -> dict[str, Any]:
        """The record of a log."""
        return {
            "event": "gap",
            "source": self.source,
            "kind": self.kind,
            "row": self.row,
            "missing": self.missing,
            "detail": self.detail,
        }
