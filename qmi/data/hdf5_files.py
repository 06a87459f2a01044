"""Datasets in HDF5 files: how they are written, and how those of QMI's versions and of others are read."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qmi.data.hdf5_nodes import (
    GroupWriter,
    attributes_of,
    datasets_of,
    groups_of,
    is_group,
    is_netcdf,
    is_root,
    is_scale,
    label_of,
    last_name,
    scale_of,
)
from qmi.data.structure import DataSet

if TYPE_CHECKING:
    from qmi.data.hdf5_nodes import AnyGroup, AnyNode
    from qmi.data.structure import AnyArray

MARKER = "QMI_Dataset"
FORMER = "QMI_DataSet"
"""The marker of QMI before version 0.52, on the one dataset that has all columns."""
_DEFAULT_NAME = "dataset"
_MAX_ATTRIBUTE = 64_000
"""Bytes of an array that HDF5 keeps as an attribute."""
_KINDS = "biufcSU"


# -- writing


def write_dataset_to_hdf5(dataset: DataSet, hdf_group: AnyGroup) -> None:
    """Write a dataset into a file or group of h5py or h5netcdf.

    Each column and each scale becomes a dataset of HDF5, with the scales attached; names, labels and units are
    attributes. A file or group holds one dataset; give each one a group of its own, as
    :meth:`DataFolder.add_dataset_to_file() <qmi.data.datastore.DataFolder.add_dataset_to_file>` does.

    Args:
        dataset: What to write.
        hdf_group: Where to.

    Raises:
        ValueError: If the group has a dataset already, or an attribute or a part of the dataset does not fit.
        TypeError: If HDF5 has no such type of values or attributes.
    """
    check_writable(dataset, netcdf=is_netcdf(hdf_group))
    if MARKER in hdf_group.attrs and f"{MARKER}_name" in hdf_group.attrs:
        there = hdf_group.attrs[f"{MARKER}_name"]
        raise ValueError(f"{hdf_group.name!r} has the dataset {there!r} already; write {dataset.name!r} into a group")
    writer = GroupWriter(hdf_group)
    scales, columns = _keys(dataset, writer.taken)
    described = _description(dataset, scales, columns)
    for name, value in {**described, **dataset.attrs}.items():
        writer.write_attribute(hdf_group, name, value)
    dimensions = _write_axes(writer, dataset, scales, columns)
    for col, key in enumerate(columns):
        values = dataset.data if dataset.data.ndim == 1 else dataset.data[..., col]
        labels = dataset.axis_label if dimensions and not dataset.is_raw else [""] * len(dimensions)
        made = writer.write_column(key, dimensions, labels, values)
        _describe(writer, made, dataset.column_label[col], dataset.column_unit[col], dataset.column_name[col])


def _write_axes(writer: GroupWriter, dataset: DataSet, scales: dict[int, str], columns: list[str]) -> list[str]:
    """Write the scales and return the name of each dimension of the columns."""
    dimensions = []
    taken = writer.taken | set(scales.values()) | set(columns)
    for axis in range(max(dataset.data.ndim - 1, 1)):
        key = scales.get(axis)
        if key is None:
            key = _free("row" if dataset.is_raw else f"dim_{axis}", taken)
            writer.write_dimension(key, dataset.data.shape[axis])
        else:
            values = dataset.axis_scale[axis]
            assert values is not None
            made = writer.write_scale(key, _array(values))
            _describe(writer, made, dataset.axis_label[axis], dataset.axis_unit[axis], dataset.axis_name[axis])
        dimensions.append(key)
    return dimensions


def _array(values: AnyArray) -> AnyArray:
    import numpy as np

    return np.asarray(values)


def _describe(writer: GroupWriter, node: Any, label: str, unit: str, name: str) -> None:
    for key, text in (("name", label), ("unit", unit), ("long_name", name)):
        if text:
            writer.write_attribute(node, key, text)


def _keys(dataset: DataSet, taken: set[str]) -> tuple[dict[int, str], list[str]]:
    """The names of the datasets of HDF5 for scales and columns: their labels where these will do, each name once."""
    taken = set(taken)
    scales = {
        axis: _free(_key(dataset.axis_label[axis]) or f"axis_{axis}_scale", taken)
        for axis, scale in enumerate(dataset.axis_scale)
        if scale is not None
    }
    columns = [_free(_key(label) or f"column_{col}", taken) for col, label in enumerate(dataset.column_label)]
    return scales, columns


def _key(label: str) -> str:
    return "" if "/" in label or label in (".", "..") or label != label.strip() else label


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _description(dataset: DataSet, scales: dict[int, str], columns: list[str]) -> dict[str, Any]:
    own = f"{dataset.name}_"
    found: dict[str, Any] = {
        MARKER: 1,
        f"{MARKER}_name": dataset.name,
        f"{MARKER}_layout": "raw" if dataset.is_raw else "axis",
        f"{own}timestamp": float(dataset.timestamp),
        f"{own}time_str": utc_text(dataset.timestamp),
        f"{own}data_ndim": dataset.data.ndim,
        f"{own}n_axes": dataset.n_axes,
        f"{own}ncol": dataset.ncol,
    }
    found |= {f"{own}dim{axis}_size": size for axis, size in enumerate(dataset.data.shape)}
    for axis in range(dataset.n_axes):
        texts = (dataset.axis_label[axis], dataset.axis_unit[axis], dataset.axis_name[axis], scales.get(axis, ""))
        found |= _texts(f"{own}axis{axis}", *texts)
    for col, key in enumerate(columns):
        texts = (dataset.column_label[col], dataset.column_unit[col], dataset.column_name[col], key)
        found |= _texts(f"{own}column{col}", *texts)
    return found


def _texts(prefix: str, label: str, unit: str, name: str, key: str) -> dict[str, str]:
    named = {"label": label, "unit": unit, "name": name, "key": key}
    return {f"{prefix}_{what}": text for what, text in named.items() if text}


def utc_text(timestamp: float) -> str:
    """A time as text, in UTC whatever the time zone is; empty if no calendar has it."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""


