"""Whether a task that failed is started again, and after how long: a limit per time and a growing delay.

Pure: the time is an argument. How a task runner uses it::

    restarts = Restarts(RestartRule(limit=3, window=60.0))
    while True:
        failure = run_the_task()
        if failure is None:
            break
        decision = restarts.failed(clock.now())
        logger.warning("%s", decision.reason)
        if decision.delay is None or not waiter.wait_until(clock.now() + decision.delay):
            break                                        # given up, or asked to stop
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from qmi.errors import QMI_InvalidValueException
from qmi.records import NamedTuple

__all__ = ["RestartDecision", "RestartRule", "Restarts"]


@dataclass(frozen=True, kw_only=True)
class RestartRule:
    """When to start a failed task again.

    The delay before a restart is ``first_delay * growth**n`` where ``n`` is the number of restarts within the last
    ``window``, but never more than ``longest_delay``. A task that then runs well for a whole window starts afresh.

    Attributes:
        limit: Restarts allowed within the window; 0 never restarts, None never gives up.
        window: Seconds that a restart counts.
        first_delay: Seconds to wait before the first restart.
        growth: Factor from each delay to the next, at least 1.
        longest_delay: Seconds that no delay exceeds.

    Raises:
        QMI_InvalidValueException: If a value cannot work; names the field.
    """

    limit: int | None = 3
    window: float = 60.0
    first_delay: float = 0.5
    growth: float = 2.0
    longest_delay: float = 30.0

    def __post_init__(self) -> None:
        limit = self.limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise QMI_InvalidValueException(
                f"limit is a number of restarts, 0 or more, or None for any number; got {limit!r}"
            )
        for field, low, high in (
            ("window", math.ulp(0.0), math.inf),
            ("first_delay", 0.0, math.inf),
            ("growth", 1.0, math.inf),
            ("longest_delay", self.first_delay, math.inf),
        ):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
                wanted = "above 0" if field == "window" else f"at least {low:g}"
                raise QMI_InvalidValueException(f"{field} is a finite number, {wanted}; got {value!r}")


RestartRule.__module__ = "qmi.core.task"


class RestartDecision(NamedTuple):
    """What to do about a failure.

    Attributes:
        delay: Seconds to wait before the restart; None: do not restart.
        restarts: Restarts so far, this one included.
        reason: The decision as a sentence for the log.
    """

    delay: float | None
    restarts: int
    reason: str


_REMEMBERED = 1000
"""Where there is no limit; with as many restarts within the window, the delay is at its longest, or does not grow."""


class Restarts:
    """The restarts of one task; remembers at most ``limit`` times, or a thousand without a limit."""

    def __init__(self, rule: RestartRule) -> None:
        self.rule = rule
        self.count: int = 0
        self._times: deque[float] = deque(maxlen=_REMEMBERED if rule.limit is None else None)

    def failed(self, now: float) -> RestartDecision:
        """Decide about a failure at this time. A restart is counted from the moment it is due."""
        rule = self.rule
        while self._times and now - self._times[0] > rule.window:
            self._times.popleft()
        recent = len(self._times)
        if rule.limit is not None and recent >= rule.limit:
            return RestartDecision(None, self.count, self._refusal())
        delay = self._delay(recent)
        self.count += 1
        self._times.append(now + delay)
        allowed = "" if rule.limit is None else f" of at most {rule.limit}"
        reason = f"Restart {recent + 1}{allowed} within {rule.window:g} s, in {delay:g} s"
        return RestartDecision(delay, self.count, reason)

    def _delay(self, recent: int) -> float:
        try:
            return min(self.rule.first_delay * self.rule.growth**recent, self.rule.longest_delay)
        except OverflowError:
            return self.rule.longest_delay

    def _refusal(self) -> str:
        if self.rule.limit == 0:
            return "No restart: the limit is 0"
        return f"No restart: failed again after the {self.rule.limit} allowed within {self.rule.window:g} s"
