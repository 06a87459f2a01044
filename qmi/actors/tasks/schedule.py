"""When a loop runs next, and what being late means: IMMEDIATE, SKIP, TERMINATE.

Pure arithmetic: the time is an argument, in seconds of any clock that does not jump by itself. Start number ``k`` of a
grid is computed as ``origin + k * period``, never by adding up, so no error grows with the number of iterations.

A period is *missed* when the time of its start passes while an earlier iteration still runs. An iteration that ends
exactly when the next is due has missed nothing.

=========  =====================================================================================================
IMMEDIATE  the overdue iteration starts at once and the grid begins anew there: one start for however many periods
           were missed. The same happens when a loop is woken a whole period late or more.
SKIP       every overdue start is dropped; the next start is the first one on the grid that is not yet over. One that
           has been over for less than a microsecond (or a period, if that is shorter) is kept, and starts at once:
           that is less than planning takes, and than any wait is punctual to.
TERMINATE  the loop ends; :attr:`Notice.end_reason` says why.
=========  =====================================================================================================

What IMMEDIATE promises (there is never a burst of catching up): a start is never planned less than a period after the
one before it, and a start that comes ``d`` late, with ``d`` less than a period, is followed by the next one no sooner
than ``period - d``. So in any stretch of time ``w`` there are at most ``w / period + 2`` starts.

A clock that goes back makes no loop stand still: a start that would lie more than two periods ahead moves to the first
place on the same grid after the present.

How a task runner uses it, with a waiter from :mod:`qmi.actors.clock.monotonic`::

    schedule = Schedule(0.1, QMI_LoopTaskMissedLoopPolicy.SKIP)
    schedule.begin(clock.now())
    while waiter.wait_until(schedule.next_start):      # False: somebody asked to stop
        schedule.started(clock.now())
        task.loop_iteration()
        while schedule.starts_at_once(now := clock.now()):    # no time to wait: what happens most, in the least time
            task.loop_iteration()
        notice = schedule.finished(now)                # None: there is nothing to tell
        if notice is not None and notice.report is not None:
            logger.warning("%s", notice.report)        # at most once a second
        if notice is not None and notice.end_reason is not None:
            break
    task.loop_finalize()
    report = schedule.last_report()                    # misses that were not reported yet, or None
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from numbers import Real
from typing import Final, NamedTuple

from qmi.actors.tasks.lateness import FIRST_BINS, FIRST_END, LatenessHistogram, LatenessSummary
from qmi.errors import QMI_InvalidValueException

__all__ = [
    "LoopStatistics",
    "MissReport",
    "Notice",
    "QMI_LoopTaskMissedLoopPolicy",
    "Schedule",
    "check_period",
]

SHORTEST_PERIOD: Final = 1e-9
_FARTHEST_AHEAD = 2
_KEPT: Final = 1e-6


class QMI_LoopTaskMissedLoopPolicy(enum.Enum):
    """What a loop task does when an iteration takes longer than the loop period."""

    __module__ = "qmi.core.task"

    IMMEDIATE = 0
    """Start the overdue iteration at once, and count the period from there."""
    SKIP = 1
    """Drop what is overdue and start at the next time on the grid."""
    TERMINATE = 2
    """End the loop."""


class Notice(NamedTuple):
    """What is to be told at the end of an iteration.

    Attributes:
        report: A line for the log, or None; comes at most once a second, however many periods are missed.
        end_reason: Why the loop must end (TERMINATE), or None to go on.
    """

    report: str | None
    end_reason: str | None


class LoopStatistics(NamedTuple):
    """What a loop did so far.

    Attributes:
        iterations: Iterations that were started.
        missed: Periods missed.
        lateness: How long after its planned time an iteration started, in seconds. With IMMEDIATE, an overdue one is
            late by what it was overdue.
        end_reason: Why the schedule ended the loop; None if it did not.
    """

    iterations: int
    missed: int
    lateness: LatenessSummary
    end_reason: str | None


def check_period(period: object) -> float:
    """Return the loop period in seconds as a float, or say what is wrong with it.

    Raises:
        QMI_InvalidValueException: If it is no number, not finite, not above zero, or shorter than a nanosecond. It is
            both a ``QMI_UsageException`` and a ``ValueError``.
    """
    if isinstance(period, bool) or not isinstance(period, Real):
        raise QMI_InvalidValueException(
            f"A loop period is a number of seconds; got {period!r} of type {type(period).__name__}"
        )
    try:
        seconds = float(period)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise QMI_InvalidValueException(f"A loop period is a finite number of seconds; got {seconds}")
    if seconds <= 0.0:
        raise QMI_InvalidValueException(
            f"A loop period must be above zero; got {seconds:g}. For a loop that runs as fast as it can, give a very "
            "short period such as 1e-6 with the policy SKIP"
        )
    if seconds < SHORTEST_PERIOD:
        raise QMI_InvalidValueException(f"A loop period is at least {SHORTEST_PERIOD:g} s; got {seconds:g}")
    return seconds


class MissReport:
    """Missed periods are logged at most once a second, never once per miss.

    The first miss is reported at once; later ones are added up until the interval since the last report is over.

    Args:
        interval: Seconds from one report to the next, at least.

    Attributes:
        next_time: There is no report before, unless the clock goes back.
        reported: Misses that are reported.
    """

    __slots__ = ("_interval", "_last_time", "next_time", "reported")

    def __init__(self, *, interval: float = 1.0) -> None:
        self._interval = interval
        self._last_time: float = -math.inf
        self.next_time: float = -math.inf
        self.reported: int = 0

    def due(self, now: float, missed: int) -> int | None:
        """How many of the misses so far to report now, or None to stay silent."""
        # Backwards by more than the interval: that clock has jumped, and waiting for the old time would mute the loop.
        if abs(now - self._last_time) < self._interval:
            return None
        self._last_time = now
        self.next_time = now + self._interval
        return self.take(missed)

    def take(self, missed: int) -> int:
        """Return how many of the misses so far were not reported yet, and count them as reported."""
        unreported = missed - self.reported
        self.reported = missed
        return unreported


class Schedule:
    """Plans the starts of one loop. The module shows its use; not for two threads at once.

    Args:
        period: Seconds from one start to the next.
        policy: What to do about missed periods.

    Raises:
        QMI_InvalidValueException: If the period cannot be one, or the policy is none.
    """

    __slots__ = (
        "_due",
        "_end_reason",
        "_immediate",
        "_kept",
        "_lateness",
        "_missed",
        "_number",
        "_origin",
        "_reports",
        "_skips",
        "next_start",
        "period",
        "policy",
    )

    def __init__(
        self,
        period: float,
        policy: QMI_LoopTaskMissedLoopPolicy = QMI_LoopTaskMissedLoopPolicy.IMMEDIATE,
    ) -> None:
        if not isinstance(policy, QMI_LoopTaskMissedLoopPolicy):
            raise QMI_InvalidValueException(
                f"A policy is one of QMI_LoopTaskMissedLoopPolicy.IMMEDIATE, .SKIP and .TERMINATE; got {policy!r}"
            )
        self.period: Final = check_period(period)
        self.policy: Final = policy
        self.next_start: float = 0.0
        self._immediate = policy is QMI_LoopTaskMissedLoopPolicy.IMMEDIATE
        self._skips = policy is QMI_LoopTaskMissedLoopPolicy.SKIP
        self._kept = min(_KEPT, self.period) if self._skips else 0.0
        self._lateness = LatenessHistogram()
        # Of starts and of periods: floats, since a loop without time to wait multiplies one by the period each time.
        self._missed = 0.0
        self._reports = MissReport()
        self._end_reason: str | None = None
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Lay the grid: the first start is now. Statistics go on."""
        self._origin = self._due = self.next_start = now
        self._number = 0.0

    def started(self, now: float) -> None:
        """Note that the iteration planned for ``next_start`` starts now."""
        self._lateness.add(now - self._due)
        if self._immediate and (waited := now - self.next_start) >= self.period:
            # Woken a whole period late or more: without a new grid, the next start would follow at once.
            missed = math.floor(waited / self.period)
            self._missed += missed
            self._reports.reported += missed  # no iteration took longer
            self._origin, self._number = now, 0.0

    def finished(self, now: float) -> Notice | None:
        """Plan the next start, after the iteration that was started last has ended now.

        Returns:
            What is to be told, if anything. ``next_start`` holds the next time to run, unless ``end_reason`` is given.
        """
        self._number = number = self._number + 1.0
        due = self._origin + number * self.period
        over = now - self._kept
        if over <= due:
            if due - now > _FARTHEST_AHEAD * self.period:
                self._number = (now - self._origin) // self.period + 1.0
                due = self._origin + self._number * self.period
                self._reports.next_time = -math.inf
            self._due = self.next_start = due
            return None
        following = number + 1.0
        next_start = self._origin + following * self.period
        if next_start < over:
            following = self._first_not_before(over)
            next_start = self._origin + following * self.period
        missed = following - number
        self._missed += missed
        if self._immediate:
            self._due = due
            self._origin = self.next_start = now
            self._number = 0.0
        elif self._skips:
            self._number = following
            self._due = self.next_start = next_start
        else:
            return self._terminate(now - due)
        report = self._reports.due(now, int(self._missed))
        return None if report is None else Notice(self._line(report), None)

    @property
    def starts_at_once(self) -> Callable[[float], bool]:
        """Asked with the time at which the iteration that was started last ended: whether the next one starts then.

        If so, its start is noted, and :meth:`finished` and :meth:`started` are not called. If not, nothing is noted:
        it is not due yet, or there is something to tell.
        """
        return self._start_on_grid if self._skips else self._start_anew if self._immediate else _never

    # A loop whose iterations take longer than its period spends its time in one of the next two: each does what
    # finished() and started() do, one after the other with the same time, where there is nothing to tell; and in line
    # what LatenessHistogram.add() does for short delays. Iterations are not counted: each has its delay there.

    def _start_anew(self, now: float) -> bool:
        late = now - (self._origin + (self._number + 1.0) * self.period)
        if late <= 0.0 or now >= self._reports.next_time:
            return False
        self._missed += 1.0 if late <= self.period else -(-late // self.period)
        self._origin = now
        self._number = 0.0
        histogram = self._lateness
        if late < histogram.worst and late < FIRST_END:
            histogram.bins[FIRST_BINS[math.trunc(late * 1e9)]] += 1
        else:
            histogram.add(late)
        return True

    def _start_on_grid(self, now: float) -> bool:
        origin, period = self._origin, self.period
        number = self._number + 1.0
        due = origin + number * period
        if due < (over := now - self._kept):
            number = (over - origin) // period + 1.0
            due = origin + number * period
            # The quotient may be off by its last digit; then finished() looks more closely.
            if now < due or not origin + (number - 1.0) * period < over <= due or now >= self._reports.next_time:
                return False
            self._missed += number - self._number - 1.0
        elif now < due:
            return False
        self._number = number
        late = now - due
        histogram = self._lateness
        if 0.0 < late < histogram.worst and late < FIRST_END:
            histogram.bins[FIRST_BINS[math.trunc(late * 1e9)]] += 1
        else:
            histogram.add(late)
        return True

    def _terminate(self, overdue: float) -> Notice:
        self._reports.take(int(self._missed))  # the reason tells of them
        self._end_reason = (
            f"The loop ended by its policy TERMINATE: an iteration was over {_duration(overdue)} after the next "
            f"one was due, with a loop period of {_duration(self.period)}"
        )
        return Notice(None, self._end_reason)

    def _first_not_before(self, now: float) -> float:
        """Number of the first grid point at or after that time, and after the one that is overdue."""
        number = max(float(math.ceil((now - self._origin) / self.period)), self._number + 1.0)
        # The quotient may be off by its last digit; the grid itself decides.
        if self._origin + (number - 1.0) * self.period >= now:
            number -= 1.0
        elif self._origin + number * self.period < now:
            number += 1.0
        return number

    def last_report(self) -> str | None:
        """A line about misses that no report has told yet, for the end of the loop; None if there are none."""
        unreported = self._reports.take(int(self._missed))
        return self._line(unreported) if unreported else None

    def _line(self, missed: int) -> str:
        what = "1 loop period was missed" if missed == 1 else f"{missed} loop periods were missed"
        return (
            f"{what} ({int(self._missed)} so far, policy {self.policy.name}): an iteration took longer than the loop "
            f"period of {_duration(self.period)}"
        )

    def statistics(self) -> LoopStatistics:
        """What the loop did so far."""
        lateness = self._lateness.summary()
        return LoopStatistics(lateness.samples, int(self._missed), lateness, self._end_reason)

    def lateness(self) -> tuple[tuple[float, int], ...]:
        """How many iterations were so late; see :meth:`.LatenessHistogram.octaves`."""
        return self._lateness.octaves()


def _never(now: float) -> bool:
    return False


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds / 1e-9:.4g} ns"
