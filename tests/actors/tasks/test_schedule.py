from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.tasks.lateness import LatenessHistogram
from qmi.actors.tasks.schedule import (
    MissReport,
    Notice,
    QMI_LoopTaskMissedLoopPolicy,
    Schedule,
    check_period,
)
from qmi.errors import QMI_UsageException
from tests.support.examples import examples

IMMEDIATE = QMI_LoopTaskMissedLoopPolicy.IMMEDIATE
SKIP = QMI_LoopTaskMissedLoopPolicy.SKIP
TERMINATE = QMI_LoopTaskMissedLoopPolicy.TERMINATE

# The first start is at 100, the period is 2: the next start is due at 102.
CASES = [
    # what happened, end of the first iteration, missed, next start with IMMEDIATE, next start with SKIP
    ("at once", 100.0, 0, 102.0, 102.0),
    ("on time", 101.5, 0, 102.0, 102.0),
    ("exactly when the next is due", 102.0, 0, 102.0, 102.0),
    ("late by less than a period", 103.0, 1, 103.0, 104.0),
    ("late by exactly a period", 104.0, 1, 104.0, 104.0),
    ("late by more than a period", 105.5, 2, 105.5, 106.0),
    ("late by many periods", 2101.0, 1000, 2101.0, 2102.0),
    ("the clock jumped forwards by an hour", 3701.0, 1800, 3701.0, 3702.0),
    ("the clock went back a little", 99.0, 0, 102.0, 102.0),
    ("the clock went back by an hour", -3501.0, 0, -3500.0, -3500.0),
]


def begun(policy: QMI_LoopTaskMissedLoopPolicy, period: float = 2.0, now: float = 100.0) -> Schedule:
    schedule = Schedule(period, policy)
    schedule.begin(now)
    return schedule


class Outcome(NamedTuple):
    """What an iteration missed, and what is told of it."""

    missed: int
    end_reason: str | None = None
    report: str | None = None


ON_TIME = Outcome(0)


def finish(schedule: Schedule, now: float) -> Outcome:
    before = schedule._missed
    notice = schedule.finished(now) or Notice(None, None)
    return Outcome(int(schedule._missed - before), notice.end_reason, notice.report)


@pytest.mark.parametrize(("end", "missed", "following"), [case[1:4] for case in CASES], ids=[c[0] for c in CASES])
def test_immediate_starts_an_overdue_iteration_at_once(end: float, missed: int, following: float) -> None:
    schedule = begun(IMMEDIATE)
    schedule.started(100.0)
    decision = finish(schedule, end)
    assert decision.missed == missed
    assert decision.end_reason is None
    assert schedule.next_start == following
    # The period counts from where it starts.
    schedule.started(following)
    assert finish(schedule, following) == ON_TIME
    assert schedule.next_start == following + 2.0
    assert schedule.statistics().missed == missed


@pytest.mark.parametrize(
    ("end", "missed", "following"), [(c[1], c[2], c[4]) for c in CASES], ids=[case[0] for case in CASES]
)
def test_skip_drops_what_is_overdue(end: float, missed: int, following: float) -> None:
    schedule = begun(SKIP)
    schedule.started(100.0)
    decision = finish(schedule, end)
    assert (decision.missed, decision.end_reason) == (missed, None)
    assert schedule.next_start == following
    schedule.started(following + 0.5)
    assert finish(schedule, following + 0.75) == ON_TIME
    assert schedule.next_start == following + 2.0
    assert schedule.statistics().missed == missed


@pytest.mark.parametrize(("end", "missed"), [case[1:3] for case in CASES], ids=[case[0] for case in CASES])
def test_terminate_ends_only_when_a_period_was_missed(end: float, missed: int) -> None:
    schedule = begun(TERMINATE)
    schedule.started(100.0)
    decision = finish(schedule, end)
    assert decision.missed == missed
    assert (decision.end_reason is not None) == (missed > 0)
    assert schedule.statistics().end_reason == decision.end_reason


def test_the_reason_of_a_termination_can_be_read() -> None:
    schedule = begun(TERMINATE, period=0.5)
    schedule.started(100.0)
    decision = finish(schedule, 100.75)
    assert decision.end_reason == (
        "The loop ended by its policy TERMINATE: an iteration was over 250 ms after the next one was due, "
        "with a loop period of 500 ms"
    )
    assert schedule.last_report() is None, "the reason tells of them"


