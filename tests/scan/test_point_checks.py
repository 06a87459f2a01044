"""Points outside of declared limits are refused before anything moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import qmi
from qmi.core.driver import parameter
from qmi.core.exceptions import QMI_InvalidValueException, QMI_RpcTimeoutException
from qmi.core.rpc import Placement
from qmi.scan import adaptive, grid, linspace, repeat, scan, settable
from qmi.scan import zip as zip_points
from tests.support.supplies import Kept, Supply


class Rig(Kept):
    """Declares each kind of rule, for good."""

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    count = parameter("COUN", int, limits=(1, None))
    gain = parameter("GAIN", float, values=(1.0, 2.0, 5.0))
    angle = parameter("ANGL", float, unit="deg", limits=(-90, 90), step=0.5)


class AsyncRig(Rig):
    """The same in the event loop."""

    _rpc_placement = Placement.LOOP


@pytest.fixture
def context() -> Iterator[Any]:
    yield qmi.start("lab", None, init_logging=False)
    qmi.stop()


@pytest.fixture(params=[Rig, AsyncRig])
def rig(request: pytest.FixtureRequest, context: Any) -> Any:
    return context.make_instrument("rig", request.param)


def one_by_one() -> Iterator[float]:
    for value in (0.0, 25.0, 50.0):  # noqa: UP028 - the rows are sent to it
        yield value


TWO = ["voltage", "angle"]
REFUSED: list[tuple[str | list[str], object, str]] = [
    ("voltage", linspace(0, 50, 3), r"^voltage of rig must be from 0 to 30 V, got 50\.0 V \(value 3 of 3 of the scan"),
    ("voltage", [0, 25, 50], r"got 50\.0 V \(value 3 of 3 of the scan, which has set nothing yet\)$"),
    ("voltage", (0, -1), r"got -1\.0 V \(value 2 of 2"),
    ("voltage", range(0, 50, 10), r"got 40\.0 V \(value 5 of 5"),
    ("voltage", numpy.array([1.0, 31.0]), r"got 31\.0 V \(value 2 of 2"),
    ("voltage", [1, "2"], r"voltage of rig must be a number"),
    ("voltage", [1, float("nan")], r"must be a number, got nan"),
    ("voltage", repeat([1, 50], 2), r"got 50\.0 V"),
    ("voltage", repeat([1, 50]), r"got 50\.0 V"),
    ("count", [3, 2, 1, 0], r"count of rig must be at least 1, got 0 \(value 4 of 4"),
    ("count", [1, 1.5], r"count of rig must be a whole number"),
    ("gain", [1, 2, 3], r"gain of rig must be .*1.*2.*5.*, got 3"),
    ("angle", [0, 0.5, 0.7], r"angle of rig must be a multiple of 0\.5 deg"),
    (TWO, [(1, 0), (31, 0)], r"voltage of rig .*got 31\.0 V \(value 2 of 2"),
    (TWO, [(1, 0), (1, 91)], r"angle of rig .*got 91\.0 deg \(value 2 of 2"),
    (TWO, numpy.array([[1.0, 0.0], [1.0, 91.0]]), r"angle of rig .*got 91\.0 deg"),
    (TWO, grid(linspace(0, 50, 3), [0]), r"got 50\.0 V"),
    (TWO, grid([0], linspace(0, 100, 3)), r"angle of rig .*got 100\.0 deg \(value 3 of 3"),
    (TWO, zip_points([1, 2], [0, 91]), r"angle of rig .*got 91\.0 deg"),
    (TWO, repeat(grid([0, 50], [0]), 3), r"got 50\.0 V"),
    ([*TWO, "count"], grid([(0, 0), (0, 91)], [1]), r"angle of rig .*got 91\.0 deg"),
    ([*TWO, "count"], grid(zip_points([0], [0]), [1, 0]), r"count of rig .*got 0"),
    (TWO, [(1, 0), (1,)], r"each point must have 2 values"),
]


def sets(rig: Any, names: str | list[str]) -> object:
    return [(rig, name) for name in names] if isinstance(names, list) else (rig, names)


@pytest.mark.parametrize(("names", "points", "words"), REFUSED)
def test_point_out_of_limits_is_refused_before_anything_moves(
    rig: Any, names: str | list[str], points: object, words: str
) -> None:
    made = scan(sets(rig, names), points)
    with pytest.raises(QMI_InvalidValueException, match=words):
        made.run()
    assert rig.get_line() == []
    assert made.rows == []
    assert made.outcome == "failed"


async def test_point_out_of_limits_is_refused_in_a_trio_program() -> None:
    async with qmi.open_context("lab") as context:
        rig: Any = await context.make_instrument("rig", AsyncRig)
        with pytest.raises(QMI_InvalidValueException, match=r"got 50\.0 V \(value 3 of 3"):
            await scan((rig, "voltage"), 0, 50, 3).run_async()
        assert await rig.get_line() == []


def test_end_of_a_refused_scan_is_done_and_no_run_is_made(rig: Any) -> None:
    made = scan((rig, "voltage"), 0, 50, 3, run="iv").finally_set((rig, "voltage"), 2)
    with pytest.raises(QMI_InvalidValueException, match="got 50"):
        made.run()
    assert rig.get_line() == ["VOLT 2.0"]
    assert made.recorder is None


def test_end_that_cannot_be_set_is_refused_before_anything_moves(rig: Any) -> None:
    done: list[int] = []
    made = (
        scan((rig, "voltage"), [1, 2]).finally_set((rig, "angle"), 100, ramp=1.0).finally_call(lambda: done.append(1))
    )
    with pytest.raises(
        QMI_InvalidValueException, match=r"angle of rig .*got 100\.0 deg \(for the end of the scan, which"
    ):
        made.run()
    assert not [line for line in rig.get_line() if line.startswith("VOLT")]
    assert done == [1]  # whatever ends a scan, the other parts of its end are done


@pytest.mark.parametrize(
    "points", [one_by_one, lambda: adaptive(lambda rows: [0, 25, 50][len(rows)]), lambda: grid(one_by_one(), [0])]
)
def test_points_that_are_known_one_by_one_are_checked_when_they_are_set(rig: Any, points: Any) -> None:
    found = points()
    made = scan(sets(rig, TWO if "grid" in repr(found) else "voltage"), found)
    with pytest.raises(QMI_InvalidValueException, match=r"got 50\.0 V$"):
        made.run()
    assert len(made.rows) == 2


def test_limits_that_move_with_the_scan_are_those_of_the_moment(context: Any) -> None:
    psu = context.make_instrument("psu", Supply)  # the limit of voltage is maximum, which is 0 at first
    made = scan([(psu, "maximum"), (psu, "voltage")], [(10, 5), (20, 15), (10, 15)])
    with pytest.raises(QMI_InvalidValueException, match=r"must be from 0 to 10\.0 V, got 15\.0 V$"):
        made.run()
    assert [row.psu_voltage for row in made.rows] == [5, 15]


def test_instrument_that_does_not_tell_its_limits_is_scanned(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> object:
        raise QMI_RpcTimeoutException("busy")

    monkeypatch.setattr(type(rig.parameters["voltage"]), "info", silent)
    made = scan((rig, "voltage"), 0, 50, 3)
    with pytest.raises(QMI_InvalidValueException, match=r"got 50\.0 V$"):
        made.run()
    assert len(made.rows) == 2


def test_points_within_limits_and_functions_are_scanned(rig: Any) -> None:
    seen: list[object] = []
    made = scan([(rig, "voltage"), settable(seen.append, name="seen")], grid([0, 30], [99]))
    assert [row.rig_voltage for row in made.run()] == [0, 30]
    assert seen == [99, 99]
