from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException
from qmi.core.instrument import QMI_InstrumentIdentification
from qmi.instruments.dummy import noisy_sine_generator
from qmi.instruments.dummy.noisy_sine_generator import Dummy_NoisySineGenerator, NoisySineGenerator

SETTINGS = [("frequency", 2.0), ("amplitude", 100.0), ("noise", 1.0)]


class Clock:
    """Stands in for the module time: it stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(noisy_sine_generator, "time", clock)
    return clock


@pytest.fixture
def nsg(clock: Clock) -> NoisySineGenerator:
    return NoisySineGenerator(QMI_Context("lab", None), "nsg")


@pytest.fixture
def proxy() -> Iterator[Any]:
    with qmi.start("sine", None):
        yield qmi.make_instrument("nsg", NoisySineGenerator)


@pytest.mark.parametrize(("setting", "default"), SETTINGS)
def test_settings_start_as_documented_and_keep_what_is_set(
    nsg: NoisySineGenerator, setting: str, default: float
) -> None:
    assert getattr(nsg, f"get_{setting}")() == default
    for value in (0, 3, 0.25, 1e300):
        getattr(nsg, f"set_{setting}")(value)
        read = getattr(nsg, f"get_{setting}")()
        assert read == value
        assert type(read) is float


@pytest.mark.parametrize("value", [-1, -1e-9, math.nan, math.inf, -math.inf, "1", None, True, 1j, [1.0]])
@pytest.mark.parametrize("setting", ["frequency", "amplitude", "noise"])
def test_bad_value_is_refused_and_changes_nothing(nsg: NoisySineGenerator, setting: str, value: Any) -> None:
    before = getattr(nsg, f"get_{setting}")()
    with pytest.raises(ValueError, match=f"The {setting} is a finite number from 0 on; got"):
        getattr(nsg, f"set_{setting}")(value)
    assert getattr(nsg, f"get_{setting}")() == before


@pytest.mark.parametrize(
    ("seconds", "sample"), [(0.0, 0.0), (0.125, 100.0), (0.25, 0.0), (0.375, -100.0), (7.125, 100.0)]
)
def test_samples_follow_a_sine_in_time(nsg: NoisySineGenerator, clock: Clock, seconds: float, sample: float) -> None:
    nsg.set_noise(0)
    clock.now += seconds
    assert nsg.get_sample() == pytest.approx(sample, abs=1e-6)


def test_noise_is_spread_as_set(nsg: NoisySineGenerator) -> None:
    nsg.set_amplitude(0)
    nsg.set_noise(5)
    samples = [nsg.get_sample() for _ in range(2000)]
    # Ten standard errors: this fails by chance less often than once in 10^20 runs.
    assert statistics.fmean(samples) == pytest.approx(0, abs=10 * 5 / math.sqrt(2000))
    assert statistics.stdev(samples) == pytest.approx(5, abs=10 * 5 / math.sqrt(4000))


def test_waiting_takes_as_long_as_told(nsg: NoisySineGenerator, clock: Clock) -> None:
    nsg.wait(1.5)
    assert clock.slept == [1.5]
    with pytest.raises(ValueError, match="The duration is a finite number from 0 on; got -1"):
        nsg.wait(-1)
    assert clock.slept == [1.5]


def test_waiting_really_takes_time(proxy: Any) -> None:
    begin = time.monotonic()
    proxy.wait(0.05)
    assert time.monotonic() - begin >= 0.05


def test_sine_generator_says_what_it_is(proxy: Any) -> None:
    assert proxy.get_idn() == QMI_InstrumentIdentification("QMI", "NoisySineGenerator", "0", "1.0")


def test_sine_generator_answers_before_it_is_opened_and_after_it_is_closed(proxy: Any) -> None:
    for use in (lambda: None, proxy.open, proxy.close):
        use()
        assert isinstance(proxy.get_sample(), float)


def test_opening_twice_and_closing_twice_are_errors(proxy: Any) -> None:
    with proxy, pytest.raises(QMI_InvalidOperationException, match="open already"):
        proxy.open()
    with pytest.raises(QMI_InvalidOperationException, match="not open"):
        proxy.close()


@pytest.mark.parametrize(("setting", "limit"), [("frequency", 1e6), ("amplitude", 1e3), ("noise", 1e3)])
def test_strict_generator_has_to_be_open_and_has_limits(setting: str, limit: float) -> None:
    with QMI_Context("dummy") as context:
        proxy = context.make_instrument("nsg", Dummy_NoisySineGenerator)
        get, put = getattr(proxy, f"get_{setting}"), getattr(proxy, f"set_{setting}")
        for call in (get, lambda: put(1.0), lambda: proxy.wait(0), proxy.get_sample):
            with pytest.raises(QMI_InvalidOperationException, match="call its open"):
                call()
        with proxy:
            put(limit)
            with pytest.raises(ValueError, match=f"The {setting} is at most .*; got {limit * 2}"):
                put(limit * 2)
            assert get() == limit
            assert getattr(proxy, f"max_{setting}") == limit
            with pytest.raises(ValueError, match="at most 10; got 11"):
                proxy.wait(11)
