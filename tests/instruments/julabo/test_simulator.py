"""The driver of thermostats, with its simulator behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InstrumentException
from qmi.instruments.julabo import Julabo_Thermostat, ThermostatStatus
from qmi.instruments.julabo.simulator import ThermostatSimulator
from qmi.testing.clock import MovableClock


@pytest.fixture
def bath(clock: MovableClock) -> Iterator[Any]:
    with QMI_Context("lab") as context, context.make_instrument("bath", Julabo_Thermostat, simulate=True) as proxy:
        yield proxy


def test_bath_follows_the_setpoint_while_it_circulates(bath: Any, clock: MovableClock) -> None:
    bath.set_setpoint(40)
    clock.advance(1000)
    assert bath.get_temperature() == 20
    bath.start()
    assert bath.get_heating_power() == 100
    clock.advance(60)
    assert bath.temperature == pytest.approx(40 - 20 / math.e, abs=0.2)
    clock.advance(1000)
    assert bath.temperature == pytest.approx(40, abs=0.01)
    bath.stop()
    clock.advance(1000)
    assert bath.temperature == pytest.approx(20, abs=0.01)
    assert not bath.running


def test_thermostat_says_what_it_is_and_does(bath: Any) -> None:
    assert bath.get_idn().model == "F25-HE"
    assert bath.get_status() == ThermostatStatus(3, "REMOTE STOP")
    assert bath.get_limits() == (5, 95)
    with pytest.raises(QMI_InstrumentException, match="keeps 20; its status is 'VALUE OUT OF RANGE'"):
        bath.set_setpoint(220)
    assert bath.get_external_temperature() == 20
    bath.set_control_parameters(0.5, 90, 10)
    bath.set_control_parameters(0.7, 80, 0, external=True)
    assert bath.get_control_parameters() == (0.5, 90, 10)
    assert bath.get_control_parameters(external=True) == (0.7, 80, 0)


def test_thermostat_without_an_external_sensor_says_so() -> None:
    class Bare(ThermostatSimulator):
        external_sensor = False

    with QMI_Context("lab") as context, context.make_instrument("bath", Julabo_Thermostat, simulate=Bare) as bath:
        with pytest.raises(QMI_InstrumentException, match="Expected a number in answer to 'IN_PV_02'"):
            bath.get_external_temperature()
        assert bath.get_temperature() == 20


def test_bath_does_not_understand_everything(bath: Any) -> None:
    assert (bath.low_limit, bath.high_limit) == (5, 95)
