"""What the settings of a simulator are: of the type of the parameter, from the first value on."""

import enum
from typing import Any

import pytest

from qmi.core.driver import Block, Channel, ScpiInstrument, Simulator, channels, parameter
from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.parameters.declared import declared_of
from qmi.simulation.declared import described
from qmi.simulation.device import SimulatedDevice, SimulatedGroup


class Shutter(enum.Enum):
    OPEN = "OPEN"
    CLOSED = "CLOSED"


class Output(Channel):
    current = parameter("SOUR{n}:CURR", float, unit="A", limits=(0, 2))


class Box(ScpiInstrument):
    shutter = parameter("SHUT", Shutter)
    bias = parameter("BIAS", float, unit="V", limits=(0, "bias_max"))
    bias_max = parameter("BIAS:MAX", float, unit="V", limits=(0, 2500))
    gain = parameter("GAIN", int, limits=(1, 100))
    range = parameter("RANG", float, unit="V", values=(0.1, 1.0, 10.0))
    output = parameter("OUTP", bool)
    label = parameter("LAB", str)
    wave = parameter("WAVE", Block("<f4"))
    rate = parameter("RATE?", float, unit="Hz")
    outputs = channels(Output, 1, 2)


def device(simulator: type[Simulator], of_channel: type[Simulator] = Simulator, cls: type = Box) -> SimulatedDevice:
    """The simulated device of a box."""
    declared = declared_of(cls)
    groups = [
        SimulatedGroup("outputs", (1, 2), described(declared_of(Output).parameters.values()), of_channel)
        for _ in declared.channels
    ]
    return SimulatedDevice(simulator, described(declared.parameters.values()), groups)


def ask(device: SimulatedDevice, message: bytes) -> str:
    """What it answers."""
    return "".join(data.decode() for _, data in device.respond(message + b"\n", 0.0)).strip()


def began(**values: object) -> type[Simulator]:
    """A simulator whose settings begin with these values."""
    return type("BoxSimulator", (Simulator,), values)


@pytest.mark.parametrize("first", ["CLOSED", Shutter.CLOSED])
def test_setting_that_is_an_enumeration_is_always_a_member(first: object) -> None:
    class BoxSimulator(Simulator):
        shutter = first

        def rate(self) -> float:
            assert isinstance(self.shutter, Shutter)
            return 100.0 if self.shutter is Shutter.OPEN else 0.0

        @Simulator.command("LOCK")
        def lock(self) -> None:
            self.shutter = "CLOSED"

    box = device(BoxSimulator)
    assert ask(box, b"SHUT?;RATE?") == "CLOSED;0"
    assert ask(box, b"SHUT OPEN;RATE?") == "100"
    assert ask(box, b"LOCK;RATE?;SHUT?") == "0;CLOSED"
    assert ask(box, b"SHUT OPEN;*RST;SHUT?") == "CLOSED"


@pytest.mark.parametrize(
    ("name", "first", "kept"),
    [
        ("bias", 5, 5.0),
        ("gain", 7, 7),
        ("range", 10, 10.0),
        ("range", 0.30000000000000004 - 0.2, 0.1),
        ("output", True, True),
        ("label", "x", "x"),
    ],
)
def test_first_value_becomes_one_of_the_type_of_the_parameter(name: str, first: object, kept: object) -> None:
    made = getattr(device(began(bias_max=10.0, **{name: first})).simulator, name)
    assert made == kept
    assert type(made) is type(kept)


