"""The generic SCPI drivers, on instruments that PyVISA-sim simulates."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InstrumentException, QMI_InvalidOperationException, QMI_TransportLostException
from qmi.core.instrument import QMI_InstrumentIdentification
from qmi.core.transport import Reconnect
from qmi.instruments.scpi import (
    MultimeterFunction,
    Scpi_Instrument,
    Scpi_Multimeter,
    Scpi_Oscilloscope,
    Scpi_PowerSupply,
)
from qmi.instruments.scpi.dialects import DIALECTS

DEVICES = Path(__file__).with_name("devices.yaml")


@pytest.fixture(scope="module")
def context() -> Iterator[QMI_Context]:
    with QMI_Context("scpi") as context:
        yield context


def make(context: QMI_Context, cls: type[Any], device: str, **options: Any) -> Any:
    transport = f"visa:TCPIP0::{device}::inst0::INSTR:backend={DEVICES}@sim"
    name = f"instrument{len(context.list_rpc_objects())}"
    return context.make_instrument(name, cls, transport, **options)


def test_instrument_says_who_it_is_and_what_went_wrong(context: QMI_Context) -> None:
    with make(context, Scpi_Instrument, "multimeter") as meter:
        assert meter.get_idn() == QMI_InstrumentIdentification("Acme", "DMM 1", "MY123", "A.01.02-03")
        meter.reset()
        meter.write("NONSENSE")
        meter.write("NONSENSE AGAIN")
        assert meter.get_errors() == ['-113,"Undefined header"'] * 2
        assert meter.get_errors() == []
        assert meter.ask("ODD?") == "7"


def test_command_that_causes_an_error_fails_where_errors_are_checked(context: QMI_Context) -> None:
    with make(context, Scpi_PowerSupply, "supply", check_errors=True) as supply:
        supply.set_voltage(12)
        with pytest.raises(QMI_InstrumentException, match=r"'INST:BAD'.*-113,\"Undefined header\""):
            supply.write("INST:BAD")
        assert supply.get_voltage() == 12


def test_instrument_that_cannot_be_opened_stays_closed(context: QMI_Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    meter = context.make_instrument("closed", Scpi_Multimeter, f"tcp:127.0.0.1:{port}")
    with pytest.raises(ConnectionRefusedError):
        meter.open()
    assert not meter.is_open()
    for call in (meter.measure, meter.get_errors, lambda: meter.ask("*IDN?"), meter.close):
        with pytest.raises(QMI_InvalidOperationException):
            call()


def test_identity_of_another_form_is_refused(context: QMI_Context) -> None:
    with (
        make(context, Scpi_Instrument, "single") as meter,
        pytest.raises(QMI_InstrumentException, match=r"in answer to '\*IDN\?', got 'no identity'"),
    ):
        meter.get_idn()


def test_multimeter_measures(context: QMI_Context) -> None:
    with make(context, Scpi_Multimeter, "multimeter") as meter:
        assert meter.measure() == 1.23456789
        assert meter.measure(MultimeterFunction.RESISTANCE) == math.inf
        assert meter.measure("fres") == -math.inf
        assert math.isnan(meter.measure("TEMP"))
        with pytest.raises(QMI_InstrumentException, match=r"Expected a number in answer to 'MEAS:CAP\?', got 'broken'"):
            meter.measure("CAP")
        assert meter.read_many(3) == [1.5, 2.5, -math.inf]
        with pytest.raises(QMI_InstrumentException, match=r"Expected 2 readings .* got 3"):
            meter.read_many(2)
    with make(context, Scpi_Multimeter, "single") as meter:
        assert meter.read() == 4.2e-3


def test_multimeter_keeps_its_settings(context: QMI_Context) -> None:
    with make(context, Scpi_Multimeter, "multimeter") as meter:
        assert meter.get_function() is MultimeterFunction.DC_VOLTAGE
        meter.set_range(0.1)
        assert meter.get_range() == 0.1
        assert meter.is_auto_range()
        meter.set_integration_time(10)
        assert meter.get_integration_time() == 10
        meter.set_function("PER")
        assert meter.get_function() is MultimeterFunction.PERIOD
        meter.set_range(5.5)
        assert meter.get_range() == 5.5
        meter.set_function(MultimeterFunction.DIODE)
        with pytest.raises(QMI_InstrumentException, match="The function DIODE has no range"):
            meter.set_range(5)
        meter.set_function("VOLT")
        meter.set_range(None)


@pytest.mark.parametrize("function", ["SOUND", "", 1, None])
def test_multimeter_refuses_a_function_that_it_does_not_know(context: QMI_Context, function: Any) -> None:
    with (
        make(context, Scpi_Multimeter, "multimeter") as meter,
        pytest.raises(ValueError, match=r"function must be one of VOLT:DC, .*, got"),
    ):
        meter.set_function(function)


def test_multimeter_reports_a_function_of_the_instrument_that_it_does_not_know(context: QMI_Context) -> None:
    with (
        make(context, Scpi_Multimeter, "single") as meter,
        pytest.raises(QMI_InstrumentException, match=r"Expected a function in answer to 'FUNC\?'"),
    ):
        meter.get_function()


def test_power_supply_is_set_and_measured(context: QMI_Context) -> None:
    with make(context, Scpi_PowerSupply, "supply", channels=2, max_voltage=15, max_current=0.5) as supply:
        supply.set_voltage(12.5, channel=2)
        assert supply.ask("INST:NSEL?") == "2"
        assert supply.get_voltage(2) == 12.5
        supply.set_current(0.25)
        assert supply.ask("INST:NSEL?") == "1"
        assert supply.get_current() == 0.25
        for on in (True, False):
            supply.set_output(on)
            assert supply.get_output() is on
        assert supply.measure_voltage() == 11.999
        assert supply.measure_current() == 0.25


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("set_voltage", (15.1,), "voltage must be from 0 to 15, got 15.1"),
        ("set_voltage", (-1,), "voltage must be from 0 to 15, got -1"),
        ("set_voltage", (math.nan,), "voltage must be a finite number, got nan"),
        ("set_voltage", (True,), "voltage must be a finite number, got True"),
        ("set_current", ("1",), "current must be a finite number, got '1'"),
        ("set_current", (-0.1,), "current must be at least 0, got -0.1"),
        ("set_voltage", (1, 3), "channel must be a whole number from 1 to 2, got 3"),
        ("get_voltage", (0,), "channel must be a whole number from 1 to 2, got 0"),
        ("set_output", (True, True), "channel must be a whole number from 1 to 2, got True"),
        ("measure_voltage", (1.0,), "channel must be a whole number from 1 to 2, got 1.0"),
    ],
)
def test_power_supply_refuses_what_it_must_not_do(
    context: QMI_Context, method: str, arguments: tuple[Any, ...], message: str
) -> None:
    with make(context, Scpi_PowerSupply, "supply", channels=2, max_voltage=15) as supply:
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            getattr(supply, method)(*arguments)
        assert supply.get_errors() == []


def test_power_supply_reports_a_state_that_it_does_not_know(context: QMI_Context) -> None:
    with (
        make(context, Scpi_PowerSupply, "single") as supply,
        pytest.raises(QMI_InstrumentException, match=r"Expected 0, 1, ON or OFF in answer to 'OUTP\?', got 'perhaps'"),
    ):
        supply.get_output()


@pytest.mark.parametrize(
    ("device", "dialect", "channel", "start", "interval", "values"),
    [
        ("oscilloscope", "keysight", 2, -2e-6, 1e-6, [0.5, 1.0, 1.5, 2.0, 2.5]),
        ("oscilloscope", "rigol", 2, -2e-6, 1e-6, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ("old", "tektronix", 1, 8e-4, 1e-4, [0.25, 0.75, 1.25]),
        ("oscilloscope", DIALECTS["keysight"], 2, -2e-6, 1e-6, [0.5, 1.0, 1.5, 2.0, 2.5]),
    ],
    ids=["keysight", "rigol", "tektronix", "own"],
)
def test_oscilloscope_reads_what_it_recorded(
    context: QMI_Context, device: str, dialect: Any, channel: int, start: float, interval: float, values: list[float]
) -> None:
    with make(context, Scpi_Oscilloscope, device, dialect=dialect) as scope:
        waveform = scope.get_waveform(channel)
    np.testing.assert_allclose(waveform.values, values)
    np.testing.assert_allclose(waveform.times(), start + interval * np.arange(len(values)))


def test_oscilloscope_keeps_its_settings(context: QMI_Context) -> None:
    with make(context, Scpi_Oscilloscope, "oscilloscope", check_errors=True) as scope:
        scope.run()
        scope.single()
        scope.stop()
        scope.set_timebase(2e-3)
        assert scope.get_timebase() == 2e-3
        scope.set_scale(0.5, channel=2)
        assert scope.get_scale(2) == 0.5
        scope.set_enabled(False, channel=2)
        assert not scope.is_enabled(2)
        scope.set_trigger(3, level=-0.25)
        assert scope.ask(":TRIG:EDGE:SOUR?") == "CHAN3"
        assert float(scope.ask(":TRIG:EDGE:LEV?")) == -0.25


def test_oscilloscope_refuses_a_channel_or_a_dialect_that_there_is_not(context: QMI_Context) -> None:
    with (
        make(context, Scpi_Oscilloscope, "oscilloscope", channels=2) as scope,
        pytest.raises(ValueError, match="channel must be a whole number from 1 to 2, got 3"),
    ):
        scope.get_waveform(3)
    with pytest.raises(ValueError, match="dialect must be one of keysight, rigol, tektronix, or a Dialect, got 'acme'"):
        make(context, Scpi_Oscilloscope, "oscilloscope", dialect="acme")


def test_class_of_an_instrument_that_speaks_differently_says_so(context: QMI_Context) -> None:
    class Old(Scpi_Instrument):
        command_terminator = "\r"
        response_terminator = "\r\n"
        echo = True

    received: list[bytes] = []

    def serve() -> None:
        with server.accept()[0] as connection, connection.makefile("rwb", buffering=0) as stream:
            for _ in range(2):
                line = b""
                while not line.endswith(b"\r"):
                    line += stream.read(1)
                received.append(line)
                stream.write(line + (b"an answer\r\n" if b"?" in line else b""))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with context.make_instrument("old", Old, f"tcp:127.0.0.1:{server.getsockname()[1]}") as old:
            assert old.ask("WHO?") == "an answer"
        thread.join(10)
    assert received == [b"*CLS\r", b"WHO?\r"]


class Supply:
    """A power supply in the network, which can be switched off and on."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.transport = f"tcp:127.0.0.1:{self.server.getsockname()[1]}"
        self.serial = "MY1"
        self.received: list[list[str]] = []
        self.connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self.connection, _ = self.server.accept()
                self.received.append([])
                # What still comes when the supply is switched off has no answer.
                with self.connection, suppress(OSError):
                    self._answer(self.connection, self.received[-1])

    def _answer(self, connection: socket.socket, lines: list[str]) -> None:
        with connection.makefile("rwb", buffering=0) as stream:
            for line in stream:
                lines.append(line.decode().strip())
                if lines[-1] == "*IDN?":
                    stream.write(f"Acme,PSU,{self.serial},1\n".encode())
                elif lines[-1].endswith("?"):
                    stream.write(b"1.5\n")

    def power_cycle(self) -> None:
        assert self.connection is not None
        self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.server.close()