# -- what can be written


def check_writable(dataset: DataSet, *, netcdf: bool = False) -> None:
    """See that HDF5 takes a dataset, before anything of it is written.

    Raises:
        TypeError: If HDF5, or netCDF, has no such type of values or attributes.
        ValueError: If a part of the dataset does not fit.
    """
    dataset.__qmi_check__()
    if not dataset.name or "\0" in dataset.name:
        raise ValueError(f"a dataset needs a name to be written, got {dataset.name!r}")
    kind = dataset.data.dtype.kind
    if kind not in "biufc":
        raise TypeError(f"the data of {dataset.name!r} are of type {dataset.data.dtype}; HDF5 files take numbers only")
    if netcdf and (kind in "bc" or (dataset.data.dtype.itemsize == 2 and kind == "f")):
        raise TypeError(f"netCDF has no values of type {dataset.data.dtype}; write {dataset.name!r} with h5py")
    lists = (dataset.axis_label, dataset.axis_unit, dataset.axis_name)
    columns = (dataset.column_label, dataset.column_unit, dataset.column_name)
    for text in (text for texts in (*lists, *columns) for text in texts):
        _check_text(f"the label, unit or name {text!r}", text)
    for name, value in dataset.attrs.items():
        if not isinstance(name, str):
            raise TypeError(f"attribute names are texts, got {name!r}")
        if not name or name.startswith((f"{dataset.name}_", MARKER, FORMER)):
            raise ValueError(f"attribute {name!r}: that name is kept for the description of the dataset")
        check_attribute(name, value, netcdf=netcdf)


def check_attribute(name: str, value: Any, *, netcdf: bool = False) -> None:
    """See that HDF5 takes an attribute.

    Raises:
        TypeError: If HDF5, or netCDF, has no such type.
        ValueError: If its value is too large.
    """
    import numpy as np

    _check_text(f"the name of attribute {name!r}", name)
    allowed = "texts, numbers, and lists or arrays of them"
    if not isinstance(value, str | bytes | bool | int | float | complex | np.generic | np.ndarray | list | tuple):
        raise TypeError(f"attribute {name!r} is of type {type(value).__name__}; HDF5 takes {allowed}")
    for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []:
        if isinstance(text, str):
            _check_text(f"attribute {name!r}", text)
    try:
        array = np.asarray(value)
    except ValueError:
        raise TypeError(f"attribute {name!r} is a list whose items differ in size; HDF5 takes {allowed}") from None
    if array.dtype.kind == "O" and isinstance(value, int):
        raise ValueError(f"attribute {name!r} is {value}; HDF5 takes integers of up to 64 bits")
    if array.dtype.kind not in _KINDS or (isinstance(value, np.ndarray) and array.dtype.kind == "U" and array.ndim):
        raise TypeError(f"attribute {name!r} has values of type {array.dtype}; HDF5 takes {allowed}")
    if netcdf and array.dtype.kind == "c":
        raise TypeError(f"attribute {name!r} is complex, which netCDF does not have; write with backend='h5py'")
    if netcdf and array.dtype.kind == "b" and array.ndim:
        raise TypeError(f"attribute {name!r} has truth values, which netCDF does not have; use integers")
    if array.dtype.kind != "U" and array.nbytes > _MAX_ATTRIBUTE:
        raise ValueError(
            f"attribute {name!r} has {array.nbytes} bytes; HDF5 takes {_MAX_ATTRIBUTE}. Make it a dataset of its own"
        )


