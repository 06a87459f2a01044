"""Parameters in drivers of every kind: inherited, overridden, awaited, with getters and setters of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy
import pytest
import trio

from qmi.core.context import Context, QMI_Context
from qmi.core.driver import Channel, Parameter, QMI_Instrument, channels, parameter, rpc_method
from qmi.core.exceptions import QMI_InstrumentException, QMI_InvalidValueException, QMI_UsageException
from qmi.core.rpc import Placement, QMI_RpcObject
from tests.support.parameters import Laser, Registers, Supply


class AwaitedRegisters(QMI_Instrument):
    """Keeps what is written, in the event loop."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept: dict[str, Any] = {}
        self.noted: list[tuple[str, str, object]] = []

    async def _read_parameter(self, parameter: Any, channel: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return self.kept.get(f"{channel and channel.number}{parameter.ask}", parameter.type())

    async def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.kept[f"{channel and channel.number}{parameter.command}?"] = value

    def _parameter_read(self, name: str, value: object) -> None:
        self.noted.append(("read", name, value))

    def _parameter_set(self, name: str, value: object) -> None:
        self.noted.append(("set", name, value))


class AwaitedChannel(Channel):
    """A channel of a device in the event loop."""

    voltage = parameter("CHAN{n}:VOLT", float, limits=(0, "ceiling"))

    @rpc_method
    async def double(self) -> float:
        """Double the voltage."""
        await self.set_voltage(2 * await self.get_voltage())  # type: ignore[attr-defined]
        return await self.get_voltage()  # type: ignore[attr-defined,no-any-return]


class AwaitedSupply(AwaitedRegisters):
    """A supply in the event loop."""

    ceiling = parameter("CEIL", float, unit="V")
    voltage = parameter("VOLT", float, unit="V", limits=(0, "ceiling"))
    channels = channels(AwaitedChannel, 1, 2)

    @parameter(unit="A", limits=lambda self: self.limits_of_current())
    async def current(self) -> float:
        """Current."""
        await trio.lowlevel.checkpoint()
        return numpy.float64(self.kept.get("current", 0.5))

    @current.setter
    async def set_current(self, value: float) -> None:
        """Set the current."""
        await trio.lowlevel.checkpoint()
        self.kept["current"] = value

    async def limits_of_current(self) -> tuple[float, float]:
        await trio.lowlevel.checkpoint()
        return 0.0, 2.0

    @rpc_method
    async def forgetful(self) -> float:
        """Forget to await."""
        return self.voltage

    @rpc_method
    async def forgetful_setting(self) -> None:
        """Forget to await."""
        self.voltage = 1.0


@pytest.fixture
async def awaited(trio_lab: Context) -> Any:
    return await trio_lab.make_instrument("psu", AwaitedSupply)


async def test_parameter_of_a_driver_in_the_event_loop(awaited: Any) -> None:
    await awaited.ceiling.set(5.0)
    await awaited.voltage.set(4)
    assert await awaited.voltage == await awaited.get_voltage() == 4.0
    with pytest.raises(QMI_InvalidValueException, match=r"voltage of psu must be from 0 to 5\.0 V, got 6\.0 V"):
        await awaited.set_voltage(6.0)
    assert (await awaited.parameters())["voltage"].limits == (0, 5.0)
    assert (await awaited.parameters())["current"].limits == (0.0, 2.0)
    await awaited.set_current(1.5)
    assert await awaited.current == 1.5
    assert type(await awaited.get_current()) is float
    with pytest.raises(QMI_InvalidValueException, match=r"current of psu must be from 0\.0 to 2\.0 A, got 3\.0 A"):
        await awaited.current.set(3)


async def test_parameter_of_a_channel_in_the_event_loop(awaited: Any) -> None:
    await awaited.ceiling.set(10.0)
    await awaited.channels[2].voltage.set(2.0)
    assert await awaited.channels[2].double() == 4.0
    assert await awaited.channels[1].get_voltage() == 0.0
    with pytest.raises(QMI_InvalidValueException, match=r"channels\[2\]\.voltage of psu must be from 0 to 10"):
        await awaited.channels[2].set_voltage(16)


async def test_parameter_that_is_awaited_is_no_attribute_of_the_driver(awaited: Any) -> None:
    with pytest.raises(QMI_UsageException, match=r"has to be awaited in the driver: write await self\.get_voltage\(\)"):
        await awaited.forgetful()
    await awaited.ceiling.set(5.0)
    with pytest.raises(QMI_UsageException, match=r"write await self\.set_voltage\(\.\.\.\)"):
        await awaited.forgetful_setting()


async def test_parameter_that_is_awaited_can_be_cancelled_and_set_again(trio_lab: Context) -> None:
    reached, gate = trio.Event(), trio.Event()

    class Slow(QMI_Instrument):
        value = 0.0

        @parameter
        async def speed(self) -> float:
            return self.value

        @speed.setter
        async def set_speed(self, value: float) -> None:
            reached.set()
            await gate.wait()
            self.value = value

    slow: Any = await trio_lab.make_instrument("slow", Slow)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow.set_speed, 1.0)
            await reached.wait()
            scope.cancel()
    gate.set()
    with pytest.raises(QMI_InvalidValueException, match="speed of slow must be a number, got 'fast'"):
        await slow.set_speed("fast")
    await slow.set_speed(2.0)
    assert await slow.speed == 2.0


