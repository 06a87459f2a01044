"""Declared parameters of instruments that speak SCPI: what is sent, what is given again to a new connection."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np
import pytest

from qmi.core.context import QMI_Context
from qmi.core.driver import (
    AsyncScpiChannel,
    AsyncScpiInstrument,
    Block,
    Channel,
    ScpiChannel,
    ScpiInstrument,
    channels,
    parameter,
)
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_ScpiException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.core.transport import Reconnect
from qmi.devices.scpi_rules import is_output
from qmi.testing import CLOSED, LOST, AsyncScriptedTransport, ScriptedTransport, block


class Mode(enum.Enum):
    VOLTAGE = "VOLTage"
    CURRENT = "CURRent"


class Output(ScpiChannel):
    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 30))
    output = parameter("OUTP{n}", bool)
    setpoint = parameter(type=float, ask="SETP? {n}", write="SETP {n},{value}", unit="K")

    def measure(self) -> list[float]:
        return self._ask_numbers("MEAS{n}?", 2)

    def name(self, text: str) -> None:
        self._set("name", f"NAME{{n}} {text}")

    def is_hot(self) -> bool:
        return self._ask_flag("HOT{n}?")


class Supply(ScpiInstrument):
    NOT_RESTORED = ("heater",)
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    current = parameter("MEAS:CURR?", float, unit="A")
    mode = parameter("FUNC", Mode)
    output = parameter("OUTP", bool)
    heater = parameter("HEAT", int, limits=(0, 3))
    label = parameter("DISP", str, write='DISP "{value}"')
    gain = parameter("GAIN", float, values={1.0: "A", 10.0: "B"})
    level = parameter("LEV", float, unit="V", scale=1e-3)
    curve = parameter("CURV", Block(">i2"), unit="V", scale=0.5)
    channels = channels(Output, 1, 3)


class AsyncOutput(AsyncScpiChannel):
    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 30))

    async def name(self, text: str) -> None:
        await self._set("name", f"NAME{{n}} {text}")

    async def load(self) -> None:
        await self._write("CLEAR{n}")
        await self._write_array("DATA{n} ", [1], "u1")

    async def measure(self) -> tuple[list[float], float, bool, str]:
        return (
            await self._ask_numbers("MEAS{n}?", 2),
            await self._ask_number("TEMP{n}?"),
            await self._ask_flag("HOT{n}?"),
            await self._ask("WHO{n}?"),
        )


class AsyncSupply(AsyncScpiInstrument):
    NOT_RESTORED = ("heater",)
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    mode = parameter("FUNC", Mode)
    output = parameter("OUTP", bool)
    heater = parameter("HEAT", int, limits=(0, 3))
    curve = parameter("CURV", Block(">i2"), unit="V", scale=0.5)
    channels = channels(AsyncOutput, 1, 3)


def made(transport: ScriptedTransport, **options: Any) -> Supply:
    return Supply(QMI_Context("lab", None), "psu", transport, **options)


def opened(*steps: Any, **options: Any) -> tuple[Supply, ScriptedTransport]:
    transport = ScriptedTransport(["*CLS", *steps])
    supply = made(transport, **options)
    supply.open()
    return supply, transport


def test_parameters_are_set_and_asked_for_by_their_commands() -> None:
    supply, transport = opened(
        "VOLT 5", ("VOLT?", "+5.0E+00"), ("MEAS:CURR?", "9.91E37"), "FUNC CURRent", ("FUNC?", "CURR"), "OUTP 1",
        ("OUTP?", "ON"), 'DISP "a;b"', ("DISP?", '"a;b"'), "GAIN B", ("GAIN?", "b"), "LEV 300", ("LEV?", "250"),
    )  # fmt: skip
    supply.voltage = 5
    assert supply.voltage == 5.0
    assert math.isnan(supply.current)
    supply.mode = Mode.CURRENT
    assert supply.mode is Mode.CURRENT
    supply.output = True
    assert supply.output is True
    supply.label = "a;b"
    assert supply.label == "a;b"
    supply.gain = 10.0
    assert supply.gain == 10.0
    supply.level = 0.3
    assert supply.level == 0.25
    transport.check_done()


def test_parameters_of_channels_have_their_number_in_their_commands() -> None:
    supply, transport = opened(
        "SOUR3:VOLT 1.5", ("SOUR2:VOLT?", "2"), "OUTP1 0", "SETP 2,4.2", ("SETP? 2", "4.2"), ("MEAS1?", "1,2"),
        "NAME2 x", ("HOT3?", "1"),
    )  # fmt: skip
    supply.channels[3].voltage = 1.5
    assert supply.channels[2].voltage == 2
    supply.channels[1].output = False
    supply.channels[2].setpoint = 4.2
    assert supply.channels[2].setpoint == 4.2
    assert supply.channels[1].measure() == [1, 2]
    supply.channels[2].name("x")
    assert supply.channels[3].is_hot()
    transport.check_done()


def test_blocks_are_arrays() -> None:
    supply, transport = opened(b"CURV #14\x00\x02\xff\xff\n", ("CURV?", block(np.array([1, -3], ">i2"))))
    supply.curve = np.array([1.0, -0.5])
    np.testing.assert_array_equal(supply.curve, [0.5, -1.5])
    transport.check_done()


@pytest.mark.parametrize(
    ("name", "question", "expected"),
    [
        ("voltage", "VOLT?", "a number"),
        ("mode", "FUNC?", "one of VOLTage, CURRent"),
        ("output", "OUTP?", "0, 1, ON or OFF"),
        ("heater", "HEAT?", "a whole number"),
        ("gain", "GAIN?", "one of A, B"),
    ],
)
def test_answer_of_another_type_names_parameter_question_and_what_was_expected(
    name: str, question: str, expected: str
) -> None:
    supply, _ = opened((question, "broken"))
    with pytest.raises(QMI_InstrumentException) as raised:
        getattr(supply, name)
    assert str(raised.value) == f"Expected {expected} in answer to {question!r}, got 'broken', for {name} of psu"


def test_answer_that_is_no_text_is_shown_with_its_parameter() -> None:
    supply, _ = opened(("VOLT?", b"\xff\xa5\x00\n"), ("DISP?", b"\xff\x00\n"), ("WHAT?", b"\xff\n"))
    with pytest.raises(
        QMI_InstrumentException, match=r"Expected a number in answer to 'VOLT\?', got .*, for voltage of"
    ):
        _ = supply.voltage
    with pytest.raises(
        QMI_InstrumentException, match=r"Expected a text in answer to 'DISP\?', got .*, for label of psu"
    ):
        _ = supply.label
    with pytest.raises(QMI_InstrumentException, match=r"Expected a text in ascii in answer to 'WHAT\?', got b'\\xff'"):
        supply.ask("WHAT?")


def test_answers_that_make_no_sense_name_the_question_of_the_channel() -> None:
    supply, _ = opened(("SOUR2:VOLT?", "x"), ("MEAS1?", "1"), ("HOT1?", "2"))
    with pytest.raises(QMI_InstrumentException, match=r"'SOUR2:VOLT\?', got 'x', for channels\[2\]\.voltage of psu"):
        _ = supply.channels[2].voltage
    with pytest.raises(QMI_InstrumentException, match=r"Expected 2 numbers in answer to 'MEAS1\?', got '1'"):
        supply.channels[1].measure()
    with pytest.raises(QMI_InstrumentException, match=r"Expected 0, 1, ON or OFF in answer to 'HOT1\?', got '2'"):
        supply.channels[1].is_hot()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("voltage", 31, "voltage of psu must be from 0 to 30 V, got 31"),
        ("label", "µ", "label of psu must be printable ASCII"),
        ("gain", 2.0, "gain of psu must be 1.0 or 10.0"),
        ("curve", np.array([1e6]), "curve of psu must be from -32768 to 32767"),
        ("curve", np.zeros((2, 2)), "curve of psu must be numbers in one row"),
    ],
)
def test_value_that_cannot_be_sent_is_not(name: str, value: Any, message: str) -> None:
    supply, transport = opened()
    with pytest.raises(QMI_InvalidValueException, match=message):
        setattr(supply, name, value)
    transport.check_done()


def test_closed_instrument_is_neither_asked_nor_set() -> None:
    supply = made(ScriptedTransport([]))
    for use in (lambda: supply.voltage, lambda: setattr(supply, "voltage", 1.0), lambda: supply.channels[1].voltage):
        with pytest.raises(QMI_InvalidOperationException, match="call its open"):
            use()


def test_command_of_a_parameter_is_named_with_the_error_that_it_caused() -> None:
    no_error = ("SYST:ERR?", '0,"No error"')
    transport = ScriptedTransport(["*CLS", no_error, "VOLT 5", ("SYST:ERR?", '-222,"Data out of range"'), no_error])
    supply = made(transport, check_errors=True)
    supply.open()
    with pytest.raises(QMI_ScpiException, match=r"'VOLT 5': -222,\"Data out of range\""):
        supply.voltage = 5


IDENTITY = ("*IDN?", "Acme,PSU,1,1")


def test_new_connection_is_given_the_settings_in_the_order_in_which_they_were_set() -> None:
    before: list[Any] = [
        IDENTITY, "*CLS", "VOLT 1", "SOUR2:VOLT 3", "OUTP 1", "OUTP2 1", "HEAT 3", "FUNC CURRent", "VOLT 2", "NAME2 x",
        b"CURV #12\x00\x02\n", ("MEAS:CURR?", LOST),
    ]  # fmt: skip
    after: list[Any] = [IDENTITY, "SOUR2:VOLT 3", "FUNC CURRent", "VOLT 2", "NAME2 x", ("MEAS:CURR?", "1")]
    transport = ScriptedTransport([*before, *after])
    supply = made(transport, reconnect=Reconnect(delay=0.0))
    supply.open()
    supply.voltage = 1
    supply.channels[2].voltage = 3
    supply.output = True
    supply.channels[2].output = True
    supply.heater = 3
    supply.mode = Mode.CURRENT
    supply.voltage = 2
    supply.channels[2].name("x")
    supply.curve = np.array([1.0])
    with pytest.raises(QMI_TransportLostException):
        _ = supply.current
    assert supply.current == 1.0
    transport.check_done()


def test_setting_that_was_refused_is_not_given_again() -> None:
    no_error = ("SYST:ERR?", '0,"No error"')
    before: list[Any] = [
        IDENTITY, no_error, "*CLS", no_error, "VOLT 5", ("SYST:ERR?", "-222"), no_error, ("VOLT?", LOST),
    ]  # fmt: skip
    transport = ScriptedTransport([*before, no_error, IDENTITY, no_error, no_error, ("VOLT?", "0"), no_error])
    supply = made(transport, check_errors=True, reconnect=Reconnect(delay=0.0))
    supply.open()
    with pytest.raises(QMI_ScpiException):
        supply.voltage = 5
    with pytest.raises(QMI_TransportLostException):
        _ = supply.voltage
    assert supply.voltage == 0


@pytest.mark.parametrize("command", ["OUTP 1", ":OUTP2 1", "OUTPut:STATe ON", "I 2;:OUTP 1", "outp 1", "OUTP2:STAT 1"])
def test_command_that_switches_an_output_is_known(command: str) -> None:
    assert is_output(command)


@pytest.mark.parametrize("command", ["VOLT 1", "OUTP:LOAD 50", "OUTP2:POL INV", "SOUR:VOLT 1", "OUTP:STOP 1"])
def test_other_command_of_an_output_is_a_setting(command: str) -> None:
    assert not is_output(command)


def test_instrument_without_a_command_that_forgets_errors_is_sent_none() -> None:
    class Plain(ScpiInstrument):
        clear_command = None
        voltage = parameter("VOLT", float)

    transport = ScriptedTransport([("VOLT?", "1")])
    plain = Plain(QMI_Context("lab", None), "plain", transport)
    plain.open()
    assert plain.voltage == 1
    transport.check_done()


def test_values_are_known_until_the_device_may_have_others() -> None:
    asked = ("MEAS:CURR?", "1")
    before: list[Any] = [IDENTITY, "*CLS", "VOLT 1", "OUTP 1", asked, ("MEAS:CURR?", LOST)]
    after: list[Any] = [IDENTITY, "VOLT 1", asked, "*RST", "VOLT 2", CLOSED, IDENTITY, "*CLS"]
    transport = ScriptedTransport([*before, *after])
    with QMI_Context("lab") as context:
        supply = context.make_instrument("psu", Supply, transport, reconnect=Reconnect(delay=0.0))
        with supply:
            supply.voltage = 1
            supply.output = True
            assert supply.current == 1
            assert list(supply.snapshot()) == ["voltage", "current", "output"]
            with pytest.raises(QMI_TransportLostException):
                _ = supply.current
            _ = supply.current
            # The output is off again, if the supply was without power.
            assert list(supply.snapshot()) == ["voltage", "current"]
            supply.reset()
            assert list(supply.snapshot()) == []
            supply.voltage = 2
            assert list(supply.snapshot()) == ["voltage"]
        with supply:
            assert list(supply.snapshot()) == []
    transport.check_done()


# In the event loop


async def test_awaited_parameters_are_set_and_asked_for() -> None:
    transport = AsyncScriptedTransport(
        ["*CLS", "VOLT 5", ("VOLT?", "5"), ("FUNC?", "CURR"), "SOUR2:VOLT 3", ("SOUR2:VOLT?", "3"),
         b"CURV #12\x00\x02\n", ("CURV?", block(np.array([1], ">i2"))), ("VOLT?", "x")]
    )  # fmt: skip
    supply: Any = AsyncSupply(QMI_Context("lab", None), "psu", transport)
    await supply.open()
    await supply.set_voltage(5)
    assert await supply.get_voltage() == 5.0
    assert await supply.get_mode() is Mode.CURRENT
    await supply.channels[2].set_voltage(3)
    assert await supply.channels[2].get_voltage() == 3.0
    await supply.set_curve(np.array([1.0]))
    np.testing.assert_array_equal(await supply.get_curve(), [0.5])
    with pytest.raises(QMI_InstrumentException, match="for voltage of psu"):
        await supply.get_voltage()
    with pytest.raises(QMI_InvalidValueException, match="from 0 to 30 V"):
        await supply.set_voltage(31)
    await supply.close()
    transport.check_done()


async def test_awaited_instrument_does_what_the_other_does() -> None:
    transport = AsyncScriptedTransport(
        ["*CLS", IDENTITY, ("SYST:ERR?", "-113"), ("SYST:ERR?", "0"), "DO", ("WHAT?", "that"), "*RST", ("WHO?", "1,2")]
    )
    supply = AsyncSupply(QMI_Context("lab", None), "psu", transport)
    with pytest.raises(QMI_InvalidOperationException):
        await supply.ask("WHAT?")
    await supply.open()
    assert (await supply.get_idn()).model == "PSU"
    assert await supply.get_errors() == ["-113"]
    await supply.write("DO")
    assert await supply.ask("WHAT?") == "that"
    await supply.reset()
    assert await supply._ask_numbers("WHO?", 2) == [1, 2]
    await supply.close()
    transport.check_done()


async def test_awaited_instrument_is_given_its_settings_again() -> None:
    before: list[Any] = [IDENTITY, "*CLS", "OUTP 1", "HEAT 1", "VOLT 5", ("VOLT?", LOST)]
    transport = AsyncScriptedTransport([*before, IDENTITY, "VOLT 5", ("VOLT?", "5")])
    supply: Any = AsyncSupply(QMI_Context("lab", None), "psu", transport, reconnect=Reconnect(delay=0.0))
    await supply.open()
    await supply.set_output(True)
    await supply.set_heater(1)
    await supply.set_voltage(5)
    with pytest.raises(QMI_TransportLostException):
        await supply.get_voltage()
    assert await supply.get_voltage() == 5
    transport.check_done()


async def test_awaited_channels_have_methods_as_well() -> None:
    asked = [("MEAS2?", "1,2"), ("TEMP2?", "4.2"), ("HOT2?", "ON"), ("WHO2?", " me ")]
    before: list[Any] = [IDENTITY, "*CLS", "NAME2 x", "CLEAR2", b"DATA2 #11\x01\n", *asked, ("MEAS2?", LOST)]
    transport = AsyncScriptedTransport([*before, IDENTITY, "NAME2 x", ("MEAS2?", "broken")])
    supply = AsyncSupply(QMI_Context("lab", None), "psu", transport, reconnect=Reconnect(delay=0.0))
    await supply.open()
    output = supply.channels[2]
    await output.name("x")
    await output.load()
    assert await output.measure() == ([1, 2], 4.2, True, "me")
    with pytest.raises(QMI_TransportLostException):
        await output.measure()
    with pytest.raises(QMI_InstrumentException, match=r"Expected 2 numbers in answer to 'MEAS2\?', got 'broken'"):
        await output.measure()
    transport.check_done()


async def test_awaited_instrument_that_cannot_be_opened_stays_closed() -> None:
    transport = AsyncScriptedTransport([LOST])
    supply = AsyncSupply(QMI_Context("lab", None), "psu", transport)
    with pytest.raises(QMI_TransportLostException):
        await supply.open()
    assert not supply.is_open()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"command": "VOLT\n", "type": float}, "ask must be printable ASCII"),
        ({"type": float, "ask": "VÖLT?", "write": "V {value}"}, "ask must be printable ASCII"),
        ({"type": float, "write": "VOLT {value},{value}"}, r"write must have \{value\} once"),
        ({"type": enum.Enum("Bad", {"A": ("x",), "B": ("y",)}), "command": "FUNC"}, "must be text or a number"),
        ({"type": float, "command": "VOLT", "values": {1.0: "a\nb"}}, "printable ASCII"),
    ],
)
def test_declaration_that_cannot_be_sent_is_refused_when_the_class_is_made(declared: Any, message: str) -> None:
    with pytest.raises(QMI_UsageException, match=message):
        type("Bad", (ScpiInstrument,), {"level": parameter(**declared)})
    output = type("BadOutput", (Channel,), {"level": parameter(**declared)})
    with pytest.raises(QMI_UsageException, match=message):
        type("Bad", (ScpiInstrument,), {"channels": channels(output, 1, 2)})