def _check_text(what: str, text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{what} has a NUL character, which HDF5 does not take")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is no valid Unicode text") from None


# -- reading


def read_dataset_from_hdf5(parent: AnyNode, container: AnyGroup | None = None) -> DataSet:
    """Read a dataset from a file, group or dataset of h5py or h5netcdf.

    What this library or any version of QMI wrote is read; anything else as :func:`convert_to_qmi_dataset` does it.

    Args:
        parent: The file or group that has the dataset; for files of QMI before version 0.52 also the dataset itself.
        container: The group of that dataset, where the scales are; else the one that has it.

    Returns:
        The dataset.

    Raises:
        RuntimeError: If there is no dataset, or are several: give the group of one of them.
        ValueError: If the file is damaged; the message says what does not fit.
    """
    if not is_group(parent):
        if FORMER in parent.attrs:
            return _read_former(parent, container)
        return convert_to_qmi_dataset(parent)
    attributes = attributes_of(parent)
    if f"{MARKER}_name" in attributes:
        return _read_group(parent, attributes)
    marked = [name for name, group in groups_of(parent).items() if f"{MARKER}_name" in group.attrs]
    if len(marked) > 1:
        raise RuntimeError(f"{parent.name!r} has several datasets: give the group of one of {', '.join(marked)}")
    if marked:
        return read_dataset_from_hdf5(groups_of(parent)[marked[0]])
    former = [name for name, found in datasets_of(parent).items() if FORMER in found.attrs]
    if len(former) > 1:
        raise RuntimeError(f"{parent.name!r} has several datasets: give one of {', '.join(former)}")
    if former:
        return _read_former(datasets_of(parent)[former[0]], parent)
    return convert_to_qmi_dataset(parent)


def _read_group(group: AnyGroup, attributes: dict[str, Any]) -> DataSet:
    name = str(attributes[f"{MARKER}_name"])
    own = f"{name}_"
    try:
        columns = [str(attributes[f"{own}column{col}_key"]) for col in range(int(attributes[f"{own}ncol"]))]
        dimensions = int(attributes[f"{own}data_ndim"])
        axes = int(attributes[f"{own}n_axes"])
        shape = tuple(int(attributes[f"{own}dim{axis}_size"]) for axis in range(dimensions))
        timestamp = float(attributes[f"{own}timestamp"])
    except KeyError as missing:
        raise ValueError(f"dataset {name!r} in {group.name!r} lacks the attribute {missing}") from None
    there = datasets_of(group)
    missing_columns = [key for key in columns if key not in there]
    if missing_columns or not columns:
        raise ValueError(f"dataset {name!r} in {group.name!r} lacks its column {', '.join(missing_columns)}")
    data = _joined(name, {key: there[key][...] for key in columns}, flat=dimensions == 1)
    if data.shape != shape:
        raise ValueError(f"dataset {name!r} in {group.name!r} has the shape {data.shape}; its attributes say {shape}")
    dataset = DataSet(name, data=data)
    dataset.timestamp = timestamp
    for axis in range(axes):
        key = attributes.get(f"{own}axis{axis}_key")
        scale = None if key is None else there.get(str(key))
        if key is not None and scale is None:
            raise ValueError(f"dataset {name!r} in {group.name!r} lacks the scale {key!r} of axis {axis}")
        described = [str(attributes.get(f"{own}axis{axis}_{what}", "")) for what in ("label", "unit", "name")]
        _set_axis(dataset, axis, *described, scale=None if scale is None else scale[...])
    for col in range(len(columns)):
        described = [str(attributes.get(f"{own}column{col}_{what}", "")) for what in ("label", "unit", "name")]
        _set_column(dataset, col, *described)
    dataset.attrs = {
        key: value for key, value in attributes.items() if not key.startswith((own, MARKER, "QMI_version"))
    }
    return dataset


