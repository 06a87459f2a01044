"""Datasets for the tests of files, and when two are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from qmi.data.dataset import DataSet

TIME = 1700000000.25
ATTRIBUTES: dict[str, Any] = {"text": "it's é", "count": 3, "factor": 1.5}


def made(shape: tuple[int, ...], dtype: Any = float, *, axes: bool = True) -> DataSet:
    """A dataset with everything that one can have."""
    dataset = DataSet("sweep", data=np.arange(int(np.prod(shape))).reshape(shape).astype(dtype))
    dataset.timestamp = TIME
    for axis in range(len(shape) - 1 if axes else 0):
        dataset.set_axis_label(axis, f"axis {axis}")
        dataset.set_axis_unit(axis, "s")
        dataset.set_axis_name(axis, f"long axis {axis}")
        dataset.set_axis_scale(axis, np.linspace(0, 1, shape[axis]))
    for col in range(dataset.ncol):
        dataset.set_column_label(col, f"col{col}")
        dataset.set_column_unit(col, "V")
        dataset.set_column_name(col, f"long column {col}")
    dataset.attrs.update(ATTRIBUTES)
    return dataset


def without_names(dataset: DataSet, *, axes: bool = False) -> DataSet:
    """The same without long names of columns, and of axes."""
    dataset.column_name = [""] * dataset.ncol
    if axes:
        dataset.axis_name = [""] * len(dataset.axis_name)
    return dataset


def parts(dataset: Any) -> dict[str, Any]:
    """All of a dataset as plain values, to compare."""
    plain = {
        name: getattr(dataset, name)
        for name in ("name", "timestamp", "axis_label", "axis_unit", "axis_name", "column_label", "column_unit")
    }
    plain["column_name"] = dataset.column_name
    plain["axes"] = dataset.n_axes
    plain["data"] = (dataset.data.shape, str(dataset.data.dtype), dataset.data.tolist())
    plain["scales"] = [None if scale is None else np.asarray(scale).tolist() for scale in dataset.axis_scale]
    plain["attrs"] = {
        name: value.tolist() if hasattr(value, "tolist") else value for name, value in dataset.attrs.items()
    }
    return plain
