"""Recording arrays into an HDF5 file while a measurement runs, in a thread of its own."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from qmi.data.batch_file import BatchFile
from qmi.data.hdf5_files import check_attribute
from qmi.data.hdf5_nodes import check_backend, datasets_of, is_netcdf, open_file
from qmi.errors import QMI_InvalidOperationException

if TYPE_CHECKING:
    import numpy as np

    from qmi.data.hdf5_nodes import AnyFile
    from qmi.data.structure import AnyArray

__all__ = ["HDF5Recorder"]

_logger = logging.getLogger(__name__)
_CHUNK = 65536
"""Bytes of a chunk of a dataset, about."""


class _Layout(NamedTuple):
    """What the rows of a dataset are."""

    dtype: np.dtype[np.generic]
    row: tuple[int, ...]
    grows: bool


class HDF5Recorder:
    """Appends arrays to datasets of an HDF5 file, for more data than fit into memory.

    Arrays are collected, and written every ``write_interval`` seconds. What was collected since the last time is lost
    if the program is killed; it is not if the program ends or ``close()`` is called. If writing fails, such as when
    the disk is full, every later call raises the error, and the file has what was written before. Usable as a context
    manager, and from several threads.

    Args:
        filename: The file; one that exists is appended to.
        write_interval: Seconds between two times of writing; 0 writes as soon as it can.
        keep_open: Whether the file stays open between them. Else other programs can read it meanwhile.
        backend: "h5py" or "h5netcdf".

    Raises:
        ValueError: If the interval or the backend is none.
        OSError: If the file exists, but cannot be read or is no HDF5 file.
        ImportError: If h5py or h5netcdf is not installed.
    """

    DEFAULT_WRITE_INTERVAL = 30.0

    def __init__(
        self,
        filename: str | os.PathLike[str],
        write_interval: float = DEFAULT_WRITE_INTERVAL,
        keep_open: bool = False,
        backend: str = "h5py",
    ) -> None:
        check_backend(backend)
        if isinstance(write_interval, bool) or not isinstance(write_interval, int | float):
            raise TypeError(f"write_interval must be a number of seconds, got {write_interval!r}")
        if not 0 <= write_interval < math.inf:
            raise ValueError(f"write_interval must be >= 0 seconds, got {write_interval!r}")
        # The current folder may be another one when the thread opens the file.
        self._path = Path(os.path.abspath(filename))
        self._interval = min(float(write_interval), threading.TIMEOUT_MAX)
        self._keep_open = keep_open
        self._backend = backend
        self._layouts = _layouts_of(self._path, backend)
        # Guards all below; the thread waits on it. Nothing is written while it is held.
        self._changed = threading.Condition()
        self._arrays: dict[str, list[AnyArray]] = {}
        self._attributes: dict[str, dict[str, int | float | str]] = {}
        self._in_file = set(self._layouts)
        self._closing = False
        self._error: Exception | None = None
        self._file: AnyFile | None = None  # of the thread alone, as what follows
        self._batches: BatchFile | None = None
        self._thread = threading.Thread(target=self._run, name=f"HDF5Recorder {self._path.name}", daemon=True)
        self._thread.start()
        atexit.register(self._close_at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record(self, dset_name: str, dset_values: AnyArray) -> None:
        """Append values to a dataset, which is made if there is none.

        Args:
            dset_name: Name of the dataset.
            dset_values: Values of one row or more: the first dimension is that along which the dataset grows. They
                are copied.

        Raises:
            TypeError: If they are no numbers, a single value, or of a type that the dataset cannot hold.
            ValueError: If the name is none, or rows have another shape than those of the dataset.
            QMI_InvalidOperationException: If the recorder is closed.
            OSError: If writing has failed before.
        """
        import numpy as np

        self._check_name(dset_name)
        values = np.array(dset_values)
        if values.dtype.kind not in "biufc":
            raise TypeError(f"values for {dset_name!r} must be numbers, got values of type {values.dtype}")
        if values.ndim == 0:
            raise TypeError(f"values for {dset_name!r} must be an array; [value] makes one of a single value")
        if self._backend == "h5netcdf" and values.dtype.kind in "bc":
            raise TypeError(f"netCDF has no values of type {values.dtype} ({dset_name!r}); use backend='h5py'")
        if 0 in values.shape[1:]:
            raise ValueError(f"values for {dset_name!r} have the shape {values.shape}: rows without values")
        with self._changed:
            self._check_usable()
            layout = self._layouts.setdefault(dset_name, _Layout(values.dtype, values.shape[1:], True))
            values = _fitting(dset_name, values, layout)
            self._arrays.setdefault(dset_name, []).append(values)
            self._changed.notify_all()

    def set_attribute(self, dset_name: str, attr_name: str, attr_val: int | float | str) -> None:
        """Write an attribute of a dataset, now or as soon as the dataset exists.

        Args:
            dset_name: Name of the dataset.
            attr_name: Name of the attribute.
            attr_val: A number or a text.

        Raises:
            TypeError: If the value is something else.
            ValueError: If a name is none.
            QMI_InvalidOperationException: If the recorder is closed.
            OSError: If writing has failed before.
        """
        self._check_name(dset_name)
        if not isinstance(attr_name, str) or not attr_name:
            raise ValueError(f"attr_name must be a text, got {attr_name!r}")
        given: object = attr_val
        if not isinstance(given, str | int | float) and getattr(given, "shape", None) != ():
            raise TypeError(f"attribute {attr_name!r} must be a number or a text, got {attr_val!r:.80}")
        check_attribute(attr_name, attr_val, netcdf=self._backend == "h5netcdf")
        if self._backend == "h5netcdf" and isinstance(attr_val, bool):
            attr_val = int(attr_val)
        with self._changed:
            self._check_usable()
            self._attributes.setdefault(dset_name, {})[attr_name] = attr_val
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is left, and close the file. Attributes of datasets that were never made are dropped.

        Raises:
            OSError: If it, or something before, could not be written.
        """
        with self._changed:
            again = self._closing
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        atexit.unregister(self._close_at_exit)
        if self._error is not None and not again:
            raise self._failed()

    def _close_at_exit(self) -> None:
        try:
            self.close()
        except OSError:
            _logger.exception("HDF5Recorder: %s is not complete", self._path)

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "/" in name or "\0" in name or name in (".", ".."):
            raise ValueError(f"dset_name must be the name of a dataset, without '/'; got {name!r}")

    def _check_usable(self) -> None:
        if self._error is not None:
            raise self._failed()
        if self._closing:
            raise QMI_InvalidOperationException(f"the recorder of {os.fspath(self._path)!r} is closed")

    def _failed(self) -> OSError:
        error = OSError(f"recording to {os.fspath(self._path)!r} has failed: {self._error}; what came since is lost")
        error.__cause__ = self._error
        return error

    # -- the thread

    def _run(self) -> None:
        written = time.monotonic() - self._interval
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._has_work())
                    pause = written + self._interval - time.monotonic()
                    if not self._closing and pause > 0:
                        self._changed.wait_for(lambda: self._closing, pause)
                    closing = self._closing
                    arrays, self._arrays = self._arrays, {}
                    known = self._in_file | set(arrays)
                    attributes = {name: self._attributes.pop(name) for name in [*self._attributes] if name in known}
                if arrays or attributes:
                    self._write(arrays, attributes)
                    written = time.monotonic()
                    with self._changed:
                        self._in_file |= set(arrays)
                if closing:
                    break
            self._close_file(commit=True)
        except Exception as error:  # noqa: BLE001 - raised by the next call, and by close()
            with self._changed:
                self._error = error
                self._arrays.clear()
            self._abandon_file()

    def _has_work(self) -> bool:
        return bool(self._arrays) or not self._in_file.isdisjoint(self._attributes)

    def _write(self, arrays: dict[str, list[AnyArray]], attributes: dict[str, dict[str, int | float | str]]) -> None:
        import numpy as np

        if self._file is None:
            self._batches = BatchFile(self._path)
            mode = "r+" if self._batches.seek(0, os.SEEK_END) else "w"
            self._file = open_file(self._batches, mode, self._backend)
        assert self._batches is not None
        for name, parts in arrays.items():
            _append(self._file, name, np.concatenate(parts), self._layouts[name])
        for name, values in attributes.items():
            node: Any = self._file[name]
            for attribute, value in values.items():
                node.attrs[attribute] = value
        if self._keep_open:
            self._file.flush()
            self._batches.commit()
        else:
            self._close_file(commit=True)

    def _close_file(self, *, commit: bool) -> None:
        file, self._file = self._file, None
        batches, self._batches = self._batches, None
        try:
            if file is not None:
                file.close()
            if commit and batches is not None:
                batches.commit()
        finally:
            if batches is not None:
                batches.close()

    def _abandon_file(self) -> None:
        try:
            self._close_file(commit=False)
        except Exception:  # the error before says why
            _logger.debug("HDF5Recorder: closing %s", self._path, exc_info=True)


