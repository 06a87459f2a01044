"""Lists of numbers as arrays, and arrays as lists: as numpy has them, in steps."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from qmi.presenting import number_lists
from qmi.presenting.number_lists import array_from, list_of

SHAPES = [(), (0,), (3,), (4,), (9,), (0, 3), (3, 0), (2, 2), (5, 3), (3, 50), (50, 2), (2, 3, 4), (2, 1, 9)]


@pytest.fixture(autouse=True)
def steps_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_lists, "STEP", 4)


@pytest.mark.parametrize("dtype", ["f8", ">i2", "c8", "?", "U3", "O"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_list_of_an_array_is_what_numpy_has(shape: tuple[int, ...], dtype: str) -> None:
    array = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    assert list_of(array) == array.tolist()
    assert list_of(array.T) == array.T.tolist()


LISTS: list[Any] = [
    *(numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape).tolist() for shape in SHAPES),
    [1, 2, 3, 4, 5.5, 6],
    [True, False, True, True, 2],
    (1, 2, 3, 4, 5),
    [float("nan")] * 9,
    [[1, 2], [3, 4.5], [5, 6]],
    [1 + 2j, 0, 0, 0, 0],
    5,
]


@pytest.mark.parametrize("values", LISTS, ids=str)
def test_array_from_a_list_is_what_numpy_has(values: Any) -> None:
    found, expected = array_from(values), numpy.asarray(values)
    numpy.testing.assert_array_equal(found, expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def test_array_from_a_list_has_the_dtype_that_is_asked_for() -> None:
    assert array_from([1, 2, 3, 4, 5], numpy.float32).dtype == numpy.float32
    with pytest.raises(OverflowError):
        array_from([1, 2, 3, 4, 500], numpy.uint8)


@pytest.mark.parametrize(
    "values", [[[1, 2, 3], [4, 5]], [[1, 2], [3, 4], [5]], [[1, 2, 3, 4, 5], 6], [1, 2, 3, 4, [5]], ["a", 1, 2, 3, 4],
               [1, 2, 3, 4, "a"], [1, 2, 3, 4, None], [10**30, 1, 2, 3, 4]], ids=str,
)  # fmt: skip
def test_array_from_what_is_no_array_of_numbers_fails_or_is_of_no_number_type(values: Any) -> None:
    try:
        kind = array_from(values).dtype.kind
    except (ValueError, TypeError, OverflowError):
        kind = "O"
    assert kind in "OU"