def _read_former(found: Any, container: AnyGroup | None) -> DataSet:
    """Read a dataset of QMI before version 0.52: one dataset of HDF5 with all columns."""
    attributes = attributes_of(found)
    name = last_name(found)
    dataset = DataSet(name, data=_joined(name, {name: found[...]}, flat=True))
    if dataset.data.ndim < 2:
        raise ValueError(f"dataset {name!r} has the shape {dataset.data.shape}; one with columns has two dimensions")
    dataset.timestamp = float(attributes.get(f"{FORMER}_timestamp", math.nan))
    group = container if container is not None else getattr(found, "parent", None)
    there = {} if group is None else datasets_of(group)
    for axis in range(dataset.data.ndim - 1):
        scale = scale_of(found, axis, group)
        if scale is None:
            scale = there.get(f"{name}_axis{axis}_scale")
        label = str(attributes.get(f"{FORMER}_axis{axis}_label", "")) or label_of(found, axis)
        unit = str(attributes.get(f"{FORMER}_axis{axis}_unit", ""))
        _set_axis(dataset, axis, label, unit, scale=None if scale is None else scale[...])
    for col in range(dataset.ncol):
        described = [str(attributes.get(f"{FORMER}_column{col}_{what}", "")) for what in ("label", "unit")]
        _set_column(dataset, col, *described)
    dataset.attrs = {key: value for key, value in attributes.items() if not key.startswith(FORMER)}
    return dataset


def _set_axis(
    dataset: DataSet, axis: int, label: str = "", unit: str = "", name: str = "", *, scale: AnyArray | None = None
) -> None:
    dataset.set_axis_label(axis, label)
    dataset.set_axis_unit(axis, unit)
    dataset.set_axis_name(axis, name)
    if scale is not None:
        dataset.set_axis_scale(axis, scale)


def _set_column(dataset: DataSet, col: int, label: str = "", unit: str = "", name: str = "") -> None:
    dataset.set_column_label(col, label)
    dataset.set_column_unit(col, unit)
    dataset.set_column_name(col, name)


def _joined(name: str, columns: dict[str, AnyArray], *, flat: bool) -> AnyArray:
    """Put columns beside each other along a last dimension; a single one as it is if ``flat``."""
    import numpy as np

    arrays = [np.asarray(column) for column in columns.values()]
    shapes = {column.shape for column in arrays}
    if len(shapes) > 1:
        found = ", ".join(f"{key} {column.shape}" for key, column in zip(columns, arrays, strict=True))
        raise ValueError(f"the columns of {name!r} differ in shape: {found}")
    if flat and len(arrays) == 1:
        return arrays[0]
    return np.stack(arrays, axis=-1)


# -- what others wrote


def convert_to_qmi_dataset(parent: AnyNode) -> DataSet:
    """Make a dataset of what another program wrote into an HDF5 file.

    A dataset of HDF5 is taken as it is. The datasets of a group become the columns, and the scales that are attached
    to them the axes. Of a file its only group is taken, or else its datasets.

    Args:
        parent: A file, group or dataset of h5py or h5netcdf.

    Returns:
        The dataset; its timestamp is now.

    Raises:
        RuntimeError: If a file has several groups, or there is no dataset.
        ValueError: If the columns differ in shape, or a dataset is empty or a single value.
    """
    if not is_group(parent):
        return _convert_single(parent)
    if is_root(parent):
        groups = groups_of(parent)
        if len(groups) > 1:
            raise RuntimeError(f"the file has several groups: give one of {', '.join(groups)}")
        if groups:
            return convert_to_qmi_dataset(next(iter(groups.values())))
    columns = {name: node for name, node in datasets_of(parent).items() if not is_scale(node)}
    if not columns:
        raise RuntimeError(f"{parent.name!r} has no dataset to convert")
    return _convert_columns(parent, columns)


def _convert_single(found: Any) -> DataSet:
    name = last_name(found) or _DEFAULT_NAME
    dataset = DataSet(name, data=_joined(name, {name: found[...]}, flat=True))
    attributes = attributes_of(found)
    _set_column(dataset, 0, *_described(name, attributes))
    dataset.attrs = attributes
    return dataset


def _convert_columns(group: AnyGroup, columns: dict[str, Any]) -> DataSet:
    name = last_name(group) or _DEFAULT_NAME
    first = next(iter(columns.values()))
    scales = [scale_of(first, axis, group) for axis in range(len(first.shape))]
    scaled = any(scale is not None for scale in scales)
    single = len(columns) == 1 and not scaled
    dataset = DataSet(name, data=_joined(name, {key: node[...] for key, node in columns.items()}, flat=single))
    for axis, scale in enumerate(scales if scaled else []):
        if scale is not None:
            described = _described(last_name(scale), attributes_of(scale))
            _set_axis(dataset, axis, *described, scale=scale[...])
        else:
            _set_axis(dataset, axis, label_of(first, axis))
    for col, (key, node) in enumerate(columns.items()):
        _set_column(dataset, col, *_described(key, attributes_of(node)))
    dataset.attrs = attributes_of(group)
    return dataset


def _described(key: str, attributes: dict[str, Any]) -> tuple[str, str, str]:
    """Label, unit and name of a dataset of HDF5, as its attributes have them."""
    unit = attributes.get("units", attributes.get("unit", ""))
    return str(attributes.get("name", key)), str(unit), str(attributes.get("long_name", ""))
