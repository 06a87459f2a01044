from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.tasks.restart import RestartRule, Restarts
from qmi.errors import QMI_UsageException
from tests.support.examples import examples

RULE = RestartRule(limit=4, window=60.0, first_delay=1.0, growth=3.0, longest_delay=10.0)


def test_delays_grow_up_to_the_longest() -> None:
    restarts = Restarts(RULE)
    now = 100.0
    delays: list[float | None] = []
    for _ in range(5):
        decision = restarts.failed(now)
        delays.append(decision.delay)
        now += decision.delay or 0.0
    assert delays == [1.0, 3.0, 9.0, 10.0, None]
    assert restarts.count == 4


def test_the_sentence_says_what_happens() -> None:
    restarts = Restarts(RestartRule(limit=1, window=60.0, first_delay=0.5))
    assert restarts.failed(0.0) == (0.5, 1, "Restart 1 of at most 1 within 60 s, in 0.5 s")
    assert restarts.failed(1.0) == (None, 1, "No restart: failed again after the 1 allowed within 60 s")


def test_restart_without_a_limit_never_gives_up_and_never_waits_longer_than_its_bound() -> None:
    restarts = Restarts(RestartRule(limit=None, window=60.0, first_delay=1.0, growth=2.0, longest_delay=20.0))
    now, delays = 0.0, []
    for _ in range(5000):
        decision = restarts.failed(now)
        assert decision.delay is not None
        delays.append(decision.delay)
        now += decision.delay
    assert delays[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert max(delays) == 20.0
    assert decision.reason.endswith(f"in {decision.delay:g} s")
    assert "of at most" not in decision.reason
    # Having run well for a whole window, it starts afresh.
    assert restarts.failed(now + 100.0).delay == 1.0


def test_restart_without_a_limit_remembers_a_bounded_number_of_them() -> None:
    restarts = Restarts(RestartRule(limit=None, window=1e9, first_delay=0.0, growth=1.0, longest_delay=0.0))
    for _ in range(3000):
        assert restarts.failed(0.0).delay == 0.0
    assert (restarts.count, len(restarts._times)) == (3000, 1000)


def test_a_limit_of_zero_never_restarts() -> None:
    assert Restarts(RestartRule(limit=0)).failed(5.0) == (None, 0, "No restart: the limit is 0")


def test_a_quiet_window_starts_afresh() -> None:
    restarts = Restarts(RULE)
    for _ in range(4):
        assert restarts.failed(0.0).delay is not None
    assert restarts.failed(0.0).delay is None
    # The restarts were due at 1, 3, 9 and 10 s.
    assert restarts.failed(61.0).delay is None
    assert restarts.failed(61.5).delay == 10.0
    decision = restarts.failed(200.0)
    assert (decision.delay, decision.restarts) == (1.0, 6)


def test_growth_beyond_any_number_is_the_longest_delay() -> None:
    restarts = Restarts(RestartRule(limit=2000, window=1e9, first_delay=1.0, growth=1e10, longest_delay=2.0))
    delays = [restarts.failed(0.0).delay for _ in range(100)]
    assert delays == [1.0] + [2.0] * 99


@examples(100)
@given(
    limit=st.integers(0, 5),
    window=st.floats(0.1, 100.0),
    pauses=st.lists(st.floats(0.0, 50.0), min_size=1, max_size=50),
)
def test_restart_rule_allows_no_more_than_its_limit_in_any_window(
    limit: int, window: float, pauses: list[float]
) -> None:
    restarts = Restarts(RestartRule(limit=limit, window=window))
    now, times = 0.0, []
    for pause in pauses:
        now += pause
        decision = restarts.failed(now)
        if decision.delay is not None:
            now += decision.delay
            times.append(now)
    for i, first in enumerate(times):
        assert sum(t - first < window for t in times[i:]) <= limit


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"limit": -1}, "limit is a number of restarts, 0 or more, or None for any number; got -1"),
        ({"limit": 1.5}, "limit is a number of restarts, 0 or more, or None for any number; got 1.5"),
        ({"limit": True}, "limit is a number of restarts, 0 or more, or None for any number; got True"),
        ({"window": 0.0}, "window is a finite number, above 0; got 0.0"),
        ({"window": math.inf}, "window is a finite number, above 0; got inf"),
        ({"first_delay": -1.0}, "first_delay is a finite number, at least 0; got -1.0"),
        ({"first_delay": math.nan}, "first_delay is a finite number, at least 0; got nan"),
        ({"growth": 0.5}, "growth is a finite number, at least 1; got 0.5"),
        ({"growth": "2"}, "growth is a finite number, at least 1; got '2'"),
        ({"longest_delay": 0.1}, "longest_delay is a finite number, at least 0.5; got 0.1"),
        ({"longest_delay": False}, "longest_delay is a finite number, at least 0.5; got False"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        RestartRule(**fields)
    assert fault == str(caught.value)
