"""Stand-ins of drivers with parameters and channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, QMI_Instrument, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_InvalidValueException, QMI_TimeoutException, QMI_UsageException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.testing import StandInInstrument, open_task_bench
from tests.support.supplies import Mode, Supply


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with qmi.start("lab", None, init_logging=False) as context:
        yield context


def test_stand_in_keeps_settings_and_is_told_readings(lab: QMI_Context) -> None:
    stand_in = StandInInstrument(Supply)
    psu: Any = lab.make_instrument("psu", stand_in.driver)
    told = QMI_SignalReceiver()
    psu.sig_changed.subscribe(told)
    psu.open()
    psu.voltage = 5
    psu.set_mode(Mode.CURRENT)
    assert (psu.voltage, psu.get_voltage(), psu.mode) == (5.0, 5.0, Mode.CURRENT)
    psu.outputs[2].maximum = 3.0
    assert psu.outputs[2].get_maximum() == 3.0
    assert psu.parameters.maximum.info().limits == (0, 60)
    with pytest.raises(
        QMI_UsageException, match=r"does not know what get_current\(\) answers; tell it by stand_in.retu"
    ):
        psu.get_current()
    stand_in.returns("get_current", 0.5)
    stand_in.returns_each("outputs[1].get_current", [1.0, 2.0])
    assert (psu.current, psu.outputs[1].current, psu.outputs[1].get_current()) == (0.5, 1.0, 2.0)
    assert stand_in.calls_of("set_voltage") == [("set_voltage", (5.0,), {})]
    assert len(stand_in.calls_of("outputs[1].get_current")) == 2
    assert [told.get_next_signal(timeout=0).args[0] for _ in range(3)] == ["voltage", "mode", "outputs[2].maximum"]


def test_stand_in_checks_what_the_declaration_says(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", StandInInstrument(Supply).driver)
    with pytest.raises(QMI_InvalidValueException, match=r"maximum of psu must be from 0 to 60 V, got 61\.0 V"):
        psu.maximum = 61
    with pytest.raises(QMI_InvalidValueException, match="output of psu must be True or False, got 3"):
        psu.set_output(3)
    psu.voltage = 1e6  # its limit is another parameter, which nobody told


def test_stand_in_is_restored(lab: QMI_Context) -> None:
    stand_in = StandInInstrument(Supply)
    psu: Any = lab.make_instrument("psu", stand_in.driver)
    psu.maximum, psu.voltage = 30.0, 5.0
    before = psu.snapshot().select("maximum", "voltage")
    psu.voltage = 6.0
    assert [str(change) for change in psu.restore(before)] == ["voltage: 6.0 V -> 5.0 V"]
    assert psu.voltage == 5.0


def test_stand_in_fails_as_it_is_told(lab: QMI_Context) -> None:
    stand_in = StandInInstrument(Supply)
    psu: Any = lab.make_instrument("psu", stand_in.driver)
    stand_in.raises("set_voltage", QMI_TimeoutException("no answer"))
    with pytest.raises(QMI_TimeoutException, match="no answer"):
        psu.voltage = 5.0
    with pytest.raises(QMI_UsageException, match=r"has no published method 'outputs\[3\]\.get_level'; it has"):
        stand_in.returns("outputs[3].get_level", 1.0)


def test_stand_in_is_not_polled() -> None:
    stand_in = StandInInstrument(Supply)
    with open_task_bench() as bench:
        psu: Any = bench.context.make_instrument("psu", stand_in.driver)
        assert "sig_current" in dir(psu)
        with psu:
            bench.run(10.0)
    assert [call.method for call in stand_in.calls] == ["open", "close"]


def test_stand_in_of_own_getters_and_of_methods_of_channels(lab: QMI_Context) -> None:
    class Axis(Channel):
        def __init__(self, *args: object) -> None:
            raise AssertionError("the driver's code")

        @rpc_method
        def home(self, speed: float = 1.0) -> str:
            """Go home."""
            raise AssertionError("the driver's code")

    class Laser(QMI_Instrument):
        @rpc_method
        def get_wavelength(self, air: bool = False) -> float:
            """The wavelength."""
            raise AssertionError("the driver's code")

        @rpc_method
        def set_wavelength(self, value: float) -> None:
            """Tune it."""
            raise AssertionError("the driver's code")

        wavelength = parameter(getter=get_wavelength, setter=set_wavelength, type=float, unit="nm")
        axes = channels(Axis, 1, 2, present=lambda laser: laser.never_made)

        @parameter(unit="W", limits=lambda laser: laser.never_made)
        def power(self) -> float:
            """Power."""
            raise AssertionError("the driver's code")

    stand_in = StandInInstrument(Laser)
    laser: Any = lab.make_instrument("laser", stand_in.driver)
    laser.wavelength = 1550
    assert (laser.wavelength, laser.get_wavelength(), laser.get_wavelength(air=False)) == (1550.0, 1550.0, 1550.0)
    stand_in.returns("get_power", 0.5)
    stand_in.does("axes[2].home", lambda speed=1.0: f"home at {speed}")
    assert (laser.power, laser.axes[2].home(speed=3.0)) == (0.5, "home at 3.0")
    assert laser.axes[1].home() is None
