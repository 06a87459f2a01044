"""An instrument for the command line: parameters, channels, methods of many types, streams."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple

import numpy

from qmi.core.driver import Channel, QMI_Instrument, QMI_Signal, channels, parameter, rpc_method


class Mode(Enum):
    """How it regulates."""

    VOLTAGE = "VOLT"
    CURRENT = "CURR"


class Point(NamedTuple):
    x: float
    y: float


@dataclass
class Pulse:
    width: float
    mode: Mode = Mode.VOLTAGE


class Output(Channel):
    """One output."""

    @parameter(unit="V", limits=(0, 30))
    def voltage(self) -> float:
        """Voltage that it is set to."""
        return float(vars(self).get("volts", 0.0))

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        self.volts = value

    @rpc_method
    def ramp(self, target: float, rate: float = 1.0) -> str:
        """Go to a voltage slowly."""
        return f"channel {self.number} to {target} at {rate}"


class ShellSupply(QMI_Instrument):
    """A power supply for tests of the command line."""

    sig_told = QMI_Signal([str, int])

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.volts, self.milliamps, self.kept, self.is_on = 1.5, 100.0, Mode.VOLTAGE, False
        self.text = "hello"
        self.calls: list[str] = []

    @parameter(unit="V", limits=(0, 30))
    def voltage(self) -> float:
        """Voltage of the output."""
        return self.volts

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        self.volts = value

    @parameter(unit="mA", limits=(0, 500))
    def current(self) -> float:
        """Limit of the current."""
        return self.milliamps

    @current.setter
    def set_current(self, value: float) -> None:
        self.milliamps = value

    @parameter()
    def mode(self) -> Mode:
        """How it regulates."""
        return self.kept

    @mode.setter
    def set_mode(self, value: Mode) -> None:
        self.kept = value

    @parameter()
    def output(self) -> bool:
        """Whether it is on."""
        return self.is_on

    @output.setter
    def set_output(self, value: bool) -> None:
        self.is_on = value

    @parameter()
    def label(self) -> str:
        """What it is for."""
        return self.text

    @label.setter
    def set_label(self, value: str) -> None:
        self.text = value

    @parameter(unit="degC")
    def temperature(self) -> float:
        """Of the heat sink."""
        return 41.5

    @parameter(unit="mbar", poll=0.02)
    def pressure(self) -> float:
        """Published by itself."""
        return 7.5

    outputs = channels(Output, 1, 2)

    @rpc_method
    def echo(self, value):  # type: ignore[no-untyped-def]
        """Give back what came.

        Args:
            value: Anything.
        """
        return value

    @rpc_method
    def choose(self, mode: Mode, how: Literal["fast", "slow"] = "slow", *, times: int = 1) -> list[str]:
        """Choose."""
        return [type(mode).__name__, mode.name, how, str(times)]

    @rpc_method
    def pulse(self, pulse: Pulse) -> str:
        """Make a pulse."""
        return f"{type(pulse).__name__} {pulse.width} {pulse.mode.name}"

    @rpc_method
    def total(self, values: numpy.ndarray) -> float:
        """The sum."""
        return float(values.sum())

    @rpc_method
    def raw(self, data: bytes) -> int:
        """Send bytes."""
        return len(data)

    @rpc_method
    def trace(self, points: int = 100) -> numpy.ndarray:
        """A waveform."""
        return numpy.arange(points, dtype=float)

    @rpc_method
    def points(self) -> list[Point]:
        """Some points."""
        return [Point(1.0, 2.0), Point(3.0, 4.0)]

    @rpc_method
    def state(self) -> dict[str, object]:
        """How it is."""
        return {"on": True, "mode": Mode.CURRENT, "volts": 1.5}

    @rpc_method
    def count(self, last: int) -> Iterator[int]:
        """Count."""
        yield from range(last)

    @rpc_method
    def tick(self) -> Iterator[int]:
        """Count for ever."""
        yield from itertools.count()

    @rpc_method
    def nap(self, seconds: float) -> None:
        """Take a while."""
        time.sleep(seconds)

    @rpc_method
    def fail(self) -> None:
        """Fail."""
        raise ValueError("the fuse is blown")

    @rpc_method
    def tell(self, text: str, number: int = 0) -> None:
        """Publish a signal."""
        self.sig_told.publish(text, number)
