from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import trio
import trio.testing

import qmi
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.scan import Row, Scan, adaptive, grid, linspace, readable, repeat, scan, settable
from tests.support.supplies import SUPPLIES, AsyncSupply, Supply


@pytest.fixture
def psu() -> Iterator[Any]:
    qmi.start("lab", None, init_logging=False)
    yield qmi.make_instrument("psu", Supply)
    qmi.stop()


class Run:
    """What rows are added to."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, /, **values: object) -> None:
        self.rows.append(values)


def count() -> int:
    return 7


# -- what is set and measured


def test_scan_sets_and_measures_point_by_point(psu: Any) -> None:
    seen = []
    for point in scan(psu.parameters.maximum, 0, 5, 3).measure(psu.parameters.current, count):
        seen.append((point.psu_maximum, point.psu_current, point["count"], psu.get_line()))
    assert seen == [(value, 0.25, 7, [f"MAX {value}", "CURR?"]) for value in (0.0, 2.5, 5.0)]


def test_scan_is_carried_out_by_one_call_and_adds_rows_to_a_run(psu: Any) -> None:
    run = Run()
    made = scan((psu, "maximum"), [1, 2], run=run).measure(x=count)
    assert made.run() == [{"psu_maximum": 1, "x": 7}, {"psu_maximum": 2, "x": 7}] == run.rows
    assert made.rows == run.rows
    assert (made.outcome, made.state) == ("done", "done")


def test_columns_have_names_and_units_of_their_handles(psu: Any) -> None:
    made = scan([psu.parameters.maximum, (psu, "outputs[1].level")], []).measure(
        psu.parameters["outputs[2].current"], count, readable(count, name="counts", unit="1"), I=psu.parameters.current
    )
    assert made.columns == {
        "psu_maximum": "V",
        "psu_outputs_1_level": "V",
        "psu_outputs_2_current": "A",
        "count": "",
        "counts": "1",
        "I": "A",
    }


def test_functions_are_set_and_measured() -> None:
    set_to: list[object] = []

    def set_position(value: object) -> None:
        set_to.append(value)

    def get_power() -> float:
        return 0.5

    rows = scan(set_position, 0, 1, 2).measure(get_power).run()
    assert rows == [{"position": 0.0, "power": 0.5}, {"position": 1.0, "power": 0.5}]
    assert set_to == [0.0, 1.0]
    made = scan(settable(set_to.append, name="x", unit="mm"), [3])
    assert made.columns == {"x": "mm"}
    assert settable(settable(set_position), unit="m").unit == "m"
    assert scan([], repeat([()], 2)).measure(count).run() == [{"count": 7}] * 2


def test_several_things_are_set_at_each_point(psu: Any) -> None:
    rows = scan([psu.parameters.maximum, settable(lambda value: None, name="x")], grid([1, 2], ["a"])).run()
    assert rows == [{"psu_maximum": 1, "x": "a"}, {"psu_maximum": 2, "x": "a"}]


def test_generator_chooses_the_next_point_by_the_row() -> None:
    def halve() -> Generator[float, Any, None]:
        row = yield 8.0
        while row.y > 1:
            row = yield row.y

    ys = iter([4.0, 2.0, 1.0])
    rows = scan(settable(lambda value: None, name="x"), halve()).measure(y=lambda: next(ys)).run()
    assert [row["x"] for row in rows] == [8.0, 4.0, 2.0]


def test_adaptive_points_see_the_rows() -> None:
    def choose(rows: list[Any]) -> object:
        return None if len(rows) == 3 else sum(row.x for row in rows) + 1

    assert [row["x"] for row in scan(settable(lambda value: None, name="x"), adaptive(choose)).run()] == [1, 2, 4]


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        (lambda psu: psu.maximum, QMI_UsageException, "Write psu.parameters.voltage"),
        (lambda psu: True, QMI_UsageException, "Write psu.parameters.voltage"),
        (lambda psu: "voltage", QMI_UsageException, "Write psu.parameters.voltage"),
        (lambda psu: psu, QMI_UsageException, "which of its parameters"),
        (lambda psu: None, QMI_UsageException, "expected a handle such as"),
        (lambda psu: (psu, "volage"), QMI_UnknownNameException, "Did you mean 'voltage'"),
        (lambda psu: (5, "voltage"), QMI_UsageException, "5 has no parameters"),
        (lambda psu: lambda *value: 1, QMI_UsageException, "has no name"),
    ],
)
def test_what_cannot_be_set_or_measured_is_refused_at_once(psu: Any, what: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        scan(what(psu), 0, 5, 51)
    with pytest.raises(error, match=says):
        scan(psu.parameters.maximum, 0, 5, 51).measure(what(psu))
    with pytest.raises(error, match=says):
        scan(psu.parameters.maximum, 0, 5, 51).finally_set(what(psu), 0)


def test_parameter_is_set_or_measured_only_if_it_can_be(psu: Any) -> None:
    with pytest.raises(QMI_UsageException, match=r"current of lab.psu can only be read; a scan cannot set it"):
        scan(psu.parameters.current, 0, 5, 51)
    with pytest.raises(QMI_UsageException, match=r"trigger of lab.psu can only be set; a scan cannot measure it"):
        scan(psu.parameters.maximum, 0, 5, 51).measure(psu.parameters.trigger)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "got 0 further arguments"),
        ((0, 5), "got 2 further arguments"),
        ((0, 5, 51, 3), "got 4 further arguments"),
        ((5,), "points must be"),
        (("abc",), "points must be"),
        ((0, 5, 0), "number must be"),
    ],
)
def test_points_of_a_scan_are_checked(args: Any, says: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=says):
        scan(count, *args)


def test_names_of_columns_are_checked(psu: Any) -> None:
    with pytest.raises(QMI_InvalidValueException, match="Two columns are called 'psu_maximum'"):
        scan(psu.parameters.maximum, [1]).measure(psu.parameters.maximum)
    with pytest.raises(QMI_InvalidValueException, match="must be one that Python takes, got 'a b'"):
        scan(psu.parameters.maximum, [1]).measure(readable(count, name="a b"))
    with pytest.raises(QMI_InvalidValueException, match="Two columns are called"):
        scan([psu.parameters.maximum] * 2, [(1, 2)]).run()


def test_point_must_have_a_value_for_each_thing() -> None:
    for point in ((1, 2, 3), 1, (1,)):
        with pytest.raises(
            QMI_InvalidValueException, match="The scan sets x, y, so that each point must have 2 values"
        ):
            scan([settable(print, name="x"), settable(print, name="y")], [point]).run()


def test_scan_is_gone_through_once() -> None:
    made = scan(settable(lambda value: None, name="x"), [1])
    made.run()
    with pytest.raises(QMI_InvalidOperationException, match="make another one"):
        made.run()
    with pytest.raises(QMI_InvalidOperationException, match="has begun"):
        made.measure(count)


def test_run_must_have_add() -> None:
    with pytest.raises(QMI_UsageException, match="add"):
        scan(count, [1], run=5)  # type: ignore[arg-type]


# -- the time to settle


def test_scan_waits_between_setting_and_measuring() -> None:
    moments: list[float] = []

    def note(*_: object) -> float:
        moments.append(time.monotonic())
        return 0.0

    scan(settable(note, name="x"), [1]).settle(0.01).measure(readable(note, name="y")).run()
    assert moments[1] - moments[0] >= 0.01


def test_stop_while_a_scan_settles_finishes_the_point() -> None:
    made: Scan = scan(settable(lambda _: made.stop(), name="x"), [1, 2]).settle(0.001).measure(count)
    assert len(made.run()) == 1
    assert made.outcome == "stopped"


def test_abort_while_a_scan_settles_ends_it_at_once() -> None:
    made: Scan = scan(settable(lambda _: made.abort(), name="x"), [1, 2]).settle(3600).measure(count)
    assert made.run() == []
    assert made.outcome == "aborted"
    timer = threading.Timer(0.01, lambda: made.abort())
    made = scan(settable(lambda _: timer.start(), name="x"), [1, 2]).settle(3600).measure(count)
    assert made.run() == []


@pytest.mark.parametrize("seconds", [-1, "1", None, True, float("inf"), float("nan")])
def test_time_to_settle_is_checked(seconds: Any) -> None:
    with pytest.raises(QMI_InvalidValueException, match="seconds must be a number of seconds, 0 or more"):
        scan([], [()]).settle(seconds)


async def test_scan_of_a_trio_program_settles(autojump_clock: trio.testing.MockClock) -> None:
    made = scan(settable(lambda _: None, name="x"), [1, 2]).settle(50)
    begin = trio.current_time()
    await made.run_async()
    assert trio.current_time() - begin == pytest.approx(100)


def test_row_is_a_mapping_with_attributes() -> None:
    row = Row({"x": 1})
    assert (row.x, dict(row), repr(row)) == (1, {"x": 1}, "Row(x=1)")
    assert row == {"x": 1}
    assert pickle.loads(pickle.dumps(row)) == row
    with pytest.raises(AttributeError, match="has no column 'y'; it has x"):
        _ = row.y


def test_state_tells_how_far_it_is() -> None:
    made = scan(settable(lambda value: None, name="x"), linspace(0, 1, 3))
    assert repr(made) == "<scan of x: ready, 0 of 3 points>"
    for _ in made:
        assert made.state == "running"
    assert repr(made) == "<scan of x: done, 3 of 3 points>"


def test_futures_are_waited_for(psu: Any) -> None:
    psu_later = psu.rpc_nonblocking
    rows = scan(psu_later.parameters.maximum, [1.0, 2.0]).measure(psu_later.parameters.current).run()
    assert rows == [{"psu_maximum": value, "psu_current": 0.25} for value in (1.0, 2.0)]


def test_what_has_to_be_awaited_is_refused_in_a_script(psu: Any) -> None:
    async def later() -> int:
        return 1

    with pytest.raises(QMI_UsageException, match="'async for'"):
        scan(psu.rpc_async.parameters.maximum, [1]).run()
    with pytest.raises(QMI_UsageException, match="'async for'"):
        scan([], [()]).measure(later).run()


# -- trio


@pytest.mark.parametrize("driver", SUPPLIES)
async def test_trio_program_goes_through_a_scan(driver: type[Supply]) -> None:
    async def later() -> int:
        await trio.lowlevel.checkpoint()
        return 5

    async with qmi.open_context("lab", None, init_logging=False) as lab:
        psu: Any = await lab.make_instrument("psu", driver)
        made = scan(psu.parameters.maximum, 0, 5, 2).measure(psu.parameters.current, later, count)
        seen = [point async for point in made.finally_set((psu, "maximum"), 1)]
        assert seen == [{"psu_maximum": value, "psu_current": 0.25, "later": 5, "count": 7} for value in (0.0, 5.0)]
        assert (await psu.get_line())[-1] == "MAX 1.0"
        assert await scan(psu.parameters.maximum, [1]).run_async() == [{"psu_maximum": 1}]
        with pytest.raises(QMI_UsageException, match="awaited proxy"):
            scan(psu.parameters.maximum, [1]).run()
        with pytest.raises(QMI_UsageException, match="would block the event loop"):
            aiter(scan(psu.rpc_blocking.parameters.maximum, [1]))


async def test_cancelled_scan_goes_to_its_safe_state() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        psu: Any = await lab.make_instrument("psu", AsyncSupply)
        scope = trio.CancelScope()
        made = scan(psu.parameters.maximum, 1, 5, 5).measure(x=scope.cancel)
        with scope:
            async with made.finally_set(psu.parameters.maximum, 0):
                async for _ in made:
                    await trio.sleep_forever()
        assert await psu.get_line() == ["MAX 1.0", "MAX 0.0"]
        assert made.rows == [{"psu_maximum": 1.0, "x": None}]


async def test_abort_cancels_the_call_that_goes_on() -> None:
    async def never() -> None:
        threading.Thread(target=made.abort).start()
        await trio.sleep_forever()

    made = scan(settable(lambda value: None, name="x"), [1, 2]).measure(never)
    assert await made.run_async() == []
    assert made.outcome == "aborted"


async def test_pause_and_resume_from_a_trio_task() -> None:
    async with trio.open_nursery() as nursery:

        async def go_on() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert made.state == "paused"
            assert len(made.rows) == 1
            made.resume()

        def pause() -> None:
            if not made.rows:
                made.pause()
                nursery.start_soon(go_on)

        made = scan(settable(lambda value: None, name="x"), [1, 2]).measure(pause)
        await made.run_async()
    assert len(made.rows) == 2
