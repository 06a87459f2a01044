from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_DuplicateNameException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_UsageException,
    QMI_ValueNotSendableException,
)
from qmi.core.instrument import QMI_Instrument
from qmi.hosting import Adapter, Content, HostedChannels, HostedMethod, HostedParameter, PlainAdapter, registry
from tests.support.hosted import HERE, Connected, Named, Namesakes, Psu, Strange
from tests.support.hosted_awaited import Quiet
from tests.support.lab import make_context, two_contexts


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    Connected.alive.clear()
    with QMI_Context("lab") as context:
        yield context


@pytest.mark.parametrize("driver", [Psu, Psu("COM1"), f"{HERE}:Psu"], ids=["class", "object", "text"])
def test_hosted_driver_has_its_parameters_and_methods(context: QMI_Context, driver: Any) -> None:
    psu = context.make_instrument("psu", qmi.hosted(driver))
    with psu:
        assert psu.is_open()
        psu.voltage = 5
        assert (psu.voltage, psu.get_voltage(), psu.current) == (5, 5, 0.5)
        psu.set_voltage(4.0)
        assert psu.voltage == 4.0
        psu.limit = 1.5
        assert (psu.limit, psu.get_limit()) == (1.5, 1.5)
        assert psu.get_sample(3) == [3, 3]
        assert psu.ramp(2.0, steps=4) is None  # the driver itself stays where it is
        assert list(psu.samples(3)) == [0, 1, 2]
        assert psu.connected() == 1
        found = psu.parameters()
        assert list(found) == ["voltage", "current", "address_", "limit"]
        assert found["voltage"].doc == "The voltage that is set, in V."
        assert (found["voltage"].type, found["voltage"].settable, found["current"].settable) == ("float", True, False)
        snapshot = psu.snapshot(update=True)
        psu.voltage = 7.0
        assert [change.name for change in psu.restore(snapshot.select("voltage", "limit"))] == ["voltage"]
        assert psu.voltage == 2.0
    assert psu.connected() == 0
    psu.open()  # again, on the same object
    assert psu.connected() == 1
    psu.close()


def test_hosted_driver_takes_its_arguments_and_runs_in_one_thread_of_its_own(context: QMI_Context) -> None:
    made: list[Psu] = []

    class Noted(Psu):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    psu = context.make_instrument("psu", qmi.hosted(Noted), "COM7", gain=2.0)
    assert psu.address_ == "COM7"
    assert psu.voltage == 0.0
    assert made[0].gain == 2.0
    assert made[0].threads == {"lab.psu"}


NAMES: list[dict[str, Any]] = [
    {"name": "front", "context": 3},
    {"replace": True},
    {"simulate": "bench"},
    {"cls": 1, "rpc_object_name": 2, "args": 3, "kwargs": 4, "driver": 5, "adapter": 6},
    {"future": 1, "object_class": 2, "self_": 3, "rpc_object_class": 4},
]


@pytest.mark.parametrize("given", NAMES, ids=lambda given: " ".join(given))
def test_hosted_driver_gets_arguments_of_any_name(context: QMI_Context, given: dict[str, Any]) -> None:
    for make in (context.make_instrument, context.make_rpc_object):
        if make == context.make_rpc_object:
            given = {name: value for name, value in given.items() if not name.startswith("rpc_object_")}
        driver = make("it", qmi.hosted(Named), **given)
        assert driver.given() == given
        context.remove_rpc_object(driver)


def test_hosted_driver_is_replaced_unless_it_has_such_an_argument(context: QMI_Context) -> None:
    context.make_instrument("it", qmi.hosted(Psu))
    context.make_instrument("it", qmi.hosted(Psu), replace=True, simulate=False)
    with pytest.raises(QMI_DuplicateNameException):
        context.make_instrument("it", qmi.hosted(Named), replace=True)


async def test_hosted_driver_in_an_awaited_context_gets_arguments_of_any_name() -> None:
    async with qmi.open_context("lab") as context:
        for number, given in enumerate(NAMES):
            driver = await context.make_instrument(f"it{number}", qmi.hosted(Named), **given)
            assert await driver.given() == given
        awaited = await context.make_instrument("quiet", qmi.hosted(Quiet), name="front", context=3)
        assert await awaited.given() == {"name": "front", "context": 3}


def test_hosted_driver_is_shared_locked_and_called_from_another_context() -> None:
    with two_contexts() as (server, client):
        own = server.make_instrument("psu", qmi.hosted(Psu))
        psu = client.get_instrument("server.psu")
        psu.open()
        psu.voltage = 3.0
        assert own.voltage == 3.0
        with psu.locked():
            assert own.is_locked()
            assert psu.ramp(1.0) is None
        with pytest.raises(OSError, match="the cable is out"):
            psu.fail()
        with pytest.raises(ValueError, match=r"31.0 V is more than this supply gives"):
            psu.voltage = 31.0
        with pytest.raises(QMI_ValueNotSendableException, match=r"result: threading.Lock cannot be sent"):
            psu.handle()
        assert psu.snapshot(update=True)["current"].value == 0.1
        psu.close()


