"""The driver of temperature controllers, on scripts of what is written and answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InstrumentException, QMI_InvalidValueException, QMI_TransportLostException
from qmi.core.transport import Reconnect
from qmi.instruments.lakeshore import (
    ControlMode,
    HeaterError,
    HeaterRange,
    Lakeshore_335,
    Lakeshore_336,
    SensorStatus,
)
from qmi.testing import LOST, ScriptedTransport, simulated_time


@contextmanager
def opened(*steps: Any, cls: type[Lakeshore_336] = Lakeshore_336, **options: Any) -> Iterator[Lakeshore_336]:
    transport = ScriptedTransport(["*CLS", *steps])
    with simulated_time():
        controller = cls(QMI_Context("lab", None), "cryo", transport, **options)
        controller.open()
        yield controller
        controller.close()
    transport.check_done()


SETTINGS: Sequence[tuple[str, Any, list[Any], str, str]] = [
    ("setpoint", 77.35, ["SETP 2,77.35"], "SETP? 2", "+77.350"),
    ("heater_range", HeaterRange.MEDIUM, ["RANGE 2,2"], "RANGE? 2", "2"),
    ("manual_output", 12.5, ["MOUT 2,12.5"], "MOUT? 2", "+12.50"),
    ("ramp_rate", 2.5, [("RAMP? 2", "1,+10.0"), "RAMP 2,1,2.5"], "RAMP? 2", "1,+2.5"),
    ("ramp", False, [("RAMP? 2", "1,+10.0"), "RAMP 2,0,10"], "RAMP? 2", "0,+10.0"),
    ("mode", ControlMode.CLOSED_LOOP, [("OUTMODE? 2", "3,1,0")] * 2 + ["OUTMODE 2,1,1,0"], "OUTMODE? 2", "1,1,0"),
    ("control_input", 3, [("OUTMODE? 2", "1,1,1")] * 2 + ["OUTMODE 2,1,3,1"], "OUTMODE? 2", "1,3,1"),
]


@pytest.mark.parametrize(("name", "value", "written", "question", "answer"), SETTINGS)
def test_loop_is_set_and_asked(name: str, value: Any, written: list[Any], question: str, answer: str) -> None:
    with opened(*written, (question, answer)) as controller:
        setattr(controller.loops[2], name, value)
        assert getattr(controller.loops[2], name) == value


def test_sensors_are_read_by_their_letters() -> None:
    steps = [("KRDG? A", "+295.12"), ("SRDG? D", "+1.0234"), ("RDGST? C", "33"), ("INNAME? B", "Sample         ")]
    with opened(*steps, 'INNAME B,"Stage"', ("RDGST? A", "0")) as controller:
        assert controller.inputs[1].temperature == 295.12
        assert controller.inputs[4].sensor == 1.0234
        assert controller.inputs[3].get_status() == SensorStatus(True, False, True, False, False)
        assert controller.inputs[2].get_name() == "Sample"
        controller.inputs[2].set_name("Stage")
        assert controller.inputs[1].get_status().is_valid


def test_heater_is_read() -> None:
    with opened(("HTR? 1", "+45.5"), ("HTRST? 1", "1"), ("RAMPST? 1", "1")) as controller:
        loop = controller.loops[1]
        assert (loop.heater_output, loop.heater_error, loop.is_ramping) == (45.5, HeaterError.OPEN_LOAD, True)


def test_control_parameters_are_sent_together() -> None:
    with opened("PID 1,50,20.5,0", ("PID? 1", "+50.0,+20.5,+0.0"), "PID 2,1,0,0") as controller:
        controller.loops[1].set_pid(50, 20.5, 0)
        assert controller.loops[1].get_pid() == (50.0, 20.5, 0.0)
        controller.loops[2].set_pid(1, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((0, 1, 0), "p"), ((1, 1001, 0), "i"), ((1, 0.01, 0), "i"), ((1, 1, True), "d"), ((math.nan, 1, 0), "p")],
)
def test_control_parameter_out_of_range_is_refused(arguments: Any, name: str) -> None:
    with opened() as controller, pytest.raises(ValueError, match=f"{name} must be a number from"):
        controller.loops[1].set_pid(*arguments)


def test_setpoint_is_not_higher_than_the_sample_can_stand() -> None:
    message = r"loops\[1\]\.setpoint of cryo must be from 0\.0 to 310\.0 K, got 400\.0 K"
    with opened("SETP 1,300", max_temperature=310.0) as controller:
        controller.loops[1].setpoint = 300
        with pytest.raises(QMI_InvalidValueException, match=message):
            controller.loops[1].setpoint = 400.0


@pytest.mark.parametrize("value", [-1.0, math.nan, True])
def test_highest_temperature_is_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match="max_temperature must be"):
        Lakeshore_336(QMI_Context("lab", None), "cryo", ScriptedTransport([]), max_temperature=value)


@pytest.mark.parametrize("name", ["a" * 16, 'quo"te', "µK", "two\nlines"])
def test_name_of_an_input_that_cannot_be_shown_is_refused(name: str) -> None:
    with opened() as controller, pytest.raises(ValueError, match="name must be up to 15 characters"):
        controller.inputs[1].set_name(name)


def test_model_335_has_two_inputs() -> None:
    with opened(("KRDG? B", "4.2"), ("OUTMODE? 1", "1,1,0"), cls=Lakeshore_335) as controller:
        assert len(controller.inputs) == 2
        assert controller.inputs[2].temperature == 4.2
        with pytest.raises(QMI_InvalidValueException, match="inputs of cryo has the numbers 1 to 2; got 3"):
            controller.inputs[3]
        assert controller.loops[1].mode is ControlMode.CLOSED_LOOP
        with pytest.raises(QMI_InvalidValueException, match="control_input of cryo must be from 0 to 2, got 3"):
            controller.loops[1].control_input = 3


def test_all_heaters_are_switched_off_at_once() -> None:
    with opened("RANGE 1,0", "RANGE 2,0") as controller:
        controller.all_off()


def test_heater_is_not_switched_on_again_by_a_new_connection() -> None:
    identity = ("*IDN?", "LSCI,MODEL336,1,1.0")
    before: list[Any] = [identity, "*CLS", "SETP 1,10", "PID 1,1,2,3", "RANGE 1,3", ("SETP? 1", LOST)]
    after: list[Any] = [identity, "SETP 1,10", "PID 1,1,2,3", ("SETP? 1", "10")]
    transport = ScriptedTransport([*before, *after])
    with simulated_time():
        controller = Lakeshore_336(QMI_Context("lab", None), "cryo", transport, reconnect=Reconnect(delay=0.0))
        controller.open()
        loop = controller.loops[1]
        loop.setpoint = 10.0
        loop.set_pid(1, 2, 3)
        loop.heater_range = HeaterRange.HIGH
        with pytest.raises(QMI_TransportLostException):
            _ = loop.setpoint
        assert loop.setpoint == 10.0
        controller.close()
    transport.check_done()


@pytest.mark.parametrize(
    ("question", "answer", "read"),
    [
        ("RAMP? 1", "1", "ramp"),
        ("OUTMODE? 1", "9,1,0", "mode"),
        ("HTR? 1", "none", "heater_output"),
        ("RANGE? 1", "7", "heater_range"),
    ],
)
def test_answer_that_makes_no_sense_is_shown(question: str, answer: str, read: str) -> None:
    with (
        opened((question, answer)) as controller,
        pytest.raises(QMI_InstrumentException, match=r"Expected .* in answer to .*, got"),
    ):
        getattr(controller.loops[1], read)


def test_errors_are_named() -> None:
    with opened(("*ESR?", "48"), ("*ESR?", "128")) as controller:
        assert controller.get_errors() == ["a command could not be done", "a command was not understood"]
        assert controller.get_errors() == []
