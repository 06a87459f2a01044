"""Drivers that are simulated: their own code, on a transport to a device that is made from their declaration."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

import qmi
from qmi.actors.interface import Placement
from qmi.core.config_defs import CfgContext, CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.driver import (
    AsyncScpiInstrument,
    Block,
    Channel,
    Noise,
    QMI_Instrument,
    ScpiInstrument,
    Settling,
    Simulator,
    TransportInstrument,
    channels,
    parameter,
    rpc_method,
)
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_TimeoutException,
    QMI_TransportDescriptorException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.transport import create_transport
from qmi.testing import open_task_bench, open_virtual_context, run_in_virtual_time, simulated_time
from tests.support.actors import actor_of
from tests.support.lab import two_contexts


class Mode(enum.Enum):
    VOLTAGE = "CV"
    CURRENT = "CC"


class Output(Channel):
    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 5))
    measured = parameter("MEAS:VOLT? (@{n})", float, unit="V", simulate=lambda self: self.number() * 1.5)


class SupplySimulator(Simulator):
    voltage = 12.0

    def current(self) -> Any:
        return self.voltage / 50.0 if self.output else 0.0

    @Simulator.command("DISP:TEXT {value}")
    def show(self, text: str) -> None:
        self.shown = text

    @Simulator.command("DISP:TEXT?")
    def get_shown(self) -> str:
        return f'"{self.shown}"'


class Declarations:
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    measured = parameter("MEAS:VOLT?", float, unit="V")
    current = parameter("MEAS:CURR?", float, unit="A")
    power = parameter("POW", float, unit="W", scale=1e-3, simulate=0.5)
    mode = parameter("FUNC", Mode)
    output = parameter("OUTP", bool)
    range = parameter("RANG", float, values={1.0: "LOW", 10.0: "HIGH"})
    turns = parameter("TURN", int, limits=(3, None))
    label = parameter("LAB", str, write='LAB "{value}"')
    wave = parameter("CURV?", Block("<f4"), simulate=lambda self: [1.0, 2.5])
    odd = parameter("ODD", float, format=lambda value: f"{value:.1f}mV", parse=lambda text: float(text[:-2]))


class Supply(Declarations, ScpiInstrument):
    """A power supply."""

    channels = channels(Output, 1, 2)

    @rpc_method
    def show(self, text: str) -> str:
        self._scpi.write(f"DISP:TEXT {text}")
        return self._scpi.ask("DISP:TEXT?")


class AsyncSupply(Declarations, AsyncScpiInstrument):
    """A power supply in the event loop."""


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("bench", CfgQmi()) as made:
        yield made


def test_settings_are_kept_and_readings_have_values(context: QMI_Context) -> None:
    with context.make_instrument("psu", Supply, simulate=True) as psu:
        values = [
            ("voltage", 0.0, 5.5),
            ("power", 0.5, 0.25),
            ("mode", Mode.VOLTAGE, Mode.CURRENT),
            ("output", False, True),
            ("range", 1.0, 10.0),
            ("turns", 3, 7),
            ("label", "", 'a "b"'),
            ("odd", 0.0, 1.5),
        ]
        for name, first, second in values:
            assert getattr(psu, name) == first
            setattr(psu, name, second)
            assert getattr(psu, name) == second
        # What is measured is what was set, where there is such a setting.
        assert psu.measured == 5.5
        assert psu.current == 0.0
        assert list(psu.wave) == [1.0, 2.5]
        assert psu.get_errors() == []
        psu.reset()
        assert (psu.voltage, psu.mode, psu.turns) == (0.0, Mode.VOLTAGE, 3)
        assert psu.get_idn()[:3] == ("qmi", "Supply", "simulated")


def test_simulator_of_the_user_says_what_the_device_does(context: QMI_Context) -> None:
    with context.make_instrument("psu", Supply, simulate=SupplySimulator) as psu:
        assert (psu.voltage, psu.current) == (12.0, 0.0)
        psu.output = True
        assert psu.current == 0.24
        assert psu.show("hello") == '"hello"'


def test_driver_names_its_simulator(context: QMI_Context) -> None:
    class Named(Supply):
        simulator = SupplySimulator

    with context.make_instrument("psu", Named, simulate=True) as psu:
        assert psu.voltage == 12.0


def test_channels_are_simulated_with_the_instrument(context: QMI_Context) -> None:
    class Rising(Simulator):
        voltage = 1.0

    class WithChannels(Simulator):
        channels = Rising

    with context.make_instrument("psu", Supply, simulate=WithChannels) as psu:
        assert psu.ask("SOUR2:VOLT?;:MEAS:VOLT? (@2)") == "1;3"
        psu.write("SOUR1:VOLT 4")
        assert psu.ask("SOUR1:VOLT?") == "4"
        psu.write("SOUR1:VOLT 6")
        assert psu.get_errors() == ['-222,"Data out of range"']


def test_device_enforces_the_limits_too(context: QMI_Context) -> None:
    with context.make_instrument("psu", Supply, simulate=True, check_errors=True) as psu:
        with pytest.raises(QMI_InvalidValueException, match="voltage of psu must be from 0 to 30 V"):
            psu.voltage = 31.0
        with pytest.raises(QMI_InstrumentException, match="-222"):
            psu.write("VOLT 31")
        with pytest.raises(QMI_InstrumentException, match="-113"):
            psu.write("NONSENSE")
        assert psu.voltage == 0.0


@pytest.mark.parametrize(
    ("command", "value", "error"),
    [
        ("VOLT 500 mV", 0.5, "0"),
        ("VOLT 5V", 5.0, "0"),
        ("VOLT 0.01kv", 10.0, "0"),
        ("VOLT 31 V", 0.0, "-222"),
        ("VOLT 5 A", 0.0, "-131"),
        ("VOLT 5 XV", 0.0, "-131"),
        ("VOLT V", 0.0, "-104"),
        ("TURN 5 V", 3.0, "-131"),
        ("FUNC XY", 0.0, "-224"),
    ],
)
def test_device_takes_units_behind_numbers(context: QMI_Context, command: str, value: float, error: str) -> None:
    with context.make_instrument("psu", Supply, simulate=True) as psu:
        psu.write(command)
        assert psu.ask("SYST:ERR?").split(",")[0] == error
        assert (psu.turns if command.startswith("TURN") else psu.voltage) == value


def test_device_enforces_limits_that_change(context: QMI_Context) -> None:
    class Part(Channel):
        level = parameter("PART{n}:LEV", float, limits=(0, "most"))

    class Changing(ScpiInstrument):
        most = parameter("MOST", float, simulate=5.0)
        level = parameter("LEV", float, limits=(None, "most"))
        other = parameter("OTH", float, limits=(0, lambda self: 2 * self.most))
        both = parameter("BOTH", float, limits=lambda self: (self.get_most(), 100))
        stepped = parameter("STEP", float, step=0.5)
        parts = channels(Part, 1, 2)

    with context.make_instrument("psu", Changing, simulate=True) as psu:
        assert psu.both == 5.0
        accepted = ["LEV 5", "OTH 10", "BOTH 5", "STEP 1.5", "PART2:LEV 5", "LEV -100"]
        refused = ["LEV 6", "OTH 11", "BOTH 4", "STEP 1.6", "PART2:LEV 6"]
        for command in accepted:
            psu.write(command)
        assert psu.get_errors() == []
        for command in refused:
            psu.write(command)
        assert psu.get_errors() == ['-222,"Data out of range"'] * len(refused)
        psu.most = 6.0
        psu.write("LEV 6;:PART2:LEV 6")
        assert psu.get_errors() == []


@pytest.mark.parametrize("arguments", [(), ("tcp:192.0.2.1:5025",), ("visa:TCPIP::192.0.2.1::INSTR",)])
def test_transport_may_be_left_out_and_is_not_used(context: QMI_Context, arguments: tuple[str, ...]) -> None:
    with context.make_instrument("psu", Supply, *arguments, simulate=True, timeout=0.5) as psu:
        psu.voltage = 1.0
        assert psu.voltage == 1.0


def test_transport_that_is_none_is_refused_in_a_simulation_too(context: QMI_Context) -> None:
    with pytest.raises(QMI_TransportDescriptorException, match="Unknown type"):
        context.make_instrument("psu", Supply, "nonsense:1", simulate=True)
    with pytest.raises(QMI_TransportDescriptorException, match="A transport is a text"):
        context.make_instrument("psu", Supply, 5025, simulate=True)


def test_transport_object_gives_way_to_the_simulated_one(context: QMI_Context) -> None:
    with context.make_instrument("psu", Supply, create_transport("tcp:192.0.2.1:5025"), simulate=True) as psu:
        assert psu.voltage == 0.0


def test_faults_of_a_device_are_those_of_its_cable(context: QMI_Context) -> None:
    with simulated_time() as clock, context.make_instrument("psu", Supply, simulate=True, timeout=2.0) as psu:
        psu.voltage = 7.0
        psu.simulate_fault("no_answer")
        with pytest.raises(QMI_TimeoutException, match=r"SimulatedTransport\(device=psu\).*'VOLT\?'"):
            _ = psu.voltage
        assert clock.now() == 2.0
        assert psu.voltage == 7.0
        psu.simulate_fault("late", seconds=1.5)
        before = clock.now()
        assert psu.voltage == 7.0
        assert clock.now() == pytest.approx(before + 1.5)
        psu.simulate_fault("garbage")
        with pytest.raises((QMI_InstrumentException, ValueError)):
            _ = psu.voltage
        assert psu.voltage == 7.0


def test_late_answer_is_not_taken_for_the_next_one(context: QMI_Context) -> None:
    with simulated_time(), context.make_instrument("psu", Supply, simulate=True, timeout=1.0) as psu:
        psu.voltage = 7.0
        psu.turns = 4
        psu.simulate_fault("late", seconds=1.2)
        with pytest.raises(QMI_TimeoutException):
            _ = psu.voltage
        assert psu.turns == 4


def test_unplugged_cable_is_plugged_in_again(context: QMI_Context) -> None:
    with simulated_time(), context.make_instrument("psu", Supply, simulate=True, reconnect=True) as psu:
        psu.voltage = 7.0
        psu.simulate_fault("disconnected", times=3)
        with pytest.raises(QMI_TransportLostException):
            _ = psu.voltage
        assert psu.voltage == 7.0


def test_unplugged_cable_keeps_an_instrument_from_opening(context: QMI_Context) -> None:
    with simulated_time() as clock:
        psu = context.make_instrument("psu", Supply, simulate=True)
        psu.simulate_fault("disconnected", seconds=10.0)
        with pytest.raises(ConnectionRefusedError, match="no connection to psu: its simulated cable is unplugged"):
            psu.open()
        clock.advance(10.0)
        psu.open()
        psu.close()


def test_unplugged_cable_ends_a_call_that_waits(context: QMI_Context) -> None:
    with context.make_instrument("psu", Supply, simulate=True, timeout=30.0) as psu:
        psu.simulate_fault("no_answer")
        call = psu.rpc_nonblocking.get_voltage()
        psu.simulate_fault("disconnected")  # does not wait for its turn
        with pytest.raises(QMI_TransportLostException):
            call.wait()


def test_fault_that_is_none_is_refused(context: QMI_Context) -> None:
    psu = context.make_instrument("psu", Supply, simulate=True)
    with pytest.raises(QMI_InvalidValueException, match="kind must be one of no_answer, late, garbage, disconnected"):
        psu.simulate_fault("broken")


def test_error_in_a_simulator_reaches_the_caller_and_leaves_the_line_in_step(context: QMI_Context) -> None:
    class Broken(Simulator):
        def current(self) -> float:
            raise RuntimeError("no coil")

    with context.make_instrument("psu", Supply, simulate=Broken) as psu:
        with pytest.raises(RuntimeError, match="no coil"):
            _ = psu.current
        assert actor_of(context, "psu").object._transport.is_in_step
        assert psu.voltage == 0.0


def test_simulated_instrument_says_that_it_is_one(
    context: QMI_Context, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "qmi.core.instrument"):
        psu = context.make_instrument("psu", Supply, simulate=SupplySimulator)
    assert "Instrument psu (Supply) is simulated by SupplySimulator: there is no device" in caplog.text
    assert "Supply (simulated))>" in repr(psu)
    assert "Supply (simulated))>" in repr(psu.rpc_nonblocking)
    assert psu.is_simulated() is True
    assert (psu.__doc__ or "").startswith("A power supply.\n")
    context.show_instruments()
    assert f"{Supply.__module__}.Supply (simulated)" in capsys.readouterr().out
    real = context.make_instrument("real", Supply, "tcp:192.0.2.1:5025")
    assert real.is_simulated() is False
    assert "(simulated)" not in repr(real)
    with pytest.raises(AttributeError, match="simulate_fault"):
        real.simulate_fault("late")


def test_simulated_instrument_says_so_in_another_program(capsys: pytest.CaptureFixture[str]) -> None:
    with two_contexts() as (server, client):
        server.make_instrument("psu", Supply, simulate=True)
        psu: Any = client.get_instrument("server.psu")
        assert "Supply (simulated))>" in repr(psu)
        assert psu.is_simulated()
        psu.simulate_fault("disconnected", seconds=10.0)
        with pytest.raises(ConnectionRefusedError):
            psu.open()
        client.show_instruments()
        assert "Supply (simulated)" in capsys.readouterr().out


def test_noise_and_settling_go_by_the_virtual_clock() -> None:
    class Oven(ScpiInstrument):
        setpoint = parameter("TEMP", float, unit="K", limits=(0, 500), simulate=300.0)
        temperature = parameter("MEAS:TEMP?", float, unit="K", simulate=Noise(Settling("setpoint", 60.0), 1e-6))

    with open_task_bench() as bench, bench.context.make_instrument("oven", Oven, simulate=True) as oven:
        assert oven.temperature == pytest.approx(300.0, abs=1e-4)
        oven.setpoint = 400.0
        bench.clock.advance(60.0)
        assert oven.temperature == pytest.approx(363.212, abs=1e-3)
        bench.clock.advance(3600.0)
        assert oven.temperature == pytest.approx(400.0, abs=1e-3)
        oven.simulate_fault("late", seconds=3.0)
        before = bench.now()
        assert oven.temperature > 399.0
        assert bench.now() == pytest.approx(before + 3.0)


class Chosen(Channel):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 5))
    current = parameter("MEAS:CURR?", float, unit="A", simulate=lambda self: self.voltage / 10)
    other = parameter("OTH{n}", float)


class Choosing(ScpiInstrument):
    """Its channels are chosen before they are spoken to."""

    total = parameter("TOT", float)
    channels = channels(Chosen, 1, 4, present=lambda supply: supply.count)

    def __init__(self, context: Any, name: str, transport: str, count: int = 2) -> None:
        super().__init__(context, name, transport)
        self.count = count

    def _channel_commands(self, channel: Any) -> tuple[str, ...]:
        return (f"INST:NSEL {channel.number}",) if channel is not None else ()


def test_channels_that_are_chosen_first_have_values_of_their_own(context: QMI_Context) -> None:
    with context.make_instrument("psu", Choosing, count=3, simulate=True) as psu:
        for number in (1, 2, 3):
            psu.channels[number].voltage = float(number)
            psu.channels[number].other = 10.0 * number
        psu.total = 7.0
        assert [channel.voltage for channel in psu.channels] == [1.0, 2.0, 3.0]
        assert [channel.current for channel in psu.channels] == [0.1, 0.2, 0.3]
        assert [channel.other for channel in psu.channels] == [10.0, 20.0, 30.0]
        assert psu.total == 7.0
        psu.write("INST:NSEL 4")
        assert psu.get_errors() == ['-224,"Illegal parameter value"']


def test_polled_readings_of_a_simulated_instrument_are_published() -> None:
    class Polled(ScpiInstrument):
        setpoint = parameter("TEMP", float, unit="K")
        temperature = parameter("MEAS:TEMP?", float, unit="K", poll=1.0, simulate=Settling("setpoint", 10.0))

    with open_task_bench() as bench, bench.context.make_instrument("oven", Polled, simulate=True) as oven:
        receiver = QMI_SignalReceiver()
        bench.context.subscribe_signal("", "oven", "sig_temperature", receiver)
        bench.run(1.5)
        oven.setpoint = 100.0
        bench.run(10.0)
        values = [receiver.get_next_signal().args[0] for _ in range(receiver.get_queue_length())]
        assert values[0] == 0.0
        assert values == sorted(values)
        assert 55.0 < values[-1] < 65.0


def test_command_that_the_simulator_does_not_know_is_explained(
    context: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    with simulated_time(), context.make_instrument("psu", Supply, simulate=True) as psu:
        with pytest.raises(QMI_TimeoutException, match=r"the simulated device does not know 'NONE\?'; a class derived"):
            psu.ask("NONE?")
        for _ in range(3):
            psu.write("NONSENSE 1")
        assert caplog.text.count("psu: the simulated device does not know 'NONSENSE 1'") == 1
        psu.simulate_fault("no_answer")
        with pytest.raises(QMI_TimeoutException) as caught:
            _ = psu.voltage
        assert "does not know" not in str(caught.value)


# In the event loop.


async def test_awaited_driver_is_simulated() -> None:
    async with qmi.open_context("bench", None) as context:
        psu = await context.make_instrument("psu", AsyncSupply, simulate=True)
        async with psu:
            await psu.set_voltage(5.0)
            assert await psu.get_voltage() == 5.0
            assert await psu.get_measured() == 5.0
            assert list(await psu.get_wave()) == [1.0, 2.5]
            assert await psu.is_simulated()
            await psu.simulate_fault("no_answer")
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(QMI_TransportLostException):
                        await psu.get_voltage()

                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                await psu.simulate_fault("disconnected")


def test_awaited_driver_goes_by_virtual_time() -> None:
    async def main() -> None:
        async with open_virtual_context() as context:
            psu = await context.make_instrument("psu", AsyncSupply, simulate=True, timeout=5.0)
            async with psu:
                await psu.simulate_fault("late", seconds=4.0)
                begin = trio.current_time()
                assert await psu.get_voltage() == 0.0
                assert trio.current_time() == pytest.approx(begin + 4.0)
                await psu.simulate_fault("no_answer")
                with pytest.raises(QMI_TimeoutException):
                    await psu.get_voltage()
                assert trio.current_time() == pytest.approx(begin + 9.0)
                await psu.simulate_fault("disconnected", seconds=60.0)
                with pytest.raises(QMI_TransportLostException):
                    await psu.get_voltage()

    run_in_virtual_time(main)


def test_awaited_driver_goes_by_the_clock_of_a_bench() -> None:
    with open_task_bench() as bench:
        psu: Any = bench.context.make_instrument("psu", AsyncSupply, simulate=True, timeout=5.0)
        psu.open()
        psu.simulate_fault("late", seconds=4.0)
        assert psu.get_voltage() == 0.0
        assert bench.now() == pytest.approx(4.0)
        psu.simulate_fault("no_answer")
        with pytest.raises(QMI_TimeoutException):
            psu.get_voltage()
        assert bench.now() == pytest.approx(9.0)
        psu.close()


# Drivers that are not made from declarations alone.


class Plain(TransportInstrument):
    """A driver that declares nothing."""

    @rpc_method
    def get_text(self) -> str:
        self._transport.write(b"TEXT?\r")
        return self._transport.read_until(b"\r", 1.0).decode("ascii")


class Elsewhere(QMI_Instrument):
    """A driver that makes its transport itself, when it is opened."""

    def __init__(self, context: Any, name: str, transport_descriptor: str, retries: int = 3) -> None:
        super().__init__(context, name)
        self._descriptor = transport_descriptor
        self.retries = retries

    @rpc_method
    def open(self) -> None:
        self._transport = create_transport(self._descriptor, {"port": 1234})
        self._transport.open()
        super().open()

    @rpc_method
    def close(self) -> None:
        super().close()
        self._transport.close()

    @rpc_method
    def get_text(self) -> str:
        self._transport.write(b"TEXT?\r")
        return self._transport.read_until(b"\r", 1.0).decode("ascii") * self.retries


class PlainSimulator(Simulator):
    command_terminator = response_terminator = "\r"

    def answer(self, command: str) -> str:
        return f"<{command}>"


def test_driver_without_declarations_is_simulated_by_a_class(context: QMI_Context) -> None:
    with context.make_instrument("plain", Plain, simulate=PlainSimulator) as plain:
        assert plain.get_text() == "<TEXT?>\r"
    with context.make_instrument("other", Elsewhere, simulate=PlainSimulator, retries=2) as other:
        assert other.get_text() == "<TEXT?>\r" * 2
    with context.make_instrument("third", Elsewhere, "tcp:192.0.2.1", simulate=PlainSimulator) as third:
        assert third.get_text() == "<TEXT?>\r" * 3


class Composed(Plain):
    """A driver that makes another instrument, in the thread that its own constructor runs in."""

    def __init__(self, context: Any, name: str, transport: str) -> None:
        super().__init__(context, name, transport)
        self.other = context.make_instrument(f"{name}_other", InCaller, "tcp:192.0.2.1:1")

    @rpc_method
    def get_other(self) -> str:
        kind: str = self.other.get_kind()
        return kind


class InCaller(Plain):
    _rpc_placement = Placement.CALLER

    @rpc_method
    def get_kind(self) -> str:
        return type(self._transport).__name__


def test_instruments_that_a_simulated_driver_makes_are_their_own(context: QMI_Context) -> None:
    composed = context.make_instrument("composed", Composed, simulate=PlainSimulator)
    assert composed.get_other() == "QMI_TcpTransport"


@pytest.mark.parametrize("cls", [Plain, Elsewhere])
def test_driver_that_cannot_be_simulated_says_what_to_do(context: QMI_Context, cls: Any) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        context.make_instrument("plain", cls, simulate=True)
    text = str(caught.value)
    assert f"{cls.__name__} cannot be simulated: it declares no parameters, and it names no simulator" in text
    assert "simulate=False" in text


@pytest.mark.parametrize("simulate", [1, "yes", None])
def test_simulate_is_true_or_false_or_a_class(context: QMI_Context, simulate: Any) -> None:
    with pytest.raises(QMI_UsageException, match="simulate must be True, False or a class derived from"):
        context.make_instrument("psu", Supply, simulate=simulate)


def test_simulator_is_derived_from_simulator(context: QMI_Context) -> None:
    class Named(Supply):
        simulator = Mode

    with pytest.raises(QMI_UsageException, match="simulator of Named must be a class derived from"):
        context.make_instrument("psu", Named, simulate=True)
    wrong: Any = Mode
    with pytest.raises(QMI_UsageException, match="simulate must be a class derived from"):
        context.make_instrument("psu", Supply, simulate=wrong)


# By the configuration.


@pytest.mark.parametrize(
    ("config", "is_simulated"),
    [
        (CfgQmi(simulate=True), True),
        (CfgQmi(simulate=True, contexts={"lab": CfgContext(simulate=False)}), False),
        (CfgQmi(contexts={"lab": CfgContext(simulate=True)}), True),
        (CfgQmi(contexts={"other": CfgContext(simulate=True)}), False),
        (CfgQmi(), False),
    ],
)
def test_configuration_says_whether_instruments_are_simulated(
    config: CfgQmi, is_simulated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with QMI_Context("lab", config) as context:
        assert ("instruments of context lab are simulated" in caplog.text) is is_simulated
        psu = context.make_instrument("psu", Supply, "tcp:192.0.2.1:5025")
        assert psu.is_simulated() is is_simulated
        assert context.make_rpc_object("other", Supply, "tcp:192.0.2.1:5025").is_simulated() is is_simulated
        assert not context.make_instrument("real", Supply, "tcp:192.0.2.1:5025", simulate=False).is_simulated()