def test_a_late_wake_up_does_not_shift_the_grid() -> None:
    for policy in QMI_LoopTaskMissedLoopPolicy:
        schedule = begun(policy)
        for k in range(5):
            assert schedule.next_start == 100.0 + 2.0 * k
            schedule.started(schedule.next_start + 1.9)
            assert finish(schedule, schedule.next_start + 1.95) == ON_TIME


def test_immediate_counts_from_a_start_that_was_woken_a_period_late() -> None:
    schedule = begun(IMMEDIATE)
    schedule.started(105.0)
    assert finish(schedule, 105.5) == ON_TIME
    assert schedule.next_start == 107.0
    assert schedule.statistics().missed == 2


def test_a_slow_clock_makes_nobody_late() -> None:
    schedule = begun(SKIP)
    for _ in range(1000):
        schedule.started(100.0)
        assert finish(schedule, 100.0).end_reason is None
    # Starts that lie more than two periods ahead of a clock that stands still are brought back.
    assert schedule.next_start <= 104.0


@pytest.mark.parametrize("policy", list(QMI_LoopTaskMissedLoopPolicy))
def test_schedule_does_not_drift_in_hours_of_microseconds(policy: QMI_LoopTaskMissedLoopPolicy) -> None:
    schedule = begun(policy, period=1e-6, now=1000.0)
    count = 20_000
    for _ in range(count):
        schedule.started(schedule.next_start)
        assert finish(schedule, schedule.next_start) == ON_TIME
    assert schedule.next_start == 1000.0 + count * 1e-6


def test_skip_is_on_its_grid_after_hours_of_microseconds() -> None:
    schedule = begun(SKIP, period=1e-6, now=1000.0)
    schedule.started(1000.0)
    end = 1000.0 + 6 * 3600.0 + 0.3e-6
    decision = finish(schedule, end)
    # The one that has been over for less than a microsecond is kept.
    assert decision.missed == 21_599_999_999
    assert schedule.next_start == 1000.0 + 21_600_000_000 * 1e-6 < end


@pytest.mark.parametrize("period", [0.1, 0.3, 1e-3, 1 / 3])
def test_an_end_exactly_on_the_grid_can_keep_that_start(period: float) -> None:
    for number in range(2, 2000):
        schedule = begun(SKIP, period=period)
        schedule.started(100.0)
        on_grid = 100.0 + number * period
        assert finish(schedule, on_grid).missed == number - 1
        assert schedule.next_start == on_grid


def test_an_end_a_last_digit_after_the_grid_drops_that_start() -> None:
    # The quotient of these rounds to the number of the start that is just over.
    schedule = begun(SKIP, period=0.1, now=1000.0)
    now = 513750.20000000007
    assert math.ceil((now - 1000.0) / 0.1) == 5127502
    assert now > 1000.0 + 5127502 * 0.1
    assert schedule._first_not_before(now) == 5127503


@pytest.mark.parametrize(
    ("period", "after", "kept"),
    [
        (2.0, 0.9e-6, True),
        (2.0, 1.1e-6, False),
        (1e-3, 0.9e-6, True),
        (1e-3, 1.1e-6, False),
        (1e-6, 0.9e-6, True),
        (0.5e-6, 0.4e-6, True),
        (0.5e-6, 0.6e-6, False),
    ],
)
def test_skip_keeps_a_start_that_was_over_for_less_than_a_microsecond(period: float, after: float, kept: bool) -> None:
    schedule = begun(SKIP, period=period, now=0.0)
    schedule.started(0.0)
    assert finish(schedule, period + after).missed == (0 if kept else 1)
    assert schedule.next_start == (period if kept else 2 * period)


@pytest.mark.parametrize("policy", [IMMEDIATE, TERMINATE])
def test_other_policies_miss_a_start_that_is_just_over(policy: QMI_LoopTaskMissedLoopPolicy) -> None:
    schedule = begun(policy, now=0.0)
    schedule.started(0.0)
    assert finish(schedule, 2.0 + 1e-9).missed == 1


