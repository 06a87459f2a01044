from __future__ import annotations

import pytest

from qmi.net.io.rush_rules import RUSH, AdaptiveSpin, is_rush


@pytest.mark.parametrize(
    ("seconds", "waits", "received", "all_received", "expected"),
    [
        (0.049, 0, 16, 16, True),  # requests, and no other link is busy
        (0.051, 0, 16, 16, False),  # too slow
        (0.049, 0, 32, 32, True),  # several receive calls for some of them
        (0.049, 0, 16, 64, True),  # four links at once
        (0.049, 0, 16, 96, False),  # six: the loop reads them all
        (0.049, 0, 16, 320, False),
        (0.9, 16, 16, 16, True),  # a caller in a thread waited for each
        (0.9, 12, 16, 16, True),
        (0.9, 11, 16, 16, False),  # most were for others
        (0.04, 11, 16, 16, True),
        (1.1, 16, 16, 16, False),  # too seldom
        (0.9, 16, 16, 320, True),  # callers read for themselves, whatever other links do
    ],
)
def test_rush_is_what_a_thread_should_read(
    seconds: float, waits: int, received: int, all_received: int, expected: bool
) -> None:
    assert is_rush(seconds, 0.05, waits=waits, received=received, all_received=all_received) is expected


def test_rush_counts_so_many_reads() -> None:
    assert RUSH == 16


def times_of(spin: AdaptiveSpin, count: int) -> list[float]:
    return [spin.time() for _ in range(count)]


def test_spin_ends_where_nothing_ever_comes_so_soon_and_is_tried_again() -> None:
    spin = AdaptiveSpin(0.016, 4)
    times = []
    while (time := spin.time()) > 0:
        times.append(time)
        spin.learn(came=False)
    assert times == [0.016, 0.008, 0.004, 0.002]
    assert times_of(spin, 3) == [0.0, 0.0, 0.016]
    spin.learn(came=False)
    assert times_of(spin, 4) == [0.0, 0.0, 0.0, 0.016]
    spin.learn(came=True)
    assert times_of(spin, 2) == [0.016, 0.016]
