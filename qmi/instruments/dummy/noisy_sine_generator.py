"""A simulated instrument: a generator of a sine wave with noise on it."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from qmi.core.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.core.rpc import rpc_method

if TYPE_CHECKING:
    from qmi.core.context import QMI_Context


class NoisySineGenerator(QMI_Instrument):
    """A simulated generator of a sine wave with Gaussian noise.

    It answers whether or not it is open. Samples follow real time: the phase is the time since the generator was made.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.

    Attributes:
        max_frequency: Highest frequency that can be set, in hertz.
        max_amplitude: Highest amplitude that can be set.
        max_noise: Highest noise that can be set.
        max_wait: Longest wait, in seconds.
    """

    simulator = False  # it has no device
    max_frequency: float = math.inf
    max_amplitude: float = math.inf
    max_noise: float = math.inf
    max_wait: float = math.inf

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        self._frequency = 2.0
        self._amplitude = 100.0
        self._noise = 1.0
        self._start = time.monotonic()

    @rpc_method
    def get_idn(self) -> QMI_InstrumentIdentification:
        """What the instrument says that it is."""
        return QMI_InstrumentIdentification("QMI", "NoisySineGenerator", "0", "1.0")

    @rpc_method
    def get_frequency(self) -> float:
        """The frequency of the wave, in hertz."""
        self._check_ready()
        return self._frequency

    @rpc_method
    def set_frequency(self, frequency: float) -> None:
        """Set the frequency of the wave.

        Args:
            frequency: In hertz.

        Raises:
            ValueError: If it is no finite number from 0 on, or more than ``max_frequency``.
        """
        self._check_ready()
        self._frequency = _checked("frequency", frequency, self.max_frequency)

    @rpc_method
    def get_amplitude(self) -> float:
        """The amplitude of the wave."""
        self._check_ready()
        return self._amplitude

    @rpc_method
    def set_amplitude(self, amplitude: float) -> None:
        """Set the amplitude of the wave.

        Args:
            amplitude: In the unit of the samples.

        Raises:
            ValueError: If it is no finite number from 0 on, or more than ``max_amplitude``.
        """
        self._check_ready()
        self._amplitude = _checked("amplitude", amplitude, self.max_amplitude)

    @rpc_method
    def get_noise(self) -> float:
        """The standard deviation of the noise."""
        self._check_ready()
        return self._noise

    @rpc_method
    def set_noise(self, noise: float) -> None:
        """Set the standard deviation of the noise.

        Args:
            noise: In the unit of the samples.

        Raises:
            ValueError: If it is no finite number from 0 on, or more than ``max_noise``.
        """
        self._check_ready()
        self._noise = _checked("noise", noise, self.max_noise)

    @rpc_method
    def wait(self, duration: float) -> None:
        """Keep the instrument busy.

        Args:
            duration: For how long, in seconds.

        Raises:
            ValueError: If it is no finite number from 0 on, or more than ``max_wait``.
        """
        self._check_ready()
        time.sleep(_checked("duration", duration, self.max_wait))

    @rpc_method
    def get_sample(self) -> float:
        """One sample of the wave, taken now."""
        self._check_ready()
        phase = 2 * math.pi * self._frequency * (time.monotonic() - self._start)
        return self._amplitude * math.sin(phase) + random.gauss(0.0, self._noise)

    def _check_ready(self) -> None:
        """Refuse a call before the instrument is open; this class does not."""


class Dummy_NoisySineGenerator(NoisySineGenerator):
    """The same generator as strict as real instruments are: it has to be opened, and its settings have limits."""

    _rpc_constants = ("max_noise",)
    _rpc_properties = ("max_frequency", "max_amplitude", "max_wait")

    max_frequency: float = 1e6
    max_amplitude: float = 1e3
    max_noise: float = 1e3
    max_wait: float = 10.0

    def _check_ready(self) -> None:
        self._check_is_open()


def _checked(what: str, value: object, limit: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"The {what} is a finite number from 0 on; got {value!r}")
    if value > limit:
        raise ValueError(f"The {what} is at most {limit:g}; got {value!r}")
    return float(value)
