"""Drivers without a transport that are simulated: their parameters are kept in place of getters and setters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

import qmi
from qmi.actors.simulated import simulated_class
from qmi.core.config_defs import CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.driver import Channel, Noise, QMI_Instrument, Settling, Simulator, channels, parameter, rpc_method
from qmi.core.exceptions import (
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_TimeoutException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.testing import open_task_bench, open_virtual_context, run_in_virtual_time


class Hardware(Exception):
    """The driver has tried to reach its device."""


class Arm(Channel):
    @parameter(unit="mm", limits=(0, 10))
    def position(self) -> float:
        raise Hardware

    @position.setter
    def set_position(self, value: float) -> None:
        raise Hardware


class Laser(QMI_Instrument):
    """A laser."""

    def __init__(self, context: Any, name: str, serial_number: int = 7) -> None:
        super().__init__(context, name)
        self.serial_number = serial_number

    @rpc_method
    def open(self) -> None:
        raise Hardware

    @rpc_method
    def close(self) -> None:
        raise Hardware

    @parameter(unit="W", limits=(0, "most"))
    def power(self) -> float:
        raise Hardware

    @power.setter
    def set_power(self, value: float) -> None:
        raise Hardware

    def _get_most(self) -> float:
        raise Hardware

    def _set_most(self, value: float) -> None:
        raise Hardware

    most = parameter(getter=_get_most, setter=_set_most, type=float, unit="W", simulate=0.1)

    @parameter(unit="nm")
    def wavelength(self) -> float:
        raise Hardware

    @rpc_method
    def get_current(self) -> float:
        raise Hardware

    current = parameter(getter=get_current, type=float, unit="A")

    arms = channels(Arm, 1, 2)

    @rpc_method
    def align(self, steps: int, *, slowly: bool = False) -> str:
        raise Hardware

    @rpc_method
    def double(self) -> float:
        self.power = 2 * self.power
        return self.power


class LaserSimulator(Simulator):
    wavelength = Noise(780.0, 1e-3)
    temperature = Settling("power", 10.0)

    def current(self) -> Any:
        return self.power * 10

    def align(self, steps: int, *, slowly: bool = False) -> str:
        self.power = 0.01 * steps
        return f"{steps} steps{' slowly' if slowly else ''}"


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("bench", CfgQmi()) as made:
        yield made


def test_parameters_are_kept_and_nothing_is_opened(context: QMI_Context) -> None:
    with context.make_instrument("laser", Laser, simulate=True) as laser:
        assert laser.power == 0.0
        laser.power = 0.05
        assert (laser.power, laser.most, laser.wavelength, laser.current) == (0.05, 0.1, 0.0, 0.0)
        assert laser.double() == 0.1
        with pytest.raises(QMI_InvalidValueException, match=r"power of laser must be from 0 to 0\.1 W, got 0\.2 W"):
            laser.set_power(0.2)
        laser.most = 0.3
        laser.set_power(0.2)
        assert laser.power == 0.2
        laser.arms[2].position = 4.0
        assert [arm.position for arm in laser.arms] == [0.0, 4.0]
        assert laser.is_open()
        assert laser.is_simulated()


def test_simulator_says_what_is_measured_and_does_what_methods_do(context: QMI_Context) -> None:
    with context.make_instrument("laser", Laser, simulate=LaserSimulator) as laser:
        assert laser.align(5, slowly=True) == "5 steps slowly"
        assert (laser.power, laser.current, laser.get_current()) == (0.05, 0.5, 0.5)
        assert laser.wavelength == pytest.approx(780.0, abs=0.01)
    # Without a simulator that has it, the driver's own method runs.
    with context.make_instrument("other", Laser, simulate=True) as laser, pytest.raises(Hardware):
        laser.align(5)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("no_answer", QMI_TimeoutException, r"Timeout in reading power of laser \(simulated\): the device does not"),
        ("garbage", QMI_InstrumentException, r"The answer in reading power of laser \(simulated\) makes no sense"),
        (
            "disconnected",
            QMI_TransportLostException,
            r"The connection was lost in reading power of laser",
        ),
    ],
)
def test_faults_are_raised_where_a_device_is_spoken_to(
    context: QMI_Context, fault: str, error: type[Exception], message: str
) -> None:
    with context.make_instrument("laser", Laser, simulate=True) as laser:
        laser.simulate_fault(fault)
        with pytest.raises(error, match=message):
            _ = laser.power
        laser.power = 0.05
        laser.simulate_fault(fault, times=2)
        for _ in range(2):
            with pytest.raises(error):
                laser.power = 0.01
        assert laser.power == 0.05


def test_what_settles_begins_to_when_the_instrument_is_used_first(context: QMI_Context) -> None:
    class Warming(LaserSimulator):
        wavelength = Settling(700.0, 3600.0, start=780.0)

    with context.make_instrument("laser", Laser, simulate=Warming) as laser:
        assert laser.wavelength == pytest.approx(780.0, abs=1.0)


def test_late_answers_take_virtual_time() -> None:
    with open_task_bench() as bench, bench.context.make_instrument("laser", Laser, simulate=True) as laser:
        laser.simulate_fault("late", seconds=5.0)
        assert laser.power == 0.0
        assert bench.now() == 5.0
        laser.simulate_fault("disconnected", seconds=10.0)
        for _ in range(2):
            with pytest.raises(QMI_TransportLostException):
                _ = laser.power
        bench.clock.advance(10.0)
        assert laser.power == 0.0


def test_unplugged_cable_keeps_an_instrument_from_opening() -> None:
    with open_task_bench() as bench:
        laser = bench.context.make_instrument("laser", Laser, simulate=True)
        laser.simulate_fault("disconnected", seconds=10.0)
        with pytest.raises(ConnectionRefusedError, match="no connection to laser: its simulated cable is unplugged"):
            laser.open()
        assert not laser.is_open()
        bench.clock.advance(10.0)
        laser.open()
        assert laser.power == 0.0
        laser.close()


class AsyncLaser(QMI_Instrument):
    @rpc_method
    async def open(self) -> None:  # type: ignore[override]
        raise Hardware

    @parameter(unit="W", limits=(0, 0.1))
    async def power(self) -> float:
        raise Hardware

    @power.setter
    async def set_power(self, value: float) -> None:
        raise Hardware

    @rpc_method
    async def align(self) -> str:
        raise Hardware


class AsyncLaserSimulator(Simulator):
    def align(self) -> str:
        return "aligned"


def test_driver_in_the_event_loop_goes_by_virtual_time() -> None:
    async def main() -> None:
        async with open_virtual_context() as context:
            laser: Any = await context.make_instrument("laser", AsyncLaser, simulate=AsyncLaserSimulator)
            async with laser:
                await laser.set_power(0.05)
                assert await laser.get_power() == 0.05
                assert await laser.align() == "aligned"
                await laser.simulate_fault("late", seconds=60.0)
                begin = trio.current_time()
                assert await laser.get_power() == 0.05
                assert trio.current_time() == begin + 60.0
                await laser.simulate_fault("no_answer")
                with pytest.raises(QMI_TimeoutException):
                    await laser.get_power()

    run_in_virtual_time(main)


async def test_driver_in_the_event_loop_waits_in_real_time_too() -> None:
    async with qmi.open_context("bench", None) as context:
        laser: Any = await context.make_instrument("laser", AsyncLaser, simulate=True)
        await laser.simulate_fault("late", seconds=0.01)
        begin = trio.current_time()
        assert await laser.get_power() == 0.0
        assert trio.current_time() >= begin + 0.01


def test_instrument_without_a_device_is_the_same_in_a_simulation() -> None:
    with QMI_Context("bench", CfgQmi(simulate=True)) as context:
        nsg = context.make_instrument("nsg", NoisySineGenerator)
        assert isinstance(nsg.get_sample(), float)
        assert not nsg.is_simulated()
        assert context.make_instrument("other", NoisySineGenerator, simulate=True).get_sample() is not None


class Bare(QMI_Instrument):
    """Declares nothing."""


def test_driver_that_cannot_be_simulated_says_what_to_do() -> None:
    with QMI_Context("bench", CfgQmi(simulate=True)) as context:
        with pytest.raises(QMI_UsageException, match="Bare cannot be simulated: it declares no parameters") as caught:
            context.make_instrument("bare", Bare)
        assert "simulator = False" in str(caught.value)
        assert not context.make_instrument("bare", Bare, simulate=False).is_simulated()


def test_constructor_that_looks_for_a_device_is_explained(context: QMI_Context) -> None:
    class Eager(Laser):
        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device") as caught:
        context.make_instrument("laser", Eager, simulate=True)
    assert any("the constructor of Eager runs all the same" in note for note in caught.value.__notes__)


def test_arguments_of_the_constructor_are_its_own(context: QMI_Context) -> None:
    class Odd(Laser):
        def __init__(self, context: Any, name: str, simulate: str = "") -> None:
            super().__init__(context, name)
            self.simulate = simulate

        @rpc_method
        def get_simulate(self) -> str:
            return self.simulate

    odd: Any = context.make_instrument("odd", Odd, simulate="mine")
    assert odd.get_simulate() == "mine"
    assert not odd.is_simulated()


class Own(Laser):
    @rpc_method
    def is_simulated(self) -> bool:
        return False

    @rpc_method
    def simulate_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> str:  # type: ignore[override]
        return f"own {kind}"


def test_methods_of_the_driver_stay(context: QMI_Context) -> None:
    own: Any = context.make_instrument("own", Own, simulate=True)
    assert own.simulate_fault("late") == "own late"
    assert own.is_simulated() is False
    assert "(simulated)" in repr(own)


def test_class_of_a_simulated_driver_is_made_once(context: QMI_Context) -> None:
    class Faster(Simulator):
        pass

    one = context.make_instrument("one", Laser, simulate=True)
    two = context.make_instrument("two", Laser, simulate=True)
    three = context.make_instrument("three", Laser, simulate=Faster)
    assert type(one) is type(two)
    one.power = 0.02
    assert (one.power, two.power, three.power) == (0.02, 0.0, 0.0)
    assert simulated_class(Laser, True) is simulated_class(Laser, True)
    assert simulated_class(Laser, Faster) is not simulated_class(Laser, True)


def test_class_of_a_simulated_driver_is_made_anew_when_one_of_both_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inside(Simulator):
        pass

    first = simulated_class(Laser, Inside)
    monkeypatch.setattr(Laser, "described", rpc_method(lambda self: "a laser"), raising=False)
    second = simulated_class(Laser, Inside)
    assert second is not first
    monkeypatch.setattr(Inside, "described", lambda self: "a simulated laser", raising=False)
    assert simulated_class(Laser, Inside) is not second