def test_first_value_that_is_a_block_becomes_an_array() -> None:
    numpy = pytest.importorskip("numpy")
    for first in ([1, 2], (1.0, 2.0), numpy.array([1.0, 2.0]), numpy.array([1.0, 2.0], "<f4").tobytes()):
        made = device(began(wave=first)).simulator.wave
        assert made.dtype == numpy.dtype("<f4")
        assert list(made) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "first", "text"),
    [
        ("shutter", "SHUT", "must be Shutter.OPEN or Shutter.CLOSED, got 'SHUT'"),
        ("shutter", "open", "got 'open'"),
        ("shutter", 1, "got 1"),
        ("gain", "five", "got 'five'"),
        ("gain", 1.5, "got 1.5"),
        ("gain", True, "got True"),
        ("gain", 0, "must be from 1 to 100, got 0"),
        ("bias_max", 9000.0, "must be from 0 to 2500 V, got 9000.0 V"),
        ("bias_max", "9000", "must be a number, got '9000'"),
        ("bias_max", float("nan"), "got nan"),
        ("bias", 6.0, "must be from 0 to 5.0 V, got 6.0 V"),
        ("range", 3.0, "must be 0.1, 1.0 or 10.0 V, got 3.0 V"),
        ("output", 1, "must be True or False, got 1"),
        ("label", 5, "must be a text, got 5"),
        ("wave", [[1.0], [2.0]], "must be numbers in one row"),
        ("wave", b"abc", "no whole number of items"),
        ("wave", "text", "must be numbers in one row"),
    ],
)
def test_first_value_that_cannot_be_set_is_refused_when_the_device_is_made(name: str, first: object, text: str) -> None:
    if name == "wave":
        pytest.importorskip("numpy")
    with pytest.raises(QMI_UsageException) as caught:
        device(began(**{"bias_max": 5.0, name: first}))
    assert f"BoxSimulator.{name}" in str(caught.value)
    assert text in str(caught.value)


def test_first_value_of_a_channel_is_refused_by_the_name_of_its_simulator() -> None:
    with pytest.raises(QMI_UsageException, match=r"OutputSimulator\.current must be from 0 to 2 A, got 3\.0 A"):
        device(Simulator, type("OutputSimulator", (Simulator,), {"current": 3.0}))


@pytest.mark.parametrize(("value", "text"), [("SHUT", "got 'SHUT'"), (5, "got 5")])
def test_first_value_in_the_declaration_is_refused_when_the_device_is_made(value: object, text: str) -> None:
    class Declared(ScpiInstrument):
        shutter = parameter("SHUT", Shutter, simulate=value)

    with pytest.raises(QMI_UsageException, match=f"simulate= of the parameter shutter must be .*{text}"):
        device(Simulator, cls=Declared)


def test_first_value_in_the_declaration_is_a_member() -> None:
    class Declared(ScpiInstrument):
        shutter = parameter("SHUT", Shutter, simulate="CLOSED")
        highest = parameter("HIGH", float, limits=(0, "most"), simulate=3)
        most = parameter("MOST", float, simulate=5)

    made: Any = device(Simulator, cls=Declared).simulator
    assert (made.shutter, made.highest, made.most) == (Shutter.CLOSED, 3.0, 5.0)


def test_first_value_may_come_from_the_constructor_of_a_simulator() -> None:
    class BoxSimulator(Simulator):
        def __init__(self) -> None:
            super().__init__()
            self.shutter = "CLOSED"
            self.gain = 7
            self.other = "mine"

    box = device(BoxSimulator)
    assert ask(box, b"SHUT?;GAIN?") == "CLOSED;7"
    assert ask(box, b"GAIN 9;*RST;GAIN?") == "7"
    assert box.simulator.shutter is Shutter.CLOSED


@pytest.mark.parametrize(("name", "value"), [("shutter", "SHUT"), ("gain", "five"), ("output", 1)])
def test_code_of_a_simulator_that_sets_what_is_none_is_told_where(name: str, value: object) -> None:
    box = device(Simulator)
    with pytest.raises(QMI_InvalidValueException, match=rf"Simulator\.{name} must be .*got {value!r}"):
        setattr(box.simulator, name, value)


def test_property_of_a_simulator_gets_values_of_the_type_of_the_parameter() -> None:
    class BoxSimulator(Simulator):
        kept: Any = None

        @property
        def shutter(self) -> Any:
            return self.kept

        @shutter.setter
        def shutter(self, value: Any) -> None:
            self.kept = value

    box = device(BoxSimulator)
    assert box.simulator.shutter is Shutter.OPEN
    assert ask(box, b"SHUT CLOSED;SHUT?") == "CLOSED"
    box.simulator.shutter = "OPEN"
    assert box.simulator.kept is Shutter.OPEN


def test_least_and_greatest_value_are_of_the_type_of_the_parameter() -> None:
    class Counter(ScpiInstrument):
        gain = parameter("GAIN", int, limits=(0.5, 9.5))
        count = parameter("COUN", int, limits=(1, float("inf")))

    counter = device(Simulator, cls=Counter)
    assert ask(counter, b"GAIN MAX;GAIN?;GAIN MIN;GAIN?") == "9;1"
    assert ask(counter, b"COUN MAX;COUN?;COUN MIN;COUN?") == "1;1"
