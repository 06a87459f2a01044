"""The driver of lock-in amplifiers, on scripts of what is written and answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InstrumentException, QMI_InvalidValueException, QMI_TimeoutException
from qmi.instruments.stanford import (
    LockInStatus,
    ReferenceSource,
    Stanford_LockInAmplifier,
)
from qmi.instruments.stanford.lock_in_tables import SENSITIVITIES, TIME_CONSTANTS
from qmi.testing import ScriptedTransport, simulated_time

Step = str | tuple[str, Any]


@contextmanager
def opened(*steps: Step) -> Iterator[Stanford_LockInAmplifier]:
    transport = ScriptedTransport(["*CLS", "OUTX 1", *steps])
    lock_in = Stanford_LockInAmplifier(QMI_Context("lab", None), "lock_in", transport)
    lock_in.open()
    yield lock_in
    lock_in.close()
    transport.check_done()


SETTINGS: Sequence[tuple[str, Any, str, str, str]] = [
    ("amplitude", 0.5, "SLVL 0.5", "SLVL?", "0.500"),
    ("frequency", 1234.5, "FREQ 1234.5", "FREQ?", "1234.5"),
    ("phase", -90.0, "PHAS -90", "PHAS?", "-90.00"),
    ("harmonic", 2, "HARM 2", "HARM?", "2"),
    ("reference", ReferenceSource.INTERNAL, "FMOD 1", "FMOD?", "1"),
    ("sensitivity", 1e-3, "SENS 17", "SENS?", "17"),
    ("sensitivity", 1.0, "SENS 26", "SENS?", "26"),
    ("sensitivity", 2e-9, "SENS 0", "SENS?", "0"),
    ("time_constant", 0.3, "OFLT 9", "OFLT?", "9"),
    ("time_constant", 30e3, "OFLT 19", "OFLT?", "19"),
    ("synchronous_filter", True, "SYNC 1", "SYNC?", "1"),
]


@pytest.mark.parametrize(("name", "value", "command", "question", "answer"), SETTINGS)
def test_setting_is_sent_and_asked_for(name: str, value: Any, command: str, question: str, answer: str) -> None:
    with opened(command, (question, answer)) as lock_in:
        setattr(lock_in, name, value)
        assert getattr(lock_in, name) == value


def test_tables_have_all_steps_of_the_instrument() -> None:
    assert len(SENSITIVITIES) == 27
    assert len(TIME_CONSTANTS) == 20
    assert list(SENSITIVITIES)[:4] == [2e-9, 5e-9, 1e-8, 2e-8]
    assert list(TIME_CONSTANTS)[-2:] == [1e4, 3e4]
    assert [int(text) for text in SENSITIVITIES.values()] == list(range(27))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("amplitude", 5.5, "amplitude of lock_in must be from 0.004 to 5.0 V, got 5.5 V"),
        ("frequency", 0.0, "frequency of lock_in must be from 0.001 to 102000.0 Hz"),
        ("frequency", math.nan, "frequency of lock_in must be a number"),
        ("sensitivity", 3e-3, "sensitivity of lock_in must be one of 27 values, of which .* 0.001, 0.002, 0.005"),
        ("time_constant", 0.5, "time_constant of lock_in must be one of 20 values, of which .* 0.1, 0.3, 1.0"),
        ("harmonic", 1.5, "harmonic of lock_in must be a whole number"),
        ("reference", "outside", "reference of lock_in must be ReferenceSource.EXTERNAL or"),
    ],
)
def test_setting_that_the_instrument_has_not_is_not_sent(name: str, value: Any, message: str) -> None:
    with opened() as lock_in, pytest.raises(QMI_InvalidValueException, match=message):
        setattr(lock_in, name, value)


def test_readings_are_asked_for_one_by_one_or_of_the_same_moment() -> None:
    steps = [("OUTP? 1", "1.5E-3"), ("OUTP? 4", "-45.0"), ("SNAP? 1,2", "1E-3,-2E-3"), ("SNAP? 3,4", "0.5,90")]
    with opened(*steps, ("SNAP? 1,9,5", "1,1000,-3")) as lock_in:
        assert lock_in.x == 1.5e-3
        assert lock_in.theta == -45.0
        assert lock_in.read_xy() == (1e-3, -2e-3)
        assert lock_in.read_polar().theta == 90
        assert lock_in.snap(["x", "frequency", "aux1"]) == {"x": 1.0, "frequency": 1000.0, "aux1": -3.0}


@pytest.mark.parametrize("names", [["x"], "x", ["x", "x"], ["x", "z"], [], [f"aux{n}" for n in range(7)]])
def test_snap_refuses_what_the_instrument_cannot_give(names: Any) -> None:
    with opened() as lock_in, pytest.raises(ValueError, match="names must be"):
        lock_in.snap(names)


def test_snap_that_gives_too_few_numbers_fails() -> None:
    with (
        opened(("SNAP? 1,2", "1E-3")) as lock_in,
        pytest.raises(QMI_InstrumentException, match=r"Expected 2 numbers in answer to 'SNAP\? 1,2', got '1E-3'"),
    ):
        lock_in.read_xy()


def test_auxiliary_inputs_and_outputs_are_channels() -> None:
    with opened(("OAUX? 2", "0.125"), "AUXV 4,-1.5", ("AUXV? 4", "-1.500")) as lock_in:
        assert lock_in.aux[2].input == 0.125
        lock_in.aux[4].output = -1.5
        assert lock_in.aux[4].output == -1.5
        with pytest.raises(
            QMI_InvalidValueException, match=r"aux\[1\]\.output of lock_in must be from -10\.5 to 10\.5 V"
        ):
            lock_in.aux[1].output = 11.0


def test_automatic_gain_is_waited_for() -> None:
    with simulated_time() as clock, opened("AGAN", ("*STB?", "0"), ("*STB?", "8"), ("*STB?", "2")) as lock_in:
        begin = clock.now()
        lock_in.auto_gain()
        assert clock.now() - begin == pytest.approx(0.2, abs=0.05)


def test_automatic_reserve_that_does_not_end_is_not_waited_for_for_ever() -> None:
    steps: list[Step] = ["ARSV", *[("*STB?", "0")] * 4]
    with simulated_time(), opened(*steps) as lock_in, pytest.raises(QMI_TimeoutException, match=r"ARSV .* 0\.25 s"):
        lock_in.auto_reserve(timeout=0.25)


def test_automatic_phase_and_offsets() -> None:
    with opened("APHS", "AOFF 3", "OEXP 1,-12.50,1", ("OEXP? 1", "-12.50,1"), ("OEXP? 2", "?")) as lock_in:
        lock_in.auto_phase()
        lock_in.auto_offset("r")
        lock_in.set_offset("x", -12.5, expand=10)
        assert lock_in.get_offset("x") == (-12.5, 10)
        with pytest.raises(QMI_InstrumentException, match="Expected percent and expansion"):
            lock_in.get_offset("y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("z", 1), "output"),
        (("x", 106), "percent"),
        (("x", True), "percent"),
        (("x", 1, 5), "expand"),
        ((1, 1), "output"),
    ],
)
def test_offset_that_there_is_not_is_refused(arguments: Any, message: str) -> None:
    with opened() as lock_in, pytest.raises(ValueError, match=f"{message} must be"):
        lock_in.set_offset(*arguments)


def test_status_and_errors_are_named() -> None:
    with opened(("LIAS?", "9"), ("*ESR?", "32"), ("ERRS?", "4"), ("*ESR?", "0"), ("ERRS?", "0")) as lock_in:
        assert lock_in.get_status() == LockInStatus(True, False, False, True)
        assert lock_in.get_errors() == ["a command was not understood", "the memory failed"]
        assert lock_in.get_errors() == []


@pytest.mark.parametrize(("interface", "command", "end"), [("gpib", "OUTX 1", "\n"), ("rs232", "OUTX 0", "\r")])
def test_answers_end_as_they_do_at_the_connector(interface: str, command: str, end: str) -> None:
    transport = ScriptedTransport(["*CLS", command, ("OUTP? 1", "2")], answer_terminator=end)
    lock_in = Stanford_LockInAmplifier(QMI_Context("lab", None), "lock_in", transport, interface=interface)
    lock_in.open()
    assert lock_in.x == 2
    lock_in.close()
    transport.check_done()


def test_connector_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="interface must be 'gpib', 'rs232' or None, got 'usb'"):
        Stanford_LockInAmplifier(QMI_Context("lab", None), "lock_in", ScriptedTransport([]), interface="usb")