def test_hosted_value_of_another_type_is_refused_before_the_driver_sees_it(context: QMI_Context) -> None:
    psu = context.make_instrument("psu", qmi.hosted(Psu))
    for value in ("much", True, None, [1.0]):
        with pytest.raises(QMI_InvalidValueException, match="voltage of psu must be a number, got"):
            psu.voltage = value
    with pytest.raises(QMI_UsageException, match="can only be read"):
        psu.current = 1.0


def test_hosted_names_that_are_taken_get_an_underscore(context: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    strange = context.make_instrument("strange", qmi.hosted(Strange))
    assert (strange.lock_, strange.parameters_(), strange.snapshot_()) == (1, "own", "own")
    assert (strange.x, strange.get_x(), strange.get_x_) == (2, 2, 1)
    assert (strange.twice(2), strange.kind(), strange.instrument_self(3)) == (4, "Strange", 3)
    strange.only_set = 5
    assert "only_set" in strange.snapshot(update=True).missing
    assert not hasattr(strange, "waits")
    assert "does not show waits" in caplog.text


def test_hosted_driver_that_is_connected_when_it_is_made_is_made_anew(context: QMI_Context) -> None:
    device = context.make_instrument("device", qmi.hosted(Connected))
    [first] = Connected.alive
    assert device.idn() == "ACME"
    device.open()
    device.close()
    assert Connected.alive == []
    with pytest.raises(QMI_InvalidOperationException, match="'device' is not open; call its open"):
        device.idn()
    with device:
        assert device.idn() == "ACME"
        assert Connected.alive != [first]
    device.open()
    context.remove_rpc_object(device)  # open still
    assert Connected.alive == []
    device = context.make_instrument("device", qmi.hosted(Connected))
    context.remove_rpc_object(device)  # never opened
    assert Connected.alive == []


def test_hosted_driver_that_cannot_be_made_leaves_its_name_free(context: QMI_Context) -> None:
    with pytest.raises(OSError, match="there is no device"):
        context.make_instrument("device", qmi.hosted(Connected), fail=True)
    context.make_instrument("device", qmi.hosted(Connected))


def test_hosted_object_is_one_instrument_at_a_time(context: QMI_Context) -> None:
    driver = Connected()
    device = context.make_instrument("one", qmi.hosted(driver))
    with pytest.raises(QMI_UsageException, match="given for instrument 'two' is instrument 'one' already"):
        context.make_instrument("two", qmi.hosted(driver))
    with make_context("other") as other, pytest.raises(QMI_UsageException, match="is instrument 'one' already"):
        other.make_instrument("one", qmi.hosted(driver))
    context.remove_rpc_object(device)
    assert Connected.alive == [driver]  # it was not opened here
    two = context.make_instrument("two", qmi.hosted(driver))
    with two:
        pass
    assert Connected.alive == []
    with pytest.raises(QMI_InvalidOperationException, match="cannot be opened again: its driver was given"):
        two.open()


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("acme", "A driver is given as 'package.module:Class', got 'acme'"),
        ("no_such_library.psu:Psu", "there is no module 'no_such_library'; is no_such_library installed?"),
        (f"{HERE}:Pso", "there is no class 'Pso' in tests.support.hosted. Did you mean 'Psu'?"),
        (f"{HERE}:HERE", "tests.support.hosted.HERE is no class"),
        (QMI_Instrument, "QMI_Instrument is a driver of this library"),
        (len, "takes the class of a driver"),
        (None, "takes the class of a driver"),
    ],
)
def test_hosted_refuses_what_is_no_driver(driver: Any, message: str) -> None:
    with pytest.raises(QMI_UsageException) as caught:
        qmi.hosted(driver)
    assert message in str(caught.value)


def test_hosted_driver_is_not_simulated(context: QMI_Context) -> None:
    with pytest.raises(QMI_UsageException, match="Psu cannot be simulated here: its driver belongs to another library"):
        context.make_instrument("psu", qmi.hosted(Psu), simulate=True)
    context.make_instrument("psu", qmi.hosted(Psu), simulate=False)


class Axes:
    """A device with two axes, for the adapter below."""

    def __init__(self) -> None:
        self.at = {1: 0.0, 2: 0.0}