periods = st.floats(1e-6, 1e4)
works = st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 5.0)), min_size=1, max_size=60)


@examples(150)
@given(period=periods, origin=st.floats(0.0, 1e7), steps=works)
def test_skip_never_leaves_its_grid(period: float, origin: float, steps: list[tuple[float, float]]) -> None:
    schedule = begun(SKIP, period, origin)
    number = 0
    for wake_late, work in steps:
        now = schedule.next_start + wake_late * period
        schedule.started(now)
        now += work * period
        decision = finish(schedule, now)
        following = number + 1 + decision.missed
        assert schedule.next_start == origin + following * period
        assert schedule.next_start >= now - min(1e-6, period) - math.ulp(now)
        # No start that could still be kept was dropped.
        assert decision.missed == 0 or origin + (following - 1) * period < now + math.ulp(now)
        number = following
    assert schedule.statistics().missed == number - len(steps)


@examples(150)
@given(period=st.sampled_from([1e-3, 0.1, 1.0, 7.3]), steps=works)
def test_immediate_never_bursts(period: float, steps: list[tuple[float, float]]) -> None:
    schedule = begun(IMMEDIATE, period)
    slack = 1e-9
    planned: list[float] = []
    starts: list[float] = []
    now = 100.0
    for wake_late, work in steps:
        planned.append(schedule.next_start)
        now = max(now, schedule.next_start) + wake_late * period
        starts.append(now)
        schedule.started(now)
        now += work * period
        finish(schedule, now)
    for i in range(1, len(starts)):
        assert planned[i] - planned[i - 1] >= period - slack
        late = starts[i - 1] - planned[i - 1]
        assert starts[i] - starts[i - 1] >= (period - late if late < period - slack else 0.0) - slack
        if late >= period + slack:
            assert planned[i] - starts[i - 1] >= period - slack
    for i, first in enumerate(starts):
        for span in (1, 3, 10):
            assert sum(first <= s <= first + span * period - slack for s in starts[i:]) <= span + 2


@examples(100)
@given(period=st.sampled_from([1e-3, 0.25, 2.0]), work=st.lists(st.floats(0.0, 1.5), min_size=1, max_size=30))
def test_terminate_ends_at_the_first_miss_and_says_why(period: float, work: list[float]) -> None:
    schedule = begun(TERMINATE, period, 0.0)
    for share in work:
        due = schedule.next_start + period
        schedule.started(schedule.next_start)
        end = schedule.next_start + share * period
        decision = finish(schedule, end)
        if decision.end_reason is not None:
            assert end > due - period * 1e-9
            assert "TERMINATE" in decision.end_reason
            assert schedule.statistics().missed == decision.missed == 1
            return
        assert end <= due + period * 1e-9


def test_misses_are_logged_at_most_once_a_second() -> None:
    schedule = begun(SKIP, period=1e-3, now=0.0)
    reports: list[tuple[float, str]] = []
    while schedule.next_start < 10.0:
        schedule.started(schedule.next_start)
        end = schedule.next_start + 2.5e-3
        decision = finish(schedule, end)
        assert decision.missed == 2
        if decision.report is not None:
            reports.append((end, decision.report))
    assert [round(at, 1) for at, _ in reports] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert reports[0][1] == (
        "2 loop periods were missed (2 so far, policy SKIP): an iteration took longer than the loop period of 1 ms"
    )
    told = sum(int(text.split()[0]) for _, text in reports)
    last = schedule.last_report()
    assert last is not None
    assert told + int(last.split()[0]) == schedule.statistics().missed
    assert schedule.last_report() is None


def test_a_single_miss_is_reported_in_the_singular() -> None:
    schedule = begun(IMMEDIATE, period=2e-6)
    schedule.started(100.0)
    report = finish(schedule, 100.0 + 3e-6).report
    assert report is not None
    assert report.startswith("1 loop period was missed (1 so far, policy IMMEDIATE)")
    assert report.endswith("2 µs")


@pytest.mark.parametrize(("period", "text"), [(5e-9, "5 ns"), (2e-6, "2 µs"), (0.02, "20 ms"), (90.0, "90 s")])
def test_durations_are_written_in_a_fitting_unit(period: float, text: str) -> None:
    schedule = begun(IMMEDIATE, period=period, now=0.0)
    report = finish(schedule, period * 1.5).report
    assert report is not None
    assert report.endswith(f"period of {text}")


