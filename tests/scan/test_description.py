from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import qmi
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UsageException
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.net.codec.codec import Codec
from qmi.scan import Scan, adaptive, grid, linspace, readable, repeat, scan, settable, zip  # noqa: A004 - zip of points
from qmi.scan.description import Description, description_of
from tests.support import scan_functions
from tests.support.supplies import Mode, Supply


class Locked(Supply):
    """A supply with a door, and methods of its own."""

    sig_door = QMI_Signal([bool])

    @rpc_method
    def move_to(self, value: float) -> None:
        """Is set."""

    @rpc_method
    def get_temperature(self) -> float:
        """Is measured."""
        return 300.0


@pytest.fixture(scope="module")
def psu() -> Iterator[Any]:
    qmi.start("lab", None, init_logging=False)
    yield qmi.make_instrument("psu", Locked)
    qmi.stop()


def travelled(made: Scan) -> Description:
    """What another program has of it."""
    description = made.describe()
    codec = Codec()
    encoded = codec.encode(description.plain())
    found = description_of(codec.decode(encoded.payload, encoded.segments))
    assert found == description
    return found


def names(made: Scan) -> list[str]:
    return [str(reference) for reference in travelled(made).references]


def test_description_names_parameters_methods_and_functions(psu: Any) -> None:
    made = scan([psu.parameters.maximum, psu.move_to, (psu, "outputs[1].level")], [(1, 2, 3)], run="iv")
    made.measure(psu.get_temperature, scan_functions.get_power, c=psu.outputs[2].get_current).annotate(
        tags=["A12", "B"], comment="first"
    )
    made.finally_set(psu.parameters.maximum, 0.0, ramp=0.5, deadline=3.0).finally_call(scan_functions.switch_off)
    made.suspend_when(psu.sig_door, scan_functions.is_open).wait_when_lost(60)
    description = travelled(made)
    functions = "tests.support.scan_functions"
    assert [str(column.what) for column in (*description.targets, *description.readables)] == [
        *("lab.psu.maximum", "lab.psu.move_to", "lab.psu.outputs[1].level"),
        *("lab.psu.get_temperature", f"{functions}:get_power", "lab.psu.outputs[2].get_current"),
    ]
    assert [column.name for column in description.readables] == ["temperature", "power", "c"]
    assert description.targets[2].unit == "V"
    setting, calling = description.ending
    assert (setting[1:], str(setting.what)) == (("psu_maximum", "V", 0.0, 0.5, 3.0), "lab.psu.maximum")
    assert str(calling.what) == f"{functions}:switch_off"
    assert str(description.watches[0].condition) == f"{functions}:is_open"
    assert (description.patience, description.run_name, description.tags) == (60.0, "iv", ("A12", "B"))
    assert (description.comment, description.length) == ("first", 1)
    assert description.addresses() == ["lab.psu"]
    assert str(description) == (
        "scan of psu_maximum, move_to, psu_outputs_1_level, 1 points, measures temperature, power, c"
    )


@pytest.mark.parametrize(
    "points",
    [
        lambda: linspace(0, 1, 5),
        lambda: [1, 2.5, "text", None, Mode.VOLTAGE, b"x", 1 + 2j, (1, 2), [3, 4]],
        lambda: range(0, 10, 2),
        lambda: numpy.linspace(0, 1, 3),
        lambda: numpy.array([[1, 2], [3, 4]]),
        lambda: grid([1, 2], linspace(3, 4, 2), numpy.arange(2)),
        lambda: zip([1, 2], grid([3], [4, 5])),
        lambda: repeat(grid([1], [2]), 3),
        lambda: repeat([1]),
        list,
    ],
)
def test_description_keeps_points(points: Callable[[], Any]) -> None:
    length = scan(scan_functions.set_position, points()).length
    assert travelled(scan(scan_functions.set_position, points())).length == length


