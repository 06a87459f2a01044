"""Instruments of Keysight."""

from qmi.instruments.keysight.waveform_generator import (
    BurstMode,
    GeneratorChannel,
    GeneratorFunction,
    GeneratorTrigger,
    Keysight_WaveformGenerator,
    Polarity,
)

__all__ = [
    "BurstMode",
    "GeneratorChannel",
    "GeneratorFunction",
    "GeneratorTrigger",
    "Keysight_WaveformGenerator",
    "Polarity",
]
