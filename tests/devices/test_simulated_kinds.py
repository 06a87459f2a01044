"""Simulated devices of all kinds: terminators, echo, queries after each command, binary protocols, losses."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.core.config_defs import CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.driver import (
    AsyncScpiInstrument,
    Block,
    Channel,
    QMI_Instrument,
    ScpiInstrument,
    Settling,
    Simulator,
    Source,
    TransportInstrument,
    channels,
    parameter,
    rpc_method,
)
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_ScpiException,
    QMI_TimeoutException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.core.scpi_protocol import ScpiProtocol
from qmi.core.transport import create_transport
from qmi.testing import (
    StandInInstrument,
    open_task_bench,
    open_virtual_context,
    run_in_virtual_time,
    serve_simulator,
    simulated_time,
)


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("bench", CfgQmi()) as made:
        yield made


class Declared(ScpiInstrument):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    wave = parameter("CURV?", Block("<i2"), simulate=lambda self: [1, 2, 3])


class CarriageReturns(Declared):
    command_terminator = "\r"
    response_terminator = "\r\n"


class Echoing(Declared):
    echo = True


class OtherErrors(Declared):
    error_query = "ERR?"


class Completing(Declared):
    completion_query = "*OPC?"


class Hesitant(Declared):
    command_delay = 0.001


class Speechless(Declared):
    clear_command = None


@pytest.mark.parametrize(
    "cls",
    [Declared, CarriageReturns, Echoing, OtherErrors, Completing, Hesitant, Speechless],
    ids=lambda cls: cls.__name__,
)
def test_device_speaks_as_its_driver_does(context: QMI_Context, cls: type[Declared]) -> None:
    with context.make_instrument("psu", cls, simulate=True, check_errors=True) as psu:
        for value in (1.0, 2.5):
            psu.voltage = value
            assert psu.voltage == value
            assert list(psu.wave) == [1, 2, 3]
        with pytest.raises(QMI_ScpiException, match="-222"):
            psu.write("VOLT 31")
        assert psu.voltage == 2.5


@pytest.mark.parametrize("reconnect", [False, True])
def test_device_keeps_its_settings_while_the_cable_is_out(context: QMI_Context, reconnect: bool) -> None:
    with simulated_time(), context.make_instrument("psu", Declared, simulate=True, reconnect=reconnect) as psu:
        psu.voltage = 7.0
        psu.simulate_fault("disconnected")
        with pytest.raises(QMI_TransportLostException):
            psu.voltage = 8.0
        if not reconnect:
            with pytest.raises(QMI_TransportLostException):
                _ = psu.voltage
            psu.close()
            psu.open()
        assert psu.voltage == 7.0


@pytest.mark.parametrize("fault", ["garbage", "no_answer", "late"])
def test_block_that_goes_wrong_leaves_the_next_one_right(context: QMI_Context, fault: str) -> None:
    with simulated_time(), context.make_instrument("psu", Declared, simulate=True, timeout=0.5) as psu:
        psu.simulate_fault(fault, seconds=0.7)
        with pytest.raises((QMI_InstrumentException, OSError)):
            _ = psu.wave
        assert list(psu.wave) == [1, 2, 3]
        assert psu.voltage == 0.0


NO_BLOCKS = ["ERR", "", "none", "#x1234", "#9abc", "#13abc", "#14abcdX", "#14abcd X", "#14abcd\r", "#"]


class NoBlocks(Simulator):
    """Answers something else than a block."""

    instead = ""

    @Simulator.command("CURV?")
    def curve(self) -> str:
        return self.instead


def no_blocks(text: str) -> type[Simulator]:
    return type("NoBlock", (NoBlocks,), {"instead": text})


@pytest.mark.parametrize("text", NO_BLOCKS)
def test_answer_that_is_no_block_is_not_taken_for_the_next_one(context: QMI_Context, text: str) -> None:
    with simulated_time(), context.make_instrument("psu", Declared, simulate=no_blocks(text), timeout=0.5) as psu:
        psu.voltage = 7.0
        for _ in range(2):
            with pytest.raises((QMI_InstrumentException, QMI_TimeoutException)):
                _ = psu.wave
            assert psu.voltage == 7.0


@pytest.mark.parametrize("text", NO_BLOCKS)
def test_answer_that_is_no_block_is_not_taken_for_the_next_one_in_the_event_loop(text: str) -> None:
    class Awaited(AsyncScpiInstrument):
        voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
        wave = parameter("CURV?", Block("<i2"))

    async def main() -> None:
        async with open_virtual_context() as context:
            psu = await context.make_instrument("psu", Awaited, simulate=no_blocks(text), timeout=0.5)
            async with psu:
                await psu.set_voltage(7.0)
                for _ in range(2):
                    with pytest.raises((QMI_InstrumentException, QMI_TimeoutException)):
                        await psu.get_wave()
                    assert await psu.get_voltage() == 7.0

    run_in_virtual_time(main)


class Part(Channel):
    level = parameter("PART{n}:LEV", float, limits=(0, 5))


class Whole(ScpiInstrument):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    parts = channels(Part, 1, 2)


class AsyncWhole(AsyncScpiInstrument):
    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    parts = channels(Part, 1, 2)


@pytest.mark.parametrize("cls", [Whole, AsyncWhole])
def test_snapshot_of_a_simulated_instrument_is_restored(context: QMI_Context, cls: Any) -> None:
    whole: Any = context.make_instrument("whole", cls, simulate=True)
    whole.open()
    whole.set_voltage(5.0)
    whole.parts[2].set_level(2.0)
    before = whole.snapshot(update=True)
    whole.write("*RST")
    assert whole.get_voltage() == 0.0
    assert [change.name for change in whole.restore(before)] == ["voltage", "parts[2].level"]
    assert whole.parts[2].get_level() == 2.0
    whole.close()


class ProbeSimulator(Simulator):
    level = 1.5
    measured = Settling("setpoint", 0.0)
    slow = Settling("setpoint", 10.0)


class Probe(Channel):
    simulator = ProbeSimulator

    level = parameter("PROB{n}:LEV", float)
    measured = parameter("PROB{n}:MEAS?", float)
    slow = parameter("PROB{n}:SLOW?", float)


class Bath(ScpiInstrument):
    setpoint = parameter("SET", float, simulate=7.0)
    probes = channels(Probe, 1, 2)


def test_channel_names_its_simulator_and_follows_its_instrument(context: QMI_Context) -> None:
    with context.make_instrument("bath", Bath, simulate=True) as bath:
        assert [probe.level for probe in bath.probes] == [1.5, 1.5]
        assert [probe.measured for probe in bath.probes] == [7.0, 7.0]
        bath.setpoint = 8.0
        assert bath.probes[2].measured == 8.0


def test_what_settles_begins_to_when_the_device_is_made(context: QMI_Context) -> None:
    class Cold(Simulator):
        setpoint = Settling("setpoint", 3600.0, start=100.0)

    class Warming(ScpiInstrument):
        simulator = Cold
        setpoint = parameter("SET", float, simulate=7.0)

    with context.make_instrument("bath", Warming, simulate=True) as bath:
        assert bath.setpoint == pytest.approx(100.0, abs=1.0)
    with serve_simulator(Warming) as server, create_transport(server.address) as transport:
        transport.write(b"SET?\n")
        assert float(transport.read_until(b"\n", 5.0)) == pytest.approx(100.0, abs=1.0)


def test_channel_settles_from_when_its_instrument_was_set() -> None:
    with open_task_bench() as bench, bench.context.make_instrument("bath", Bath, simulate=True) as bath:
        bench.clock.advance(100.0)
        bath.setpoint = 17.0
        bench.clock.advance(10.0)
        assert bath.probes[2].slow == pytest.approx(7.0 + 10.0 * (1 - math.exp(-1)))


def test_name_in_a_simulator_that_is_misspelt_is_told(context: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    class Misspelt(Simulator):
        def voltge(self) -> float:
            return 1.0

        def helper(self) -> float:
            return 2.0

        @Simulator.command("WAV?")
        def waves(self) -> float:
            return 2.0

    context.make_instrument("psu", Declared, simulate=Misspelt)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["Misspelt.voltge is no parameter of Declared and simulates nothing; did you mean 'voltage'?"]


def test_source_of_a_setting_that_is_not_there_names_the_nearest(context: QMI_Context) -> None:
    class Wrong(Simulator):
        wave = Settling("voltge", 1.0)

    psu = context.make_instrument("psu", Declared, simulate=Wrong)
    with pytest.raises(AttributeError, match="Wrong simulates no 'voltge'; did you mean 'voltage'"):
        psu.open()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("voltage", None, "The simulator gives None for voltage; expected a number"),
        ("voltage", [1.0], r"The simulator gives \[1.0\] for voltage; expected a number"),
        ("wave", None, "The simulator gives None for wave; expected numbers in one row"),
        ("wave", [[1, 2]], r"The simulator gives \[\[1, 2\]\] for wave; expected numbers in one row"),
    ],
)
def test_value_of_a_simulator_that_is_none_is_told(context: QMI_Context, name: str, value: Any, message: str) -> None:
    class Wrong(Simulator):
        pass

    setattr(Wrong, name, Broken(value))
    with (
        context.make_instrument("psu", Declared, simulate=Wrong) as psu,
        pytest.raises(QMI_UsageException, match=message),
    ):
        getattr(psu, name)


class Broken(Source):
    def __init__(self, given: Any) -> None:
        self.given = given

    def value(self, simulator: Any) -> Any:
        return self.given


class Registers(TransportInstrument):
    """A driver whose messages are bytes: a letter, the number of a register, a value."""

    @rpc_method
    def set_register(self, number: int, value: int) -> None:
        self._transport.write(struct.pack(">cBH", b"W", number, value))
        assert self._transport.read(1, 1.0) == b"!"

    @rpc_method
    def get_register(self, number: int) -> int:
        self._transport.write(struct.pack(">cB", b"R", number))
        (value,) = struct.unpack(">H", self._transport.read(2, 1.0))
        return int(value)


class RegistersSimulator(Simulator):
    def __init__(self) -> None:
        super().__init__()
        self.registers = dict.fromkeys(range(8), 0)

    def split(self, data: bytes) -> int | None:
        length = {b"W": 4, b"R": 2}[data[:1]]
        return length if len(data) >= length else None

    def reply(self, message: bytes) -> bytes:
        if message[:1] == b"R":
            return struct.pack(">H", self.registers[message[1]])
        _, number, value = struct.unpack(">cBH", message)
        self.registers[number] = value
        return b"!"


def test_device_with_a_binary_protocol_is_simulated(context: QMI_Context) -> None:
    with context.make_instrument("box", Registers, simulate=RegistersSimulator) as box:
        box.set_register(3, 1000)
        assert (box.get_register(3), box.get_register(4)) == (1000, 0)


class Old(QMI_Instrument):
    """A driver as QMI has them: its own transport, its own protocol."""

    def __init__(self, context: Any, name: str, transport: str, max_current: float = 1.0) -> None:
        super().__init__(context, name)
        self._transport = create_transport(transport, {"port": 5025})
        self._scpi_protocol = ScpiProtocol(self._transport, command_terminator="\n", response_terminator="\n")
        self._max_current = max_current

    @rpc_method
    def open(self) -> None:
        self._transport.open()
        super().open()

    @rpc_method
    def close(self) -> None:
        super().close()
        self._transport.close()

    @rpc_method
    def get_current(self) -> float:
        return min(self._max_current, float(self._scpi_protocol.ask("CURR?")))


class OldSimulator(Simulator):
    @Simulator.command("CURR?")
    def current(self) -> float:
        return 2.5


@pytest.mark.parametrize(("arguments", "current"), [((), 1.0), (("tcp:192.0.2.1", 3.0), 2.5)])
def test_driver_that_declares_nothing_is_simulated_by_its_commands(
    context: QMI_Context, arguments: tuple[Any, ...], current: float
) -> None:
    with context.make_instrument("old", Old, *arguments, simulate=OldSimulator) as old:
        assert old.get_current() == current


def test_stand_in_is_one_where_all_is_simulated() -> None:
    stand_in = StandInInstrument(Old)
    stand_in.returns("get_current", 0.5)
    with QMI_Context("bench", CfgQmi(simulate=True)) as context:
        with context.make_instrument("old", stand_in.driver, "tcp:192.0.2.1") as old:
            assert old.get_current() == 0.5
        assert [call.method for call in stand_in.calls] == ["open", "get_current", "close"]