@pytest.mark.parametrize("placement", list(Placement))
def test_parameter_works_wherever_the_driver_runs(lab: QMI_Context, placement: Placement) -> None:
    cls: Any = type("Placed", (Supply,), {"_rpc_placement": placement})
    psu: Any = lab.make_instrument("psu", cls)
    psu.voltage = 2
    psu.channels[3].voltage = 4
    assert (psu.voltage, psu.get_voltage(), psu.channels[3].get_voltage()) == (2.0, 2.0, 4.0)
    assert psu.channels[3].ramp(6.0) == [3.0, 6.0]
    assert psu.parameters()["protection"].limits == (2.0, 60)
    with pytest.raises(QMI_InvalidValueException):
        psu.voltage = 31


def test_driver_in_the_event_loop_needs_no_thread() -> None:
    from qmi.actors.rpc_object import interface_of, placement_for

    interface_of(AwaitedSupply)
    assert placement_for(AwaitedSupply) is Placement.LOOP
    interface_of(Supply)
    assert placement_for(Supply) is Placement.THREAD


# -- values


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("voltage", numpy.float32(2.5), 2.5),
        ("voltage", numpy.int16(3), 3.0),
        ("voltage", numpy.array(2.0), 2.0),
        ("count", numpy.int64(3), 3),
        ("output", numpy.bool_(True), True),
        ("label", numpy.str_("x"), "x"),
        ("range", 10, 10.0),
        ("range", 0.1 + 1e-17, 0.1),
        ("delay", 0.5 + 3 * 0.1, 0.5 + 3 * 0.1),
        ("mode", "CURR", None),
    ],
)
def test_value_becomes_one_of_the_type_of_the_parameter(
    lab: QMI_Context, name: str, value: object, found: object
) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    setattr(psu, name, value)
    got = getattr(psu, name)
    if found is not None:
        assert (got, type(got)) == (found, type(found))
    else:
        assert got.value == value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("voltage", True, "voltage of psu must be a number, got True"),
        ("voltage", "5", "voltage of psu must be a number, got '5'"),
        ("voltage", None, "voltage of psu must be a number, got None"),
        ("voltage", 1j, "voltage of psu must be a number, got 1j"),
        ("voltage", float("nan"), "voltage of psu must be a number, got nan"),
        ("voltage", numpy.array([1.0, 2.0]), "voltage of psu must be a number, got array([1., 2.])"),
        ("voltage", 30.000001, "voltage of psu must be from 0 to 30 V, got 30.000001 V"),
        ("voltage", float("inf"), "voltage of psu must be from 0 to 30 V, got inf V"),
        ("count", 0, "count of psu must be at least 1, got 0"),
        ("count", 2.0, "count of psu must be a whole number, got 2.0"),
        ("count", False, "count of psu must be a whole number, got False"),
        ("output", 1, "output of psu must be True or False, got 1"),
        ("label", 5, "label of psu must be a text, got 5"),
        ("range", 2, "range of psu must be 0.1, 1.0 or 10.0 V, got 2.0 V"),
        ("mode", "nonsense", "mode of psu must be Mode.VOLTAGE or Mode.CURRENT, got 'nonsense'"),
        ("delay", 0.55, "delay of psu must be a multiple of 0.1 s, counted from 0.5 s, got 0.55 s"),
        ("protection", 61.0, "protection of psu must be from 0.0 to 60 V, got 61.0 V"),
    ],
)
def test_value_that_a_parameter_does_not_take_is_refused(lab: QMI_Context, name: str, value: object, said: str) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    before = len([1 for _, sent in psu.get_exchanged() if sent is not None])
    for give in (lambda: setattr(psu, name, value), lambda: getattr(psu, f"set_{name}")(value)):
        with pytest.raises(QMI_InvalidValueException) as raised:
            give()
        assert str(raised.value) == said
    assert len([1 for _, sent in psu.get_exchanged() if sent is not None]) == before, "nothing was sent"


