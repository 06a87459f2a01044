"""check_driver(): good drivers pass, and each thing that can be wrong with one is found, all at once."""

from __future__ import annotations

import enum
import logging
import math
import socket
import tempfile
import threading
import time
from typing import Any

import pytest
import trio

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
    QMI_BlockingOnLoopException,
    QMI_InstrumentException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.core.scpi_protocol import ScpiProtocol
from qmi.testing import (
    DRIVER_RULES,
    DriverCheckError,
    Finding,
    check_driver,
    check_leftovers,
    inspect_driver,
    simulated_time,
)


class Mode(enum.Enum):
    VOLTAGE = "CV"
    CURRENT = "CC"


class Output(Channel):
    """One output."""

    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 5), doc="Set voltage.")


class Declarations:
    """What a supply has."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, "highest"), doc="Set voltage.")
    highest = parameter("VOLT:LIM", float, unit="V", limits=(0, 60), doc="Most that can be set.")
    ratio = parameter("RAT", float, unit="1", limits=(None, 0.5), step=0.125, doc="A ratio.")
    turns = parameter("TURN", int, limits=(3, 9), step=2, doc="How many turns.")
    current = parameter("MEAS:CURR?", float, unit="A", poll=0.001, simulate=Noise(1.0, 0.1), doc="Current.")
    power = parameter("POW", float, unit="W", scale=1e-3, doc="Power.")
    mode = parameter("FUNC", Mode, doc="What is held.")
    output = parameter("OUTP", bool, doc="Whether it is on.")
    range = parameter("RANG", float, unit="V", values={1.0: "LOW", 10.0: "HIGH"}, doc="Range.")
    label = parameter("LAB", str, doc="What it is called.")
    color = parameter("COL", str, values=("RED", "BLUE"), doc="Color of the lamp.")
    wave = parameter("CURV?", Block("<f4"), simulate=lambda self: [1.0, 2.5], doc="What was measured.")
    trigger = parameter(write="TRIG {value}", type=int, limits=(0, 3), doc="Trigger now.")
    channels = channels(Output, 1, 4)


class Supply(Declarations, ScpiInstrument):
    """A power supply."""

    @rpc_method
    def ramp(self, volts: float) -> None:
        """Go there slowly."""


class AsyncSupply(Declarations, AsyncScpiInstrument):
    """A power supply in the event loop."""


class Laser(QMI_Instrument):
    """A laser that speaks by a library of its own."""

    @parameter(unit="W", limits=(0, 0.1))
    def power(self) -> float:
        """Power."""
        raise AssertionError("there is no laser here")

    @power.setter
    def set_power(self, value: float) -> None:
        """Set the power."""
        raise AssertionError("there is no laser here")


class AsyncLaser(QMI_Instrument):
    """The same in the event loop."""

    @parameter(unit="W", limits=(0, 0.1))
    async def power(self) -> float:
        """Power."""
        raise AssertionError("there is no laser here")


class PatientSupply(Supply):
    """Asks again, and waits in between."""

    @rpc_method
    def get_voltage(self) -> float:
        """Ask three times."""
        for _ in range(2):
            try:
                return float(self.ask("VOLT?"))
            except QMI_TimeoutException:
                time.sleep(600.0)
        return float(self.ask("VOLT?"))


class PatientAsyncSupply(AsyncScpiInstrument):
    """The same in the event loop."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 5), doc="Set voltage.")

    @rpc_method
    async def get_voltage(self) -> float:
        """Ask three times."""
        for _ in range(2):
            try:
                return float(await self.ask("VOLT?"))
            except QMI_TimeoutException:
                await trio.sleep(600.0)
        return float(await self.ask("VOLT?"))


