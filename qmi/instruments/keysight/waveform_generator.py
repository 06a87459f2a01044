"""The arbitrary waveform generators of Keysight: 33500 and 33600 series, and those that know the same commands."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from qmi.core.driver import ScpiChannel, ScpiInstrument, channels, parameter, rpc_method
from qmi.core.transport import QMI_Transport, Reconnect
from qmi.instruments.keysight.simulator import GeneratorChannelSimulator, WaveformGeneratorSimulator

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_FULL_SCALE = 32767
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,11}")
_LEAST_SAMPLES = 8


class GeneratorFunction(Enum):
    """The form of a wave."""

    SINE = "SIN"
    SQUARE = "SQU"
    TRIANGLE = "TRI"
    RAMP = "RAMP"
    PULSE = "PULS"
    PRBS = "PRBS"
    NOISE = "NOIS"
    ARBITRARY = "ARB"
    DC = "DC"


class BurstMode(Enum):
    """When there is a burst."""

    TRIGGERED = "TRIG"
    GATED = "GAT"


class GeneratorTrigger(Enum):
    """What triggers."""

    IMMEDIATE = "IMM"
    EXTERNAL = "EXT"
    TIMER = "TIM"
    BUS = "BUS"


class Polarity(Enum):
    """Whether an output is inverted."""

    NORMAL = "NORM"
    INVERTED = "INV"


def _amplitude_limits(channel: GeneratorChannel) -> tuple[float, float | None]:
    highest = channel.instrument.max_voltage
    return 0.0, None if highest is None else 2 * highest


def _offset_limits(channel: GeneratorChannel) -> tuple[float | None, float | None]:
    highest = channel.instrument.max_voltage
    return None if highest is None else -highest, highest


class GeneratorChannel(ScpiChannel):
    """An output of a generator, with all that makes its wave."""

    instrument: Keysight_WaveformGenerator
    simulator = GeneratorChannelSimulator

    function = parameter("SOUR{n}:FUNC", GeneratorFunction, doc="Form of the wave.")
    frequency = parameter("SOUR{n}:FREQ", float, unit="Hz", limits=(1e-6, None), doc="Frequency of the wave.")
    amplitude = parameter("SOUR{n}:VOLT", float, unit="V", limits=_amplitude_limits, doc="Amplitude, peak to peak.")
    offset = parameter("SOUR{n}:VOLT:OFFS", float, unit="V", limits=_offset_limits, doc="Middle of the wave.")
    phase = parameter("SOUR{n}:PHAS", float, unit="deg", limits=(-360.0, 360.0), doc="Phase of the wave.")
    duty_cycle = parameter(
        "SOUR{n}:FUNC:SQU:DCYC", float, unit="%", limits=(0.01, 99.99), doc="For how much of a period a square is high."
    )
    symmetry = parameter(
        "SOUR{n}:FUNC:RAMP:SYMM", float, unit="%", limits=(0.0, 100.0), doc="For how much of a period a ramp rises."
    )
    pulse_width = parameter("SOUR{n}:FUNC:PULS:WIDT", float, unit="s", limits=(0.0, None), doc="Width of a pulse.")

    output = parameter("OUTP{n}", bool, doc="Whether the output is on.")
    load = parameter(
        "OUTP{n}:LOAD",
        float,
        unit="ohm",
        limits=(1.0, math.inf),
        doc="What the output is expected to drive; math.inf if that is of high impedance. Voltages hold for it.",
    )
    polarity = parameter("OUTP{n}:POL", Polarity, doc="Whether the output is inverted.")

    burst = parameter("SOUR{n}:BURS:STAT", bool, doc="Whether there are bursts in place of a wave without end.")
    burst_mode = parameter("SOUR{n}:BURS:MODE", BurstMode, doc="When there is a burst.")
    burst_cycles = parameter(
        "SOUR{n}:BURS:NCYC",
        float,
        limits=(1, math.inf),
        step=1,
        doc="Periods in a burst, without unit; math.inf for no end.",
    )
    burst_period = parameter(
        "SOUR{n}:BURS:INT:PER", float, unit="s", limits=(1e-6, 8000.0), doc="Time between bursts that a timer triggers."
    )
    trigger_source = parameter("TRIG{n}:SOUR", GeneratorTrigger, doc="What triggers bursts.")
    trigger_delay = parameter("TRIG{n}:DEL", float, unit="s", limits=(0.0, 1000.0), doc="From a trigger to its burst.")

    waveform = parameter(
        "SOUR{n}:FUNC:ARB",
        str,
        write='SOUR{n}:FUNC:ARB "{value}"',
        doc="Name of the arbitrary waveform that is chosen: one that was uploaded, or the file of one.",
    )
    sample_rate = parameter(
        "SOUR{n}:FUNC:ARB:SRAT", float, unit="Hz", limits=(1e-6, None), doc="Samples of an arbitrary waveform a second."
    )

    @rpc_method
    def trigger(self) -> None:
        """Trigger one burst at once, whatever the trigger source is."""
        self._write("TRIG{n}")

    @rpc_method
    def upload(self, name: str, samples: Sequence[float] | npt.NDArray[np.floating], select: bool = False) -> None:
        """Send an arbitrary waveform to the memory of the channel, which a loss of power empties. Needs numpy.

        Args:
            name: What it is called: up to 12 letters, digits and underscores, a letter first.
            samples: At least 8 numbers from -1 to 1, which stand for the lower and the upper end of the amplitude.
            select: Whether it is the waveform of the output from now on.

        Raises:
            ValueError: If the name or a sample is something else.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"name must be up to 12 letters, digits and underscores, a letter first, got {name!r}")
        data = _converter_steps(samples)
        self._write("FORM:BORD NORM")
        self._write_array(f"SOUR{{n}}:DATA:ARB:DAC {name},", data, ">i2")
        if select:
            self.waveform = name
            self.function = GeneratorFunction.ARBITRARY

    @rpc_method
    def get_waveforms(self) -> list[str]:
        """The names of the arbitrary waveforms that are in the memory of the channel."""
        answer = self._ask("SOUR{n}:DATA:VOL:CAT?")
        return [word.strip().strip('"') for word in answer.split(",") if word.strip().strip('"')]

    @rpc_method
    def clear_waveforms(self) -> None:
        """Forget all arbitrary waveforms that are in the memory of the channel."""
        self._write("SOUR{n}:DATA:VOL:CLE")


