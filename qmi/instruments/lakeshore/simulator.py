"""What the driver of temperature controllers talks to when it is simulated."""

from __future__ import annotations

import math
import random
from typing import Any

from qmi.core.driver import SimulatedError, Simulator, Source

_LETTERS = "ABCD"
_LONGEST_STEP = 0.5
_MOST_STEPS = 2000
_SHARE_OF_RANGE = {0: 0.0, 1: 0.01, 2: 0.1, 3: 1.0}
_CLOSED_LOOP, _OPEN_LOOP = 1, 3


class _Stage(Source):
    """Has the time pass for a stage before a setting counts that has changed."""

    def value(self, simulator: Any) -> float:
        return float(simulator.advance())

    def changed(self, simulator: Any) -> None:
        simulator.advance()


class LakeshoreLoopSimulator(Simulator):
    """A loop with a stage at it, which its heater heats and the cold around it cools.

    Attributes:
        cold: Temperature around the stage, in kelvins.
        cool_down: Time constant with which the stage comes to it, in seconds.
        strongest: By how much the heater warms the stage at last, when it gives all, in kelvins.
    """

    cold: float = 4.0
    cool_down: float = 30.0
    strongest: float = 400.0

    setpoint = 4.0
    temperature = _Stage()

    def __init__(self) -> None:
        super().__init__()
        self._temperature = self.cold
        self._setpoint = 4.0
        self._power = 0.0
        self._integral = 0.0
        self._at: float | None = None
        self._pid = (50.0, 20.0, 0.0)
        self._ramp = (False, 10.0)
        self._mode = (_CLOSED_LOOP, 0, 0)
        self._seen = (4.0, 0, 0.0)

    def switched_on(self) -> None:
        """The stage is cold, and the heater off."""
        self._temperature, self._setpoint, self._power, self._integral, self._at = self.cold, 4.0, 0.0, 0.0, None
        self._pid, self._ramp, self._mode = (50.0, 20.0, 0.0), (False, 10.0), (_CLOSED_LOOP, self.number(), 0)
        self._look()

    def heater_output(self) -> float:
        """How strongly the heater heats, in percent."""
        self.advance()
        return 100 * self._power

    def is_ramping(self) -> bool:
        """Whether the setpoint is on its way."""
        self.advance()
        return self._setpoint != self.setpoint

    def advance(self) -> float:
        """Let the time since the last look pass, with the settings that there were; the temperature now, in kelvins."""
        now = self.now()
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        steps = min(_MOST_STEPS, math.ceil(passed / _LONGEST_STEP))
        for _ in range(steps):
            self._step(passed / steps)
        self._look()
        return self._temperature

    def _look(self) -> None:
        self._seen = self.setpoint, self.heater_range.value, self.manual_output

    def _step(self, seconds: float) -> None:
        self._move_setpoint(seconds)
        remains = math.exp(-seconds / self.cool_down)
        strongest = self.strongest * _SHARE_OF_RANGE[self._seen[1]]
        # What the stage cools down to meanwhile, and by how much full power would warm it.
        cooled, warmth = self.cold + (self._temperature - self.cold) * remains, strongest * (1 - remains)
        self._power = self._control(seconds, cooled, warmth)
        self._temperature = cooled + warmth * self._power

    def _move_setpoint(self, seconds: float) -> None:
        is_ramping, rate = self._ramp
        way = self._seen[0] - self._setpoint
        most = rate / 60 * seconds if is_ramping else math.inf
        self._setpoint += max(-most, min(most, way)) if abs(way) > most else way

    def _control(self, seconds: float, cooled: float, warmth: float) -> float:
        """How strongly the heater heats for so long, as a part of all that it can."""
        mode, number, _ = self._mode
        _, heater_range, manual = self._seen
        if heater_range == 0 or mode not in (_CLOSED_LOOP, _OPEN_LOOP):
            self._integral = 0.0
            return 0.0
        if mode == _OPEN_LOOP:
            return manual / 100
        p, i, _ = self._pid
        # The controller looks more often than once a step: it answers to the temperature at the end of it.
        is_own = number == self.number()
        error = self._setpoint - (cooled if is_own else float(self.instrument().at_input(number)))
        wanted = (manual + self._integral + p * error) / (1 + p * warmth / 100 * is_own)
        power = max(0.0, min(100.0, wanted))
        if power == wanted:  # nothing is summed up that the heater cannot give
            self._integral = max(
                0.0, min(100.0, self._integral + i / 1000 * (wanted - manual - self._integral) * seconds)
            )
        return power / 100

    @Simulator.command("PID {n},{value}")
    def _set_pid(self, *texts: str) -> None:
        p, i, d = _numbers(texts, 3)
        self.advance()
        self._pid = (p, i, d)

    @Simulator.command("PID? {n}")
    def _get_pid(self) -> str:
        return ",".join(f"{value:+.1f}" for value in self._pid)

    @Simulator.command("RAMP {n},{value}")
    def _set_ramp(self, *texts: str) -> None:
        is_on, rate = _numbers(texts, 2)
        self.advance()
        self._ramp = (bool(is_on), rate)

    @Simulator.command("RAMP? {n}")
    def _get_ramp(self) -> str:
        return f"{int(self._ramp[0])},{self._ramp[1]:+.3f}"

    @Simulator.command("OUTMODE {n},{value}")
    def _set_mode(self, *texts: str) -> None:
        mode, number, powered_up = _numbers(texts, 3)
        self.advance()
        self._mode = (int(mode), int(number), int(powered_up))

    @Simulator.command("OUTMODE? {n}")
    def _get_mode(self) -> str:
        return ",".join(str(value) for value in self._mode)


