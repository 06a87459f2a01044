"""What the generic drivers declare: the same as their methods, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import ScpiInstrument, parameter
from qmi.core.exceptions import QMI_InstrumentException, QMI_InvalidValueException, QMI_UsageException
from qmi.instruments.scpi import (
    MultimeterFunction,
    Scpi_Instrument,
    Scpi_Multimeter,
    Scpi_Oscilloscope,
    Scpi_PowerSupply,
)
from qmi.instruments.scpi.instrument import as_number, number_of, setting
from qmi.testing import ScriptedTransport


@contextmanager
def opened(cls: type[Any], *steps: Any, **options: Any) -> Iterator[Any]:
    """A proxy of an instrument that goes by a script."""
    transport = ScriptedTransport(["*CLS", *steps])
    with QMI_Context("lab") as context:
        with context.make_instrument("device", cls, transport, **options) as proxy:
            yield proxy
        transport.check_done()


def test_old_name_of_the_base_is_the_same_class() -> None:
    assert Scpi_Instrument is ScpiInstrument
    assert issubclass(Scpi_PowerSupply, Scpi_Instrument)


def test_checks_of_arguments_and_answers_are_there_for_drivers_of_before() -> None:
    assert as_number("+1.5E0", "X?") == 1.5
    assert as_number("-9.9E37", "X?") == -math.inf
    assert math.isnan(as_number("9.91E37", "X?"))
    with pytest.raises(QMI_InstrumentException, match=r"Expected a number in answer to 'X\?', got 'off'"):
        as_number("off", "X?")
    assert setting("level", 0.1, 0.0, 1.0) == "0.1"
    assert number_of("channel", 2, 3) == 2


def test_outputs_of_a_supply_are_chosen_before_each_command() -> None:
    steps = ["INST:NSEL 2", "VOLT 5", "INST:NSEL 2", ("VOLT?", "5"), "INST:NSEL 1", ("MEAS:CURR?", "0.25")]
    with opened(Scpi_PowerSupply, *steps, "INST:NSEL 2", "OUTP 1", channels=2, max_voltage=10) as supply:
        supply.channels[2].voltage = 5
        assert supply.channels[2].voltage == 5
        assert supply.channels[1].measured_current == 0.25
        supply.channels[2].output = True
        assert len(supply.channels) == 2
        message = r"channels\[1\]\.voltage of device must be from 0\.0 to 10 V, got 11\.0 V"
        with pytest.raises(QMI_InvalidValueException, match=message):
            supply.channels[1].voltage = 11


def test_supply_with_one_output_has_none_to_choose() -> None:
    with opened(Scpi_PowerSupply, "VOLT 3.3", ("VOLT?", "3.3")) as supply:
        supply.channels[1].voltage = 3.3
        assert supply.get_voltage() == 3.3
        assert supply.snapshot()["channels[1].voltage"].value == 3.3
        assert len(supply.channels) == 1
        with pytest.raises(QMI_InvalidValueException, match=r"voltage of device must be at least 0\.0 V, got -1\.0 V"):
            supply.channels[1].voltage = -1
        assert supply.parameters()["channels[1].voltage"].limits == (0, None)


@pytest.mark.parametrize("limits", [(0, float("nan")), (float("nan"), 1)])
def test_limit_that_is_no_number_is_refused(limits: Any) -> None:
    class Odd(ScpiInstrument):
        level = parameter("LEV", float, unit="V", limits=lambda odd: limits)

    with opened(Odd) as odd, pytest.raises(QMI_UsageException, match="A limit of level of device is a number or None"):
        odd.level = 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be a whole number from 1 to 8, got 0"),
        ({"channels": 9}, "channels must be a whole number from 1 to 8, got 9"),
        ({"max_voltage": -1}, "max_voltage must be a number >= 0"),
        ({"max_current": "1"}, "max_current must be a number >= 0"),
        ({"max_current": float("nan")}, "max_current must be a number >= 0"),
    ],
)
def test_supply_that_there_cannot_be_is_refused(options: Any, message: str) -> None:
    with QMI_Context("lab") as context, pytest.raises(ValueError, match=message):
        context.make_instrument("psu", Scpi_PowerSupply, ScriptedTransport([]), **options)


def test_settings_of_a_multimeter_are_those_of_its_function() -> None:
    asked = ("FUNC?", '"CURR"')
    steps = ['FUNC "CURR:DC"', asked, "CURR:DC:RANG 0.1", asked, ("CURR:DC:RANG:AUTO?", "0"), asked, "CURR:DC:NPLC 10"]
    with opened(Scpi_Multimeter, *steps, asked, "CURR:DC:RANG:AUTO ON", "SAMP:COUN 1", ("READ?", "1E-3")) as meter:
        meter.function = MultimeterFunction.DC_CURRENT
        meter.range = 0.1
        assert not meter.auto_range
        meter.integration_time = 10
        meter.set_range(None)
        assert meter.reading == 1e-3
        kept = {name: reading.value for name, reading in meter.snapshot().items()}
    assert kept == {
        "function": MultimeterFunction.DC_CURRENT, "range": 0.1, "auto_range": True, "integration_time": 10.0,
        "reading": 1e-3,
    }  # fmt: skip


@pytest.mark.parametrize("limit", [-1, True, "1"])
def test_range_of_a_multimeter_is_a_number(limit: Any) -> None:
    with opened(Scpi_Multimeter) as meter:
        with pytest.raises(ValueError, match="limit must be"):
            meter.set_range(limit)
        with pytest.raises(ValueError, match="range of device must be"):
            meter.range = limit


@pytest.mark.parametrize(
    ("dialect", "scale", "timebase", "source"),
    [
        ("keysight", ":CHAN2:SCAL", ":TIM:SCAL", ":TRIG:EDGE:SOUR"),
        ("tektronix", "CH2:SCA", "HOR:SCA", "TRIG:A:EDGE:SOU"),
    ],
)
def test_settings_of_an_oscilloscope_are_in_its_dialect(dialect: str, scale: str, timebase: str, source: str) -> None:
    name = "CHAN" if dialect == "keysight" else "CH"
    steps = [f"{scale} 0.5", (f"{scale}?", "0.5"), f"{timebase} 0.001", f"{source} {name}2", (f"{source}?", f"{name}3")]
    with opened(Scpi_Oscilloscope, *steps, (f"{source}?", "EXT"), dialect=dialect, channels=3) as scope:
        scope.channels[2].scale = 0.5
        assert scope.get_scale(2) == 0.5
        scope.timebase = 1e-3
        scope.trigger_source = 2
        assert scope.trigger_source == 3
        assert scope.trigger_source == 0
        assert len(scope.channels) == 3
        with pytest.raises(QMI_InvalidValueException, match="trigger_source of device must be from 1 to 3, got 4"):
            scope.trigger_source = 4


def test_waveform_is_read_from_its_channel() -> None:
    steps = [
        ":WAV:SOUR CHAN2",
        ":WAV:FORM BYTE",
        (":WAV:PRE?", "0,0,2,1,1E-6,0,0,0.5,1,10"),
        (":WAV:DATA?", b"#12\x0a\x0c\n"),
    ]
    with opened(Scpi_Oscilloscope, *steps) as scope:
        assert list(scope.channels[2].get_waveform().values) == [1.0, 2.0]
