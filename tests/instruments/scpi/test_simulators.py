"""The generic drivers, with their own simulators behind them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import Simulator
from qmi.instruments.scpi import MultimeterFunction, Scpi_Multimeter, Scpi_Oscilloscope, Scpi_PowerSupply
from qmi.instruments.scpi.simulators import MultimeterSimulator


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


def simulated(lab: QMI_Context, cls: type[Any], simulate: bool | type[Simulator] = True, **options: Any) -> Any:
    return lab.make_instrument("device", cls, simulate=simulate, **options)


def test_supply_drives_its_load_and_no_more_than_the_current_limit(lab: QMI_Context) -> None:
    with simulated(lab, Scpi_PowerSupply, check_errors=True) as supply:
        supply.set_voltage(5.0)
        assert supply.measure_current() == pytest.approx(0.0, abs=1e-4)
        supply.set_output(True)
        assert supply.measure_voltage() == pytest.approx(5.0, abs=1e-2)
        assert supply.measure_current() == pytest.approx(0.1, abs=1e-3)
        supply.channels[1].current = 0.02
        assert supply.channels[1].measured_voltage == pytest.approx(1.0, abs=1e-2)
        assert supply.get_errors() == []


def test_outputs_of_a_supply_are_independent(lab: QMI_Context) -> None:
    with simulated(lab, Scpi_PowerSupply, check_errors=True, channels=3) as supply:
        for number, output in enumerate(supply.channels, 1):
            output.voltage = number
        supply.set_output(True, 2)
        assert [supply.get_voltage(number) for number in (1, 2, 3)] == [1, 2, 3]
        assert [round(output.measured_voltage, 1) for output in supply.channels] == [0.0, 2.0, 0.0]


def test_multimeter_reads_with_noise_that_averaging_lessens(lab: QMI_Context) -> None:
    with simulated(lab, Scpi_Multimeter, check_errors=True) as meter:
        assert meter.measure() == pytest.approx(1.5, abs=1e-4)
        assert meter.get_range() == 10
        meter.set_integration_time(0.02)
        short = statistics.stdev(meter.read_many(200))
        meter.set_integration_time(100)
        assert statistics.stdev(meter.read_many(200)) < short / 10
        assert len(set(meter.read_many(5))) > 1
        meter.set_range(1.0)
        assert not meter.is_auto_range()
        assert meter.read() == math.inf
        meter.set_range(None)
        assert meter.is_auto_range()
        meter.function = MultimeterFunction.PERIOD
        assert meter.function is MultimeterFunction.PERIOD
        meter.range = 5
        assert meter.range == 10
        assert meter.measure("TEMP") == pytest.approx(23, abs=0.01)
        meter.reset()
        assert meter.get_function() is MultimeterFunction.DC_VOLTAGE
        assert meter.get_errors() == []


def test_multimeter_measures_what_a_class_of_the_user_says(lab: QMI_Context) -> None:
    class Warm(MultimeterSimulator):
        def measured(self, function: str) -> float:
            return 300.0 if function == "TEMP" else super().measured(function)

    with simulated(lab, Scpi_Multimeter, Warm) as meter:
        assert meter.measure(MultimeterFunction.TEMPERATURE) == pytest.approx(300, abs=0.1)
        meter.write("FUNC 'SOUND'")
        meter.write("VOLT:DC:RANG much")
        meter.write("SAMP:COUN 0")
        meter.write("NONSENSE")
        assert [entry.split(",")[0] for entry in meter.get_errors()] == ["-224", "-104", "-222", "-113"]


@pytest.mark.parametrize("dialect", ["keysight", "rigol", "tektronix"])
def test_oscilloscope_records_a_sine_that_passes_the_trigger(lab: QMI_Context, dialect: str) -> None:
    with simulated(lab, Scpi_Oscilloscope, dialect=dialect, check_errors=True) as scope:
        scope.run()
        scope.set_timebase(2e-4)
        scope.set_scale(0.25, 2)
        scope.set_trigger(2, 0.5)
        scope.single()
        scope.stop()
        assert (scope.get_timebase(), scope.get_scale(2)) == (2e-4, 0.25)
        assert (scope.trigger_source, scope.trigger_level) == (2, 0.5)
        waveform = scope.channels[2].get_waveform()
        times = waveform.times()
        assert (times[0], len(times)) == (pytest.approx(-1e-3), 1000)
        at_trigger = waveform.values[np.abs(times) < 5e-6].mean()
        assert at_trigger == pytest.approx(0.5, abs=0.05)
        assert np.abs(waveform.values).max() == pytest.approx(1.0, abs=0.1)
        # Two periods of 1 kHz within ten divisions of 0.2 ms.
        spectrum = np.abs(np.fft.rfft(waveform.values))
        assert int(np.argmax(spectrum)) == 2
        scope.set_enabled(False, 1)
        assert [scope.is_enabled(number) for number in (1, 2)] == [False, True]
        assert scope.get_errors() == []


def test_oscilloscope_clips_what_is_higher_than_its_screen(lab: QMI_Context) -> None:
    with simulated(lab, Scpi_Oscilloscope) as scope:
        scope.channels[1].scale = 0.1
        assert np.abs(scope.get_waveform(1).values).max() == pytest.approx(0.508)
        for command in (":CHAN9:SCAL 1", ":TIM:SCAL 0", ":TRIG:EDGE:SOUR LINE", ":TRIG:EDGE:LEV high"):
            scope.write(command)
        assert [entry.split(",")[0] for entry in scope.get_errors()] == ["-114", "-222", "-224", "-104"]
