"""The temperature controllers 335 and 336 of Lake Shore: sensors, and loops that heat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from qmi.core.driver import ScpiChannel, ScpiInstrument, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_InstrumentException
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.lakeshore.simulator import Lakeshore335Simulator, LakeshoreLoopSimulator, LakeshoreSimulator

_LETTERS = "ABCD"
_EVENTS = {2: "the output queue overflowed", 4: "a command could not be done", 5: "a command was not understood"}
_SENSOR_BITS = (0, 4, 5, 6, 7)


class HeaterRange(Enum):
    """How strongly a loop can heat."""

    OFF = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class ControlMode(Enum):
    """What a loop does."""

    OFF = 0
    CLOSED_LOOP = 1
    ZONE = 2
    OPEN_LOOP = 3
    MONITOR = 4
    WARM_UP = 5


class HeaterError(Enum):
    """What is wrong with a heater."""

    NONE = 0
    OPEN_LOAD = 1
    SHORT = 2


class PidParameters(NamedTuple):
    """What a loop controls the temperature with.

    Attributes:
        p: Proportional gain, from 0.1 to 1000.
        i: Integral part, in reset per 1000 seconds, from 0.1 to 1000; 0 for none.
        d: Derivative part, in percent of half the integral time, from 0 to 200.
    """

    p: float
    i: float
    d: float


class SensorStatus(NamedTuple):
    """Why a reading is not to be trusted.

    Attributes:
        invalid: It could not be taken.
        temperature_under_range: It is below the curve of the sensor.
        temperature_over_range: It is above it.
        sensor_zero: The sensor gives nothing, as if it were shorted.
        sensor_over_range: It gives too much, as if it were open.
    """

    invalid: bool
    temperature_under_range: bool
    temperature_over_range: bool
    sensor_zero: bool
    sensor_over_range: bool

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self)


class LakeshoreInput(ScpiChannel):
    """An input with a sensor: number 1 is input A."""

    instrument: Lakeshore_336

    @property
    def letter(self) -> str:
        """What the input is called at the instrument."""
        return _LETTERS[self.number - 1]

    @parameter(unit="K", doc="Temperature of the sensor.")
    def temperature(self) -> float:
        """Temperature of the sensor."""
        return self._ask_number(f"KRDG? {self.letter}")

    @parameter(doc="What the sensor gives, in its own unit: volts or ohms.")
    def sensor(self) -> float:
        """What the sensor gives."""
        return self._ask_number(f"SRDG? {self.letter}")

    @rpc_method
    def get_name(self) -> str:
        """What somebody has called the input."""
        return self._ask(f"INNAME? {self.letter}").strip()

    @rpc_method
    def set_name(self, name: str) -> None:
        """Give the input a name, which the instrument keeps and shows.

        Args:
            name: Up to 15 characters of ASCII, without quotes.

        Raises:
            ValueError: If it cannot be shown.
        """
        if not name.isascii() or not name.isprintable() or len(name) > 15 or '"' in name:
            raise ValueError(f"name must be up to 15 characters of ASCII without quotes, got {name!r}")
        self._set("name", f'INNAME {self.letter},"{name}"')

    @rpc_method
    def get_status(self) -> SensorStatus:
        """Why the reading of the input is not to be trusted, if so."""
        bits = int(self._ask_number(f"RDGST? {self.letter}"))
        return SensorStatus(*(bool(bits >> bit & 1) for bit in _SENSOR_BITS))


class LakeshoreLoop(ScpiChannel):
    """A loop: an output that heats until an input has the temperature that is set."""

    instrument: Lakeshore_336
    simulator = LakeshoreLoopSimulator

    setpoint = parameter(
        type=float,
        ask="SETP? {n}",
        write="SETP {n},{value}",
        unit="K",
        limits=(0.0, lambda loop: loop.highest_setpoint),
        doc="Temperature that the loop goes to, in the unit of the setpoint, which is kelvin as delivered.",
    )
    heater_range = parameter(
        type=HeaterRange, ask="RANGE? {n}", write="RANGE {n},{value}", doc="How strongly the loop can heat."
    )
    manual_output = parameter(
        type=float,
        ask="MOUT? {n}",
        write="MOUT {n},{value}",
        unit="%",
        limits=(0.0, 100.0),
        doc="How strongly the loop heats of itself, without a look at the temperature.",
    )
    heater_output = parameter("HTR? {n}", float, unit="%", doc="How strongly the loop heats, of what its range allows.")
    heater_error = parameter("HTRST? {n}", HeaterError, doc="What is wrong with the heater.")
    is_ramping = parameter("RAMPST? {n}", bool, doc="Whether the setpoint is on its way to the value that was set.")

    @property
    def highest_setpoint(self) -> float | None:
        """Highest setpoint that may be set, in kelvins; None for what the controller can do."""
        highest = self.instrument.max_temperature
        return None if math.isinf(highest) else highest

    @parameter(unit="K/min", limits=(0.001, 100.0), doc="How fast the setpoint goes to a value that is set.")
    def ramp_rate(self) -> float:
        """How fast the setpoint goes to a value that is set."""
        return self._ramp()[1]

    @ramp_rate.setter
    def set_ramp_rate(self, value: float) -> None:
        """Say how fast the setpoint goes to a value that is set."""
        self._set_ramp(self._ramp()[0], value)

    @parameter(doc="Whether the setpoint goes to a value that is set at the ramp rate, and not at once.")
    def ramp(self) -> bool:
        """Whether the setpoint goes to a value that is set at the ramp rate."""
        return self._ramp()[0]

    @ramp.setter
    def set_ramp(self, value: bool) -> None:
        """Say whether the setpoint goes to a value that is set at the ramp rate."""
        self._set_ramp(value, self._ramp()[1])

    @parameter(doc="What the loop does.")
    def mode(self) -> ControlMode:
        """What the loop does."""
        return self._mode()[0]

    @mode.setter
    def set_mode(self, value: ControlMode) -> None:
        """Say what the loop does."""
        self._set_mode(value, self._mode()[1])

    @parameter(limits=(0, lambda loop: len(loop.instrument.inputs)), doc="Number of the input that the loop controls.")
    def control_input(self) -> int:
        """Number of the input that the loop controls; 0 for none."""
        return self._mode()[1]

    @control_input.setter
    def set_control_input(self, value: int) -> None:
        """Say which input the loop controls."""
        self._set_mode(self._mode()[0], value)

    @rpc_method
    def get_pid(self) -> PidParameters:
        """What the loop controls the temperature with."""
        return PidParameters(*self._ask_numbers("PID? {n}", 3))

    @rpc_method
    def set_pid(self, p: float, i: float, d: float) -> None:
        """Set what the loop controls the temperature with.

        Args:
            p: Proportional gain, from 0.1 to 1000.
            i: Integral part, in reset per 1000 seconds, from 0.1 to 1000, or 0.
            d: Derivative part, in percent of half the integral time, from 0 to 200.

        Raises:
            ValueError: If one of them is no such number.
        """
        numbers = [
            _number("p", p, 0.1, 1000.0),
            "0" if not isinstance(i, bool) and i == 0 else _number("i", i, 0.1, 1000.0),
            _number("d", d, 0.0, 200.0),
        ]
        self._set("pid", f"PID {{n}},{','.join(numbers)}")

    def _ramp(self) -> tuple[bool, float]:
        is_on, rate = self._ask_numbers("RAMP? {n}", 2)
        return is_on != 0, rate

    def _set_ramp(self, is_on: bool, rate: float) -> None:
        self._set("ramp", f"RAMP {{n}},{int(is_on)},{rate:.9G}")

    def _mode(self) -> tuple[ControlMode, int]:
        question = "OUTMODE? {n}"
        mode, number, _ = self._ask_numbers(question, 3)
        try:
            return ControlMode(int(mode)), int(number)
        except ValueError:
            raise QMI_InstrumentException(
                f"Expected a mode from 0 to 5 in answer to {question!r}, got {mode:g}"
            ) from None

    def _set_mode(self, mode: ControlMode, number: int) -> None:
        # Whether the output is on again after a loss of power stays as it is.
        powered_up = int(self._ask_numbers("OUTMODE? {n}", 3)[2])
        self._set("mode", f"OUTMODE {{n}},{mode.value},{number},{powered_up}")


class Lakeshore_336(ScpiInstrument):
    """A temperature controller Model 336: inputs A to D, and two loops that heat.

    After a lost connection was made again, a loop is given its settings but not its heater range: nothing is heated
    behind anybody's back.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached: ``tcp:192.168.1.40``, ``serial:/dev/ttyUSB0``, ``visa:GPIB0::12::INSTR``.
        max_temperature: Highest setpoint that may be set, in kelvins, so that a slip does not melt a sample.
        timeout: For how long an answer is waited for, in seconds.
        reconnect: Whether and how a lost connection is made again; see :class:`.Reconnect`.
    """

    TRANSPORT_DEFAULTS: ClassVar[Mapping[str, object]] = {
        "port": 7777,
        "baudrate": 57600,
        "bytesize": 7,
        "parity": "O",
        "stopbits": 1.0,
    }
    NOT_RESTORED: ClassVar[tuple[str, ...]] = ("heater_range",)
    # The manual wants 50 ms between two commands.
    command_delay: ClassVar[float] = 0.05

    simulator = LakeshoreSimulator
    inputs = channels(LakeshoreInput, 1, 4)
    loops = channels(LakeshoreLoop, 1, 2)

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        max_temperature: float = math.inf,
        timeout: float = 2.0,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, timeout=timeout, reconnect=reconnect)
        if isinstance(max_temperature, bool) or not max_temperature >= 0:
            raise ValueError(f"max_temperature must be a number of kelvins >= 0, got {max_temperature!r}")
        self.max_temperature = max_temperature
        """Highest setpoint that may be set, in kelvins."""

    @rpc_method
    def all_off(self) -> None:
        """Switch all heaters off."""
        for loop in self.loops:
            loop.heater_range = HeaterRange.OFF

    @rpc_method
    def get_errors(self) -> list[str]:
        """What has gone wrong since the last look; the instrument forgets it."""
        bits = int(self._ask_number("*ESR?"))
        return [text for bit, text in _EVENTS.items() if bits >> bit & 1]


class Lakeshore_335(Lakeshore_336):
    """A temperature controller Model 335: inputs A and B, and two loops that heat; see :class:`Lakeshore_336`."""

    simulator = Lakeshore335Simulator
    inputs = channels(LakeshoreInput, 1, 2)


def _number(name: str, value: Any, low: float, high: float) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return f"{value:.9G}"
