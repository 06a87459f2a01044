"""Drivers with parameters, for tests."""

from __future__ import annotations

from enum import Enum
from typing import Any

from qmi.core.driver import Channel, QMI_Instrument, channels, parameter, rpc_method


class Mode(Enum):
    VOLTAGE = "VOLT"
    CURRENT = "CURR"


class Registers(QMI_Instrument):
    """Keeps what is written by the commands of its parameters, and answers questions with that."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept: dict[str, Any] = {"MEAS:CURR?": 0.25}
        self.exchanged: list[tuple[str, Any]] = []

    def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        question = parameter.ask.replace("{n}", str(channel and channel.number))
        self.exchanged.append((question, None))
        return self.kept.get(question, self.first_value(parameter))

    def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> None:
        command = parameter.write.partition(" ")[0].replace("{n}", str(channel and channel.number))
        self.exchanged.append((command, value))
        self.kept[f"{command}?"] = value

    def first_value(self, parameter: Any) -> Any:
        return next(iter(parameter.type)) if issubclass(parameter.type, Enum) else parameter.type()

    @rpc_method
    def get_exchanged(self) -> list[tuple[str, Any]]:
        """What went over the line."""
        return self.exchanged


class OutputChannel(Channel):
    """One output."""

    voltage = parameter("SOUR{n}:VOLT", float, unit="V", limits=(0, 30), doc="Set voltage")
    enabled = parameter("OUTP{n}", bool)

    @rpc_method
    def ramp(self, to: float, *, steps: int = 2) -> list[float]:
        """Go to a voltage in steps."""
        values = [to * step / steps for step in range(1, steps + 1)]
        for value in values:
            self.voltage = value
        return values


class Supply(Registers):
    """A power supply."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Set voltage")
    current = parameter("MEAS:CURR?", float, unit="A", doc="Measured current")
    mode = parameter("FUNC", Mode)
    output = parameter("OUTP", bool)
    count = parameter("COUN", int, limits=(1, None))
    label = parameter("LAB", str)
    range = parameter("RANG", float, unit="V", values=(0.1, 1.0, 10.0))
    delay = parameter("DEL", float, unit="s", limits=(0.5, 10), step=0.1)
    protection = parameter("PROT", float, unit="V", limits=("voltage", lambda self: 2 * 30))
    channels = channels(OutputChannel, 1, 4)


class Laser(QMI_Instrument):
    """A laser with a getter and a setter for each parameter."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self._power = 0.0
        self._wavelength = 1550.0

    @parameter(unit="W", limits=(0, 0.1))
    def power(self) -> float:
        """Emitted power."""
        return self._power

    @power.setter
    def set_power(self, value: float) -> None:
        """Set the emitted power."""
        self._power = value

    @rpc_method
    def get_wavelength(self) -> float:
        """The wavelength."""
        return self._wavelength

    @rpc_method
    def set_wavelength(self, value: float) -> None:
        """Tune the laser."""
        self._wavelength = value

    wavelength = parameter(getter=get_wavelength, setter=set_wavelength, type=float, unit="nm")
