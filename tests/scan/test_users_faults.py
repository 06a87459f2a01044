"""A scan ends in good order whatever the user's generators, functions and instruments do."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from typing import Any

import numpy
import pytest

from qmi.scan import Scan, ending, grid, repeat, scan, settable
from qmi.scan.columns import Settable
from qmi.scan.ramps import LONGEST, ramp_time, ramp_values

pytestmark = pytest.mark.usefixtures("python_handles_ctrl_c")


def _fails_at_its_end() -> Generator[int, object, None]:
    try:
        yield from range(3)
    finally:
        raise ValueError("it does not close")


def _ignores_its_end() -> Generator[int, object, None]:
    for number in range(3):
        try:
            yield number
        except GeneratorExit:
            yield -1


def _exits_at_its_end() -> Generator[int, object, None]:
    try:
        yield from range(3)
    finally:
        sys.exit(3)


BAD_ENDS = [_fails_at_its_end, _ignores_its_end, _exits_at_its_end]


def _left(made: Scan) -> None:
    for _ in made:
        break


@pytest.mark.parametrize("points", BAD_ENDS)
def test_scan_ends_where_the_generator_of_its_points_does_not(
    points: Callable[[], Generator[int, object, None]], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[object] = []
    made = scan(done.append, points()).finally_call(lambda: done.append("end"))
    _left(made)
    assert made.state == "stopped"
    assert done == [0, "end"]
    assert "closing the generator of the points failed" in caplog.text


@pytest.mark.parametrize("points", BAD_ENDS)
async def test_scan_of_a_trio_program_ends_where_the_generator_of_its_points_does_not(
    points: Callable[[], Generator[int, object, None]],
) -> None:
    done: list[object] = []
    made = scan(done.append, points()).finally_call(lambda: done.append("end"))
    async with made:
        async for _ in made:
            break
    assert made.state == "stopped"
    assert done == [0, "end"]


def _raise(error: BaseException) -> None:
    raise error


EXITS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


@pytest.mark.parametrize("error", EXITS)
def test_parts_of_the_end_are_done_after_one_that_exits(error: BaseException) -> None:
    done: list[object] = []
    made = scan(done.append, [0]).finally_call(lambda: _raise(error)).finally_call(lambda: done.append("end"))
    with pytest.raises(type(error)):
        made.run()
    assert made.state == "failed"
    assert done == [0, "end"]


@pytest.mark.parametrize("error", EXITS)
async def test_parts_of_the_end_are_done_after_one_that_exits_in_a_trio_program(error: BaseException) -> None:
    done: list[object] = []
    made = scan(done.append, [0]).finally_call(lambda: _raise(error)).finally_call(lambda: done.append("end"))
    with pytest.raises(type(error)):
        await made.run_async()
    assert made.state == "failed"
    assert done == [0, "end"]


def test_several_parts_that_exit_are_told_together() -> None:
    made = scan([], [()]).finally_call(lambda: _raise(SystemExit(3))).finally_call(lambda: _raise(ValueError("no")))
    with pytest.raises(BaseExceptionGroup) as caught:
        made.run()
    assert [type(error) for error in caught.value.exceptions] == [SystemExit, ValueError]


class _Signal:
    """A signal that cannot be left."""

    def subscribe(self, receiver: object) -> None:
        """Nothing comes."""

    def unsubscribe(self, receiver: object) -> None:
        """It fails."""
        raise RuntimeError("it is stuck")


def test_scan_ends_where_its_signal_cannot_be_left() -> None:
    made = scan([], [()]).suspend_when(_Signal(), equals=1)
    made.run()
    assert made.state == "done"


async def test_scan_of_a_trio_program_ends_where_its_signal_cannot_be_left() -> None:
    made = scan([], [()]).suspend_when(_Signal(), equals=1)
    await made.run_async()
    assert made.state == "done"


class _Display:
    """A notebook that has lost its kernel."""

    every = 0.0

    def show(self, text: str, done: int) -> None:
        raise RuntimeError("nobody looks")

    def close(self) -> None:
        raise RuntimeError("nobody looks")


def test_scan_goes_on_where_its_progress_cannot_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.scan.engine.find_display", lambda total, file: _Display())
    made = scan([], [(), ()]).show_progress()
    assert len(made.run()) == 2
    assert made.state == "done"


# -- Ramps from nowhere


@pytest.mark.parametrize("reading", [9.91e37, -9.9e37, 1e308, math.inf, math.nan, None, "off"])
def test_ramp_begins_at_what_was_set_where_the_reading_is_none(
    reading: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ending, "STEP", 0.0)
    set_to: list[object] = []
    target = Settable("x", "V", set_to.append, lambda: reading)
    scan(target, [1.0]).finally_set(target, 0, ramp=5).run()
    assert set_to == [1.0, 0.5, 0.0]
    assert reading is None or f"x reads {reading!r}, from where nothing is ramped" in caplog.text


async def test_ramp_of_a_trio_program_begins_at_what_was_set_where_the_reading_is_none(autojump_clock: object) -> None:
    set_to: list[object] = []
    target = Settable("x", "V", set_to.append, lambda: 9.91e37)
    await scan(target, [1.0]).finally_set(target, 0, ramp=5).run_async()
    assert set_to == [1.0, 0.5, 0.0]


def test_ramp_is_never_endless() -> None:
    for rate in (1e-320, 1e-9):
        assert ramp_time(0.0, 1e300, rate) == LONGEST
        assert next(ramp_values(0.0, 1.0, rate)) < 1e-6
    assert scan([], [()]).finally_set(settable(print, name="x"), 0, ramp=1e-320).time_to_end() == 0.0


# -- A scan that nobody goes through


@pytest.mark.parametrize("fails", [False, True])
def test_end_of_a_with_block_is_done_where_nobody_went_through_the_scan(fails: bool) -> None:
    done: list[object] = []
    made = scan(done.append, [0, 1]).finally_call(lambda: done.append("end"))
    try:
        with made:
            assert made.state == "ready"
            if fails:
                raise ValueError("before the first point")
    except ValueError:
        assert fails
    assert made.state == "stopped"
    assert done == ["end"]


@pytest.mark.parametrize("fails", [False, True])
async def test_end_of_an_async_with_block_is_done_where_nobody_went_through_the_scan(fails: bool) -> None:
    done: list[object] = []
    made = scan(done.append, [0, 1]).finally_call(lambda: done.append("end"))
    try:
        async with made:
            if fails:
                raise ValueError("before the first point")
    except ValueError:
        assert fails
    assert made.state == "stopped"
    assert done == ["end"]


def test_scan_that_nobody_goes_through_is_not_running() -> None:
    made = scan([], [()])
    iter(made)
    assert made.state == "ready"


# -- Points


@pytest.mark.parametrize("axes", [(repeat([1]), []), ([], repeat([1])), (repeat([1], 10**15), [], [1])])
def test_grid_with_an_axis_without_points_has_none(axes: Any) -> None:
    assert list(grid(*axes)) == []


def test_rows_of_a_matrix_are_points() -> None:
    set_to: list[object] = []
    target = settable(set_to.append, name="x")
    made = scan([target, settable(set_to.append, name="y")], numpy.array([[1.0, 2.0], [3.0, 4.0]]))
    assert [tuple(row.values()) for row in made.run()] == [(1.0, 2.0), (3.0, 4.0)]
    (row,) = scan(target, numpy.array([[1.0, 2.0]])).run()  # an array is the value of a single thing
    assert row["x"].tolist() == [1.0, 2.0]


def test_column_may_be_called_self() -> None:
    assert scan([], [()]).measure(self=lambda: 1).run()[0]["self"] == 1


@pytest.mark.parametrize("name", ["a b", "", "a\nb", "1"])
def test_name_of_what_is_set_at_the_end_is_checked(name: str) -> None:
    with pytest.raises(ValueError, match="name of a column"):
        scan([], [()]).finally_set(Settable(name, "", print), 0)