class LakeshoreSimulator(Simulator):
    """A controller with two stages, whose sensors are at the inputs A and B; further inputs are as cold as it gets.

    Attributes:
        noise: Standard deviation of a reading, in kelvins.
    """

    identity = "LSCI,MODEL336,LSA0001/#######,2.9"

    noise: float = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self._names = {letter: f"Input {letter}" for letter in _LETTERS}
        self._random = random.Random(0)

    def at_input(self, number: int) -> float:
        """The temperature at an input, without noise, in kelvins."""
        return float(self.loops[number].temperature if number in (1, 2) else self.loops[1].cold)

    @Simulator.command("KRDG?")
    def _read_temperature(self, letter: str) -> str:
        for loop in self.loops:
            loop.advance()
        value = self.at_input(self._number(letter)) + self._random.gauss(0.0, self.noise)
        return f"{value:+.4f}"

    @Simulator.command("SRDG?")
    def _read_sensor(self, letter: str) -> str:
        # About what a silicon diode has: 1.6 V in the cold, 0.5 V at room temperature.
        return f"{max(0.1, 1.65 - 0.0038 * self.at_input(self._number(letter))):+.5f}"

    @Simulator.command("RDGST?")
    def _read_status(self, letter: str) -> int:
        self._number(letter)
        return 0

    @Simulator.command("INNAME?")
    def _get_name(self, letter: str) -> str:
        self._number(letter)
        return f"{self._names[letter.upper()]:<15}"

    @Simulator.command("INNAME")
    def _set_name(self, letter: str, name: str) -> None:
        self._number(letter)
        self._names[letter.upper()] = name.strip('"')

    def _number(self, letter: str) -> int:
        number = _LETTERS.find(letter.upper()) + 1
        if not letter or not 1 <= number <= len(self.inputs):
            raise SimulatedError(-224)
        return number


class Lakeshore335Simulator(LakeshoreSimulator):
    """The same with two inputs."""

    identity = "LSCI,MODEL335,LSA0001/#######,2.9"


def _numbers(texts: tuple[str, ...], count: int) -> list[float]:
    if len(texts) != count:
        raise SimulatedError(-109 if len(texts) < count else -108)
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise SimulatedError(-104) from None
