from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import trio

import qmi
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_RpcTimeoutException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.testing import RecordedCall, StandInInstrument, open_virtual_context, run_in_virtual_time


class Camera(QMI_Instrument):
    """A driver that must not be made without its hardware."""

    _rpc_constants = ("WIDTH",)
    WIDTH = 640

    def __init__(self, context: Any, name: str, port: str, *, speed: int = 9600) -> None:
        raise AssertionError("there is no camera here")

    @rpc_method
    def expose(self, seconds: float, gain: int = 1) -> None:
        """Expose.

        Args:
            seconds: How long.
            gain: How much.
        """

    @rpc_method
    def unannotated(self, value):  # type: ignore[no-untyped-def]
        raise AssertionError

    @rpc_method
    async def temperature(self) -> float:
        raise AssertionError

    @rpc_method
    def rows(self) -> Iterator[int]:
        yield from self.never()

    @rpc_method
    async def frames(self, count: int) -> AsyncIterator[int]:
        for number in self.never():
            yield number

    def never(self) -> list[int]:
        raise AssertionError

    def release_rpc_object(self) -> Any:
        raise AssertionError("there is nothing to release")


@pytest.fixture
def stand_in() -> StandInInstrument[Camera]:
    return StandInInstrument(Camera)


@pytest.fixture
def camera(stand_in: StandInInstrument[Camera]) -> Iterator[Any]:
    with qmi.start("standing-in", None):
        yield qmi.make_instrument("camera", stand_in.driver, "COM1", speed=1)


class OddDriver(QMI_Instrument):
    @staticmethod
    @rpc_method
    def static(a: int) -> int:
        return a

    @rpc_method
    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    @rpc_method
    def level(self, a: int, b: int) -> int:
        return a + b

    fixed: Any = partialmethod(level, 1)


def test_stand_in_answers_for_methods_of_every_shape() -> None:
    stand_in = StandInInstrument(OddDriver)
    for name in ("static", "of_class", "fixed"):
        stand_in.returns(name, name)
    with qmi.start("test", None, init_logging=False):
        x: Any = qmi.make_instrument("x", stand_in.driver)
        assert [x.static(1), x.of_class(a=1), x.fixed(2)] == ["static", "of_class", "fixed"]
        with pytest.raises(TypeError):
            x.static()
        assert (x.get_name(), x.get_category()) == ("x", "instrument")
    assert [call.method for call in stand_in.calls] == ["static", "of_class", "fixed"]


