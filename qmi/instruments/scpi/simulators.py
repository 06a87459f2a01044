"""What the generic drivers talk to when they are simulated."""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING, ClassVar

from qmi.core.driver import Noise, SimulatedError, Simulator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_OVERLOAD = "+9.90000000E+37"
_DIVISIONS = 10
_STEPS_PER_DIVISION = 25
_SAMPLES = 1000


class PowerSupplyOutputSimulator(Simulator):
    """One output of a supply, with a resistor at it: as long as it is on, it holds the voltage, or the current limit.

    Attributes:
        load: The resistor, in ohms.
    """

    load: float = 50.0
    current = 1.0
    measured_voltage = Noise(lambda output: output.terminal_voltage(), 1e-4)
    measured_current = Noise(lambda output: output.terminal_voltage() / output.load, 1e-5)

    def terminal_voltage(self) -> float:
        """The voltage at the output, without noise."""
        return float(min(self.voltage, self.current * self.load)) if self.output else 0.0


class MultimeterSimulator(Simulator):
    """A multimeter, whose readings have noise: the more, the shorter they are averaged.

    Attributes:
        inputs: What there is to be measured, by the names of the functions in SCPI.
        noise: Standard deviation of a reading of one period of the mains, as a part of the range.
    """

    inputs: ClassVar[dict[str, float]] = {
        "VOLT:DC": 1.5,
        "VOLT:AC": 0.1,
        "CURR:DC": 2e-3,
        "CURR:AC": 1e-4,
        "RES": 1e3,
        "FRES": 1e3,
        "FREQ": 1e3,
        "PER": 1e-3,
        "CAP": 1e-8,
        "TEMP": 23.0,
        "CONT": 1e3,
        "DIOD": 0.65,
    }
    noise: float = 1e-6

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(0)
        self._function = "VOLT:DC"
        self._count = 1
        self._ranges: dict[str, float] = {}
        self._cycles: dict[str, float] = {}

    def switched_on(self) -> None:
        """Measure voltages, with automatic ranges."""
        self._function, self._count = "VOLT:DC", 1
        self._ranges.clear()
        self._cycles.clear()

    def measured(self, function: str) -> float:
        """What is there to be measured, without noise; a subclass may override this.

        Args:
            function: The function, as SCPI names it.
        """
        return self.inputs[function]

    @Simulator.command("FUNC", "SENS:FUNC")
    def _choose(self, value: str) -> None:
        self._function = self._known(value)

    @Simulator.command("FUNC?", "SENS:FUNC?")
    def _chosen(self) -> str:
        return f'"{self._function}"'

    @Simulator.command("SAMP:COUN")
    def _set_count(self, value: str) -> None:
        if not value.isdigit() or not 1 <= int(value) <= 1_000_000:
            raise SimulatedError(-222)
        self._count = int(value)

    @Simulator.command("SAMP:COUN?")
    def _get_count(self) -> int:
        return self._count

    @Simulator.command("READ?")
    def _read(self) -> str:
        return ",".join(self._reading() for _ in range(self._count))

    def answer(self, command: str) -> object:
        """Answer what is set and asked of one function: its range, and for how long is averaged."""
        if found := re.fullmatch(r"MEAS:([\w:]+)\?", command, re.IGNORECASE):
            self._function = self._known(found[1])
            self._ranges.pop(self._function, None)
            return self._reading()
        found = re.fullmatch(r":?([\w:]+?):(RANG|RANG:AUTO|NPLC)(\?|\s+\S+)", command, re.IGNORECASE)
        if found is None:
            return super().answer(command)
        function, what, rest = self._known(found[1].removesuffix(":VOLT")), found[2].upper(), found[3].strip()
        if rest == "?":
            return self._setting(function, what)
        self._set(function, what, rest)
        return None

    def _setting(self, function: str, what: str) -> object:
        if what == "NPLC":
            return self._cycles.get(function, 10.0)
        return function not in self._ranges if what == "RANG:AUTO" else self._range(function)

    def _set(self, function: str, what: str, text: str) -> None:
        if what == "RANG:AUTO":
            if text.upper() in ("1", "ON"):
                self._ranges.pop(function, None)
            else:
                self._ranges.setdefault(function, self._range(function))
            return
        try:
            value = float(text)
        except ValueError:
            raise SimulatedError(-104) from None
        if what == "NPLC":
            self._cycles[function] = value
        else:
            self._ranges[function] = _decade(value)

    def _known(self, text: str) -> str:
        name = {"VOLT": "VOLT:DC", "CURR": "CURR:DC"}.get(found := text.strip("\"'").upper(), found)
        if name not in self.inputs:
            raise SimulatedError(-224)
        return name

    def _range(self, function: str) -> float:
        return self._ranges.get(function, _decade(self.measured(function)))

    def _reading(self) -> str:
        limit, cycles = self._range(self._function), self._cycles.get(self._function, 10.0)
        value = self.measured(self._function) + self._random.gauss(
            0.0, self.noise * limit / math.sqrt(max(cycles, 0.02))
        )
        return f"{value:+.8E}" if abs(value) <= 1.2 * limit else _OVERLOAD


