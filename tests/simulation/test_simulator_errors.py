"""Mistakes in a simulator are told with its class and the name, when the device is made if that is possible."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.driver import Channel, Noise, ScpiInstrument, Settling, Simulator, channels, parameter
from qmi.errors import QMI_UsageException
from qmi.parameters.declared import declared_of
from qmi.simulation.declared import described
from qmi.simulation.device import SimulatedDevice, SimulatedGroup
from qmi.simulation.simulator import SimulatedError
from qmi.simulation.sources import Source


class Output(Channel):
    current = parameter("MEAS{n}:CURR?", float, unit="A")


class Supply(ScpiInstrument):
    voltage = parameter("VOLT", float, unit="V")
    seconds = parameter("TIME", float, unit="s", simulate=1.0)
    rate = parameter("RATE?", float, unit="Hz")
    outputs = channels(Output, 1, 2)


def device(of_channel: type[Simulator] = Simulator, **names: Any) -> SimulatedDevice:
    parameters = described(declared_of(Supply).parameters.values())
    group = SimulatedGroup("outputs", (1, 2), described(declared_of(Output).parameters.values()), of_channel)
    return SimulatedDevice(type("Mine", (Simulator,), names), parameters, [group])


def without_self() -> float:
    return 0.0


def with_more(self: Any, other: float) -> float:
    return 0.0


def failing(self: Any) -> float:
    raise ValueError("no coil")


def none(self: Any) -> None:
    return None


def test_method_for_a_reading_takes_self_alone() -> None:
    said = r"Mine\.rate\(self: 'Any', other: 'float'\) .* must be called with self alone: write def rate\(self\)"
    with pytest.raises(QMI_UsageException, match=said):
        device(rate=with_more)
    with pytest.raises(QMI_UsageException, match=r"Mine\.rate\(\) .*self"):
        device(rate=without_self)


def test_method_for_a_command_has_a_self() -> None:
    with pytest.raises(QMI_UsageException, match=r"Mine\.show\(\) .*self"):
        device(show=Simulator.command("SHOW")(lambda: None))


@pytest.mark.parametrize("function", [failing, none])
def test_error_of_a_method_names_simulator_and_method(function: Any) -> None:
    with pytest.raises((ValueError, QMI_UsageException)) as raised:
        device(rate=function).respond(b"RATE?\n", 0.0)
    assert raised.value.__notes__ == ["In the simulator: Mine.rate, which is what is read of rate"]
    with pytest.raises(ValueError, match="no coil") as caught:
        device(show=Simulator.command("SHOW?")(failing)).respond(b"SHOW?\n", 0.0)
    assert caught.value.__notes__ == ["In the simulator: Mine.show, which answers a command"]
    with pytest.raises(ValueError, match="no coil") as of_channel:
        device(type("Inner", (Simulator,), {"current": failing})).respond(b"MEAS2:CURR?\n", 0.0)
    assert of_channel.value.__notes__ == ["In the simulator: Inner.current, which is what is read of current"]


def test_error_that_the_device_reports_is_none_of_the_simulator() -> None:
    def refuse(self: Any) -> float:
        raise SimulatedError(-221)

    made = device(rate=refuse)
    assert made.respond(b"RATE?\n", 0.0) == []
    assert b"".join(data for _, data in made.respond(b"SYST:ERR?\n", 0.0)).startswith(b"-221,")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Settling("voltge", 1.0), "voltge"),
        (Settling("voltage", "secnds"), "secnds"),
        (Noise("voltge", 0.1), "voltge"),
        (Noise(Settling("voltge", 1.0), 0.1), "voltge"),
        (Settling(Noise("voltage", 0.1), "tau"), "tau"),
    ],
)
def test_source_of_what_there_is_not_is_refused_when_the_device_is_made(source: Source, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"Mine simulates no {name!r}.* \(the \w+ Mine\.rate is made of it"):
        device(rate=source)
    with pytest.raises(AttributeError, match=rf"Inner simulates no {name!r}.* \(the \w+ Inner\.current is made of it"):
        device(type("Inner", (Simulator,), {"current": source}))


def test_source_of_a_name_that_is_near_another_says_which() -> None:
    with pytest.raises(AttributeError, match="Mine simulates no 'voltge'; did you mean 'voltage'"):
        device(rate=Settling("voltge", 1.0))


def test_sources_of_what_there_is_are_taken() -> None:
    device(rate=Settling("voltage", "seconds"))
    device(rate=Settling("target", lambda self: 1.0), target=5.0)
    device(rate=Noise("power", 0.1), power=property(lambda self: self.voltage**2))
    device(type("Inner", (Simulator,), {"current": Settling("voltage", 1)}))
    device(rate=Settling(20, 30, start=5))
    base = type("Base", (Simulator,), {"rate": Settling("nothing", 1.0)})
    SimulatedDevice(
        type("Derived", (base,), {"rate": Noise("voltage", 0.1)}), described(declared_of(Supply).parameters.values())
    )


any_settling: Any = Settling
any_noise: Any = Noise


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Settling(0.5, "voltage"), r"Settling\(0.5, 'voltage'\) stays where it is: what it settles"),
        (lambda: any_settling(None, 1.0), "Settling is of a number, the name of a setting, .* got None"),
        (lambda: any_settling([1.0], 1.0), r"Settling is of a number, .* got \[1.0\]"),
        (lambda: any_noise(True, 1.0), "Noise is of a number, .* got True"),
        (lambda: any_noise(float("nan"), 1.0), "Noise is of a number, .* got nan"),
        (lambda: Settling("voltage", -1.0), "seconds of Settling must be a number >= 0, got -1.0"),
        (lambda: Settling("voltage", None), "seconds of Settling must be a number >= 0, got None"),
        (lambda: any_settling("voltage", 1.0, start="x"), "start of Settling must be a number or None, got 'x'"),
        (lambda: any_noise("voltage", "x"), "sigma of Noise must be a number >= 0, got 'x'"),
    ],
)  # fmt: skip
def test_source_that_cannot_work_is_refused(make: Any, said: str) -> None:
    with pytest.raises(QMI_UsageException, match=said):
        make()