class Keysight_WaveformGenerator(ScpiInstrument):
    """A generator of the 33500 or 33600 series with two outputs.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.
        transport: How it is reached: ``tcp:192.168.1.50``, ``visa:TCPIP::192.168.1.50::hislip0``.
        max_voltage: Farthest from zero that amplitude and offset may each be set to go, in volts, so that a slip does
            not destroy what hangs on an output; None for what the instrument can do.
        timeout: For how long an answer is waited for, in seconds.
        check_errors: Whether the instrument is asked for errors after each command.
        reconnect: Whether and how a lost connection is made again.
    """

    # The memory for waveforms is empty after a loss of power.
    NOT_RESTORED: ClassVar[tuple[str, ...]] = ("waveform",)

    simulator = WaveformGeneratorSimulator
    channels = channels(GeneratorChannel, 1, 2)

    def __init__(
        self,
        context: object,
        name: str,
        transport: str | QMI_Transport,
        *,
        max_voltage: float | None = None,
        timeout: float = 5.0,
        check_errors: bool = False,
        reconnect: Reconnect | bool | str | None = None,
    ) -> None:
        super().__init__(context, name, transport, timeout=timeout, check_errors=check_errors, reconnect=reconnect)
        if max_voltage is not None and (isinstance(max_voltage, bool) or not max_voltage >= 0):
            raise ValueError(f"max_voltage must be None or a number of volts >= 0, got {max_voltage!r}")
        self.max_voltage = max_voltage
        """Farthest from zero that a setting may go, in volts; None for no limit."""

    @rpc_method
    def open(self) -> None:
        """Open the connection, and have amplitudes stand for volts from peak to peak.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be reached.
        """
        super().open()
        try:
            for channel in self.channels:
                self._set(f"unit {channel.number}", f"SOUR{channel.number}:VOLT:UNIT VPP")
        except BaseException:
            self.close()
            raise

    @rpc_method
    def trigger(self) -> None:
        """Trigger each channel whose trigger source is BUS."""
        self._write("*TRG")

    @rpc_method
    def align_phases(self) -> None:
        """Have the waves of both channels begin anew, together."""
        self._write("PHAS:SYNC")


def _converter_steps(samples: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    import numpy as np

    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or len(array) < _LEAST_SAMPLES:
        raise ValueError(f"samples must be at least {_LEAST_SAMPLES} numbers in one row, got shape {array.shape}")
    if not (np.abs(array) <= 1).all():  # NaN is not, either
        raise ValueError(f"samples must be from -1 to 1, got {array.min()} to {array.max()}")
    steps: npt.NDArray[np.int16] = np.rint(array * _FULL_SCALE).astype(np.int16)
    return steps
