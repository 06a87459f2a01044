"""Real drivers of PyMeasure on connections that answer as written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidValueException

pytestmark = pytest.mark.slow

GET, SET, REFUSED, CALL = "get", "set", "refused", "call"

# Driver; what is sent and answered; what is done. The last messages are those of its shutdown.
DRIVERS: list[tuple[str, list[tuple[str | None, str | None]], list[tuple[Any, ...]]]] = [
    (
        "hp.hp34401A:HP34401A",
        [("MEAS:CURR:DC? DEF,DEF", "+1.5E-03"), ("*IDN?", "HEWLETT-PACKARD,34401A,0,1"), ("*RST", None)],
        [(GET, "current_dc", 0.0015), (GET, "id", "HEWLETT-PACKARD,34401A,0,1"), (CALL, "reset", ())],
    ),
    (
        "keysight.keysightE36312A:KeysightE36312A",
        [("VOLT 5, (@2)", None), ("VOLT? (@2)", "5.0"), ("MEASure:VOLTage? (@1)", "4.99")],
        [
            (SET, "channels[2].voltage_setpoint", 5),
            (GET, "channels[2].voltage_setpoint", 5.0),
            (REFUSED, "channels[2].voltage_setpoint", 26),
            (GET, "channels[1].voltage", 4.99),
        ],
    ),
    (
        "rohdeschwarz.hmp:HMP4040",
        [("INST:NSEL 3", None), ("VOLT? MAX", "32.05"), ("VOLT:STEP 0.5", None)],
        [
            (SET, "selected_channel", 3),
            (GET, "max_voltage", 32.05),
            (SET, "voltage_step", 0.5),
            (REFUSED, "voltage_step", 33),
            (REFUSED, "selected_channel", 5),
        ],
    ),
    (
        "lakeshore.lakeshore331:LakeShore331",
        [("KRDG? A", "4.2"), ("KRDG? B", "77.0")],
        [(GET, "input_A_kelvin", 4.2), (GET, "input_B_kelvin", 77.0)],
    ),
    (
        "agilent.agilent33220A:Agilent33220A",
        [("FUNC:SQU:DCYC 30.000000", None), ("FUNC:SQU:DCYC?", "30")],
        [(SET, "square_dutycycle", 30), (GET, "square_dutycycle", 30.0), (REFUSED, "square_dutycycle", 90)],
    ),
    (
        "srs.sr830:SR830",
        [("OUTP?1", "0.25"), ("SLVL1.500", None), ("SLVL?", "1.5")],
        [(GET, "x", 0.25), (SET, "sine_voltage", 1.5), (GET, "sine_voltage", 1.5), (REFUSED, "sine_voltage", "a")],
    ),
    (
        "yokogawa.yokogawags200:YokogawaGS200",
        [("OUTPut:STATe 1", None), ("SOURce:PROTection:VOLTage 12", None), ("SOURce:PROTection:VOLTage?", "12")],
        [
            (SET, "source_enabled", True),
            (SET, "voltage_limit", 12),
            (GET, "voltage_limit", 12.0),
            (REFUSED, "source_mode", "power"),
        ],
    ),
    (
        "keysight.keysightN5767A:KeysightN5767A",
        [("MEAS:VOLT?", "7.5"), (":CURR 2", None)],
        [(GET, "voltage", 7.5), (SET, "current_range", 2)],
    ),
    (
        "keithley.keithley2000:Keithley2000",
        [(":READ?", "1.25"), (":SENS:VOLT:RANG?", "10")],
        [(GET, "voltage", 1.25), (GET, "voltage_range", 10.0)],
    ),
    (
        "signalrecovery.dsp7265:DSP7265",
        [("X.", "0.5")],
        [(GET, "x", 0.5)],
    ),
    (
        "lakeshore.lakeshore425:LakeShore425",
        [("RDGFIELD?", "12.5")],
        [(GET, "field", 12.5)],
    ),
    (
        "tektronix.afg3152c:AFG3152C",
        [("source1:voltage:unit VPP", None)],
        [(SET, "ch1_unit", "VPP"), (REFUSED, "ch1_unit", "V"), (REFUSED, "ch1_duty", 100)],
    ),
]


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("driver", "exchange", "steps"), DRIVERS, ids=[driver for driver, *_ in DRIVERS])
def test_driver_of_pymeasure(
    context: QMI_Context,
    driver: str,
    exchange: list[tuple[str | None, str | None]],
    steps: list[tuple[Any, ...]],
) -> None:
    from pymeasure.adapters import ProtocolAdapter

    line = ProtocolAdapter(exchange)
    device = context.make_instrument("device", qmi.hosted(f"pymeasure.instruments.{driver}"), line)
    device.open()
    for kind, path, value in steps:
        if kind == CALL:
            getattr(device, path)(*value)
        elif kind == GET:
            assert device.parameters[path].get() == value
        elif kind == SET:
            device.parameters[path].set(value)
        else:
            with pytest.raises(QMI_InvalidValueException, match="of device must be"):
                device.parameters[path].set(value)
    assert line._index == len(exchange)  # all of it
    assert device.parameters()
