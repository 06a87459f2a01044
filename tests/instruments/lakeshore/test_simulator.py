"""The driver of temperature controllers, with its simulator behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.instruments.lakeshore import ControlMode, HeaterRange, Lakeshore_335, Lakeshore_336
from qmi.testing.clock import MovableClock


@pytest.fixture
def cryostat(clock: MovableClock) -> Iterator[Any]:
    with QMI_Context("lab") as context, context.make_instrument("cryo", Lakeshore_336, simulate=True) as proxy:
        yield proxy


def test_stage_goes_to_the_setpoint_as_long_as_it_is_heated(cryostat: Any, clock: MovableClock) -> None:
    stage, loop = cryostat.inputs[1], cryostat.loops[1]
    assert stage.temperature == pytest.approx(4, abs=0.01)
    loop.setpoint = 77.0
    clock.advance(600)
    assert stage.temperature == pytest.approx(4, abs=0.01)
    loop.heater_range = HeaterRange.HIGH
    clock.advance(5)
    assert 5 < stage.temperature < 77
    assert loop.heater_output == pytest.approx(100)
    clock.advance(600)
    assert stage.temperature == pytest.approx(77, abs=0.1)
    assert loop.heater_output == pytest.approx(100 * 73 / 400, abs=1)
    cryostat.all_off()
    clock.advance(600)
    assert stage.temperature == pytest.approx(4, abs=0.01)
    assert cryostat.inputs[2].temperature == pytest.approx(4, abs=0.01)
    assert cryostat.get_errors() == []


def test_range_that_is_too_low_does_not_reach_the_setpoint(cryostat: Any, clock: MovableClock) -> None:
    loop = cryostat.loops[2]
    loop.setpoint = 100.0
    loop.heater_range = HeaterRange.MEDIUM
    clock.advance(1000)
    assert cryostat.inputs[2].temperature == pytest.approx(44, abs=0.1)
    loop.heater_range = HeaterRange.LOW
    clock.advance(1000)
    assert cryostat.inputs[2].temperature == pytest.approx(8, abs=0.1)


def test_setpoint_ramps(cryostat: Any, clock: MovableClock) -> None:
    loop = cryostat.loops[1]
    loop.heater_range = HeaterRange.HIGH
    loop.ramp_rate = 6.0
    loop.ramp = True
    loop.setpoint = 14.0
    assert loop.is_ramping
    clock.advance(50)
    assert loop.is_ramping
    assert cryostat.inputs[1].temperature == pytest.approx(9, abs=0.5)
    clock.advance(300)
    assert not loop.is_ramping
    assert cryostat.inputs[1].temperature == pytest.approx(14, abs=0.1)
    assert (loop.ramp, loop.ramp_rate) == (True, 6.0)


def test_time_before_a_setting_is_not_counted_with_it(cryostat: Any, clock: MovableClock) -> None:
    loop = cryostat.loops[1]
    loop.mode = ControlMode.OPEN_LOOP
    loop.manual_output = 50.0
    clock.advance(600)
    loop.heater_range = HeaterRange.HIGH  # only from here on, and 50 ms until the next command
    assert cryostat.inputs[1].temperature == pytest.approx(4, abs=0.5)
    clock.advance(600)
    loop.heater_range = HeaterRange.OFF
    assert cryostat.inputs[1].temperature == pytest.approx(204, abs=0.5)


def test_loop_controls_the_input_that_it_is_told(cryostat: Any, clock: MovableClock) -> None:
    first, second = cryostat.loops[1], cryostat.loops[2]
    assert (first.mode, first.control_input) == (ControlMode.CLOSED_LOOP, 1)
    first.control_input = 2
    first.heater_range = HeaterRange.HIGH
    first.setpoint = 20.0
    clock.advance(600)
    # Input B stays cold, so the heater gives all.
    assert cryostat.inputs[1].temperature == pytest.approx(404, abs=1)
    first.mode = ControlMode.OFF
    clock.advance(600)
    assert cryostat.inputs[1].temperature == pytest.approx(4, abs=0.1)
    assert second.control_input == 2


def test_settings_are_kept(cryostat: Any) -> None:
    cryostat.loops[1].set_pid(10, 20, 5)
    assert cryostat.loops[1].get_pid() == (10, 20, 5)
    cryostat.inputs[3].set_name("Shield")
    assert cryostat.inputs[3].get_name() == "Shield"
    assert cryostat.inputs[3].get_status().is_valid
    assert cryostat.inputs[3].sensor == pytest.approx(1.63, abs=0.1)
    cryostat.reset()
    assert cryostat.loops[1].get_pid() == (50, 20, 0)


def test_model_335_has_no_input_c(clock: MovableClock) -> None:
    with QMI_Context("lab") as context, context.make_instrument("cryo", Lakeshore_335, simulate=True) as cryostat:
        assert cryostat.get_idn().model == "MODEL335"
        cryostat.write("KRDG? C")
        cryostat.write("PID 1,2")
        cryostat.write("RAMP 1,on,2")
        assert cryostat.get_errors() == ["a command could not be done", "a command was not understood"]