class Wrong(Registers):
    """Answers nonsense."""

    number = parameter("NUM", float)
    flag = parameter("FLAG", bool)

    def first_value(self, parameter: Any) -> Any:
        return "nonsense"


def test_reading_that_is_no_value_is_an_error_of_the_instrument(lab: QMI_Context) -> None:
    wrong = lab.make_instrument("x", Wrong)
    with pytest.raises(QMI_InstrumentException, match="number of x was read as 'nonsense', which is not a number"):
        wrong.number  # noqa: B018
    with pytest.raises(QMI_InstrumentException, match="flag of x was read as 'nonsense', which is not True or False"):
        wrong.flag  # noqa: B018


# -- inheritance


class Small(Supply):
    """A smaller supply."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 5))
    label = None  # type: ignore[assignment]

    @rpc_method
    def get_current(self) -> str:
        """A method of its own."""
        return "its own"


def test_parameter_is_inherited_and_overridden(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Small)
    with pytest.raises(QMI_InvalidValueException, match="must be from 0 to 5 V, got 6"):
        psu.set_voltage(6)
    assert psu.get_current() == "its own"
    assert psu.current == 0.25
    assert list(psu.parameters())[:3] == ["voltage", "current", "mode"]
    for name in ("label", "get_label", "set_label"):
        assert not hasattr(psu, name)
    assert psu.channels[1].voltage == 0.0


class Weak(Laser):
    """A laser with less power, which needs an own setter."""

    power = Laser.power.changed(limits=(0, 0.01), doc="Little power")

    @rpc_method
    def set_power(self, value: float) -> None:
        """Set half of it."""
        super().set_power(value / 2)


class Family(Supply):
    """The same commands with other limits."""

    voltage = Supply.voltage.changed(limits=(0, 5))


def test_parameter_is_declared_like_that_of_the_base_but_for_what_differs(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Family)
    psu.voltage = 5
    with pytest.raises(QMI_InvalidValueException, match="must be from 0 to 5 V, got 6"):
        psu.set_voltage(6)
    assert psu.parameters()["voltage"].doc == "Set voltage"
    assert Supply.voltage.limits == (0, 30)
    weak: Any = lab.make_instrument("weak", Weak)
    weak.power = 0.01
    assert weak.power == 0.005
    for give in (weak.set_power, partial(setattr, weak, "power")):
        with pytest.raises(QMI_InvalidValueException, match=r"power of weak must be from 0 to 0\.01 W, got 0\.05 W"):
            give(0.05)


def test_setter_may_have_the_name_of_the_parameter(lab: QMI_Context) -> None:
    class AsProperty(QMI_Instrument):
        kept = 0.0

        @parameter(unit="W", limits=(0, 1))
        def power(self) -> float:
            """Power."""
            return self.kept

        @power.setter  # type: ignore[no-redef]
        def power(self, value: float) -> None:
            self.kept = value

    thing: Any = lab.make_instrument("x", AsProperty)
    thing.power = 0.5
    thing.set_power(thing.power + 0.25)
    assert thing.get_power() == 0.75
    with pytest.raises(QMI_InvalidValueException):
        thing.set_power(2.0)


class Mixin:
    """Has a parameter, but is no object."""

    level = parameter("LEV", int)


def test_parameter_comes_from_a_mixin(lab: QMI_Context) -> None:
    for number, bases in enumerate([(Mixin, Registers), (Registers, Mixin)]):
        thing: Any = lab.make_instrument(f"x{number}", type("Mixed", bases, {}))
        thing.level = 4
        assert thing.get_level() == 4


class Tuned(Laser):
    """Overrides the getter and the setters of its base."""

    @rpc_method
    def get_wavelength(self) -> float:
        """Rounded."""
        return round(super().get_wavelength())

    @rpc_method
    def set_power(self, value: float) -> None:
        """Half of it."""
        super().set_power(value / 2)

    def set_wavelength(self, value: float) -> None:  # type: ignore[override]
        """A bit more."""
        super().set_wavelength(value + 0.25)


def noting(cls: type) -> tuple[type, list[tuple[str, str, object]]]:
    noted: list[tuple[str, str, object]] = []
    hooks = {
        "_parameter_read": lambda self, name, value: noted.append(("read", name, value)),
        "_parameter_set": lambda self, name, value: noted.append(("set", name, value)),
    }
    return type("Noting", (cls,), hooks), noted


def test_getter_and_setter_are_overridden_and_noted_once(lab: QMI_Context) -> None:
    cls, noted = noting(Tuned)
    laser: Any = lab.make_instrument("laser", cls)
    laser.power = 0.1
    assert laser.power == 0.05
    laser.set_wavelength(1310)
    assert laser.get_wavelength() == 1310
    assert laser.wavelength == 1310.0
    laser.set_power(value=0.02)
    assert noted == [
        ("set", "power", 0.1),
        ("read", "power", 0.05),
        ("set", "wavelength", 1310.0),
        ("read", "wavelength", 1310.0),
        ("read", "wavelength", 1310.0),
        ("set", "power", 0.02),
    ]
    assert laser.get_power() == 0.01


@pytest.mark.parametrize(
    "set_to",
    [
        lambda psu: setattr(psu, "voltage", 5),
        lambda psu: psu.set_voltage(5),
        lambda psu: psu.parameters.voltage.set(5),
        lambda psu: psu.rpc_nonblocking.set_voltage(5).wait(),
        lambda psu: psu.rpc_nonblocking.voltage.set(5).wait(),
        lambda psu: psu.set_in_the_driver(5),
    ],
)
def test_setting_is_noted_by_whomever_it_is_set(lab: QMI_Context, set_to: Callable[[Any], object]) -> None:
    class Own(Supply):
        @rpc_method
        def set_in_the_driver(self, value: float) -> None:
            """Set it."""
            self.voltage = value

    cls, noted = noting(Own)
    set_to(lab.make_instrument("psu", cls))
    assert noted == [("set", "voltage", 5.0)]


def test_setting_that_fails_is_not_noted(lab: QMI_Context) -> None:
    class Broken(Supply):
        def _write_parameter(self, parameter: Any, value: Any, channel: Any) -> None:
            raise OSError("cut")

    cls, noted = noting(Broken)
    psu: Any = lab.make_instrument("psu", cls)
    for value in (5, 31):
        with pytest.raises((OSError, QMI_InvalidValueException)):
            psu.set_voltage(value)
    assert noted == []


class Bare(QMI_Instrument):
    """A driver from before there were parameters."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept = 0.0

    @rpc_method
    def get_angle(self) -> float:
        """The angle."""
        return self.kept

    @rpc_method
    def set_angle(self, value: float) -> None:
        """Turn."""
        self.kept = value


