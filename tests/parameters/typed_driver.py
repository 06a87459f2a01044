"""What type checkers make of a driver with parameters: each line that is wrong says so, and nothing else is.

mypy checks this file with all others; both checkers do in ``test_typing.py``.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false, reportUnknownMemberType=false

from __future__ import annotations

from enum import Enum
from typing import assert_type

import pint

import qmi
from qmi.core.driver import (
    Channel,
    ChannelList,
    Channels,
    Parameter,
    ParameterHandle,
    ParameterInfo,
    QMI_Instrument,
    ScpiInstrument,
    Simulator,
    Snapshot,
    channels,
    parameter,
    rpc_method,
)


class Mode(Enum):
    """What is kept constant."""

    VOLTAGE = "VOLT"
    CURRENT = "CURR"


class SupplyChannel(Channel):
    """One output."""

    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 30))


class Supply(ScpiInstrument):
    """A power supply."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Set voltage")
    current = parameter("MEAS:CURR?", float, unit="A", poll=1.0)
    mode = parameter("FUNC", Mode)
    output = parameter("OUTP", bool)
    range = parameter("RANG", int, values={1: "LOW", 10: "HIGH"})
    protection = parameter("PROT", float, limits=("voltage", lambda self: 60))
    channels = channels(SupplyChannel, 1, 4)

    @rpc_method
    def double(self) -> float:
        """Double the voltage."""
        assert_type(self.voltage, float)
        self.voltage = 2 * self.voltage
        return self.voltage


class Laser(QMI_Instrument):
    """A laser with getters and setters."""

    @parameter(unit="W", limits=(0, 0.1))
    def power(self) -> float:
        """Emitted power."""
        return 0.0

    @power.setter
    def set_power(self, value: float) -> None:
        """Set the power."""

    @parameter(type=float, unit="V")
    def monitor(self) -> float:
        """What the photodiode shows."""
        return 0.0

    @parameter
    async def shutter(self) -> bool:
        """Whether light comes out."""
        return False

    @rpc_method
    def get_wavelength(self) -> float:
        """The wavelength."""
        return 1550.0

    @rpc_method
    def set_wavelength(self, value: float) -> None:
        """Tune it."""

    wavelength = parameter(getter=get_wavelength, setter=set_wavelength, type=float, unit="nm")


def use(psu: Supply, laser: Laser) -> None:
    """What a script does with proxies, which are typed as their drivers."""
    assert_type(psu.voltage, float)
    assert_type(psu.mode, Mode)
    assert_type(psu.output, bool)
    assert_type(psu.range, int)
    assert_type(SupplyChannel.voltage, Parameter[float])
    assert_type(Supply.mode, Parameter[Mode])
    assert_type(Supply.channels, Channels[SupplyChannel])
    psu.voltage = 5
    psu.voltage = 5.0
    psu.mode = Mode.CURRENT
    psu.voltage = pint.Quantity(5.0, "V")
    psu.voltage = "5"  # type: ignore[assignment]
    psu.voltage = None  # type: ignore[assignment]
    psu.mode = "CURR"  # type: ignore[assignment]
    psu.volltage  # type: ignore[attr-defined]  # noqa: B018

    assert_type(psu.channels, ChannelList[SupplyChannel])
    assert_type(psu.channels[2], SupplyChannel)
    assert_type(psu.channels[2].voltage, float)
    psu.channels[2].voltage = 3.0
    psu.channels[2].voltage = "3"  # type: ignore[assignment]
    for channel in psu.channels:
        assert_type(channel.voltage, float)

    assert_type(psu.parameters(), dict[str, ParameterInfo])
    assert_type(psu.parameters.voltage, ParameterHandle)
    assert_type(psu.parameters["channels[1].voltage"].limits(), tuple[float | None, float | None])
    assert_type(psu.snapshot(), Snapshot)

    assert_type(laser.power, float)
    laser.power = 0.01
    laser.power = "x"  # type: ignore[assignment]
    laser.set_power(0.01)
    laser.set_power("x")  # type: ignore[arg-type]
    assert_type(Laser.power, Parameter[float])
    assert_type(laser.shutter, bool)
    assert_type(laser.monitor, float)
    assert_type(laser.wavelength, float)


class SupplySimulator(Simulator):
    """What the supply measures."""

    voltage = 12.0

    def current(self) -> float:
        """Through a resistor, while the output is on."""
        return self.voltage / 50 if self.output else 0.0

    @Simulator.command("CURV?")
    def curve(self) -> bytes:
        """A curve."""
        return bytes(10)


class Simulated(Supply):
    """Names its simulator."""

    simulator = SupplySimulator


async def simulate() -> None:
    """The transport may be left out, and the type of the driver stays."""
    assert_type(qmi.make_instrument("psu", Supply, simulate=True), Supply)
    assert_type(qmi.make_instrument("psu", Supply, "tcp:psu", simulate=SupplySimulator, replace=True), Supply)
    assert_type(qmi.make_instrument("psu", Simulated, "tcp:psu", timeout=1.0), Simulated)
    context = qmi.context()
    psu = context.make_instrument("psu", Supply, simulate=True)
    assert_type(psu, Supply)
    assert_type(psu.is_simulated(), bool)
    psu.simulate_fault("late", times=2, seconds=0.5)
    context.make_instrument("psu", Supply, simulate="yes")  # type: ignore[call-overload]
    qmi.make_instrument("psu", Supply, simulate=Supply)  # type: ignore[arg-type]


# Declarations that are wrong by their types
parameter("VOLT")  # type: ignore[call-overload]
parameter("VOLT", float, limits=3)  # type: ignore[call-overload]
parameter("VOLT", float, minimum=3)  # type: ignore[call-overload]
