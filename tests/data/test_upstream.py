"""Files go back and forth between this library and QMI itself, which is fetched."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.environments import interpreter
from qmi.data.dataset import DataSet
from qmi.data.datastore import DataStore
from qmi.data.hdf5recorder import HDF5Recorder
from tests.support.datasets import made, without_names
from tests.support.upstream_datasets import parts

PROGRAM = Path(__file__).parents[1] / "support" / "upstream_datasets.py"


def upstream(what: str, folder: Path) -> list[Any]:
    """Run the program with QMI."""
    command = [interpreter("upstream"), "-P", str(PROGRAM), what, str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def plain(dataset: DataSet) -> Any:
    return json.loads(json.dumps(parts(dataset)))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_upstream_reads_what_is_written_here(tmp_path: Path) -> None:
    store = DataStore(tmp_path)
    datasets: dict[str, DataSet] = {
        "h5py": made((2, 3, 2)),
        "raw1": made((3,)),
        "raw2": made((3, 2), "i4", axes=False),
        "axis2": made((3, 2)),
        "h5netcdf": made((2, 3, 2)),
        "text": without_names(made((2, 3, 2))),
        "textraw": without_names(made((3, 2), axes=False)),
        "labels": made((2, 3, 2)),
        "several": made((4, 1)),
    }
    for axis, label in enumerate(("a/b", "col0")):
        datasets["labels"].set_axis_label(axis, label)
    datasets["labels"].set_column_label(1, "col0")
    datasets["labels"].attrs.update(flag=True, numbers=[1, 2])
    second = DataSet("second", data=np.arange(3.0))
    for label, dataset in datasets.items():
        folder = store.make_folder(label, date_str="20251231", time_str="235959")
        if label == "text" or label == "textraw":
            dataset.set_column_name(0, "only here")
            folder.write_dataset(dataset, "text")
            without_names(dataset)
        else:
            folder.write_dataset(dataset, backend="h5netcdf" if label == "h5netcdf" else "h5py")
        if label == "several":
            with folder.make_hdf5file("several.h5") as file:
                folder.add_dataset_to_file(file, dataset)
                folder.add_dataset_to_file(file, second)
    (found,) = upstream("read", tmp_path)
    assert found == {label: plain(dataset) for label, dataset in {**datasets, "group": second}.items()}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_upstream_writes_is_read_here(tmp_path: Path) -> None:
    *written, recorded = upstream("write", tmp_path)
    folders = DataStore(tmp_path).list_folders()
    assert [folder.label for folder in folders] == ["raw", "axis", "text"]
    assert [plain(folder.read_dataset("sweep")) for folder in folders] == written
    path = tmp_path / "recorded.h5"
    with HDF5Recorder(path) as recorder:
        recorder.record("x", np.array([7.0]))
    with h5py.File(path) as file:
        assert file["x"][...].tolist() == [*recorded, 7.0]