def test_description_of_adaptive_points_names_their_function() -> None:
    assert names(scan(scan_functions.set_position, adaptive(scan_functions.halve))) == [
        "tests.support.scan_functions:set_position",
        "tests.support.scan_functions:halve",
    ]
    nested = scan(scan_functions.set_position, repeat(zip(adaptive(scan_functions.halve)), 2))
    assert "tests.support.scan_functions:halve" in names(nested)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ({"equals": True}, ["equals", True]),
        ({"equals": None}, ["equals", None]),
        ({"equals": Mode.CURRENT}, ["equals", Mode.CURRENT]),
        ({"below": 1}, ["beyond", 1, None]),
        ({"above": 2.5}, ["beyond", None, 2.5]),
        ({"below": 1, "above": 2}, ["beyond", 1, 2]),
    ],
)
def test_simple_conditions_travel(psu: Any, said: dict[str, Any], seen: object) -> None:
    made = scan(psu.parameters.maximum, [1]).suspend_when(psu.sig_door, **said)
    assert made.describe().plain()["watches"] == [[["signal", "lab.psu", "sig_door"], seen]]
    assert travelled(made)


def test_functions_of_other_modules_have_names() -> None:
    made = scan(scan_functions.Stage.move, [1]).measure(now=time.time, sine=math.sin, half=scan_functions.RENAMED)
    assert names(made) == [
        "tests.support.scan_functions:Stage.move",
        "time:time",
        "math:sin",
        "tests.support.scan_functions:halve",
    ]


class Callable_:
    def __call__(self) -> float:
        return 1.0


def generator() -> Iterator[int]:
    yield 1


def replaced() -> float:
    return 1.0


def script() -> float:
    return 1.0


script.__module__ = "__main__"
hidden, replaced = replaced, len  # type: ignore[assignment]


def local() -> Callable[[], float]:
    def inner() -> float:
        return 1.0

    return inner


def measured(what: Any) -> Scan:
    return scan(scan_functions.set_position, [1]).measure(readable(what, name="y"))


def pointed(points: Any) -> Scan:
    return scan(scan_functions.set_position, points)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: measured(lambda: 1),
            r"y, which is measured, is a lambda, which lives in this one\. Make it a function",
        ),
        (lambda: measured(scan_functions.ALIAS), "y, which is measured, is a lambda"),
        (lambda: measured(local()), r"is the function inner\(\) within another one"),
        (lambda: measured(functools.partial(script)), "is an object of type partial, which lives in this one"),
        (lambda: measured(Callable_()), "is an object of type Callable_"),
        (
            lambda: measured(scan_functions.STAGE.get_position),
            r"is the method get_position\(\) of an object of this one",
        ),
        (lambda: measured([].pop), r"is the method pop\(\) of an object"),
        (lambda: measured(script), r"is the function script\(\) of this script or notebook"),
        (lambda: measured(hidden), r"is replaced, which is not what its module .*test_description has under this name"),
        (lambda: scan(settable(lambda value: None, name="x"), [1]), "x, which is set, is a lambda"),
        (lambda: pointed([1]).finally_call(lambda: None), r"what finally_call\(\) calls is a lambda"),
        (
            lambda: pointed([1]).finally_set(settable(lambda value: None, name="z"), 0),
            r"z, which finally_set\(\) sets, is a lambda",
        ),
        (lambda: pointed(adaptive(lambda rows: None)), r"what adaptive\(\) calls is a lambda"),
        (lambda: pointed(grid(adaptive(lambda rows: None), [1])), r"what adaptive\(\) calls is a lambda"),
        (lambda: pointed(generator()), r"its points come from the generator generator, .* Give list\(\.\.\.\) of it"),
        (lambda: pointed(grid(generator(), [1])), "its points come from the generator"),
        (lambda: pointed(iter([1])), r"its points are of type list_iterator; give list\(\.\.\.\) of them"),
        (lambda: pointed({1: 2}), "its points are of type dict"),
        (lambda: scan(scan_functions.set_position, [1], run=Recorder()), r"its rows go to .* Name the run: scan\("),
    ],
)
def test_what_has_no_name_elsewhere_is_refused(make: Callable[[], Scan], says: str) -> None:
    with pytest.raises(QMI_UsageException, match=says):
        make().describe()