class Odd(ScpiInstrument):
    """What is unusual, and right."""

    slow = parameter("SLOW", float, unit="K", limits=(0, 300), simulate=Settling("slow", 5.0), doc="Takes its time.")
    noisy = parameter("NOIS", float, unit="K", limits=(0, 300), simulate=Noise("noisy", 0.1), doc="Has noise.")
    tiny = parameter("TINY", float, unit="A", limits=(1e-12, 1e-9), doc="Tiny.")
    huge = parameter("HUGE", float, unit="Hz", limits=(1e3, math.inf), doc="Huge.")
    fixed = parameter("FIX", float, unit="V", limits=(5, 5), doc="One value.")
    block = parameter("BLK", Block("<f4"), doc="Both ways.")
    most = parameter("MOST", float, unit="V", limits=(1, 60), doc="Limits others.")
    less = parameter("LESS", float, unit="V", limits=lambda odd: (0, odd.most / 2), doc="Limited by a function.")
    milli = parameter("MILL", float, unit="A", scale=1e-3, limits=(0.001, 0.5), step=0.001, doc="In steps of 1 mA.")


class MeterSimulator(Simulator):
    @Simulator.command("MEAS?")
    def measure(self) -> float:
        return 1.5

    @Simulator.command("RANG?")
    def get_range(self) -> float:
        return 10.0


class Meter(TransportInstrument):
    """A driver with plain methods alone."""

    simulator = MeterSimulator

    def __init__(self, context: Any, name: str, transport: Any, reconnect: Any = None) -> None:
        super().__init__(context, name, transport, reconnect=reconnect)
        self._scpi = ScpiProtocol(self._transport, default_timeout=2.0)

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        self._check_is_open()
        return float(self._scpi.ask("MEAS?"))

    @rpc_method
    def get_range(self) -> float:
        """The range."""
        self._check_is_open()
        return float(self._scpi.ask("RANG?"))