class Turning(Bare):
    """Declares what its base can do."""

    angle = parameter(getter=Bare.get_angle, setter=Bare.set_angle, type=float, unit="deg", limits=(0, 360))


class TurningLess(Turning):
    """May do less."""

    angle = parameter(getter=Turning.get_angle, setter=Turning.set_angle, type=float, unit="deg", limits=(0, 90))


def test_getter_and_setter_of_a_base_class_check_what_the_class_declares(lab: QMI_Context) -> None:
    for number, (cls, most) in enumerate([(Turning, 360), (TurningLess, 90), (Turning, 360)]):
        made, noted = noting(cls)
        thing: Any = lab.make_instrument(f"x{number}", made)
        for give in (thing.set_angle, partial(setattr, thing, "angle")):
            give(most)
            with pytest.raises(QMI_InvalidValueException, match=f"must be from 0 to {most} deg"):
                give(most + 1)
        assert thing.get_angle() == thing.angle == most
        assert noted == [("set", "angle", most)] * 2 + [("read", "angle", most)] * 2
    bare: Any = lab.make_instrument("bare", Bare)
    bare.set_angle(1000)
    assert bare.get_angle() == 1000


class Values(QMI_Instrument):
    """Parameters of other types than a device sends."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept: Any = {}

    @parameter
    def position(self) -> tuple[float, float]:
        """Where it is."""
        return self.kept.get("position", (0.0, 0.0))  # type: ignore[no-any-return]

    @position.setter
    def set_position(self, value: tuple[float, float]) -> None:
        """Go there."""
        self.kept["position"] = value

    @parameter
    def anything(self) -> Any:
        """Whatever."""
        return self.kept.get("anything")

    @anything.setter
    def set_anything(self, value: Any) -> None:
        """Whatever."""
        self.kept["anything"] = value

    @parameter(type=float, unit="V")
    def level(self) -> float:
        """A level."""
        return 2


def test_parameter_has_any_type_that_a_getter_returns(lab: QMI_Context) -> None:
    values: Any = lab.make_instrument("x", Values)
    values.position = (1.0, 2.0)
    values.anything = {"a": None}
    assert (values.position, values.anything, values.level) == ((1.0, 2.0), {"a": None}, 2.0)
    with pytest.raises(QMI_InvalidValueException, match=r"position of x must be a value of type tuple, got \[1, 2\]"):
        values.position = [1, 2]
    assert {name: info.type for name, info in values.parameters().items()} == {
        "position": "tuple[float, float]",
        "anything": "Any",
        "level": "float",
    }


class ItemChannel(Channel):
    """Has methods of every kind, and no parameter."""

    @rpc_method
    def items(self, count: int) -> Iterator[int]:
        """Items one by one."""
        yield from range(self.number, self.number + count)

    @rpc_method
    async def later(self) -> int:
        """Awaited."""
        await trio.lowlevel.checkpoint()
        return self.number

    @rpc_method
    @staticmethod
    def twice(value: int) -> int:
        """Twice as much."""
        return 2 * value

    def hidden(self) -> None:
        """Not published."""


class Items(QMI_Instrument):
    """Has channels of two kinds."""

    first = channels(ItemChannel, 0, 1)
    second = channels(ItemChannel, 5, 5)


def test_channel_has_methods_of_every_kind(lab: QMI_Context) -> None:
    thing: Any = lab.make_instrument("x", Items)
    assert list(thing.first[1].items(3)) == [1, 2, 3]
    assert list(thing.second[5].items(count=1)) == [5]
    assert (thing.second[5].later(), thing.first[0].twice(4)) == (5, 8)
    assert thing.first[numpy.int64(1)].later() == 1
    assert [found.number for found in (*thing.first, *thing.second)] == [0, 1, 5]
    for number in (2, -1, True, "1", None, 1.0, slice(0, 1), numpy.array([0, 1])):
        with pytest.raises(QMI_InvalidValueException, match=r"first of lab\.x has the numbers 0 to 1; got "):
            thing.first[number]
    with pytest.raises(QMI_InvalidValueException, match=r"second of lab\.x has the numbers 5; got 0"):
        thing.second[0]
    with pytest.raises(AttributeError, match=r"first\[0\] of lab\.x has no parameter or published method 'hidden'"):
        thing.first[0].hidden()


def test_parameter_may_have_any_name_that_python_takes(lab: QMI_Context) -> None:
    class Bent(QMI_Instrument):
        @parameter
        def größe(self) -> float:
            return 1.5

        @parameter
        def phase(self) -> complex:
            return 1

        @parameter
        def exact(self) -> numpy.float64:
            return numpy.float64(2)

    bent: Any = lab.make_instrument("x", Bent)
    assert (bent.größe, bent.get_größe(), bent.parameters.größe.get()) == (1.5, 1.5, 1.5)
    assert (bent.phase, type(bent.phase), type(bent.exact)) == (1 + 0j, complex, float)


def test_setter_takes_more_than_the_value(lab: QMI_Context) -> None:
    class Ramped(QMI_RpcObject):
        target = 0.0

        @rpc_method
        def get_field(self) -> float:
            """The field."""
            return self.target

        @rpc_method
        def set_field(self, tesla: float, rate: float = 1.0, *, wait: bool = False) -> str:
            """Ramp the field."""
            self.target = tesla
            return f"{tesla} at {rate}, {wait}"

        field = parameter(getter=get_field, setter=set_field, type=float, unit="T", limits=(-9, 9))

    magnet: Any = lab.make_rpc_object("magnet", Ramped)
    assert magnet.set_field(2) == "2.0 at 1.0, False"
    assert magnet.set_field(3, 0.5, wait=True) == "3.0 at 0.5, True"
    assert magnet.set_field(rate=0.1, tesla=4) == "4.0 at 0.1, False"
    assert magnet.field == 4.0
    with pytest.raises(QMI_InvalidValueException, match=r"field of magnet must be from -9 to 9 T, got 10\.0 T"):
        magnet.set_field(tesla=10.0)
    with pytest.raises(TypeError, match="tesla"):
        magnet.set_field()
    assert magnet.parameters.field.get() == 4.0


def test_method_of_the_driver_wins_over_the_listing(lab: QMI_Context) -> None:
    class Own(Laser):
        @rpc_method
        def parameters(self) -> str:
            """Something else."""
            return "its own"

    assert lab.make_instrument("x", Own).parameters() == "its own"


def test_parameter_is_itself_on_the_class() -> None:
    found = Supply.voltage
    assert isinstance(found, Parameter)
    assert (found.name, found.unit, found.ask, found.write) == ("voltage", "V", "VOLT?", "VOLT {value}")
    assert repr(found) == "<parameter Supply.voltage>"
    assert Supply.current.write is None
    assert Supply.channels.numbers == range(1, 5)
