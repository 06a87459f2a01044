"""A power supply of any vendor."""

from __future__ import annotations

import math

from qmi.core.rpc import rpc_method
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.scpi.instrument import Scpi_Instrument, number_of, setting


class Scpi_PowerSupply(Scpi_Instrument):
    """A power supply with one or several outputs, with the usual commands (``VOLT``, ``CURR``, ``OUTP``, ``MEAS``).

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached; see :class:`.Scpi_Instrument`.
        channels: How many outputs it has. With more than one, ``INST:NSEL`` chooses among them.
        max_voltage: Highest voltage that may be set, in volts, so that a slip does not destroy what hangs on it.
        max_current: Highest current limit that may be set, in amperes.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again.
    """

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
        self._channels = channels
        self._max_voltage = max_voltage
        self._max_current = max_current

    @rpc_method
    def set_voltage(self, voltage: float, channel: int = 1) -> None:
        """Set the voltage of an output.

        Args:
            voltage: In volts.
            channel: Number of the output.

        Raises:
            ValueError: If it is no number from 0 to the highest that is allowed.
        """
        value = setting("voltage", voltage, 0.0, self._max_voltage)
        self._set(f"voltage {channel}", *self._select(channel), f"VOLT {value}")

    @rpc_method
    def get_voltage(self, channel: int = 1) -> float:
        """The voltage that an output is set to, in volts."""
        self._choose(channel)
        return self._ask_number("VOLT?")

    @rpc_method
    def set_current(self, current: float, channel: int = 1) -> None:
        """Set the current limit of an output.

        Args:
            current: In amperes.
            channel: Number of the output.

        Raises:
            ValueError: If it is no number from 0 to the highest that is allowed.
        """
        value = setting("current", current, 0.0, self._max_current)
        self._set(f"current {channel}", *self._select(channel), f"CURR {value}")

    @rpc_method
    def get_current(self, channel: int = 1) -> float:
        """The current limit that an output is set to, in amperes."""
        self._choose(channel)
        return self._ask_number("CURR?")

    @rpc_method
    def set_output(self, on: bool, channel: int = 1) -> None:
        """Switch an output on or off.

        Args:
            on: Whether it is to be on.
            channel: Number of the output.
        """
        # No setting that is restored: nothing is switched on behind anybody's back.
        self._choose(channel)
        self._write(f"OUTP {'ON' if on else 'OFF'}")

    @rpc_method
    def get_output(self, channel: int = 1) -> bool:
        """Whether an output is on."""
        self._choose(channel)
        return self._ask_flag("OUTP?")

    @rpc_method
    def measure_voltage(self, channel: int = 1) -> float:
        """The voltage that is at an output, in volts."""
        self._choose(channel)
        return self._ask_number("MEAS:VOLT?")

    @rpc_method
    def measure_current(self, channel: int = 1) -> float:
        """The current that flows at an output, in amperes."""
        self._choose(channel)
        return self._ask_number("MEAS:CURR?")

    def _select(self, channel: int) -> list[str]:
        """The commands that choose an output: each time, since somebody may have turned a knob at the front panel."""
        self._check_is_open()
        number_of("channel", channel, self._channels)
        return [f"INST:NSEL {channel}"] if self._channels > 1 else []

    def _choose(self, channel: int) -> None:
        for command in self._select(channel):
            self._write(command)
