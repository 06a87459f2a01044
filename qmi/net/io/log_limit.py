"""How many lines an outsider can have written to the log: one a second, with the count of those that were kept back."""

from __future__ import annotations


class LineLimit:
    """Decides whether a line is written.

    A bucket holds ``burst`` lines and gains one each ``period``. What finds it empty is counted; the next line that is
    written says how many that were. When nothing more comes, :meth:`flush` has the rest.

    Args:
        period: Seconds between two lines in the long run.
        burst: Lines that may be written at once after a silence.
    """

    __slots__ = ("_burst", "_held", "_period", "_since", "_tokens")

    def __init__(self, period: float = 1.0, burst: int = 1) -> None:
        self._period = period
        self._burst = burst
        self._tokens = float(burst)
        self._since = float("-inf")
        self._held = 0

    @property
    def held(self) -> int:
        """How many lines were kept back since the last one that was written."""
        return self._held

    def admit(self, now: float) -> int | None:
        """Ask to write a line.

        Args:
            now: The current time in seconds; only differences count.

        Returns:
            How many lines were kept back before this one; None if this one is kept back, too.
        """
        self._refill(now)
        if self._tokens < 1.0:
            self._held += 1
            return None
        self._tokens -= 1.0
        return self.take_held()

    def take_held(self) -> int:
        """Return how many lines were kept back, for whoever says so now."""
        held, self._held = self._held, 0
        return held

    def flush(self, now: float) -> int:
        """Return how many lines were kept back if it is time to say so, else 0."""
        self._refill(now)
        if not self._held or self._tokens < 1.0:
            return 0
        self._tokens -= 1.0
        return self.take_held()

    def _refill(self, now: float) -> None:
        if now > self._since:
            self._tokens = min(float(self._burst), self._tokens + (now - self._since) / self._period)
            self._since = now