class ClockSimulator(Simulator):
    """What it measures depends on when it is asked; nothing is the same a few seconds later."""

    temperature = Settling("setpoint", 30.0, start=20.0)
    slow = Settling("setpoint", 40000.0, start=20.0)

    def elapsed(self) -> float:
        return self.now()

    def tide(self) -> float:
        return math.sin(2 * math.pi * self.now() / 3600.0)

    def flicker(self) -> float:
        return math.sin(2 * math.pi * 2.0 * self.now())

    def hours(self) -> int:
        return int(self.now() // 3600.0)


class Clocked(ScpiInstrument):
    """Readings that move by themselves."""

    simulator = ClockSimulator

    setpoint = parameter("SETP", float, unit="K", limits=(0, 300), doc="Where it goes to.")
    temperature = parameter("TEMP?", float, unit="K", doc="Temperature.")
    polled = parameter(
        "TEMP2?", float, unit="K", doc="Likewise.", poll=0.5, simulate=Settling("setpoint", 9.0, start=1)
    )
    slow = parameter("SLOW?", float, unit="K", doc="Temperature of what is large.")
    elapsed = parameter("TIME?", float, unit="s", doc="Seconds since it was switched on.")
    tide = parameter("TIDE?", float, unit="m", doc="Up and down.")
    flicker = parameter("FLIC?", float, unit="V", doc="Up and down quickly.")
    hours = parameter("HOUR?", int, unit="h", doc="Hours since it was switched on.")


@pytest.mark.parametrize(
    "driver", [Clocked, Supply, AsyncSupply, Laser, AsyncLaser, PatientSupply, PatientAsyncSupply, Meter, Odd]
)
def test_good_drivers_pass(driver: type[QMI_Instrument]) -> None:
    report = check_driver(driver)
    assert report.findings == []
    assert report.checked["docs"] > 1
    assert report.checked["opening"] > 3
    assert report.checked["leftovers"] == 1
    has_transport = "Laser" not in driver.__name__
    assert (report.checked["lost connection"] > 1) is has_transport
    assert ("late answers" in report.not_checked) is not has_transport
    assert set(report.checked) | set(report.not_checked) == set(DRIVER_RULES)


def test_report_says_what_was_checked() -> None:
    text = str(check_driver(Meter, skip=["leftovers"]))
    assert text.startswith("Meter: no findings\nchecked: docs (")
    assert "\nnot checked: units: there is nothing of the kind\n" in text
    assert "\nnot checked: reading, limits, read back: it declares no parameters\n" in text
    assert text.endswith("\nnot checked: leftovers: it was skipped")


def test_driver_that_cannot_be_simulated_is_checked_for_its_docs() -> None:
    class Plain(QMI_Instrument):
        @rpc_method
        def measure(self) -> float:
            return 1.0

    report = inspect_driver(Plain)
    assert [finding.rule for finding in report.findings] == ["docs", "docs"]
    assert "it declares no parameters, and it names no simulator" in report.not_checked["opening"]


def test_driver_without_a_device_is_opened_and_closed() -> None:
    class Calculator(QMI_Instrument):
        """It calculates."""

        simulator = False

        @parameter(unit="V", limits=(0, 1))
        def level(self) -> float:
            """A level."""
            return self._level

        @level.setter
        def set_level(self, value: float) -> None:
            """Set it."""
            self._level = value

        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            self._level = 0.5

    report = check_driver(Calculator)
    assert report.checked["read back"] == 3
    assert "no device" in report.not_checked["silence"]


@pytest.mark.parametrize("skip", [[], ["leftovers"], list(DRIVER_RULES)])
def test_rules_can_be_skipped(skip: list[str]) -> None:
    report = inspect_driver(BareChannels, skip=skip)
    assert ("docs" in {finding.rule for finding in report.findings}) is ("docs" not in skip)
    assert [rule for rule in skip if report.not_checked.get(rule) != "it was skipped"] == []


def test_unknown_rules_and_what_is_no_driver_are_refused() -> None:
    with pytest.raises(QMI_UsageException, match=r"no rule 'limit' to skip; did you mean 'limits'\?"):
        check_driver(Supply, skip=["limit"])
    with pytest.raises(QMI_UsageException, match="made from a class derived from QMI_Instrument"):
        check_driver(int)  # type: ignore[arg-type]


def test_arguments_of_the_constructor_and_another_simulator_are_taken() -> None:
    class Picky(Meter):
        def __init__(self, context: Any, name: str, transport: Any, *, speed: int) -> None:
            super().__init__(context, name, transport)
            assert speed == 9600

    class Other(MeterSimulator):
        @Simulator.command("RANG?")
        def get_range(self) -> float:
            raise AssertionError("it breaks")

    assert inspect_driver(Picky, "tcp:192.0.2.1:5025", speed=9600).findings[0].rule == "docs"
    report = inspect_driver(Picky)
    assert "missing 1 required" in next(f.what for f in report.findings if f.rule == "opening")
    report = inspect_driver(Meter, simulate=Other)
    assert report.findings == []
    assert report.checked["silence"] == 1


def test_check_goes_on_where_time_is_simulated_and_gives_it_back() -> None:
    with simulated_time() as clock:
        check_driver(Meter)
        before = clock.now()
        time.sleep(5.0)
        assert clock.now() == before + 5.0


def test_thread_that_trio_keeps_for_more_to_do_is_no_leftover() -> None:
    stop = threading.Event()

    def work() -> None:
        threading.current_thread().name = "Trio thread 7"  # as trio does when the work is done
        stop.wait()

    thread = threading.Thread(target=work, name="checked", daemon=True)
    thread.start()
    try:
        assert check_leftovers._still_alive({thread}) == []
    finally:
        stop.set()


async def test_check_is_refused_on_the_event_loop() -> None:
    with pytest.raises(QMI_BlockingOnLoopException, match=r"check_driver\(\) would block the event loop"):
        check_driver(Meter)


def test_check_logs_nothing_of_the_faults_that_it_makes(caplog: pytest.LogCaptureFixture) -> None:
    check_driver(Meter)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_reconnect_is_checked_where_the_driver_hands_it_on() -> None:
    class HandsOn(Meter):
        """Hands on what it does not know."""

        def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
            super().__init__(context, name, transport, **options)

    assert check_driver(HandsOn).checked["lost connection"] == check_driver(Meter).checked["lost connection"]
    assert check_driver(Supply).checked["lost connection"] > 20


def test_findings_are_data() -> None:
    finding = inspect_driver(Unitless).findings[0]
    assert isinstance(finding, Finding)
    assert finding[:2] == ("units", "Unitless.voltage")


# What is wrong with a driver. The name of the class says it.


class Small(ScpiInstrument):
    """A driver with two parameters, which is quickly checked."""

    trigger = parameter(write="TRIG {value}", type=int, limits=(0, 3), doc="Trigger now.")
    turns = parameter("TURN", int, limits=(3, 9), step=2, doc="How many turns.")


class Bare(Channel):
    v = parameter("V{n}", int)


class BareChannels(ScpiInstrument):
    """Its parameters are not documented."""

    voltage = parameter("VOLT", float, unit="V")
    group = channels(Bare, 1, 2)


class Undocumented(ScpiInstrument):
    @rpc_method
    def measure(self) -> None:
        pass


class Unitless(ScpiInstrument):
    """No unit."""

    voltage = parameter("VOLT", float, doc="x")
    count = parameter("COUN", int, doc="x")


class Unchecked(Small):
    """Its own method sends what it is given."""

    @rpc_method
    def set_turns(self, turns: object) -> None:
        """Set it."""
        self.write(f"TURN {turns}")


class CheckedTooLate(Small):
    """Sends first."""

    @rpc_method
    def set_turns(self, turns: int) -> None:
        """Set them."""
        self.write(f"TURN {turns}")
        if turns not in (3, 5, 7, 9):
            raise ValueError("no")


class CheckedTooMuch(Small):
    """Refuses the edge."""

    @rpc_method
    def set_trigger(self, value: int) -> None:
        """Set it."""
        if value >= 3:
            raise ValueError("too much")
        self.write(f"TRIG {value}")


class RefusedByAWrongError(Small):
    """Says it otherwise."""

    @rpc_method
    def set_trigger(self, value: Any) -> None:
        """Set it."""
        if value not in (0, 1, 2, 3):
            raise QMI_InstrumentException("no")
        self.write(f"TRIG {value}")


class Clipped(Small):
    """Clips in silence."""

    @rpc_method
    def set_trigger(self, value: Any) -> None:
        """Set it."""


class WrongFactor(ScpiInstrument):
    """Sets millivolts and reads volts."""

    voltage = parameter(
        "VOLT", float, unit="V", limits=(0, 5), format=lambda v: str(v * 1000), parse=float, doc="x", simulate=None
    )


class NotSimulated(Small):
    """Its simulator does not know what it asks."""

    @rpc_method
    def get_turns(self) -> int:
        """Ask."""
        return int(self.ask("TURNS:NO:SUCH?", timeout=0.5))


class NeverOpen(TransportInstrument):
    """Forgets the base."""

    voltage = None
    simulator = MeterSimulator

    @rpc_method
    def open(self) -> None:
        """Open."""
        self._transport.open()

    @rpc_method
    def close(self) -> None:
        """Close."""
        self._transport.close()


class OpensOnce(Small):
    """Cannot be opened again."""

    @rpc_method
    def close(self) -> None:
        """Close."""
        super().close()
        self._transport = None  # type: ignore[assignment]


class FailsToOpen(Small):
    """Cannot be opened."""

    @rpc_method
    def open(self) -> None:
        """Open."""
        raise OSError("it is broken")


class OpensTwice(Small):
    """Does not mind."""

    @rpc_method
    def open(self) -> None:
        """Open."""
        if not self._is_open:
            super().open()


class WaitsForEver(Meter):
    """No timeout."""

    def __init__(self, context: Any, name: str, transport: Any) -> None:
        super().__init__(context, name, transport)
        self._scpi = ScpiProtocol(self._transport)


class HidesSilence(Meter):
    """Says zero."""

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        try:
            return super().get_voltage()
        except QMI_TimeoutException:
            return 0.0


class HidesGarbage(Meter):
    """Says zero."""

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        try:
            return super().get_voltage()
        except (ValueError, QMI_InstrumentException):
            return 0.0


class FallsOverGarbage(Meter):
    """Does not expect it."""

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        self._check_is_open()
        return {"1.5": 1.5}[self._scpi.ask("MEAS?", decoder="latin-1")]


class MixesUp(Meter):
    """Tells its transport not to care."""

    def __init__(self, context: Any, name: str, transport: Any) -> None:
        super().__init__(context, name, transport)
        line: Any = self._transport
        line.configure(out_of_step="ignore")


class HidesLoss(Meter):
    """Says zero."""

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        try:
            return super().get_voltage()
        except ConnectionError:
            return 0.0


class FallsOverLoss(Meter):
    """Does not expect it."""

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        try:
            return super().get_voltage()
        except ConnectionError:
            return float([][0])


class NeverRecovers(Meter):
    """Cannot be closed behind a loss."""

    is_lost = False

    @rpc_method
    def get_voltage(self) -> float:
        """Measure."""
        try:
            return super().get_voltage()
        except ConnectionError:
            self.is_lost = True
            raise

    @rpc_method
    def close(self) -> None:
        """Close."""
        if self.is_lost:
            raise OSError("it is lost")
        super().close()


class IgnoresReconnect(Meter):
    """Takes the argument, and does nothing with it."""

    def __init__(self, context: Any, name: str, transport: Any, reconnect: Any = None) -> None:
        super().__init__(context, name, transport)


_go_on = threading.Event()


class LeavesAThread(Small):
    """It goes on."""

    @rpc_method
    def open(self) -> None:
        """Open."""
        super().open()
        threading.Thread(target=_go_on.wait, name="forgotten", daemon=True).start()


class LeavesAFile(Small):
    """It stays open."""

    kept: list[Any] = []  # noqa: RUF012

    @rpc_method
    def open(self) -> None:
        """Open."""
        super().open()
        self.kept.append(tempfile.NamedTemporaryFile(prefix="forgotten"))  # noqa: SIM115


class LeavesASocket(Small):
    """It stays open."""

    kept: list[Any] = []  # noqa: RUF012

    @rpc_method
    def open(self) -> None:
        """Open."""
        super().open()
        self.kept.append(socket.create_server(("127.0.0.1", 0)))


_ended: list[trio.Event] = []


async def _forgotten(ended: trio.Event) -> None:
    await ended.wait()


class SmallAsync(AsyncScpiInstrument):
    """The same in the event loop."""

    turns = parameter("TURN", int, limits=(3, 9), step=2, doc="How many turns.")


class LeavesATask(SmallAsync):
    """It goes on."""

    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        """Open."""
        await super().open()
        _ended.append(trio.Event())
        trio.lowlevel.spawn_system_task(_forgotten, _ended[-1])


WRONG: list[tuple[type[QMI_Instrument], str, list[tuple[str, str]]]] = [
    (Undocumented, "docs", [("Undocumented", "no docstring"), ("Undocumented.measure()", "no docstring")]),
    (BareChannels, "docs", [("BareChannels.voltage", "say doc="), ("Bare", "no docstring"), ("Bare.v", "say doc=")]),
    (Unitless, "units", [("Unitless.voltage", "unit='V'")]),
    (Unchecked, "limits", [("Unchecked.turns", "beyond its limit of 9, was sent to the device: 'TURN 11'")]),
    (CheckedTooLate, "limits", [("CheckedTooLate.turns", "was sent to the device: 'TURN 11'; then it raised")]),
    (CheckedTooMuch, "limits", [("CheckedTooMuch.trigger", "3 is allowed, and cannot be set")]),
    (RefusedByAWrongError, "limits", [("RefusedByAWrongError.trigger", "must be refused by a QMI_InvalidValueExc")]),
    (Clipped, "limits", [("Clipped.trigger", "4, beyond its limit of 3, was not refused")]),
    (WrongFactor, "read back", [("WrongFactor.voltage", "it was set to 5.0 and reads back as 0.0")]),
    (NotSimulated, "reading", [("NotSimulated.turns", "cannot be read on the simulator")]),
    (NeverOpen, "opening", [("NeverOpen", "")]),
    (OpensOnce, "opening", [("OpensOnce", "open() behind close() fails")]),
    (FailsToOpen, "opening", [("FailsToOpen", "cannot be opened in a simulation: OSError: it is broken")]),
    (OpensTwice, "opening", [("OpensTwice", "opening it when it is open must raise QMI_InvalidOperationException")]),
    (WaitsForEver, "silence", [("WaitsForEver.get_", "waits for ever for an answer; give the protocol")]),
    (HidesSilence, "silence", [("HidesSilence.get_voltage()", "did not answer at all, and it gave 0.0")]),
    (HidesGarbage, "garbage", [("HidesGarbage.get_voltage()", "what makes no sense, and it gave 0.0")]),
    (FallsOverGarbage, "garbage", [("FallsOverGarbage.get_voltage()", "it raised KeyError")]),
    (MixesUp, "late answers", [("MixesUp.", "expected ")]),
    (HidesLoss, "lost connection", [("HidesLoss.get_voltage()", "the connection was lost, and it gave 0.0")]),
    (FallsOverLoss, "lost connection", [("FallsOverLoss.get_voltage()", "it raised IndexError")]),
    (NeverRecovers, "lost connection", [("NeverRecovers.close()", "it fails behind a lost connection")]),
    (IgnoresReconnect, "lost connection", [("IgnoresReconnect.get", "with reconnect=True; it raised QMI_Transport")]),
    (LeavesAThread, "leftovers", [("LeavesAThread", "the thread 'forgotten' goes on")]),
    (LeavesAFile, "leftovers", [("LeavesAFile", "forgotten")]),
    (LeavesASocket, "leftovers", [("LeavesASocket", "a socket (addr(ip='127.0.0.1'")]),
    (LeavesATask, "leftovers", [("LeavesATask", "_forgotten of the event loop goes on")]),
]


BESIDES: dict[type[QMI_Instrument], set[str]] = {
    WrongFactor: {"late answers"},
    HidesSilence: {"late answers"},
}
"""What else is found: where a value reads back otherwise, it cannot be told from that of another question."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What goes on is not waited for; and ended when the test is over."""
    monkeypatch.setattr("qmi.testing.check_leftovers._GRACE", 0.1)
    monkeypatch.setattr("qmi.testing.check_subject.PATIENCE", 0.5)
    _go_on.clear()
    yield
    _go_on.set()
    for kept in (*LeavesAFile.kept, *LeavesASocket.kept):
        kept.close()


@pytest.mark.parametrize(("driver", "rule", "expected"), WRONG, ids=[f"{one[0].__name__}" for one in WRONG])
def test_what_is_wrong_with_a_driver_is_found(
    driver: type[QMI_Instrument], rule: str, expected: list[tuple[str, str]], impatient: None
) -> None:
    with pytest.raises(DriverCheckError) as caught:
        check_driver(driver)
    found = caught.value.report.findings
    assert {finding.rule for finding in found} <= {rule, *BESIDES.get(driver, ())}
    for where, what in expected:
        assert [f for f in found if f.rule == rule and f.where.startswith(where) and what in f.what], str(caught.value)
