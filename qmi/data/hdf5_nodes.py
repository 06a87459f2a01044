"""What h5py and h5netcdf call differently; both are imported when the first file of theirs is opened."""

from __future__ import annotations

from collections.abc import Mapping
from io import RawIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import h5netcdf
    import h5py

    from qmi.data.structure import AnyArray

    AnyFile: TypeAlias = h5py.File | h5netcdf.File
    AnyGroup: TypeAlias = h5py.File | h5py.Group | h5netcdf.File | h5netcdf.Group
    AnyNode: TypeAlias = AnyGroup | h5py.Dataset | h5netcdf.Variable

BACKENDS = ("h5py", "h5netcdf")
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable."
_INTERNAL = {"CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS"}


def check_backend(backend: str) -> None:
    """See that there is such a backend.

    Raises:
        ValueError: If not.
        ImportError: If it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be 'h5py' or 'h5netcdf', got {backend!r}")
    try:
        import h5py  # noqa: F401

        if backend == "h5netcdf":
            import h5netcdf  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"HDF5 files need {backend}, which is not installed: python -m pip install {backend} (the extra 'data')",
            name=backend,
        ) from error


def open_file(path: Path | IO[bytes] | RawIOBase, mode: str, backend: str) -> AnyFile:
    """Open a file with one of the backends.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If it is not installed.
        OSError: If the file cannot be opened, or is no HDF5 file.
    """
    check_backend(backend)
    if backend == "h5netcdf":
        import h5netcdf

        return h5netcdf.File(path, mode)
    import h5py

    return h5py.File(path, mode)


def is_netcdf(node: AnyNode) -> bool:
    """Whether a file, group or dataset is one of h5netcdf."""
    return type(node).__module__.partition(".")[0] == "h5netcdf"


def is_group(node: AnyNode) -> bool:
    """Whether it is a file or group, and no dataset."""
    return not hasattr(node, "shape")


def is_root(node: AnyGroup) -> bool:
    """Whether it is a file, or its outermost group."""
    return str(node.name) == "/"


def last_name(node: AnyNode) -> str:
    """The name of a node within its group."""
    return str(node.name).rpartition("/")[2]


def groups_of(group: AnyGroup) -> dict[str, AnyGroup]:
    """The groups in a group."""
    if is_netcdf(group):
        return dict(group.groups)
    return {name: node for name, node in group.items() if is_group(node)}


def datasets_of(group: AnyGroup) -> dict[str, Any]:
    """The datasets in a group, without those that only stand for a dimension of netCDF."""
    if is_netcdf(group):
        return dict(group.variables)
    found = {name: node for name, node in group.items() if not is_group(node)}
    return {name: node for name, node in found.items() if not _stands_for_dimension(node)}


def _stands_for_dimension(node: h5py.Dataset) -> bool:
    name = node.attrs.get("NAME", b"")
    return isinstance(name, bytes) and name.startswith(NO_VARIABLE)


def is_scale(dataset: Any) -> bool:
    """Whether a dataset is the scale of a dimension."""
    if is_netcdf(dataset):
        return bool(dataset.dimensions == (last_name(dataset),))
    return bool(dataset.is_scale)


def scale_of(dataset: Any, axis: int, group: AnyGroup | None) -> Any | None:
    """The dataset that is the scale of a dimension of another one, or None; netCDF looks for it in the group."""
    if is_netcdf(dataset):
        name = dataset.dimensions[axis]
        found = None if group is None else group.variables.get(name)
        return None if found is None or last_name(dataset) == name else found
    attached = [node for node in dataset.dims[axis].values() if not _stands_for_dimension(node)]
    return attached[0] if attached else None


def label_of(dataset: Any, axis: int) -> str:
    """The label of a dimension."""
    return "" if is_netcdf(dataset) else str(dataset.dims[axis].label)


def attributes_of(node: AnyNode) -> dict[str, Any]:
    """The attributes of a node as Python knows them, without those that HDF5 and netCDF need themselves."""
    # netCDF keeps a number as an array of one.
    single = not is_netcdf(node) and "_NCProperties" in node.file.attrs
    found: dict[str, Any] = {}
    for name, value in _raw_attributes(node).items():
        if name not in _INTERNAL and not name.startswith(("_Netcdf4", "_NCProperties", "_nc3_strict")):
            found[name] = _plain(value, single=single)
    return found


def _raw_attributes(node: AnyNode) -> Mapping[str, Any]:
    # Not those that hold references, which h5netcdf does not read.
    return {name: node.attrs[name] for name in node.attrs if name not in _INTERNAL}


def _plain(value: Any, *, single: bool) -> Any:
    if single and getattr(value, "shape", None) == (1,):
        value = value[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class GroupWriter:
    """Writes scales and columns into a group, with either backend."""

    def __init__(self, group: AnyGroup) -> None:
        self._group = group
        self._netcdf = is_netcdf(group)

    @property
    def taken(self) -> set[str]:
        """Names that something in the group has."""
        names = set(self._group)
        return names | set(self._group.dimensions) if self._netcdf else names

    def write_dimension(self, name: str, size: int) -> None:
        """Make a dimension that has no scale; only netCDF has them."""
        if self._netcdf:
            self._group.dimensions[name] = size

    def write_scale(self, name: str, values: AnyArray) -> Any:
        """Write the scale of a dimension."""
        if self._netcdf:
            self._group.dimensions[name] = len(values)
            return self._group.create_variable(name, (name,), data=values)
        made = self._group.create_dataset(name, data=values)
        made.make_scale(name)
        return made

    def write_column(self, name: str, dimensions: list[str], labels: list[str], values: AnyArray) -> Any:
        """Write a column over dimensions, which are scales where there are such."""
        if self._netcdf:
            return self._group.create_variable(name, tuple(dimensions), data=values)
        made = self._group.create_dataset(name, data=values)
        for axis, (scale, label) in enumerate(zip(dimensions, labels, strict=True)):
            if label:
                made.dims[axis].label = label
            if scale in self._group:
                made.dims[axis].attach_scale(self._group[scale])
        return made

    def write_attribute(self, node: Any, name: str, value: Any) -> None:
        """Write an attribute; netCDF has no truth values, so there they become 0 and 1."""
        if self._netcdf and type(value).__name__ in ("bool", "bool_"):
            value = int(value)
        node.attrs[name] = value
