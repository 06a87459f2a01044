"""The driver of waveform generators, with its simulator behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_ScpiException
from qmi.instruments.keysight import GeneratorFunction, GeneratorTrigger, Keysight_WaveformGenerator


@pytest.fixture
def generator() -> Iterator[Any]:
    with QMI_Context("lab") as context:
        made = context.make_instrument("awg", Keysight_WaveformGenerator, simulate=True, check_errors=True)
        with made as proxy:
            yield proxy


def test_generator_keeps_its_settings(generator: Any) -> None:
    channel = generator.channels[2]
    channel.function = GeneratorFunction.SQUARE
    channel.amplitude = 2.0
    channel.offset = -0.5
    channel.output = True
    channel.load = np.inf
    assert generator.get_idn().model == "33522B"
    assert (channel.function, channel.amplitude, channel.offset) == (GeneratorFunction.SQUARE, 2.0, -0.5)
    assert (channel.output, channel.load) == (True, np.inf)
    assert generator.channels[1].function is GeneratorFunction.SINE


@pytest.mark.parametrize("last", [0, 32, 13, 10, 255, -1])
def test_waveform_of_any_bytes_arrives_whole(generator: Any, last: int) -> None:
    samples = np.array([0.0, 1.0, -1.0, 0.5, 0.25, 0.0, 0.1, last / 32767])
    generator.channels[1].upload("MINE", samples, select=True)
    assert generator.channels[1].get_waveforms() == ["EXP_RISE", "MINE"]
    assert generator.channels[2].get_waveforms() == ["EXP_RISE"]
    assert generator.channels[1].waveform == "MINE"
    assert generator.channels[1].function is GeneratorFunction.ARBITRARY


def test_name_of_a_waveform_is_there_once(generator: Any) -> None:
    generator.channels[1].upload("MINE", np.zeros(8))
    with pytest.raises(QMI_ScpiException, match="already exists"):
        generator.channels[1].upload("MINE", np.zeros(8))
    generator.channels[1].clear_waveforms()
    generator.channels[1].upload("MINE", np.zeros(8))


def test_generator_is_triggered(generator: Any) -> None:
    generator.channels[1].trigger_source = GeneratorTrigger.BUS
    generator.trigger()
    generator.channels[2].trigger()
    generator.align_phases()
    assert generator.get_errors() == []