def test_calls_are_recorded_as_written(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    camera.expose(0.5)
    camera.expose(0.5, gain=3)
    assert stand_in.calls == [("expose", (0.5,), {}), ("expose", (0.5,), {"gain": 3})]
    assert stand_in.calls_of("expose")[1] == RecordedCall("expose", (0.5,), {"gain": 3})
    assert stand_in.calls_of("rows") == []


def test_stand_in_looks_like_the_driver(camera: Any) -> None:
    assert repr(camera) == "<rpc proxy for standing-in.camera (tests.testing.test_stand_in.Camera)>"
    assert str(inspect.signature(camera.expose)).startswith("(seconds: float, gain: int = 1, *, rpc_timeout")
    assert camera.expose.__doc__.startswith("Expose.")
    assert camera.WIDTH == 640


def test_opening_and_closing_work_as_ever(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    with camera:
        assert camera.is_open()
        with pytest.raises(QMI_InvalidOperationException):
            camera.open()
    assert not camera.is_open()
    assert [call.method for call in stand_in.calls] == ["open", "is_open", "open", "close", "is_open"]


def test_answers_can_be_told(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    stand_in.returns("temperature", -40.0)
    assert [camera.temperature(), camera.temperature()] == [-40.0, -40.0]
    stand_in.returns_each("temperature", [1.0, 2.0])
    assert [camera.temperature(), camera.temperature()] == [1.0, 2.0]
    with pytest.raises(QMI_UsageException, match=r"more often than it has answers: temperature\(\)"):
        camera.temperature()
    stand_in.does("unannotated", lambda value: value * 2)
    assert camera.unannotated(21) == 42
    stand_in.raises("is_open", OSError("cable"))
    with pytest.raises(OSError, match="cable"):
        camera.is_open()


def test_answers_without_an_end_are_fine(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    stand_in.returns_each("temperature", itertools.count())
    assert [camera.temperature() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_streams_give_the_items_of_the_answer(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    async def counted(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    stand_in.returns("rows", [1, 2, 3])
    assert list(camera.rows()) == [1, 2, 3]
    stand_in.returns("frames", "ab")
    assert list(camera.frames(7)) == ["a", "b"]
    stand_in.does("frames", counted)
    assert list(camera.frames(2)) == [0, 1]
    for method, stream in (("rows", camera.rows), ("frames", lambda: camera.frames(1))):
        stand_in.returns(method, np.arange(3))
        assert list(stream()) == [0, 1, 2]
        stand_in.returns(method, None)
        assert list(stream()) == []
        stand_in.returns(method, 5)
        with pytest.raises(QMI_UsageException, match="its answer, which must be iterable; got 5"):
            list(stream())


def test_method_without_a_result_needs_no_answer_and_others_do(camera: Any) -> None:
    assert camera.expose(1.0) is None
    assert camera.unannotated(1) is None
    with pytest.raises(QMI_UsageException, match=r"tell it by stand_in\.returns\('temperature', \.\.\.\)"):
        camera.temperature()


def test_wrong_arguments_are_refused_as_by_the_driver(stand_in: StandInInstrument[Camera], camera: Any) -> None:
    with pytest.raises(TypeError, match=r"^Camera\.expose\(\): missing a required argument: 'seconds'"):
        camera.expose()
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'time'"):
        camera.expose(1.0, time=1.0)
    assert stand_in.calls == []
    with pytest.raises(TypeError, match=r"^Camera\(\): missing a required argument: 'port'"):
        qmi.make_instrument("other", stand_in.driver)


def test_unknown_methods_are_refused_with_those_that_exist(stand_in: StandInInstrument[Camera]) -> None:
    with pytest.raises(QMI_UsageException, match=r"Camera has no published method 'zoom'; it has close, expose, "):
        stand_in.returns("zoom", 1)


@pytest.mark.parametrize("what", [QMI_RpcObject, int, "Camera"])
def test_stand_in_is_for_drivers_only(what: Any) -> None:
    with pytest.raises(QMI_UsageException, match="A stand-in is made from a class derived from QMI_Instrument"):
        StandInInstrument(what)


def test_each_stand_in_has_its_own_calls() -> None:
    first, second = StandInInstrument(NoisySineGenerator), StandInInstrument(NoisySineGenerator)
    with qmi.start("two", None):
        qmi.make_instrument("first", first.driver).set_noise(1.0)
        qmi.make_instrument("second", second.driver).set_noise(2.0)
    assert first.calls == [("set_noise", (1.0,), {})]
    assert second.calls == [("set_noise", (2.0,), {})]


class Oven(QMI_Instrument):
    @rpc_method
    async def heat(self, seconds: float) -> float:
        begin = trio.current_time()
        await trio.sleep(seconds)
        return trio.current_time() - begin


def test_hours_pass_at_once_in_virtual_time() -> None:
    async def main() -> None:
        async with open_virtual_context("kitchen") as context:
            assert qmi.context().name == "kitchen"
            oven = await context.make_instrument("oven", Oven)
            async with oven, oven.locked():
                assert await oven.heat(36000.0) == 36000.0
                assert not await (await context.get_instrument("oven")).lock(timeout=100.0)
            assert not await oven.is_locked()

    begin = time.monotonic()
    run_in_virtual_time(main)
    assert time.monotonic() - begin < 30


def test_time_outs_are_exact_in_virtual_time() -> None:
    async def main() -> float:
        async with open_virtual_context() as context:
            oven = await context.make_instrument("oven", Oven)
            with pytest.raises(QMI_RpcTimeoutException, match="within 7 s"):
                await oven.heat(3600.0, rpc_timeout=7.0)
            return trio.current_time()

    async def twice() -> tuple[float, float]:
        return trio.current_time(), await main()

    began, ended = run_in_virtual_time(twice)
    assert ended - began == 7.0


def test_stand_ins_live_in_virtual_time(stand_in: StandInInstrument[Camera]) -> None:
    async def warm_up() -> float:
        await trio.sleep(600.0)
        return 20.0

    async def main() -> list[Any]:
        stand_in.does("temperature", warm_up)
        stand_in.returns("rows", [1, 2])
        async with open_virtual_context() as context:
            camera = await context.make_instrument("camera", stand_in.driver, "COM1")
            await camera.expose(1.0)
            return [await camera.temperature(), [row async for row in await camera.rows()]]

    assert run_in_virtual_time(main) == [20.0, [1, 2]]


def test_objects_with_threads_are_refused_in_virtual_time_and_their_name_stays_free() -> None:
    async def main() -> None:
        async with open_virtual_context() as context:
            with pytest.raises(QMI_UsageException, match=r"NoisySineGenerator has methods that are not async"):
                await context.make_instrument("nsg", NoisySineGenerator)
            with pytest.raises(QMI_UsageException, match="got class int"):
                await context.make_rpc_object("nsg", int)  # type: ignore[type-var]
            await context.make_instrument("nsg", StandInInstrument(NoisySineGenerator).driver)

    run_in_virtual_time(main)


async def test_virtual_contexts_are_refused_in_real_time() -> None:
    with pytest.raises(QMI_UsageException, match="Time is real here"):
        async with open_virtual_context():
            pytest.fail("it opens")
