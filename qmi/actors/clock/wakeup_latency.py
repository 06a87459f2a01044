"""How much before its time a wait should end, learned from how late it was woken before.

An operating system wakes a thread late: some 50 µs on a busy machine, 300 µs and more when the processor had gone to
sleep. The delay has a part that is there every time. A waiter that sets its timer early by that part is on time; if it
is woken early for once, it spins for the few microseconds that are left.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AimEarly"]

_SMALLEST_STEP: Final = 1e-6
_STEP: Final = 0.05
_FORGET: Final = 0.8


class AimEarly:
    """Follows a quantile of the delays it is told.

    Args:
        quantile: Fraction of wake-ups that may come early, and so spin: higher is more punctual and costs more.
        share: The lead is at most this fraction of a wait, which bounds the share of a processor spent on spinning.
        longest: The lead is at most this, in seconds.
        first: The lead to begin with, in seconds.
    """

    __slots__ = ("_gain", "_longest", "_quantile", "_share", "lead")

    def __init__(self, *, quantile: float, share: float, longest: float, first: float = 30e-6) -> None:
        self._quantile = quantile
        self._share = share
        self._longest = longest
        # Bold steps at first, so that a loop of a few hertz is punctual after some seconds and not minutes.
        self._gain = 1.0
        self.lead: float = min(first, longest)

    def early(self, wait: float) -> float:
        """Seconds before its end at which the timer of a wait should fire."""
        return min(self.lead, self._share * wait)

    def woke(self, delay: float) -> None:
        """Learn that the timer fired this many seconds late."""
        error = min(delay, self._longest) - self.lead
        # A step does not grow with the error: one wake-up that is late by milliseconds must not count for many.
        step = max(_SMALLEST_STEP, _STEP * self.lead, self._gain * abs(error))
        self.lead += self._quantile * step if error > 0.0 else (self._quantile - 1.0) * step
        self._gain *= _FORGET
        self.lead = min(max(self.lead, 0.0), self._longest)