def _decade(value: float) -> float:
    """The range that a value fits into."""
    return float(10.0 ** math.ceil(math.log10(abs(value)) - 1e-9)) if value else 1.0


class OscilloscopeChannelSimulator(Simulator):
    """One channel of an oscilloscope, with a sine at it.

    Attributes:
        amplitude: Amplitude of the sine, in volts.
        frequency: Its frequency, in hertz.
        noise: Standard deviation of the noise on it, in volts.
    """

    amplitude: float = 1.0
    frequency: float = 1e3
    noise: float = 0.01
    scale = 0.5
    enabled = True

    def signal(self, times: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """The voltages at the channel; a subclass may override this.

        Args:
            times: The times, in seconds from the trigger.
        """
        import numpy as np

        scope = self.instrument()
        # The trigger is where the sine passes the level, upwards.
        phase = math.asin(max(-1.0, min(1.0, scope.trigger_level / self.amplitude))) if self.amplitude else 0.0
        sine = self.amplitude * np.sin(2 * math.pi * self.frequency * times + phase)
        noisy: npt.NDArray[np.floating] = sine + scope.generator.normal(0.0, self.noise, len(times))
        return noisy


class OscilloscopeSimulator(Simulator):
    """An oscilloscope that understands the commands of all dialects; its channels are recorded when they are read."""

    timebase = 2e-4
    trigger_source = 1
    trigger_level = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._source = 1
        self._generator: np.random.Generator | None = None

    @property
    def generator(self) -> np.random.Generator:
        """Where the noise comes from: the same in each run."""
        import numpy as np

        if self._generator is None:
            self._generator = np.random.default_rng(0)
        return self._generator

    @Simulator.command("TIM:SCAL", "HOR:SCA")
    def _set_timebase(self, value: str) -> None:
        self.timebase = _positive(value)

    @Simulator.command("TIM:SCAL?", "HOR:SCA?")
    def _get_timebase(self) -> float:
        return self.timebase

    @Simulator.command("CHAN{n}:SCAL", "CH{n}:SCA")
    def _set_scale(self, number: int, value: str) -> None:
        self._channel(number).scale = _positive(value)

    @Simulator.command("CHAN{n}:SCAL?", "CH{n}:SCA?")
    def _get_scale(self, number: int) -> float:
        return self._channel(number).scale

    @Simulator.command("CHAN{n}:DISP", "SEL:CH{n}")
    def _set_shown(self, number: int, value: str) -> None:
        self._channel(number).enabled = value.upper() in ("1", "ON")

    @Simulator.command("CHAN{n}:DISP?", "SEL:CH{n}?")
    def _get_shown(self, number: int) -> bool:
        return self._channel(number).enabled

    @Simulator.command("TRIG:EDGE:SOUR", "TRIG:A:EDGE:SOU")
    def _set_trigger_source(self, value: str) -> None:
        self.trigger_source = self._number(value)

    @Simulator.command("TRIG:EDGE:SOUR?")
    def _get_trigger_source(self) -> str:
        return f"CHAN{self.trigger_source}"

    @Simulator.command("TRIG:A:EDGE:SOU?")
    def _get_tektronix_trigger_source(self) -> str:
        return f"CH{self.trigger_source}"

    @Simulator.command("TRIG:EDGE:LEV", "TRIG:A:LEV")
    def _set_trigger_level(self, value: str) -> None:
        self.trigger_level = _number(value)

    @Simulator.command("TRIG:EDGE:LEV?", "TRIG:A:LEV?")
    def _get_trigger_level(self) -> float:
        return self.trigger_level

    @Simulator.command("WAV:SOUR", "DAT:SOU")
    def _choose(self, value: str) -> None:
        self._source = self._number(value)

    @Simulator.command("RUN", "STOP", "SING")
    def _record(self) -> None:
        """Nothing is kept of a recording: each is made when it is read."""

    @Simulator.command("ACQ:STOPA", "ACQ:STATE", "WAV:FORM", "WAV:MODE", "DAT:ENC", "DAT:WID", "HEAD")
    def _take(self, value: str) -> None:
        """How it is recorded and sent is always the same here."""

    @Simulator.command("WAV:PRE?")
    def _preamble(self) -> str:
        step = self._channel(self._source).scale / _STEPS_PER_DIVISION
        start = -_DIVISIONS / 2 * self.timebase
        return f"0,0,{_SAMPLES},1,{self._interval():.9E},{start:.9E},0,{step:.9E},0,128"

    @Simulator.command("WAV:DATA?")
    def _data(self) -> npt.NDArray[np.uint8]:
        return (self._steps() + 128).astype("u1")

    @Simulator.command("WFMO:XZE?")
    def _start(self) -> float:
        return -_DIVISIONS / 2 * self.timebase

    @Simulator.command("WFMO:XIN?")
    def _interval(self) -> float:
        return _DIVISIONS * self.timebase / _SAMPLES

    @Simulator.command("WFMO:PT_O?", "WFMO:YOF?", "WFMO:YZE?")
    def _zero(self) -> float:
        return 0.0

    @Simulator.command("WFMO:YMU?")
    def _step(self) -> float:
        return float(self._channel(self._source).scale / _STEPS_PER_DIVISION)

    @Simulator.command("CURV?")
    def _curve(self) -> npt.NDArray[np.int8]:
        return self._steps().astype("i1")

    def _steps(self) -> npt.NDArray[np.floating]:
        """What the converter makes of the chosen channel."""
        import numpy as np

        channel = self._channel(self._source)
        times = -_DIVISIONS / 2 * self.timebase + np.arange(_SAMPLES) * self._interval()
        steps: npt.NDArray[np.floating] = np.rint(channel.signal(times) / channel.scale * _STEPS_PER_DIVISION)
        clipped: npt.NDArray[np.floating] = np.clip(steps, -127, 127)
        return clipped

    def _number(self, text: str) -> int:
        found = re.fullmatch(r"CH(?:AN(?:NEL)?)?(\d+)", text.strip().upper())
        if found is None:
            raise SimulatedError(-224)
        self._channel(int(found[1]))
        return int(found[1])

    def _channel(self, number: int) -> OscilloscopeChannelSimulator:
        if not 1 <= number <= len(self.channels):
            raise SimulatedError(-114)
        channel: OscilloscopeChannelSimulator = self.channels[number]
        return channel


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SimulatedError(-104) from None


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise SimulatedError(-222)
    return value
