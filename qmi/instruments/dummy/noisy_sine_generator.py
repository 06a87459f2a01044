"""A simulated instrument: a generator of a sine wave with noise on it."""

from __future__ import annotations

import math
import random
import time
from typing import Any

from qmi.core.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.core.rpc import rpc_method


class NoisySineGenerator(QMI_Instrument):
    """A simulated generator of a sine wave with Gaussian noise.

    It answers whether or not it is open. Samples follow real time: the phase is the time since the generator was made.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
    """

    def __init__(self, context: Any, name: str) -> None:
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
        return self._frequency

    @rpc_method
    def set_frequency(self, frequency: float) -> None:
        """Set the frequency of the wave.

        Args:
            frequency: In hertz.

        Raises:
            ValueError: If it is no finite number from 0 on.
        """
        self._frequency = _checked("frequency", frequency)

    @rpc_method
    def get_amplitude(self) -> float:
        """The amplitude of the wave."""
        return self._amplitude

    @rpc_method
    def set_amplitude(self, amplitude: float) -> None:
        """Set the amplitude of the wave.

        Args:
            amplitude: In the unit of the samples.

        Raises:
            ValueError: If it is no finite number from 0 on.
        """
        self._amplitude = _checked("amplitude", amplitude)

    @rpc_method
    def get_noise(self) -> float:
        """The standard deviation of the noise."""
        return self._noise

    @rpc_method
    def set_noise(self, noise: float) -> None:
        """Set the standard deviation of the noise.

        Args:
            noise: In the unit of the samples.

        Raises:
            ValueError: If it is no finite number from 0 on.
        """
        self._noise = _checked("noise", noise)

    @rpc_method
    def wait(self, duration: float) -> None:
        """Keep the instrument busy.

        Args:
            duration: For how long, in seconds.

        Raises:
            ValueError: If it is no finite number from 0 on.
        """
        time.sleep(_checked("duration", duration))

    @rpc_method
    def get_sample(self) -> float:
        """One sample of the wave, taken now."""
        phase = 2 * math.pi * self._frequency * (time.monotonic() - self._start)
        return self._amplitude * math.sin(phase) + random.gauss(0.0, self._noise)


def _checked(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"The {what} is a finite number from 0 on; got {value!r}")
    return float(value)
