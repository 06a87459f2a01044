"""The driver of lock-in amplifiers, with its simulator behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.instruments.stanford import Stanford_LockInAmplifier
from qmi.instruments.stanford.simulator import LockInAmplifierSimulator
from qmi.testing.clock import MovableClock


@pytest.fixture
def lock_in(clock: MovableClock) -> Iterator[Any]:
    with QMI_Context("lab") as context, context.make_instrument("l", Stanford_LockInAmplifier, simulate=True) as proxy:
        yield proxy


def test_readings_settle_with_the_time_constant(lock_in: Any, clock: MovableClock) -> None:
    lock_in.time_constant = 1.0
    lock_in.frequency = 0.001
    clock.advance(30)
    assert lock_in.x == pytest.approx(0.01, rel=1e-3)
    lock_in.amplitude = 2.0
    assert lock_in.x == pytest.approx(0.01, rel=1e-3)
    clock.advance(1.0)
    assert lock_in.x == pytest.approx(0.02 - 0.01 / math.e, rel=1e-3)
    lock_in.time_constant = 100.0
    clock.advance(1.0)
    assert lock_in.x == pytest.approx(0.02 - 0.01 / math.e * math.exp(-0.01), rel=1e-3)


def test_sweep_of_the_frequency_shows_the_low_pass(lock_in: Any, clock: MovableClock) -> None:
    lock_in.time_constant = 0.1
    found = {}
    for frequency in (1.0, 1000.0, 100_000.0):
        lock_in.frequency = frequency
        clock.advance(10)
        found[frequency] = lock_in.read_polar()
    assert found[1.0] == pytest.approx((0.01, 0), abs=0.1)
    assert found[1000.0] == pytest.approx((0.01 / math.sqrt(2), -45), rel=1e-2)
    assert found[100_000.0].r == pytest.approx(1e-4, rel=1e-2)
    lock_in.harmonic = 2
    clock.advance(10)
    assert lock_in.r == pytest.approx(0, abs=1e-6)


def test_automatic_functions_do_what_they_are_for(lock_in: Any, clock: MovableClock) -> None:
    lock_in.frequency = 1000
    clock.advance(10)
    lock_in.auto_gain()
    assert lock_in.sensitivity == 0.01
    lock_in.auto_phase()
    assert lock_in.phase == pytest.approx(-45)
    clock.advance(10)
    assert lock_in.theta == pytest.approx(0, abs=0.1)
    lock_in.auto_reserve()
    lock_in.auto_offset("x")
    percent, expand = lock_in.get_offset("x")
    assert (percent, expand) == (pytest.approx(70.7, abs=0.5), 1)
    lock_in.set_offset("y", -12.5, 10)
    assert lock_in.get_offset("y") == (-12.5, 10)
    assert lock_in.get_errors() == []


def test_signal_beyond_the_sensitivity_is_clipped_and_reported(lock_in: Any, clock: MovableClock) -> None:
    lock_in.frequency = 1
    clock.advance(10)
    lock_in.sensitivity = 1e-3
    assert not lock_in.get_status().output_overload
    assert lock_in.read_xy().x == pytest.approx(1.09e-3)
    assert lock_in.get_status().output_overload
    assert not lock_in.get_status().output_overload


def test_auxiliary_outputs_are_at_the_inputs(lock_in: Any) -> None:
    lock_in.aux[3].output = 2.5
    assert lock_in.aux[3].input == 2.5
    assert lock_in.snap(["aux3", "frequency"]) == {"aux3": 2.5, "frequency": 1000.0}


def test_user_says_what_is_measured(clock: MovableClock) -> None:
    class Photodiode(LockInAmplifierSimulator):
        def signal(self) -> complex:
            return 3e-6j

    with QMI_Context("lab") as context:
        lock_in = context.make_instrument("l", Stanford_LockInAmplifier, "serial:/dev/ttyUSB0", simulate=Photodiode)
        lock_in.open()
        clock.advance(10)
        assert lock_in.read_xy().y == pytest.approx(3e-6, abs=1e-6)
        assert lock_in.get_idn().model == "SR830"
        lock_in.write("OUTP? 12")
        lock_in.write("OEXP 4,0,0")
        assert lock_in.get_errors() == ["a command could not be done, or a value was out of range"]
        lock_in.close()
