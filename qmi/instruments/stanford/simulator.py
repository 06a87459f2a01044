"""What the driver of lock-in amplifiers talks to when it is simulated."""

from __future__ import annotations

import cmath
import math

from qmi.core.driver import Noise, Settling, SimulatedError, Simulator
from qmi.instruments.stanford.lock_in_tables import SENSITIVITIES

_FULL_SCALES = list(SENSITIVITIES)
_OVERLOAD = 1.09
_OUTPUT_OVERLOAD = 4


class LockInAuxSimulator(Simulator):
    """An auxiliary input and output, which are connected with each other."""

    def input(self) -> float:
        """The voltage at the input."""
        return float(self.output)


class LockInAmplifierSimulator(Simulator):
    """An SR830 whose sine output drives a low pass, behind which it measures: a sweep of the frequency shows it.

    The readings come to a new value with the time constant, and have noise.

    Attributes:
        gain: What is left of the sine output behind the low pass, far below its corner.
        corner: Frequency at which the low pass attenuates by 3 dB, in hertz.
    """

    identity = "Stanford_Research_Systems,SR830,s/n00001,ver1.07"

    gain: float = 0.01
    corner: float = 1e3

    amplitude = 1.0
    frequency = 1e3
    phase = 0.0
    sensitivity = 1.0
    time_constant = 0.1

    x = Noise(Settling(lambda lock_in: lock_in.signal().real, "time_constant"), 1e-7, seed=1)
    y = Noise(Settling(lambda lock_in: lock_in.signal().imag, "time_constant"), 1e-7, seed=2)

    def __init__(self) -> None:
        super().__init__()
        self._offsets = {"1": (0.0, "0"), "2": (0.0, "0"), "3": (0.0, "0")}
        self._status = 0

    def signal(self) -> complex:
        """What there is to be measured, in volts, the real part in phase with the reference; a subclass may differ."""
        if self.harmonic != 1:
            return 0j
        transmitted = self.amplitude * self.gain / (1 + 1j * self.frequency / self.corner)
        return complex(transmitted * cmath.exp(-1j * math.radians(self.phase)))

    def r(self) -> float:
        """Magnitude."""
        return math.hypot(self.x, self.y)

    def theta(self) -> float:
        """Phase, in degrees."""
        return math.degrees(math.atan2(self.y, self.x))

    @Simulator.command("OUTP?")
    def _output(self, code: str) -> float:
        return self._value(code)

    @Simulator.command("SNAP?")
    def _snap(self, *codes: str) -> str:
        if not 2 <= len(codes) <= 6:
            raise SimulatedError(-109)
        return ",".join(f"{self._value(code):.6E}" for code in codes)

    def _value(self, code: str) -> float:
        names = {"1": "x", "2": "y", "3": "r", "4": "theta", "9": "frequency", "10": "x", "11": "y"}
        if code in ("5", "6", "7", "8"):
            value = float(self.aux[int(code) - 4].input())
        elif code in names:
            found = getattr(self, names[code])
            value = float(found() if callable(found) else found)
        else:
            raise SimulatedError(-222)
        if code not in ("1", "2", "3", "10", "11"):
            return value
        limit = _OVERLOAD * self.sensitivity
        if abs(value) > limit:
            self._status |= _OUTPUT_OVERLOAD
        return max(-limit, min(limit, value))

    @Simulator.command("AGAN")
    def _auto_gain(self) -> None:
        needed = 1.2 * abs(self.signal())
        self.sensitivity = next((scale for scale in _FULL_SCALES if scale >= needed), _FULL_SCALES[-1])

    @Simulator.command("APHS")
    def _auto_phase(self) -> None:
        phase = self.phase + math.degrees(cmath.phase(self.signal()))
        self.phase = round(math.remainder(phase, 360.0), 2)

    @Simulator.command("ARSV")
    def _auto_reserve(self) -> None:
        """The reserve stays as it is."""

    @Simulator.command("AOFF")
    def _auto_offset(self, output: str) -> None:
        percent = 100 * self._value(output) / self.sensitivity
        self._offsets[self._known(output)] = max(-105.0, min(105.0, percent)), self._offsets[output][1]

    @Simulator.command("OEXP")
    def _set_offset(self, output: str, percent: str, expansion: str) -> None:
        self._offsets[self._known(output)] = float(percent), expansion

    @Simulator.command("OEXP?")
    def _get_offset(self, output: str) -> str:
        percent, expansion = self._offsets[self._known(output)]
        return f"{percent:.2f},{expansion}"

    def _known(self, output: str) -> str:
        if output not in self._offsets:
            raise SimulatedError(-222)
        return output

    @Simulator.command("LIAS?")
    def _take_status(self) -> int:
        status, self._status = self._status, 0
        return status

    @Simulator.command("ERRS?")
    def _errors(self) -> int:
        return 0

    @Simulator.command("*STB?")
    def _idle(self) -> int:
        return 2

    @Simulator.command("OUTX")
    def _choose_interface(self, interface: str) -> None:
        """All interfaces answer here."""