def _layouts_of(path: Path, backend: str) -> dict[str, _Layout]:
    """What is in a file already."""
    import numpy as np

    if not path.exists():
        return {}
    with open_file(path, "r", backend) as file:
        found = {}
        for name, node in datasets_of(file).items():
            if node.shape:
                grows = _grows(file, node)
                found[name] = _Layout(np.dtype(node.dtype), tuple(node.shape[1:]), grows)
        return found


def _grows(file: AnyFile, node: Any) -> bool:
    if is_netcdf(file):
        return bool(file.dimensions[node.dimensions[0]].isunlimited())
    return node.maxshape[0] is None


def _fitting(name: str, values: AnyArray, layout: _Layout) -> AnyArray:
    import numpy as np

    if not layout.grows:
        raise ValueError(f"the dataset {name!r} of the file has a fixed size; record under another name")
    if values.shape[1:] != layout.row:
        raise ValueError(f"rows for {name!r} have the shape {values.shape[1:]}; those of the dataset are {layout.row}")
    if values.dtype == layout.dtype:
        return values
    if not np.can_cast(values.dtype, layout.dtype, "same_kind"):
        raise TypeError(f"values for {name!r} are of type {values.dtype}; the dataset has {layout.dtype}")
    cast = values.astype(layout.dtype)
    if values.dtype.kind in "iu" and layout.dtype.kind in "iu" and not np.array_equal(cast, values):
        raise ValueError(f"values for {name!r} of type {values.dtype} are too large for the dataset: {layout.dtype}")
    return cast


def _append(file: AnyFile, name: str, values: AnyArray, layout: _Layout) -> None:
    if name not in file:
        _make(file, name, layout)
    node: Any = file[name]
    before = node.shape[0]
    if is_netcdf(file):
        root: Any = file
        root.resize_dimension(node.dimensions[0], before + len(values))
    else:
        node.resize(before + len(values), axis=0)
    if len(values):
        node[before:] = values


def _make(file: AnyFile, name: str, layout: _Layout) -> None:
    size = layout.dtype.itemsize * math.prod(layout.row)
    chunks = (max(1, _CHUNK // size), *layout.row)
    shape = (0, *layout.row)
    root: Any = file
    if not is_netcdf(file):
        root.create_dataset(name, shape=shape, maxshape=(None, *layout.row), dtype=layout.dtype, chunks=chunks)
        return
    dimensions = [f"{name}_row", *(f"{name}_dim{axis}" for axis in range(1, len(shape)))]
    root.dimensions[dimensions[0]] = None
    for dimension, length in zip(dimensions[1:], layout.row, strict=True):
        root.dimensions[dimension] = length
    root.create_variable(name, tuple(dimensions), dtype=layout.dtype, chunks=chunks)