@pytest.fixture
def device() -> Iterator[Supply]:
    supply = Supply()
    yield supply
    supply.close()


def test_power_supply_that_comes_back_has_its_settings_and_no_output_on(context: QMI_Context, device: Supply) -> None:
    supply = context.make_instrument(
        "comes_back", Scpi_PowerSupply, device.transport, channels=2, reconnect=Reconnect(delay=0.0)
    )
    with supply:
        supply.set_voltage(1, channel=2)
        supply.set_current(0.5, channel=1)
        supply.set_voltage(2.5, channel=2)
        supply.set_output(True, channel=2)
        device.power_cycle()
        with pytest.raises(QMI_TransportLostException):
            supply.measure_voltage()
        assert supply.measure_voltage() == 1.5
    assert device.received[1] == [
        *("*IDN?", "INST:NSEL 1", "CURR 0.5", "INST:NSEL 2", "VOLT 2.5"),
        *("INST:NSEL 1", "MEAS:VOLT?"),
    ]


def test_another_instrument_in_its_place_gets_no_settings(context: QMI_Context, device: Supply) -> None:
    supply = context.make_instrument("replaced", Scpi_PowerSupply, device.transport, reconnect=Reconnect(delay=0.0))
    with supply:
        supply.set_voltage(1)
        device.power_cycle()
        device.serial = "MY2"
        with pytest.raises(QMI_TransportLostException):
            supply.get_voltage()
        with pytest.raises(QMI_InstrumentException, match="MY2"):
            supply.get_voltage()
    assert device.received[1] == ["*IDN?"]


def test_settings_of_before_a_reset_are_forgotten(context: QMI_Context, device: Supply) -> None:
    supply = context.make_instrument("reset", Scpi_PowerSupply, device.transport, reconnect=Reconnect(delay=0.0))
    with supply:
        supply.set_voltage(1)
        supply.reset()
        supply.set_current(0.5)
        device.power_cycle()
        with pytest.raises(QMI_TransportLostException):
            supply.get_voltage()
        supply.get_voltage()
    assert device.received[1] == ["*IDN?", "CURR 0.5", "VOLT?"]
