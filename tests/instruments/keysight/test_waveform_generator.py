"""The driver of waveform generators, on scripts of what is written and answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidValueException, QMI_ScpiException
from qmi.instruments.keysight import (
    BurstMode,
    GeneratorFunction,
    GeneratorTrigger,
    Keysight_WaveformGenerator,
    Polarity,
)
from qmi.testing import ScriptedTransport


@contextmanager
def opened(*steps: Any, **options: Any) -> Iterator[Keysight_WaveformGenerator]:
    transport = ScriptedTransport(["*CLS", "SOUR1:VOLT:UNIT VPP", "SOUR2:VOLT:UNIT VPP", *steps])
    generator = Keysight_WaveformGenerator(QMI_Context("lab", None), "awg", transport, **options)
    generator.open()
    yield generator
    generator.close()
    transport.check_done()


SETTINGS: Sequence[tuple[str, Any, str, str, str]] = [
    ("function", GeneratorFunction.SQUARE, "SOUR2:FUNC SQU", "SOUR2:FUNC?", "SQU"),
    ("frequency", 1e6, "SOUR2:FREQ 1000000", "SOUR2:FREQ?", "+1.00000000000000E+06"),
    ("frequency", 1234567.000001, "SOUR2:FREQ 1234567.000001", "SOUR2:FREQ?", "+1.234567000001E+06"),
    ("amplitude", 0.25, "SOUR2:VOLT 0.25", "SOUR2:VOLT?", "+2.5E-01"),
    ("offset", -1.5, "SOUR2:VOLT:OFFS -1.5", "SOUR2:VOLT:OFFS?", "-1.5E+00"),
    ("phase", 90.0, "SOUR2:PHAS 90", "SOUR2:PHAS?", "+9.0E+01"),
    ("output", True, "OUTP2 1", "OUTP2?", "1"),
    ("load", math.inf, "OUTP2:LOAD 9.9E37", "OUTP2:LOAD?", "+9.9E+37"),
    ("polarity", Polarity.INVERTED, "OUTP2:POL INV", "OUTP2:POL?", "INV"),
    ("burst", True, "SOUR2:BURS:STAT 1", "SOUR2:BURS:STAT?", "1"),
    ("burst_mode", BurstMode.GATED, "SOUR2:BURS:MODE GAT", "SOUR2:BURS:MODE?", "GAT"),
    ("burst_cycles", 3.0, "SOUR2:BURS:NCYC 3", "SOUR2:BURS:NCYC?", "+3.0E+00"),
    ("burst_cycles", math.inf, "SOUR2:BURS:NCYC 9.9E37", "SOUR2:BURS:NCYC?", "+9.9E+37"),
    ("trigger_source", GeneratorTrigger.BUS, "TRIG2:SOUR BUS", "TRIG2:SOUR?", "BUS"),
    ("waveform", "CHIRP", 'SOUR2:FUNC:ARB "CHIRP"', "SOUR2:FUNC:ARB?", '"CHIRP"'),
    ("sample_rate", 4e4, "SOUR2:FUNC:ARB:SRAT 40000", "SOUR2:FUNC:ARB:SRAT?", "+4E+04"),
]


@pytest.mark.parametrize(("name", "value", "command", "question", "answer"), SETTINGS)
def test_channel_is_set_and_asked(name: str, value: Any, command: str, question: str, answer: str) -> None:
    with opened(command, (question, answer)) as generator:
        setattr(generator.channels[2], name, value)
        assert getattr(generator.channels[2], name) == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("amplitude", 4.1, r"channels\[1\]\.amplitude of awg must be from 0\.0 to 4\.0 V, got 4\.1 V"),
        ("amplitude", -0.1, "must be from"),
        ("offset", 2.5, r"channels\[1\]\.offset of awg must be from -2\.0 to 2\.0 V"),
        ("frequency", 0.0, "frequency of awg must be at least 1e-06 Hz"),
        ("burst_cycles", 1.5, "must be a multiple of 1"),
        ("duty_cycle", 100.0, "must be from 0.01 to 99.99 %"),
        ("waveform", 'A"\n', "printable ASCII"),
    ],
)
def test_what_could_destroy_or_makes_no_sense_is_not_sent(name: str, value: Any, message: str) -> None:
    with opened(max_voltage=2.0) as generator, pytest.raises(QMI_InvalidValueException, match=message):
        setattr(generator.channels[1], name, value)


@pytest.mark.parametrize("value", [-1.0, math.nan, True])
def test_highest_voltage_is_a_number(value: Any) -> None:
    with pytest.raises(ValueError, match="max_voltage must be"):
        Keysight_WaveformGenerator(QMI_Context("lab", None), "awg", ScriptedTransport([]), max_voltage=value)


def test_waveform_is_uploaded_as_a_block_and_chosen() -> None:
    samples = [0.0, 1.0, -1.0, 0.5, 0.25, 0.125, -0.5, 0.0]
    steps = np.array([0, 32767, -32767, 16384, 8192, 4096, -16384, 0], ">i2")
    data = b"SOUR1:DATA:ARB:DAC RISE,#216" + steps.tobytes() + b"\n"
    chosen = ['SOUR1:FUNC:ARB "RISE"', "SOUR1:FUNC ARB"]
    with opened("FORM:BORD NORM", data, *chosen, ("SOUR1:DATA:VOL:CAT?", '"EXP_RISE","RISE"')) as generator:
        generator.channels[1].upload("RISE", samples, select=True)
        assert generator.channels[1].get_waveforms() == ["EXP_RISE", "RISE"]


def test_array_of_numpy_is_uploaded_without_being_chosen() -> None:
    with opened(
        "FORM:BORD NORM", b"SOUR2:DATA:ARB:DAC zero,#216" + bytes(16) + b"\n", "SOUR2:DATA:VOL:CLE"
    ) as generator:
        generator.channels[2].upload("zero", np.zeros(8, np.float32))
        generator.channels[2].clear_waveforms()


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("", np.zeros(8), "name must be"),
        ("1A", np.zeros(8), "name must be"),
        ("A,#15", np.zeros(8), "name must be"),
        ("A" * 13, np.zeros(8), "name must be"),
        ("A", np.zeros(7), "samples must be at least 8"),
        ("A", np.zeros((8, 2)), "samples must be at least 8"),
        ("A", ["x"] * 8, "samples must be at least 8"),
        ("A", np.full(8, 1.01), "samples must be from -1 to 1"),
        ("A", np.full(8, np.nan), "samples must be from -1 to 1"),
    ],
)
def test_waveform_that_there_cannot_be_is_not_sent(name: str, samples: Any, message: str) -> None:
    with opened() as generator, pytest.raises(ValueError, match=message):
        generator.channels[1].upload(name, samples)


def test_generator_is_triggered() -> None:
    with opened("*TRG", "TRIG2", "PHAS:SYNC") as generator:
        generator.trigger()
        generator.channels[2].trigger()
        generator.align_phases()


def test_upload_that_the_generator_refuses_fails_where_errors_are_checked() -> None:
    no_error: Any = ("SYST:ERR?", '+0,"No error"')
    opening: list[Any] = ["*CLS", no_error, "SOUR1:VOLT:UNIT VPP", no_error, "SOUR2:VOLT:UNIT VPP", no_error]
    data = b"SOUR1:DATA:ARB:DAC A,#216" + bytes(16) + b"\n"
    steps: list[Any] = ["FORM:BORD NORM", no_error, data, ("SYST:ERR?", '+786,"Name in use"'), no_error]
    transport = ScriptedTransport([*opening, *steps])
    generator = Keysight_WaveformGenerator(QMI_Context("lab", None), "awg", transport, check_errors=True)
    generator.open()
    with pytest.raises(QMI_ScpiException, match="Name in use"):
        generator.channels[1].upload("A", np.zeros(8))
    generator.close()
    transport.check_done()
