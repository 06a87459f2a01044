from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.core.exceptions import QMI_InvalidValueException
from qmi.scan import points
from qmi.scan.points import adaptive, feed, grid, length_of, linspace, repeat

FINITE = st.floats(allow_nan=False, allow_infinity=False)
AXIS = st.lists(st.integers(), max_size=4)


@given(FINITE, FINITE, st.integers(1, 50))
def test_linspace_has_its_ends_and_is_in_order(start: float, stop: float, number: int) -> None:
    found = linspace(start, stop, number)
    assert len(found) == number
    assert found[0] == start
    assert found[-1] == (stop if number > 1 else start)
    assert all(math.isfinite(value) for value in found)
    assert list(found) == sorted(found, reverse=start > stop)


def test_linspace_hits_round_numbers() -> None:
    assert linspace(0, 5, 6) == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    assert linspace(5, 0, 3) == (5.0, 2.5, 0.0)
    assert linspace(2, 3, 1) == (2.0,)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ((math.nan, 1, 2), "start must be finite"),
        ((0, math.inf, 2), "stop must be finite"),
        (("a", 1, 2), "start must be a number"),
        ((0, None, 2), "stop must be a number"),
        ((0, 1, 0), "number must be an int of at least 1, got 0"),
        ((0, 1, -1), "number must be"),
        ((0, 1, 2.5), "number must be"),
        ((0, 1, True), "number must be"),
    ],
)
def test_linspace_names_what_is_wrong(args: tuple[float, float, int], named: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=named):
        linspace(*args)


@given(st.lists(AXIS, min_size=1, max_size=4))
def test_grid_has_every_combination_with_the_last_axis_fastest(axes: list[list[int]]) -> None:
    found = grid(*axes)
    assert list(found) == list(itertools.product(*axes))
    assert list(found) == list(itertools.product(*axes)), "a second time"
    assert length_of(found) == math.prod(map(len, axes))


@given(AXIS, st.integers(1, 3))
def test_zip_goes_along_all_axes_at_once(axis: list[int], number: int) -> None:
    found = points.zip(*[axis] * number)
    assert list(found) == [(value,) * number for value in axis]
    assert length_of(found) == len(axis)


@given(AXIS, st.integers(0, 4))
def test_repeat_gives_the_points_again(axis: list[int], times: int) -> None:
    found = repeat(axis, times)
    assert list(found) == axis * times
    assert length_of(found) == len(axis) * times


def test_repeat_without_a_number_goes_on_for_ever() -> None:
    found = repeat([1, 2])
    assert list(itertools.islice(found, 5)) == [1, 2, 1, 2, 1]
    assert length_of(found) is None
    assert list(repeat([])) == []


def test_combinations_of_combinations_are_flat() -> None:
    found = grid(points.zip([1, 2], ["a", "b"]), (True,))
    assert list(found) == [(1, "a", True), (2, "b", True)]
    assert list(grid([0], repeat([5], 2))) == [(0, 5), (0, 5)]


def measured(found: Iterable[object], row: Callable[[object], object]) -> list[object]:
    """The points, as a scan goes through them."""
    feeding = feed(found)
    seen: list[object] = []
    last: object = None
    while True:
        try:
            point = feeding.send(last)
        except StopIteration:
            return seen
        seen.append(point)
        last = row(point)


def halves(rows: list[object]) -> object:
    return None if len(rows) == 3 else 8.0 if not rows else rows[-1]


def test_adaptive_points_follow_what_was_measured() -> None:
    assert measured(adaptive(halves), lambda point: point / 2) == [8.0, 4.0, 2.0]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("made", "seen"),
    [
        (lambda: grid([1], adaptive(halves)), [(1, 8.0), (1, 4.0), (1, 2.0)]),
        (lambda: grid(adaptive(halves), ["x"]), [(8.0, "x"), (4.0, "x"), (2.0, "x")]),
        (lambda: points.zip([1, 2, 3], adaptive(halves)), [(1, 8.0), (2, 4.0), (3, 2.0)]),
        (lambda: repeat(adaptive(halves), 2), [8.0, 4.0, 2.0] * 2),
    ],
)
def test_adaptive_points_follow_within_combinations(made: Callable[[], Iterable[object]], seen: list[object]) -> None:
    def half(point: object) -> object:
        values = point if isinstance(point, tuple) else (point,)
        return next(value for value in values if isinstance(value, float)) / 2

    assert measured(made(), half) == seen


def test_generator_is_sent_each_row() -> None:
    sent = []

    def ramp() -> Generator[int, object, None]:
        sent.append((yield 1))
        sent.append((yield 2))

    assert measured(ramp(), lambda point: {"y": point}) == [1, 2]
    assert sent == [{"y": 1}, {"y": 2}]


def test_plain_iterators_are_points() -> None:
    assert measured(iter([1, 2]), lambda point: "row") == [1, 2]
    assert list(grid(iter([1, 2]), [3])) == [(1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: grid(), r"grid\(\) needs"),
        (lambda: points.zip(), r"zip\(\) needs"),
        (lambda: grid([1], iter([2])), r"axis 2 of grid\(\) is gone through more than once"),
        (lambda: repeat(x for x in [1]), r"repeat\(\) is gone through more than once"),
        (
            lambda: grid([1], 5),  # type: ignore[arg-type]
            r"axis 2 of grid\(\) must be points",
        ),
        (lambda: grid("ab"), r"axis 1 of grid\(\) must be points"),
        (lambda: points.zip([1], [1, 2]), "the same number of points, got 1, 2"),
        (lambda: repeat([1], -1), "times must be None or an int of at least 0, got -1"),
        (
            lambda: repeat([1], 1.5),  # type: ignore[arg-type]
            "times must be",
        ),
        (
            lambda: adaptive(5),  # type: ignore[arg-type]
            r"adaptive\(\) takes a function",
        ),
    ],
)
def test_points_that_make_no_sense_are_refused_at_once(make: Callable[[], object], named: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=named):
        make()
