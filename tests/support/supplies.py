"""Power supplies whose parameters are kept in the object, for tests of snapshots, signals and polls."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy
import trio

from qmi.core.driver import Block, Channel, QMI_Instrument, channels, parameter, rpc_method
from qmi.core.rpc import Placement


class Mode(Enum):
    VOLTAGE = "VOLT"
    CURRENT = "CURR"


class Kept(QMI_Instrument):
    """Keeps what is written, and notes what goes over the line."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept: dict[str, Any] = {"CURR": 0.25, "MODE": Mode.VOLTAGE, "WAVE": numpy.array([0.0, 1.0])}
        self.line: list[str] = []
        self.fail: Callable[[str], object] = lambda command: None

    def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        key = f"{channel.number if channel else ''}{parameter.ask.removesuffix('?')}"
        self.line.append(f"{key}?")
        self.fail(f"{key}?")
        return self.kept[key] if key in self.kept else parameter.type()

    def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> Any:
        key = f"{channel.number if channel else ''}{parameter.write.split()[0]}"
        self.line.append(f"{key} {value}")
        self.fail(f"{key} {value}")
        self.kept[key] = value

    @rpc_method
    def get_line(self) -> list[str]:
        """What went over the line; it is forgotten then."""
        line, self.line = self.line, []
        return line


class Output(Channel):
    level = parameter("LEV", float, unit="V", limits=(0, "maximum"))
    maximum = parameter("MAX", float, unit="V", limits=(0, 60))
    current = parameter("CURR?", float, unit="A", poll=0.5)


class Supply(Kept):
    """A power supply."""

    maximum = parameter("MAX", float, unit="V", limits=(0, 60))
    voltage = parameter("VOLT", float, unit="V", limits=(0, "maximum"))
    power = parameter("POW", float, unit="W", limits=(0, lambda supply: supply.voltage * 2))
    current = parameter("CURR?", float, unit="A", poll=1.0)
    mode = parameter("MODE", Mode)
    output = parameter("OUTP", bool)
    trigger = parameter(write="TRIG {value}", type=int)
    wave = parameter("WAVE?", Block("<f4"))
    outputs = channels(Output, 1, 2)


async def most_power(supply: Any) -> float:
    return 2.0 * float(await supply.get_voltage())


class AsyncSupply(Supply):
    """The same in the event loop."""

    _rpc_placement = Placement.LOOP
    power = parameter("POW", float, unit="W", limits=(0, most_power))

    async def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super()._read_parameter(parameter, channel)

    async def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return super()._write_parameter(parameter, value, channel)


class MixedSupply(AsyncSupply):
    """Other methods run in a thread."""

    _rpc_placement = Placement.THREAD


class CallersSupply(Supply):
    """Methods run in the thread of the caller."""

    _rpc_placement = Placement.CALLER


SUPPLIES = [Supply, AsyncSupply, MixedSupply, CallersSupply]
