"""An array with labels, units and scales. numpy is imported when the first one is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from qmi.net.codec.unknown import UnknownTypeValue

if TYPE_CHECKING:
    import numpy.typing as npt

    AnyArray: TypeAlias = npt.NDArray[Any]


@dataclass(init=False, eq=False, repr=False)
class DataSet:
    """Values of a measurement: an array whose last axis has the columns, with labels, units and scales.

    An array of one dimension is a single column, without axes. Of an array of two dimensions, rows and columns, the
    rows become an axis as soon as they are given a label, unit, name or scale. From three dimensions on, every
    dimension but the last one is an axis.

    The fields may be read and changed in place, such as ``dataset.data[2, 0:5] += 1``; the shape and the type of the
    data stay as they are. All of it is in memory. It can be sent to other programs.

    Attributes:
        name: Its name; a part of the name of the file into which a :class:`~qmi.data.datastore.DataFolder` writes it.
        data: The values.
        timestamp: When it was made, in seconds since 1970 (UTC).
        axis_label: One label for each axis, "" if there is none.
        axis_unit: One unit for each axis.
        axis_name: One long name for each axis.
        axis_scale: For each axis the values that belong to its indices, or None.
        column_label: One label for each column.
        column_unit: One unit for each column.
        column_name: One long name for each column.
        attrs: Further values by name: texts and numbers.

    Args:
        name: Its name.
        shape: Size of each dimension, at least 1; the values are 0 then.
        dtype: Type of the values, ``float`` if it is not given.
        data: The values. They are not copied.

    Raises:
        TypeError: If there is neither a shape nor data, or an argument has the wrong type.
        ValueError: If shape, type and data do not fit, or a dimension is empty.
    """

    name: str
    timestamp: float
    data: AnyArray
    axis_label: list[str]
    axis_unit: list[str]
    axis_name: list[str]
    axis_scale: list[AnyArray | None]
    column_label: list[str]
    column_unit: list[str]
    column_name: list[str]
    attrs: dict[str, Any]
    _has_axes: bool

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtype: npt.DTypeLike | None = None,
        data: AnyArray | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a text, got {name!r}")
        self.name = name
        self.data = _values(shape, dtype, data)
        self.timestamp = time.time()
        axes = self.data.ndim - 1
        self.axis_label = [""] * axes
        self.axis_unit = [""] * axes
        self.axis_name = [""] * axes
        self.axis_scale = [None] * axes
        columns = self.ncol
        self.column_label = [""] * columns
        self.column_unit = [""] * columns
        self.column_name = [""] * columns
        self.attrs = {}
        self._has_axes = axes > 1

    def __repr__(self) -> str:
        return f"DataSet({self.name!r}, shape={getattr(self.data, 'shape', None)}, axes={self.n_axes})"

    @property
    def ncol(self) -> int:
        """Number of columns."""
        return int(self.data.shape[-1]) if self.data.ndim > 1 else 1

    @property
    def n_axes(self) -> int:
        """Number of axes; 0 if the data are raw."""
        return 0 if self.is_raw else self.data.ndim - 1

    @property
    def is_raw(self) -> bool:
        """Whether these are plain rows, or a single column, without axes."""
        if self.data.ndim == 1:
            return True
        described = any(self.axis_label) or any(self.axis_unit) or any(self.axis_name)
        scaled = any(scale is not None for scale in self.axis_scale)
        return not (self._has_axes or self.data.ndim > 2 or described or scaled)

    def set_axis_label(self, axis: int, label: str) -> None:
        """Set the label of an axis.

        Args:
            axis: Which one; the first is 0.
            label: The label.

        Raises:
            TypeError: If the axis is no integer, or the label no text.
            ValueError: If there is no such axis.
        """
        self._axis(axis)
        self.axis_label[axis] = _text("label", label)
        self._has_axes = True

    def set_axis_unit(self, axis: int, unit: str) -> None:
        """Set the unit of an axis.

        Args:
            axis: Which one; the first is 0.
            unit: The unit.

        Raises:
            TypeError: If the axis is no integer, or the unit no text.
            ValueError: If there is no such axis.
        """
        self._axis(axis)
        self.axis_unit[axis] = _text("unit", unit)
        self._has_axes = True

    def set_axis_name(self, axis: int, name: str) -> None:
        """Set the long name of an axis.

        Args:
            axis: Which one; the first is 0.
            name: The name.

        Raises:
            TypeError: If the axis is no integer, or the name no text.
            ValueError: If there is no such axis.
        """
        self._axis(axis)
        self.axis_name[axis] = _text("name", name)
        self._has_axes = True

    def set_axis_scale(self, axis: int, scale: AnyArray | Sequence[float]) -> None:
        """Set the values that belong to the indices of an axis.

        Args:
            axis: Which one; the first is 0.
            scale: As many finite numbers as the axis is long.

        Raises:
            TypeError: If the axis is no integer, or the scale holds something else than numbers.
            ValueError: If there is no such axis, or the scale does not fit it.
        """
        self._axis(axis)
        self.axis_scale[axis] = _scale(f"the scale of axis {axis}", scale, self.data.shape[axis])
        self._has_axes = True

    def set_column_label(self, col: int, label: str) -> None:
        """Set the label of a column.

        Args:
            col: Which one; the first is 0.
            label: The label.

        Raises:
            TypeError: If the column is no integer, or the label no text.
            ValueError: If there is no such column.
        """
        self._column(col)
        self.column_label[col] = _text("label", label)

    def set_column_unit(self, col: int, unit: str) -> None:
        """Set the unit of a column.

        Args:
            col: Which one; the first is 0.
            unit: The unit.

        Raises:
            TypeError: If the column is no integer, or the unit no text.
            ValueError: If there is no such column.
        """
        self._column(col)
        self.column_unit[col] = _text("unit", unit)

    def set_column_name(self, col: int, name: str) -> None:
        """Set the long name of a column.

        Args:
            col: Which one; the first is 0.
            name: The name.

        Raises:
            TypeError: If the column is no integer, or the name no text.
            ValueError: If there is no such column.
        """
        self._column(col)
        self.column_name[col] = _text("name", name)

    def _axis(self, axis: int) -> None:
        _index("axis", axis, self.data.ndim - 1, "axes", self.data.shape)

    def _column(self, col: int) -> None:
        _index("col", col, self.ncol, "columns", self.data.shape)

    def __qmi_check__(self) -> None:
        """See that all parts fit each other, after they were changed or have come over a link.

        Raises:
            TypeError: If a part has the wrong type; the message names it.
            ValueError: If a part does not fit the data; the message names both.
        """
        data: object = self.data
        if isinstance(data, UnknownTypeValue):
            return  # numpy is not installed here
        _text("name", self.name)
        if isinstance(self.timestamp, bool) or not isinstance(self.timestamp, int | float):
            raise TypeError(f"timestamp must be a number of seconds, got {self.timestamp!r}")
        _check_data(self.data)
        axes = self.data.ndim - 1
        for part in ("axis_label", "axis_unit", "axis_name"):
            self._check_texts(part, axes, "axes")
        for part in ("column_label", "column_unit", "column_name"):
            self._check_texts(part, self.ncol, "columns")
        if not isinstance(self.axis_scale, list) or len(self.axis_scale) != axes:
            raise ValueError(f"axis_scale must be a list with {axes} items, one for each axis of the data")
        for axis, scale in enumerate(self.axis_scale):
            if scale is not None:
                _scale(f"axis_scale[{axis}]", scale, self.data.shape[axis])
        if not isinstance(self.attrs, dict):
            raise TypeError(f"attrs must be a dict, got {self.attrs!r:.80}")

    def _check_texts(self, part: str, count: int, what: str) -> None:
        texts = getattr(self, part)
        if not isinstance(texts, list) or len(texts) != count:
            shape = self.data.shape
            raise ValueError(
                f"{part} must be a list of {count} texts: data of shape {shape} have {count} {what}; got {texts!r:.200}"
            )
        for place, text in enumerate(texts):
            _text(f"{part}[{place}]", text)


def _values(shape: tuple[int, ...] | None, dtype: npt.DTypeLike | None, data: AnyArray | None) -> AnyArray:
    import numpy as np

    if shape is None and data is None:
        raise TypeError("give the shape, or the data")
    if shape is not None:
        if not isinstance(shape, tuple | list):
            raise TypeError(f"shape must be a tuple of integers such as (100, 2), got {shape!r}")
        shape = tuple(shape)
        for size in shape:
            if isinstance(size, bool) or not isinstance(size, int | np.integer):
                raise TypeError(f"shape must be a tuple of integers such as (100, 2), got {shape!r}")
        _check_shape(shape)
    if data is None:
        assert shape is not None
        return np.zeros(shape, dtype=np.float64 if dtype is None else dtype)
    if not isinstance(data, np.ndarray):
        raise TypeError(f"data must be a numpy array, got {type(data).__name__}; numpy.array(data) makes one")
    _check_data(data)
    if shape is not None and data.shape != shape:
        raise ValueError(f"data have the shape {data.shape}, but shape says {shape}")
    if dtype is not None and data.dtype != np.dtype(dtype):
        raise ValueError(f"data are of type {data.dtype}, but dtype says {np.dtype(dtype)}")
    return data


def _check_data(data: AnyArray) -> None:
    import numpy as np

    if not isinstance(data, np.ndarray):
        raise TypeError(f"data must be a numpy array, got {type(data).__name__}")
    _check_shape(data.shape)


def _check_shape(shape: tuple[int, ...]) -> None:
    if not shape:
        raise ValueError("a dataset has at least one dimension, got the shape ()")
    if min(shape) < 1:
        raise ValueError(f"every dimension of a dataset has a size of at least 1, got the shape {tuple(shape)}")


def _scale(what: str, scale: AnyArray | Sequence[float], size: int) -> AnyArray:
    import numpy as np

    array = np.asarray(scale)
    if array.ndim != 1 or len(array) != size:
        raise ValueError(f"{what} must be {size} numbers, one for each index; got the shape {array.shape}")
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{what} must be numbers, got values of type {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def _text(what: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, got {value!r:.80}")
    return value


def _index(what: str, value: int, count: int, items: str, shape: tuple[int, ...]) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be an integer, got {value!r:.80}")
    if not 0 <= value < count:
        allowed = f"0 to {count - 1}" if count else "none"
        raise ValueError(f"{what} must be one of the {items} of the data, {allowed} (shape {shape}); got {value}")


# Where users import it from, and the name by which it travels.
DataSet.__module__ = "qmi.data.dataset"
