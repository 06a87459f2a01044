"""A power supply of any vendor."""

from __future__ import annotations

import math
from typing import Protocol

from qmi.core.driver import ScpiChannel, ScpiInstrument, channels, parameter, rpc_method
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.scpi.instrument import number_of, setting
from qmi.instruments.scpi.simulators import PowerSupplyOutputSimulator

_MOST_OUTPUTS = 8


class PowerSupplyOutput(ScpiChannel):
    """One output of a power supply."""

    instrument: Scpi_PowerSupply
    simulator = PowerSupplyOutputSimulator

    voltage = parameter(
        "VOLT", float, unit="V", limits=(0.0, lambda output: output.highest_voltage), doc="Voltage that is set."
    )
    current = parameter(
        "CURR", float, unit="A", limits=(0.0, lambda output: output.highest_current), doc="Current limit."
    )
    output = parameter("OUTP", bool, doc="Whether the output is on.")
    measured_voltage = parameter("MEAS:VOLT?", float, unit="V", doc="Voltage that is at the output.")
    measured_current = parameter("MEAS:CURR?", float, unit="A", doc="Current that flows.")

    @property
    def highest_voltage(self) -> float | None:
        """Highest voltage that may be set, in volts; None for what the supply can do."""
        return None if math.isinf(self.instrument.max_voltage) else self.instrument.max_voltage

    @property
    def highest_current(self) -> float | None:
        """Highest current limit that may be set, in amperes; None for what the supply can do."""
        return None if math.isinf(self.instrument.max_current) else self.instrument.max_current


class _Numbered(Protocol):
    number: int


class Scpi_PowerSupply(ScpiInstrument):
    """A power supply with one or several outputs, with the usual commands (``VOLT``, ``CURR``, ``OUTP``, ``MEAS``).

    Each output is a channel: ``supply.channels[1].voltage``.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`.ScpiInstrument`.
        channels: How many outputs it has, up to 8. With more than one, ``INST:NSEL`` chooses among them.
        max_voltage: Highest voltage that may be set, in volts, so that a slip does not destroy what hangs on it.
        max_current: Highest current limit that may be set, in amperes.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again.
    """

    channels = channels(PowerSupplyOutput, 1, _MOST_OUTPUTS, present=lambda supply: supply.output_count)

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        channels: int = 1,
        max_voltage: float = math.inf,
        max_current: float = math.inf,
        timeout: float = 5.0,
        check_errors: bool = False,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, timeout=timeout, check_errors=check_errors, reconnect=reconnect)
        self.output_count = number_of("channels", channels, _MOST_OUTPUTS)
        """How many outputs there are."""
        self.max_voltage = highest("max_voltage", max_voltage)
        """Highest voltage that may be set, in volts."""
        self.max_current = highest("max_current", max_current)
        """Highest current limit that may be set, in amperes."""

    @rpc_method
    def set_voltage(self, voltage: float, channel: int = 1) -> None:
        """Set the voltage of an output.

        Args:
            voltage: In volts.
            channel: Number of the output.

        Raises:
            ValueError: If it is no number from 0 to the highest that is allowed.
        """
        setting("voltage", voltage, 0.0, self.max_voltage)
        self._output(channel).voltage = voltage

    @rpc_method
    def get_voltage(self, channel: int = 1) -> float:
        """The voltage that an output is set to, in volts."""
        return self._output(channel).voltage

    @rpc_method
    def set_current(self, current: float, channel: int = 1) -> None:
        """Set the current limit of an output.

        Args:
            current: In amperes.
            channel: Number of the output.

        Raises:
            ValueError: If it is no number from 0 to the highest that is allowed.
        """
        setting("current", current, 0.0, self.max_current)
        self._output(channel).current = current

    @rpc_method
    def get_current(self, channel: int = 1) -> float:
        """The current limit that an output is set to, in amperes."""
        return self._output(channel).current

    @rpc_method
    def set_output(self, on: bool, channel: int = 1) -> None:
        """Switch an output on or off.

        Args:
            on: Whether it is to be on.
            channel: Number of the output.
        """
        self._output(channel).output = bool(on)

    @rpc_method
    def get_output(self, channel: int = 1) -> bool:
        """Whether an output is on."""
        return self._output(channel).output

    @rpc_method
    def measure_voltage(self, channel: int = 1) -> float:
        """The voltage that is at an output, in volts."""
        return self._output(channel).measured_voltage

    @rpc_method
    def measure_current(self, channel: int = 1) -> float:
        """The current that flows at an output, in amperes."""
        return self._output(channel).measured_current

    def _output(self, number: int) -> PowerSupplyOutput:
        self._check_is_open()
        return self.channels[number_of("channel", number, self.output_count)]

    def _channel_commands(self, channel: _Numbered | None) -> tuple[str, ...]:
        """The commands that choose an output: each time, since somebody may have turned a knob at the front panel."""
        return (f"INST:NSEL {channel.number}",) if channel is not None and self.output_count > 1 else ()


def highest(name: str, value: float) -> float:
    """A highest value that may be set; infinite if there is none.

    Raises:
        ValueError: If it is no number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number >= 0, got {value!r}")
    return value