def test_condition_that_has_no_name_elsewhere_is_refused(psu: Any) -> None:
    made = pointed([1]).suspend_when(psu.sig_door, lambda is_open: is_open)
    with pytest.raises(
        QMI_UsageException, match=r"condition for lab.psu.sig_door .* is a lambda.* Say equals=, below="
    ):
        made.describe()


class Recorder:
    def add(self, /, **values: object) -> None:
        """Nothing is kept."""


def test_scan_that_has_begun_is_not_described() -> None:
    made = pointed([1])
    made.run()
    with pytest.raises(QMI_InvalidOperationException, match="has begun"):
        made.describe()


def test_objects_of_a_context_are_renamed(psu: Any) -> None:
    made = scan(psu.parameters.maximum, [["parameter", "lab.psu", "x"]]).suspend_when(psu.sig_door, equals=True)
    moved = made.describe().moved("lab", "rack")
    assert [str(reference) for reference in moved.references] == ["rack.psu.maximum", "rack.psu.sig_door"]
    assert moved.points.parts == (["parameter", "lab.psu", "x"],), "a value is left as it is"
    assert made.describe().moved("other", "rack") == made.describe()


NESTED: list[Any] = ["values", []]
for _ in range(100):
    NESTED = ["grid", NESTED]
GOOD: dict[str, Any] = pointed([1]).describe().plain()


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {**GOOD, "version": 2},
        {**GOOD, "settle": 1.0},
        *({**GOOD, "version": 2, "settle": wrong} for wrong in (-1.0, "1", None, True, math.inf, math.nan)),
        *({**GOOD, key: 5} for key in GOOD if key not in ("version", "length", "patience")),
        *({**GOOD, key: [5]} for key in ("targets", "readables", "ending", "watches", "tags", "points", "patience")),
        {**GOOD, "targets": [["x", "", ["signal", "lab.psu", "sig"]]]},
        {**GOOD, "targets": [["x", "", ["lambda", "lab.psu", "sig"]]]},
        {**GOOD, "targets": [["x", "", ["function", "os", 5]]]},
        {**GOOD, "targets": [["x", 5, ["function", "os", "system"]]]},
        {**GOOD, "watches": [[["function", "a", "b"], ["equals", 1]]]},
        {**GOOD, "watches": [[["signal", "a", "b"], ["beyond", "1", None]]]},
        {**GOOD, "watches": [[["signal", "a", "b"], ["parameter", "a", "b"]]]},
        {**GOOD, "ending": [[["function", "a", "b"], "", "", None, None, None]]},
        {**GOOD, "ending": [[["function", "a", "b"], "", "", None, "1", 1.0]]},
        {**GOOD, "points": []},
        {**GOOD, "points": ["values"]},
        {**GOOD, "points": ["values", 5]},
        {**GOOD, "points": ["spiral", []]},
        {**GOOD, "points": ["repeat", ["values", []], "3"]},
        {**GOOD, "points": ["adaptive", ["parameter", "a", "b"]]},
        {**GOOD, "points": NESTED},
    ],
)
def test_data_that_are_no_scan_are_refused(plain: object) -> None:
    with pytest.raises(QMI_InvalidValueException, match="no scan that this program understands"):
        description_of(plain)


def test_time_to_settle_travels_and_is_not_ignored_by_who_does_not_know_it() -> None:
    description = travelled(pointed([1]).settle(2))
    assert (description.settle, description.plain()["version"]) == (2.0, 2)
    assert travelled(pointed([1]).settle(0)).plain() == GOOD
    assert description.moved("lab", "rack").settle == 2.0


def test_annotations_are_checked() -> None:
    with pytest.raises(QMI_InvalidValueException, match="tags are those of a run: name one"):
        pointed([1]).annotate(tags=["A"])
    with pytest.raises(QMI_InvalidValueException, match="comment must be a text, got 5"):
        pointed([1]).annotate(comment=5)  # type: ignore[arg-type]