class AxesAdapter(Adapter):
    """Drivers of nobody's library."""

    closed: list[object] = []  # noqa: RUF012

    def fits(self, driver_class: type) -> bool:
        return driver_class is Axes

    def describe(self, driver: Axes) -> Content:
        position = HostedParameter(
            "position",
            get=lambda axis: axis[0].at[axis[1]],
            set=lambda axis, value: axis[0].at.update({axis[1]: value}),
            unit="mm",
            limits=lambda axis: (0, 10 * axis[1]),
            type=float,
        )
        home = HostedMethod("home", lambda axis: axis[0].at.update({axis[1]: 0.0}))
        content = Content(channels=[HostedChannels("axes", 1, 2, lambda d, n: (d, n), Content([position], [home]))])
        content.add_part("first", lambda d: (d, 1), Content([position], [home]))
        return content

    def close(self, driver: Any) -> None:
        self.closed.append(driver)

    def value(self, value: Any) -> Any:
        return datetime.timedelta(seconds=value) if value == 7.0 else value


def _check_axes(context: QMI_Context, cls: Any) -> None:
    AxesAdapter.closed.clear()
    axes = context.make_instrument("axes", cls)
    axes.axes[2].position = 15
    assert axes.axes[2].position == 15
    with pytest.raises(QMI_InvalidValueException, match=r"axes\[1\].position of axes must be from 0 to 10 mm, got 15"):
        axes.axes[1].position = 15
    axes.first_position = 7.0
    assert axes.axes[1].position == datetime.timedelta(seconds=7)
    axes.axes[1].home()
    assert axes.snapshot(update=True)["axes[1].position"].value == 0.0
    axes.first_home()
    context.remove_rpc_object(axes)
    assert len(AxesAdapter.closed) == 1


def test_adapter_of_a_user_is_given(context: QMI_Context) -> None:
    _check_axes(context, qmi.hosted(Axes, adapter=AxesAdapter()))
    with pytest.raises(QMI_UsageException, match="adapter must be an Adapter or None"):
        qmi.hosted(Axes, adapter=AxesAdapter)  # type: ignore[arg-type]


class _Point:
    def __init__(self, name: str, found: object) -> None:
        self.name = self.value = name
        self._found = found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_adapter_of_an_entry_point_comes_first_and_a_bad_one_is_logged(
    context: QMI_Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points = [_Point("bad", ImportError("no such thing")), _Point("dict", dict), _Point("axes", AxesAdapter)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "qmi.hosting" else [])
    registry.forget()
    try:
        _check_axes(context, qmi.hosted(Axes))
        assert isinstance(registry.adapter_for(Psu), PlainAdapter)
    finally:
        registry.forget()
    assert "The adapter bad = bad cannot be used: no such thing" in caplog.text
    assert "The adapter dict = dict is not derived from qmi.hosting.Adapter" in caplog.text


async def test_hosted_driver_in_an_awaited_context() -> None:
    async with qmi.open_context("lab", None) as context:
        psu: Any = await context.make_instrument("psu", qmi.hosted(Psu))
        async with psu:
            await psu.set_voltage(2.0)
            assert await psu.voltage == 2.0


class Laser:
    """A driver of pylablib's shape: connected when it is made, and opened again."""

    log: list[str] = []  # noqa: RUF012

    def __init__(self, address: str) -> None:
        self.power = {"level": 1.0}
        self._opened = False
        self.open()

    def open(self) -> None:
        self.log.append("open")
        self._opened = True

    def close(self) -> None:
        self.log.append("close")
        self._opened = False

    def is_opened(self) -> bool:
        return self._opened

    def get_level(self) -> float:
        return self.power["level"]

    def set_level(self, level: float) -> float:
        self.power["level"] = level
        return self.get_level()

    def get_settings(self) -> dict[str, float]:
        return dict(self.power)


def test_hosted_driver_that_is_connected_when_it_is_made_and_opens_again(context: QMI_Context) -> None:
    Laser.log.clear()
    laser = context.make_instrument("laser", qmi.hosted(Laser), "COM1")
    with laser:
        assert Laser.log == ["open"]  # not twice
        laser.level = 2.0
        assert (laser.level, laser.get_settings(), laser.set_level(3.0)) == (2.0, {"level": 2.0}, 3.0)
    laser.open()
    laser.close()
    assert Laser.log == ["open", "close"] * 2
    context.remove_rpc_object(laser)
    context.remove_rpc_object(context.make_instrument("laser", qmi.hosted(Laser), "COM1"))  # never opened
    assert Laser.log == ["open", "close"] * 3


def test_hosted_driver_does_not_hide_what_its_proxy_has(context: QMI_Context) -> None:
    thing = context.make_instrument("thing", qmi.hosted(Namesakes))
    assert (thing.reserve_(), thing.locked_(), thing.lock_info_()) == ("driver's reserve", True, "driver's lock_info")
    assert (thing.request_release_(), thing.rpc_async_, thing.call_()) == (
        "driver's request_release",
        7,
        "driver's call",
    )
    assert thing.reserve("until noon")
    held = thing.lock_info()
    assert held is not None
    assert "until noon" in held.describe()
    with thing.locked():
        assert thing.call_() == "driver's call"