def test_a_report_counts_what_was_not_told() -> None:
    report = MissReport(interval=1.0)
    assert report.due(10.0, 3) == 3
    assert report.due(10.5, 5) is None
    assert report.due(10.999, 7) is None
    assert report.due(11.0, 8) == 5
    assert report.due(11.1, 12) is None
    assert report.take(12) == 4
    assert report.take(12) == 0


def test_a_clock_that_goes_back_does_not_mute_the_reports() -> None:
    report = MissReport()
    assert report.due(5000.0, 1) == 1
    assert report.due(10.0, 2) == 1


@pytest.mark.parametrize("policy", [IMMEDIATE, SKIP])
def test_overdue_iterations_are_reported_after_the_clock_went_back(policy: QMI_LoopTaskMissedLoopPolicy) -> None:
    schedule = begun(policy, 0.25, 5000.0)
    schedule.started(5000.0)
    assert told(schedule, [5000.5, 5001.0, 10.0]) == [1, 0, 0]
    # Whoever counted on the time of the last report would be silent for more than an hour.
    assert told(schedule, [11.0, 11.5, 12.0]) == [1, 0, 1]


def told(schedule: Schedule, ends: list[float]) -> list[int]:
    """How many reports each end of an iteration brings; the next one starts when it is due, or then."""
    counts = []
    for end in ends:
        notice = None
        if not schedule.starts_at_once(end):
            notice = schedule.finished(end)
            schedule.started(max(end, schedule.next_start))
        counts.append(0 if notice is None else 1)
    return counts


# Ends of iterations after the one before, in periods; sums and products of such numbers are exact.
exact_works = st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), min_size=1, max_size=60)


@examples(150)
@given(policy=st.sampled_from(list(QMI_LoopTaskMissedLoopPolicy)), octave=st.integers(-24, 2), works=exact_works)
def test_start_at_once_is_the_same_as_an_end_and_a_start(
    policy: QMI_LoopTaskMissedLoopPolicy, octave: int, works: list[float]
) -> None:
    period = 2.0**octave
    short, plain = begun(policy, period, 64.0), begun(policy, period, 64.0)
    short.started(64.0)
    plain.started(64.0)
    now = 64.0
    for work in works:
        now += work * period
        expected = plain.finished(now)
        following = plain.next_start
        if short.starts_at_once(now):
            assert expected is None
            assert following <= now
        else:
            assert short.finished(now) == expected
            assert short.next_start == following
            if expected is not None and expected.end_reason is not None:
                break
            now = max(now, following)
            short.started(now)
        plain.started(now)
        assert short.statistics() == plain.statistics()
    assert short.lateness() == plain.lateness()
    assert short.last_report() == plain.last_report()


@examples(150)
@given(period=periods, origin=st.floats(0.0, 1e7), works=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60))
def test_start_at_once_stays_on_the_grid_of_skip(period: float, origin: float, works: list[float]) -> None:
    short, plain = begun(SKIP, period, origin), begun(SKIP, period, origin)
    short.started(origin)
    plain.started(origin)
    now = origin
    for work in works:
        now += work * period
        expected = plain.finished(now)
        if not short.starts_at_once(now):
            assert short.finished(now) == expected
            now = max(now, short.next_start)
            short.started(now)
        plain.started(now)
        assert short.statistics() == plain.statistics()


@pytest.mark.parametrize("policy", list(QMI_LoopTaskMissedLoopPolicy))
@pytest.mark.parametrize("end", [63.0, 64.0, 65.0, 66.0])
def test_iteration_that_is_not_overdue_does_not_start_at_once(policy: QMI_LoopTaskMissedLoopPolicy, end: float) -> None:
    schedule = begun(policy, now=64.0)
    schedule.started(64.0)
    before = schedule.statistics()
    if policy is SKIP and end == 66.0:  # due exactly then
        assert schedule.starts_at_once(end)
        return
    assert not schedule.starts_at_once(end)
    assert schedule.statistics() == before
    assert schedule.finished(end) is None
    assert schedule.next_start == 66.0


