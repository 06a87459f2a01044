"""When the other side is asked for a sign of life, and when it counts as dead.

Only time in which this side could have listened counts as silence: when a check comes later than it was due (the loop
was blocked, the program was stopped, the computer slept), the delay is forgiven, since the answer may wait unread.
"""

from __future__ import annotations

from enum import Enum, auto


class Pulse(Enum):
    """What a check asks for."""

    NOTHING = auto()
    PING = auto()
    DEAD = auto()


class Heartbeat:
    """Watches one link.

    Args:
        now: The current time.
        ping_after: Seconds of silence between two requests for a sign of life.
        silence: Seconds of silence that mean death.
    """

    def __init__(self, now: float, *, ping_after: float, silence: float) -> None:
        self._ping_after = ping_after
        self._silence = silence
        self._heard = now
        self._pinged = now

    def heard(self, now: float) -> None:
        """Something came."""
        self._heard = self._pinged = max(now, self._heard)

    @property
    def due(self) -> float:
        """When the next check must be made."""
        return min(self._pinged + self._ping_after, self._heard + self._silence)

    def check(self, now: float) -> Pulse:
        """Look at the clock; may be called at any time."""
        late = now - self.due
        if late < 0:
            return Pulse.NOTHING
        self._heard += late
        if now >= self._heard + self._silence:
            return Pulse.DEAD
        self._pinged = now
        return Pulse.PING
