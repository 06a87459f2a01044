"""Run by a Python that has QMI: reads the datasets of a folder and prints their parts, or writes some.

Usage: ``python -P upstream_datasets.py read|write FOLDER``
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np


def parts(dataset: Any) -> dict[str, Any]:
    """All of a dataset as JSON has it."""
    return {
        "name": dataset.name,
        "timestamp": dataset.timestamp,
        "axes": dataset.n_axes,
        "data": [list(dataset.data.shape), str(dataset.data.dtype), np.asarray(dataset.data).tolist()],
        "scales": [None if scale is None else np.asarray(scale).tolist() for scale in dataset.axis_scale],
        "labels": [dataset.axis_label, dataset.column_label],
        "units": [dataset.axis_unit, dataset.column_unit],
        "names": [dataset.axis_name, dataset.column_name],
        "attrs": {name: np.asarray(value).tolist() for name, value in dataset.attrs.items()},
    }


def main(what: str, path: str) -> None:
    """Carry out the command line."""
    import h5py

    from qmi.data.dataset import DataSet, read_dataset_from_hdf5
    from qmi.data.datastore import DataStore
    from qmi.data.hdf5recorder import HDF5Recorder

    store = DataStore(path)
    if what == "read":
        found = {}
        for folder in store.list_folders():
            label = folder.folder_path.rpartition("_")[2]  # QMI itself forgets the label here
            backend = "h5netcdf" if label == "h5netcdf" else "h5py"
            found[label] = parts(folder.read_dataset("sweep", backend=backend))
        several = store.find_latest_folder("several")
        assert several is not None
        with several.open_hdf5file("several.h5") as file:
            found["group"] = parts(read_dataset_from_hdf5(file["second"]))
        print(json.dumps(found))
        return
    for number, (label, shape) in enumerate([("raw", (3,)), ("axis", (3, 2)), ("text", (2, 3, 2))]):
        dataset = DataSet("sweep", data=np.arange(np.prod(shape), dtype=float).reshape(shape))
        for axis in range(len(shape) - 1):
            dataset.set_axis_label(axis, f"axis {axis}")
            dataset.set_axis_scale(axis, np.arange(shape[axis]) * 0.5)
        dataset.set_column_label(0, "voltage")
        dataset.set_column_unit(0, "V")
        dataset.attrs["gain"] = 1.5
        folder = store.make_folder(label, timestamp=1.7e9 + number)
        folder.write_dataset(dataset, file_format="text" if label == "text" else "hdf5")
        print(json.dumps(parts(dataset)))
    recorder = HDF5Recorder(f"{path}/recorded.h5", 1000.0)
    recorder.record("x", np.arange(3.0))
    recorder.close()
    with h5py.File(f"{path}/recorded.h5") as file:
        print(json.dumps(file["x"][...].tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
