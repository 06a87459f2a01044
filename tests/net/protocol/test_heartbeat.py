from __future__ import annotations

from qmi.net.protocol.heartbeat import Heartbeat, Pulse


def beat() -> Heartbeat:
    return Heartbeat(100.0, ping_after=4.0, silence=14.0)


def run(heart: Heartbeat, start: float) -> list[tuple[float, Pulse]]:
    found: list[tuple[float, Pulse]] = []
    now = start
    while not found or found[-1][1] is not Pulse.DEAD:
        now = heart.due
        found.append((now, heart.check(now)))
    return found


def test_silence_is_answered_by_pings_and_then_by_death() -> None:
    found = run(beat(), 100.0)
    assert found == [(104.0, Pulse.PING), (108.0, Pulse.PING), (112.0, Pulse.PING), (114.0, Pulse.DEAD)]


def test_a_check_before_its_time_does_nothing() -> None:
    heart = beat()
    assert heart.check(103.9) is Pulse.NOTHING
    heart.heard(103.9)
    assert heart.check(107.8) is Pulse.NOTHING
    assert heart.due == 107.9


def test_fault_16_a_blocked_local_loop_is_no_silence_of_the_other_side() -> None:
    heart = beat()
    assert heart.check(140.0) is Pulse.PING  # blocked for 36 s: what came meanwhile is unread
    heart.heard(140.1)
    assert heart.due == 144.1


def test_fault_16_blocked_again_and_again_still_finds_a_dead_peer() -> None:
    heart = beat()
    now, checks = 100.0, 0
    while heart.check(now) is not Pulse.DEAD:
        now, checks = heart.due + 3.0, checks + 1
    assert checks <= 6
    assert now - 100.0 < 14.0 + 3.0 * 6


def test_time_that_seems_to_go_back_does_no_harm() -> None:
    heart = beat()
    heart.heard(50.0)
    assert heart.due == 104.0
