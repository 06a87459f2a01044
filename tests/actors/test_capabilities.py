from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.driver import (
    AsyncParameterHandle,
    HasLimits,
    Movable,
    NonblockingParameterHandle,
    ParameterHandle,
    QMI_Instrument,
    Readable,
    Triggerable,
    rpc_method,
)
from qmi.core.exceptions import QMI_UnknownRpcException
from tests.support.lab import two_contexts
from tests.support.supplies import Supply

CAN: dict[str, set[type]] = {
    "voltage": {Readable, Movable, HasLimits},
    "mode": {Readable, Movable},
    "output": {Readable, Movable},
    "current": {Readable},
    "wave": {Readable},
    "trigger": {Movable, HasLimits},
    "outputs[2].level": {Readable, Movable, HasLimits},
    "outputs[2].current": {Readable},
}
ALL = (Readable, Movable, HasLimits, Triggerable)


@pytest.fixture(params=["here", "elsewhere"])
def psu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with two_contexts() as (server, client):
        server.make_instrument("psu", Supply)
        yield (server if request.param == "here" else client).get_instrument("server.psu")


@pytest.mark.parametrize("view", ["blocking", "nonblocking", "async"])
def test_handle_can_do_what_its_parameter_can(psu: Any, view: str) -> None:
    proxy = psu if view == "blocking" else getattr(psu, f"rpc_{view}")
    found = {name: {kind for kind in ALL if isinstance(proxy.parameters[name], kind)} for name in CAN}
    assert found == CAN
    assert isinstance(proxy.parameters.voltage, Movable)
    assert not isinstance(proxy.parameters.current, Movable)


def test_handle_says_what_its_parameter_cannot_do(psu: Any) -> None:
    with pytest.raises(QMI_UnknownRpcException, match=r"^current of server\.psu can only be read$"):
        psu.parameters.current.set(1.0)
    with pytest.raises(QMI_UnknownRpcException, match=r"^trigger of server\.psu can only be set$"):
        psu.parameters.trigger.get()
    with pytest.raises(QMI_UnknownRpcException, match=r"^mode of server\.psu has no limits$"):
        psu.parameters.mode.limits()
    assert {"get", "info", "name", "unit"} <= set(dir(psu.parameters.current))
    assert not {"set", "limits"} & set(dir(psu.parameters.current))
    assert psu.parameters.current.get() == 0.25
    assert psu.parameters.current == psu.parameters["current"]
    assert repr(psu.parameters.current) == "<parameter current of server.psu in A>"


def ramp(axis: Movable, meter: Readable, points: int) -> list[float]:
    """As a tool is written that knows nothing of instruments."""
    assert isinstance(axis, HasLimits)
    low, high = axis.limits()
    read = []
    for point in range(points):
        axis.set(low + (high - low) * point / (points - 1))
        read.append(meter.get())
    return read


async def ramp_async(axis: Movable, meter: Readable, points: int) -> list[float]:
    assert isinstance(axis, HasLimits)
    low, high = await axis.limits()
    read = []
    for point in range(points):
        await axis.set(low + (high - low) * point / (points - 1))
        read.append(await meter.get())
    return read


def test_tool_takes_handles(psu: Any) -> None:
    psu.maximum = 10.0
    assert ramp(psu.parameters.voltage, psu.parameters.voltage, 3) == [0.0, 5.0, 10.0]


async def test_tool_takes_awaited_handles() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        psu: Any = await lab.make_instrument("psu", Supply)
        await psu.set_maximum(10.0)
        assert await ramp_async(psu.parameters.voltage, psu.parameters.voltage, 3) == [0.0, 5.0, 10.0]


class Stage(QMI_Instrument):
    """Publishes itself what tools ask for."""

    place = 0.0

    @rpc_method
    def get(self) -> float:
        """Where it is."""
        return self.place

    @rpc_method
    def set(self, value: float) -> None:
        """Go there."""
        self.place = value

    @rpc_method
    def limits(self) -> tuple[float, float]:
        """Where it can go."""
        return (0.0, 4.0)


class Camera(QMI_Instrument):
    @rpc_method
    def trigger(self) -> None:
        """Take a picture."""


def test_proxy_can_do_what_its_driver_publishes() -> None:
    with two_contexts() as (server, client):
        server.make_instrument("stage", Stage)
        server.make_instrument("camera", Camera)
        for context in (server, client):
            stage: Any = context.get_instrument("server.stage")
            camera: Any = context.get_instrument("server.camera")
            for thing in (stage, stage.rpc_async, stage.rpc_nonblocking):
                assert {kind for kind in ALL if isinstance(thing, kind)} == {Readable, Movable, HasLimits}
            for thing in (camera, camera.rpc_async, camera.rpc_nonblocking):
                assert {kind for kind in ALL if isinstance(thing, kind)} == {Triggerable}
            assert ramp(stage, stage, 3) == [0.0, 2.0, 4.0]


def see_types(
    handle: ParameterHandle,
    awaited: AsyncParameterHandle,
    later: NonblockingParameterHandle,
    stage: Stage,
    camera: Camera,
) -> tuple[list[Movable], list[Readable], list[HasLimits], Triggerable]:
    """What mypy takes for what."""
    return [handle, awaited, later, stage], [handle, awaited, later, stage], [handle, awaited, later, stage], camera


@pytest.mark.parametrize("thing", [{}, set(), None, object(), Supply])
def test_other_things_are_none_of_it(thing: object) -> None:
    """A dict has a get(), a set of Python has none of it."""
    assert [kind for kind in ALL if isinstance(thing, kind)] == []
