"""What a dataset is: shapes, labels, units, scales; and that it travels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qmi.core.rpc import UnknownTypeValue
from qmi.data.dataset import DataSet
from qmi.net.codec import Codec, UndecodableValue
from tests.support.datasets import made, parts

CODEC = Codec()


def send(value: Any) -> Any:
    encoded = CODEC.encode(value)
    return CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


@pytest.mark.parametrize(
    ("shape", "axes", "columns", "places"),
    [((3,), 0, 1, 0), ((3, 2), 0, 2, 1), ((3, 1), 0, 1, 1), ((4, 3, 2), 2, 2, 2), ((2, 2, 2, 5), 3, 5, 3)],
)
def test_dataset_has_axes_and_columns_of_its_shape(
    shape: tuple[int, ...], axes: int, columns: int, places: int
) -> None:
    dataset = DataSet("a", shape=shape)
    assert (dataset.n_axes, dataset.ncol, dataset.is_raw) == (axes, columns, axes == 0)
    assert dataset.data.shape == shape
    assert dataset.data.dtype == np.float64
    assert not dataset.data.any()
    assert dataset.axis_label == dataset.axis_unit == dataset.axis_name == [""] * places
    assert dataset.axis_scale == [None] * places
    assert dataset.column_label == dataset.column_unit == dataset.column_name == [""] * columns
    assert dataset.attrs == {}


def test_dataset_keeps_the_array_itself() -> None:
    data = np.arange(6).reshape(3, 2)
    dataset = DataSet("a", (3, 2), np.int64, data)
    assert dataset.data is data
    assert repr(dataset) == "DataSet('a', shape=(3, 2), axes=0)"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, TypeError, "give the shape, or the data"),
        ({"shape": ()}, ValueError, "at least one dimension"),
        ({"shape": (2, 0)}, ValueError, r"got the shape \(2, 0\)"),
        ({"shape": (-1,)}, ValueError, r"got the shape \(-1,\)"),
        ({"shape": 3}, TypeError, "shape must be a tuple"),
        ({"shape": "33"}, TypeError, "shape must be a tuple"),
        ({"shape": (2.0, 3)}, TypeError, "shape must be a tuple"),
        ({"shape": (True, 3)}, TypeError, "shape must be a tuple"),
        ({"data": [[1, 2]]}, TypeError, "numpy array, got list"),
        ({"data": np.zeros(())}, ValueError, "at least one dimension"),
        ({"data": np.zeros((0, 3))}, ValueError, r"got the shape \(0, 3\)"),
        ({"data": np.zeros(3), "shape": (2,)}, ValueError, r"shape \(3,\), but shape says \(2,\)"),
        ({"data": np.zeros(3), "dtype": int}, ValueError, "of type float64, but dtype says int64"),
        ({"name": 5, "shape": (2,)}, TypeError, "name must be a text, got 5"),
    ],
)
def test_dataset_refuses_what_does_not_fit(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DataSet(**{"name": "a", **arguments})


def test_rows_become_an_axis_when_they_are_described() -> None:
    described: list[Callable[[DataSet], None]] = [
        lambda d: d.set_axis_label(0, "x"),
        lambda d: d.set_axis_unit(0, "s"),
        lambda d: d.set_axis_name(0, "x"),
        lambda d: d.set_axis_scale(0, [1, 2, 3]),
        lambda d: d.axis_label.__setitem__(0, "x"),  # the list itself
    ]
    for describe in described:
        dataset = DataSet("a", shape=(3, 2))
        describe(dataset)
        assert (dataset.n_axes, dataset.is_raw) == (1, False)


AXIS = ("set_axis_label", "set_axis_unit", "set_axis_name", "set_axis_scale")
COLUMN = ("set_column_label", "set_column_unit", "set_column_name")


@pytest.mark.parametrize("method", [*AXIS, *COLUMN])
@pytest.mark.parametrize(
    ("place", "error"), [(-1, ValueError), (3, ValueError), ("x", TypeError), (True, TypeError), (1.0, TypeError)]
)
def test_dataset_refuses_axes_and_columns_that_it_has_not(method: str, place: Any, error: type[Exception]) -> None:
    dataset = DataSet("a", shape=(2, 2, 2))
    value = [1, 2] if method.endswith("scale") else "x"
    with pytest.raises(error, match=r"^(axis|col) must be"):
        getattr(dataset, method)(place, value)
    assert parts(dataset)["scales"] == [None, None]


@pytest.mark.parametrize("method", AXIS)
def test_single_column_has_no_axis(method: str) -> None:
    with pytest.raises(ValueError, match=r"axis must be one of the axes of the data, none \(shape \(3,\)\); got 0"):
        getattr(DataSet("a", shape=(3,)), method)(0, [1, 2, 3] if method.endswith("scale") else "x")


@pytest.mark.parametrize("method", [*AXIS[:3], *COLUMN])
@pytest.mark.parametrize("value", [5, None, b"x"])
def test_dataset_refuses_labels_that_are_no_text(method: str, value: Any) -> None:
    with pytest.raises(TypeError, match=r"(label|unit|name) must be a text, got"):
        getattr(DataSet("a", shape=(2, 2)), method)(0, value)


@pytest.mark.parametrize(
    ("scale", "error", "text"),
    [
        ([1, 2], ValueError, r"the scale of axis 0 must be 3 numbers, one for each index; got the shape \(2,\)"),
        (np.zeros((3, 1)), ValueError, r"got the shape \(3, 1\)"),
        (None, ValueError, r"got the shape \(\)"),
        (["a", "b", "c"], TypeError, "must be numbers, got values of type <U1"),
        ([1, float("nan"), 2], ValueError, "must be finite numbers, got nan"),
        ([1, float("-inf"), 2], ValueError, "must be finite numbers, got -inf"),
    ],
)
def test_dataset_refuses_scales_that_do_not_fit(scale: Any, error: type[Exception], text: str) -> None:
    dataset = DataSet("a", shape=(3, 2))
    with pytest.raises(error, match=text):
        dataset.set_axis_scale(0, scale)
    assert dataset.is_raw


# -- over links


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 3, 2)])
@pytest.mark.parametrize("dtype", [float, complex, "i2", bool, "U3"])
def test_dataset_travels(shape: tuple[int, ...], dtype: Any) -> None:
    dataset = made(shape, dtype)
    back = send({"found": dataset})["found"]
    assert type(back) is DataSet
    assert parts(back) == parts(dataset)
    back.data[0] = back.data[-1]
    back.set_column_label(0, "another")


@pytest.mark.parametrize(
    ("part", "value", "text"),
    [
        ("axis_label", ["a"], r"axis_label must be a list of 2 texts: data of shape \(2, 3, 2\) have 2 axes"),
        ("axis_unit", ("a", "b"), "axis_unit must be a list of 2 texts"),
        ("axis_name", ["a", 5], r"axis_name\[1\] must be a text, got 5"),
        ("column_label", ["a", "b", "c"], "column_label must be a list of 2 texts"),
        ("column_unit", None, "column_unit must be a list of 2 texts"),
        ("axis_scale", [None], "axis_scale must be a list with 2 items"),
        ("axis_scale", [None, np.arange(2)], r"axis_scale\[1\] must be 3 numbers"),
        ("data", [1, 2], "data must be a numpy array, got list"),
        ("data", np.zeros(()), "at least one dimension"),
        ("name", 5, "name must be a text"),
        ("timestamp", "now", "timestamp must be a number"),
        ("attrs", [], "attrs must be a dict"),
    ],
)
def test_dataset_that_does_not_fit_is_refused_where_it_arrives(part: str, value: Any, text: str) -> None:
    dataset = made((2, 3, 2))
    setattr(dataset, part, value)
    with pytest.raises(UndecodableValue, match=text):
        send(dataset)


def test_dataset_arrives_where_numpy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = CODEC.encode(made((3, 2)))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        back = CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])
    assert type(back) is DataSet
    assert isinstance(vars(back)["data"], UnknownTypeValue)
    assert back.column_label == ["col0", "col1"]