def test_loop_with_policy_terminate_never_starts_an_overdue_iteration() -> None:
    schedule = begun(TERMINATE, now=64.0)
    schedule.started(64.0)
    assert not schedule.starts_at_once(67.0)
    notice = schedule.finished(67.0)
    assert notice is not None
    assert notice.end_reason is not None


@pytest.mark.parametrize(
    ("period", "fault"),
    [
        (0, "above zero; got 0"),
        (-1.5, "above zero; got -1.5"),
        (math.nan, "finite number of seconds; got nan"),
        (math.inf, "finite number of seconds; got inf"),
        (-math.inf, "finite number of seconds; got -inf"),
        (10**400, "finite number of seconds; got inf"),
        (1e-10, "at least 1e-09 s; got 1e-10"),
        ("1.0", "got '1.0' of type str"),
        (None, "got None of type NoneType"),
        (True, "got True of type bool"),
        (1j, "of type complex"),
    ],
)
def test_a_bad_period_is_refused_with_a_reason(period: Any, fault: str) -> None:
    for kind in (QMI_UsageException, ValueError):
        with pytest.raises(kind) as caught:
            Schedule(period)
        assert fault in str(caught.value)


def test_any_real_number_is_a_period() -> None:
    assert check_period(2) == 2.0
    assert check_period(Fraction(1, 4)) == 0.25
    assert Schedule(1).policy is IMMEDIATE


def test_a_policy_is_one_of_three() -> None:
    wrong: Any = "SKIP"
    with pytest.raises(QMI_UsageException, match=r"IMMEDIATE, \.SKIP and \.TERMINATE; got 'SKIP'"):
        Schedule(1.0, wrong)


def test_the_policy_lives_where_users_import_it() -> None:
    assert QMI_LoopTaskMissedLoopPolicy.__module__ == "qmi.core.task"


def test_statistics_tell_how_late_the_starts_were() -> None:
    schedule = begun(SKIP, period=1.0, now=0.0)
    for k in range(100):
        schedule.started(schedule.next_start + (0.5 if k == 50 else 100e-6))
        finish(schedule, schedule.next_start + 0.6)
    statistics = schedule.statistics()
    assert (statistics.iterations, statistics.missed, statistics.end_reason) == (100, 0, None)
    assert statistics.lateness.samples == 100
    assert statistics.lateness.median == pytest.approx(100e-6, rel=0.035)
    assert statistics.lateness.p99 == pytest.approx(100e-6, rel=0.035)
    assert statistics.lateness.worst == pytest.approx(0.5)


def test_an_overdue_start_counts_as_late_by_what_it_was_overdue() -> None:
    schedule = begun(IMMEDIATE)
    schedule.started(100.0)
    finish(schedule, 103.0)
    schedule.started(103.5)
    assert schedule.statistics().lateness.worst == 1.5


def test_an_empty_histogram_is_all_zero() -> None:
    assert LatenessHistogram().summary() == (0, 0.0, 0.0, 0.0)


@examples(150)
@given(st.lists(st.one_of(st.floats(0.0, 1e-6), st.floats(0.0, 1.0), st.floats(0.0, 1e8)), min_size=1, max_size=200))
def test_percentiles_are_right_within_their_bins(delays: list[float]) -> None:
    histogram = LatenessHistogram()
    for delay in delays:
        histogram.add(delay)
    summary = histogram.summary()
    ordered = sorted(delays)
    assert summary.samples == len(delays)
    assert summary.worst == ordered[-1]
    for fraction, found in ((0.5, summary.median), (0.99, summary.p99)):
        exact = ordered[math.ceil(fraction * len(delays)) - 1]
        assert found == pytest.approx(exact, rel=0.04, abs=1.1e-9)


@pytest.mark.parametrize("delay", [-5.0, 0.0, 1e8, 1e9, 1e300, math.inf])
def test_lateness_counts_any_delay(delay: float) -> None:
    histogram = LatenessHistogram()
    histogram.add(delay)
    summary = histogram.summary()
    assert summary.samples == 1
    assert summary.worst == max(delay, 0.0)
    assert 0.0 <= summary.median <= summary.worst
